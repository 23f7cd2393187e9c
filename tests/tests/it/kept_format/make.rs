//! The story of the kept folder: meters, some thousand events in two partitions, some of them twice, in
//! conflict or without a value, a meter that is changed and one that is deleted, merges; then a tail of
//! events that only the log has, as the server is killed. With the questions, and what was answered.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use weir_tests::folder;
use weir_tests::http::{Api, POSITION};
use weir_tests::maintenance;
use weir_tests::plain::{event, meter, send, total};
use weir_tests::reference::Aggregation;
use weir_tests::reference::json::Json;
use weir_tests::server::Options;

/// 2026-03-28T22:00:00Z: the clocks of Berlin change three hours later.
const MARCH: i64 = 1_774_735_200;
const AT_REST: i64 = 1_200;
const TAIL: i64 = 150;
pub(super) const FLAGS: [&str; 10] = [
    "--flush-interval",
    "200ms",
    "--flush-events",
    "300",
    "--compaction-fanout",
    "3",
    "--partitions",
    "2",
    "--log-segment-bytes",
    "16KiB",
];

const QUESTIONS: [&str; 9] = [
    "/api/v1/meters/count/query",
    "/api/v1/meters/sum/query?groupBy=model&groupBy=region",
    "/api/v1/meters/sum/query?windowSize=DAY&windowTimeZone=Europe/Berlin",
    "/api/v1/meters/sum/query?from=2026-03-29T00:30:00Z&to=2026-03-29T06:10:00Z&windowSize=MINUTE&subject=s0",
    "/api/v1/meters/average/query?windowSize=HOUR&groupBy=subject",
    "/api/v1/meters/least/query?subject=s1&subject=s2",
    "/api/v1/meters/greatest/query?filterGroupBy%5Bmodel%5D=m1",
    "/api/v1/meters/models/query?windowSize=DAY",
    "/api/v1/meters/latest/query?groupBy=subject",
];

/// A question, and what was answered.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) path: String,
    pub(super) position: String,
    pub(super) body: String,
}

impl Kept {
    pub(super) fn read(text: &str) -> Vec<Self> {
        let of = |json: &Json| Self {
            path: json.text("path").to_owned(),
            position: json.text("position").to_owned(),
            body: json.text("body").to_owned(),
        };
        Json::parse(text).items().iter().map(of).collect()
    }
}

/// A folder after the story, and what its server said last.
pub(super) struct Told {
    pub(super) answers: Vec<Kept>,
    folder: TempDir,
    data: PathBuf,
}

fn of_number(n: i64) -> String {
    let value = match n % 50 {
        7 => r#""no number""#.to_owned(),
        11 => format!(r#""{n}.000000000000000000000000000001""#),
        13 => "1e-31".to_owned(),
        17 => format!("-{n}"),
        _ => format!("{n}.{}", n % 9),
    };
    let data = format!(r#"{{"value":{value},"model":"m{}","region":"größe \"{}\""}}"#, n % 2, n / 2 % 2);
    // A hundred at a time in few minutes, so that there are few windows and many hours.
    let second = MARCH + n / 100 * 9_000 + n % 100;
    event(&format!("kept-{n}"), &format!("s{}", n % 3), second, &data)
}

/// Events that come after everything that was asked.
pub(super) fn newer() -> Vec<String> {
    (0..100).map(|n| of_number(AT_REST + TAIL + n)).collect()
}

/// Tells the story with the binary under test.
pub(super) async fn tell() -> Told {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Options::new(&data, &FLAGS).start();
    let api = Api::new(&server.url);
    let groups = [("model", "$.model")];
    for (slug, aggregation) in [
        ("count", Aggregation::Count),
        ("sum", Aggregation::Sum),
        ("average", Aggregation::Avg),
        ("least", Aggregation::Min),
        ("greatest", Aggregation::Max),
        ("latest", Aggregation::Latest),
        ("gone", Aggregation::Sum),
    ] {
        api.create_meter(&meter(slug, aggregation, &groups)).await;
    }
    let models = json!({"slug": "models", "eventType": "request", "aggregation": "UNIQUE_COUNT", "valueProperty": "$.model"});
    api.post("/api/v1/meters", "application/json", models.to_string()).await.expect(201);

    let events: Vec<String> = (0..AT_REST).map(of_number).collect();
    for part in events.chunks(150) {
        send(&api, part).await;
    }
    // Again, and with something else in it.
    send(&api, &events[40..60]).await;
    send(&api, &[event("kept-41", "s0", MARCH, r#"{"value":1}"#)]).await;
    let changed = meter("sum", Aggregation::Sum, &[("model", "$.model"), ("region", "$.region")]);
    api.update_meter("sum", &changed).await;
    api.delete("/api/v1/meters/gone").await.expect(204);
    let at_rest = data.clone();
    spawn_blocking(move || maintenance::until_quiet(&at_rest)).await.unwrap();
    server.stop();

    let mut flags = FLAGS;
    flags[1] = "1h";
    let server = Options::new(&data, &flags).start();
    let api = Api::new(&server.url);
    send(&api, &(AT_REST..AT_REST + TAIL).map(of_number).collect::<Vec<_>>()).await;
    let everything = api.position().await;
    let mut answers = Vec::new();
    for path in QUESTIONS {
        let headers = [(POSITION, everything.as_str())];
        let reply = api.send(Method::GET, path, &headers, Vec::new()).await.expect(200);
        answers.push(Kept {
            path: path.to_owned(),
            position: reply.header(POSITION).to_owned(),
            body: reply.body.clone(),
        });
        if path == QUESTIONS[0] {
            assert_eq!(total(&reply), (AT_REST + TAIL).to_string());
        }
    }
    server.kill();
    Told { answers, folder, data }
}

impl Told {
    /// Puts folder and answers where they are to be kept.
    pub(super) fn keep(&self, target: &Path) {
        fs::create_dir_all(target).unwrap();
        for file in folder::files(&self.data) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            // Made anew by whoever opens the folder.
            if name == "lock" || name.ends_with("-shm") {
                fs::remove_file(file).unwrap();
            }
        }
        let archive = target.join("data.tar.gz");
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-C"]).arg(self.folder.path());
        assert!(tar.arg("-czf").arg(&archive).arg("data").status().unwrap().success());
        let answers: Vec<_> = self
            .answers
            .iter()
            .map(|kept| json!({"path": kept.path, "position": kept.position, "body": kept.body}))
            .collect();
        let text = serde_json::to_string_pretty(&answers).unwrap();
        fs::write(target.join("answers.json"), text + "\n").unwrap();
        println!("kept {} bytes in {}", fs::metadata(&archive).unwrap().len(), target.display());
    }
}
