//! The open format: rows at rest, and what is exported, are read by two programs that know nothing of
//! Weir, DuckDB and Polars, and say what the server says (`tests/python/totals.py`).

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::task::spawn_blocking;
use weir_tests::http::{self, Api};
use weir_tests::maintenance::{self, path, succeed};
use weir_tests::plain::{ask_all, event, meter, send};
use weir_tests::reference::json::Json;
use weir_tests::reference::number;
use weir_tests::reference::{Aggregation, Row};
use weir_tests::server::{Options, Server};

/// 2026-05-01T00:00:00Z
const MAY: i64 = 1_777_593_600;
const EVENTS: i64 = 6_000;
const ENGINES: [&str; 2] = ["duckdb", "polars"];
/// Subjects as they stand in JSON, and as they are.
const SUBJECTS: [(&str, &str); 3] =
    [("acme", "acme"), (r#"größe, \"quoted\""#, r#"größe, "quoted""#), ("日本", "日本")];

/// What is said of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Total {
    rows: String,
    /// In plain notation.
    sum: String,
    first_second: String,
    last_second: String,
}

type Totals = BTreeMap<String, Total>;

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
fn totals(engine: &str, what: &str, files: &[PathBuf]) -> Totals {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/totals.py");
    let output = Command::new(python()).arg(script).args([engine, what]).args(files).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{engine} cannot read {what} of {files:?}: {stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let row = Json::parse(line);
            let [
                Json::String(subject),
                Json::Number(rows),
                Json::String(sum),
                Json::Number(first),
                Json::Number(last),
            ] = row.items()
            else {
                panic!("{engine} printed {line}")
            };
            let total = Total {
                rows: rows.clone(),
                sum: number::normalised(sum),
                first_second: first.clone(),
                last_second: last.clone(),
            };
            (subject.clone(), total)
        })
        .collect()
}

fn second_of(n: i64) -> i64 {
    MAY + n * 431 % 400_000
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
            let data = format!(r#"{{"value":"{}.{:03}","model":"m, \"{}\""}}"#, n % 700, n % 1_000, n % 5);
            event(&n.to_string(), SUBJECTS[n as usize % 3].0, second_of(n), &data)
        })
        .collect();
    send(&api, &events).await;
    send(&api, &events[..1_000]).await;
    let folder_of = data.clone();
    spawn_blocking(move || maintenance::until_quiet(&folder_of)).await.unwrap();
    Full { _folder: folder, server, api, data }
}

impl Full {
    /// What the server says of the events.
    async fn totals(&self) -> Totals {
        let counts = self.by_subject("count", "groupBy=subject").await;
        let sums = self.by_subject("sum", "groupBy=subject").await;
        let totals = counts.into_iter().zip(sums).map(|(count, sum)| {
            let subject = count.subject.clone().unwrap();
            assert_eq!(sum.subject.as_ref(), Some(&subject));
            // Times are not asked of the server, which says minutes only.
            let mine = (0..EVENTS).filter(|n| SUBJECTS[*n as usize % 3].1 == subject).map(second_of);
            let total = Total {
                rows: count.value,
                sum: sum.value,
                first_second: mine.clone().min().unwrap().to_string(),
                last_second: mine.max().unwrap().to_string(),
            };
            (subject, total)
        });
        totals.collect()
    }

    /// What the server says of the windows of an hour.
    async fn windows(&self) -> Totals {
        let mut windows = self.totals().await;
        let rows = self.by_subject("sum", "windowSize=HOUR&groupBy=subject&groupBy=model").await;
        for (subject, total) in &mut windows {
            let mine = rows.iter().filter(|row| row.subject.as_ref() == Some(subject));
            total.rows = mine.clone().count().to_string();
            total.first_second = mine.clone().map(|row| row.window_start).min().unwrap().to_string();
            total.last_second = mine.map(|row| row.window_start).max().unwrap().to_string();
        }
        windows
    }

    async fn by_subject(&self, slug: &str, question: &str) -> Vec<Row> {
        http::rows(&ask_all(&self.api, slug, question).await)
    }

    /// Exports beside the running server, and returns the file.
    async fn export(&self, what: &[&str], file: &str) -> PathBuf {
        let file = self.data.with_file_name(file);
        let (data, written) = (path(&self.data), path(&file));
        let what: Vec<String> = what.iter().map(|text| (*text).to_owned()).collect();
        let command = move || {
            let what: Vec<&str> = what.iter().map(String::as_str).collect();
            succeed(&[&["export"], &what[..], &["--output", &written, "--data-dir", &data]].concat());
        };
        spawn_blocking(command).await.unwrap();
        file
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_at_rest_and_exports_are_read_by_duckdb_and_polars() {
    python();
    let full = full().await;
    let events = full.totals().await;
    assert_eq!(events.len(), 3, "{events:?}");
    let listing = maintenance::segments(&full.data);
    let files: Vec<PathBuf> = listing
        .iter()
        .filter(|segment| segment.kind == "rows" && !segment.file.is_empty())
        .map(|segment| full.data.join("store").join(&segment.file))
        .collect();
    assert!(!files.is_empty(), "{listing:#?}");
    for engine in ENGINES {
        assert_eq!(totals(engine, "rows", &files), events, "{engine}");
    }

    let windows = full.windows().await;
    for suffix in ["parquet", "csv"] {
        let file = full.export(&["events"], &format!("events.{suffix}")).await;
        let hours = ["windows", "--meter", "sum", "--window", "hour"];
        let of_hours = full.export(&hours, &format!("windows.{suffix}")).await;
        for engine in ENGINES {
            assert_eq!(totals(engine, "events", std::slice::from_ref(&file)), events, "{engine}, {suffix}");
            let found = totals(engine, "windows", std::slice::from_ref(&of_hours));
            assert_eq!(found, windows, "{engine}, {suffix}");
        }
    }
    full.server.stop();
    maintenance::check(&full.data);
}
