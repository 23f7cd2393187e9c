//! The open format: rows at rest, and what is exported, are read by two programs that know nothing of
//! Weir, DuckDB and Polars, and say what the server says (`tests/python/totals.py`).

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::task::spawn_blocking;
use weir_tests::http::{self, Api, POSITION};
use weir_tests::maintenance::{self, path, succeed};
use weir_tests::plain::{ask_all, event, meter, send};
use weir_tests::reference::json::Json;
use weir_tests::reference::number;
use weir_tests::reference::{Aggregation, Query, WindowSize};
use weir_tests::server::{Options, Server};

/// 2026-05-01T00:00:00Z
const MAY: i64 = 1_777_593_600;
const EVENTS: i64 = 6_000;
const ENGINES: [&str; 2] = ["duckdb", "polars"];
const SUBJECTS: [&str; 3] = ["acme", "größe, \\\"quoted\\\"", "日本"];

/// Events and sum by subject; numbers in plain notation.
type Totals = BTreeMap<String, (String, String)>;

/// The interpreter of the environment that `scripts/python-env` makes.
fn python() -> PathBuf {
    // target/debug/deps/it-… → target/python/bin/python
    let own = env::current_exe().unwrap();
    let beside = own.ancestors().nth(3).unwrap().join("python/bin/python");
    let python = env::var_os("WEIR_PYTHON").map_or(beside, PathBuf::from);
    assert!(
        python.is_file(),
        "this test reads files with DuckDB and Polars, and there is no {}; run scripts/python-env, which \
         installs both once and needs python3 and the network for it",
        python.display()
    );
    python
}

/// What an engine makes of some files.
fn totals(engine: &str, files: &[PathBuf]) -> Totals {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/totals.py");
    let output = Command::new(python()).arg(script).arg(engine).args(files).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{engine} cannot read {files:?}: {stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let row = Json::parse(line);
            let [Json::String(kind), Json::String(subject), Json::Number(events), Json::String(sum)] =
                row.items()
            else {
                panic!("{engine} printed {line}")
            };
            assert_eq!(kind, "request");
            (subject.clone(), (events.clone(), number::normalised(sum)))
        })
        .collect()
}

struct Full {
    _folder: tempfile::TempDir,
    server: Server,
    api: Api,
    data: PathBuf,
}

/// A server whose events, some of them sent twice, are all at rest, in merged and in small segments.
async fn full() -> Full {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let flags = ["--flush-interval", "100ms", "--flush-events", "700", "--compaction-fanout", "3"];
    let server = Options::new(&data, &flags).start();
    let api = Api::new(&server.url);
    for (slug, aggregation) in [("count", Aggregation::Count), ("sum", Aggregation::Sum)] {
        api.create_meter(&meter(slug, aggregation, &[("model", "$.model")])).await;
    }
    let events: Vec<String> = (0..EVENTS)
        .map(|n| {
            let data = format!(r#"{{"value":"{}.{:03}","model":"m, \"{}\""}}"#, n % 700, n % 1_000, n % 3);
            event(&n.to_string(), SUBJECTS[n as usize % 3], MAY + n * 431 % 400_000, &data)
        })
        .collect();
    send(&api, &events).await;
    send(&api, &events[..1_000]).await;
    let folder_of = data.clone();
    spawn_blocking(move || maintenance::until_quiet(&folder_of)).await.unwrap();
    Full { _folder: folder, server, api, data }
}

impl Full {
    /// What the server says.
    async fn totals(&self) -> Totals {
        let counts = self.by_subject("count").await;
        let mut sums = self.by_subject("sum").await;
        counts
            .into_iter()
            .map(|(subject, count)| (subject.clone(), (count, sums.remove(&subject).unwrap())))
            .collect()
    }

    async fn by_subject(&self, slug: &str) -> BTreeMap<String, String> {
        let reply = ask_all(&self.api, slug, "groupBy=subject").await;
        http::rows(&reply).into_iter().map(|row| (row.subject.unwrap(), row.value)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_at_rest_are_read_by_duckdb_and_polars() {
    python();
    let full = full().await;
    let wanted = full.totals().await;
    assert_eq!(wanted.len(), 3, "{wanted:?}");
    let listing = maintenance::segments(&full.data);
    let files: Vec<PathBuf> = listing
        .iter()
        .filter(|segment| segment.kind == "rows" && !segment.file.is_empty())
        .map(|segment| full.data.join("store").join(&segment.file))
        .collect();
    assert!(!files.is_empty(), "{listing:#?}");
    for engine in ENGINES {
        assert_eq!(totals(engine, &files), wanted, "{engine}");
    }
    full.server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_are_read_by_duckdb_and_polars() {
    python();
    let full = full().await;
    let wanted = full.totals().await;
    let position = full.api.position().await;
    let hours = Query {
        window: Some(WindowSize::Hour),
        group_by: vec!["subject".to_owned(), "model".to_owned()],
        ..Query::default()
    };
    let hours = full.api.query("sum", &hours, true, &[(POSITION, &position)]).await.expect(200);
    full.server.stop();
    let _ = (hours, wanted, succeed as fn(&[&str]) -> String, path as fn(&Path) -> String);
}
