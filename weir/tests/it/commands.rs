//! The client commands against a server that answers as it is told.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use weir::client::{Client, ClientError};
use weir::output::{Failure, Style};
use weir::query::Question;
use weir::send::source::Source;
use weir::send::{self, Options};

use crate::fake::{Fake, problem};

fn options(batch_events: usize, concurrency: usize) -> Options {
    Options { files: Vec::new(), batch_events, concurrency, retry_for: Duration::from_secs(5) }
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn event(id: u32) -> String {
    format!(r#"{{"id":"{id}","data":{{"n":1.10000000000000000000000001}}}}"#)
}

fn ndjson(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| event(id) + "\n").collect()
}

async fn sent(url: &str, path: &Path, options: &Options) -> send::deliver::Outcome {
    send::send(&Client::new(url).unwrap(), Source::open(path).unwrap(), options).await
}

fn shown(failure: Option<Failure>) -> String {
    failure.unwrap().render(Style::PLAIN)
}

#[tokio::test]
async fn every_event_arrives_once_and_to_the_letter() {
    let plain = ndjson(0..25);
    let array = format!("[{}]", (0..25).map(event).collect::<Vec<_>>().join(",\n  "));
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(plain.as_bytes()).unwrap();
    for bytes in [plain.clone().into_bytes(), array.into_bytes(), gzip.finish().unwrap()] {
        let (fake, url) = Fake::start([]).await;
        let outcome = sent(&url, file(&bytes).path(), &options(10, 3)).await;
        assert_eq!((outcome.taken, outcome.failure), (25, None));
        let seen = fake.seen();
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|seen| seen.uri == "/api/v1/events"));
        assert!(seen.iter().all(|seen| seen.content_type == "application/cloudevents-batch+json"));
        let mut arrived: Vec<String> = Vec::new();
        for seen in &seen {
            let raw: Vec<&serde_json::value::RawValue> = serde_json::from_str(&seen.body).unwrap();
            arrived.extend(raw.iter().map(|raw| raw.get().to_owned()));
        }
        let mut expected: Vec<String> = (0..25).map(event).collect();
        arrived.sort();
        expected.sort();
        assert_eq!(arrived, expected);
        // The last batch goes when all others were taken, so its position covers them.
        assert_eq!(outcome.position.as_deref(), Some("position-3"));
        let last: Vec<Value> = serde_json::from_str(&seen[2].body).unwrap();
        assert_eq!(last.len(), 5);
    }
}

#[tokio::test]
async fn overload_is_waited_out() {
    let mut busy = problem(StatusCode::SERVICE_UNAVAILABLE, "the log's disk is full", "{}");
    busy.1.push(("retry-after", "1"));
    let (fake, url) = Fake::start([busy]).await;
    let begin = tokio::time::Instant::now();
    let outcome = sent(&url, file(ndjson(0..3).as_bytes()).path(), &options(10, 1)).await;
    assert_eq!((outcome.taken, outcome.failure), (3, None));
    assert!(begin.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
    let seen = fake.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body);
}

#[tokio::test]
async fn the_last_batch_waits_for_those_that_are_tried_again() {
    let mut busy = problem(StatusCode::SERVICE_UNAVAILABLE, "the log's disk is full", "{}");
    busy.1.push(("retry-after", "1"));
    let (fake, url) = Fake::start([busy]).await;
    let outcome = sent(&url, file(ndjson(0..25).as_bytes()).path(), &options(10, 3)).await;
    assert_eq!((outcome.taken, outcome.failure), (25, None));
    let seen = fake.seen();
    assert_eq!(seen.len(), 4);
    let last: Vec<Value> = serde_json::from_str(&seen[3].body).unwrap();
    assert_eq!(last.len(), 5, "the end of the file goes last");
    assert_eq!(outcome.position.as_deref(), Some("position-4"));
}

#[tokio::test]
async fn overload_that_does_not_end_is_a_failure() {
    let busy = || problem(StatusCode::SERVICE_UNAVAILABLE, "the log's disk is full", "{}");
    let (_, url) = Fake::start(std::iter::repeat_with(busy).take(50)).await;
    let options = Options { retry_for: Duration::from_millis(300), ..options(10, 1) };
    let outcome = sent(&url, file(ndjson(0..3).as_bytes()).path(), &options).await;
    assert_eq!(outcome.taken, 0);
    insta::assert_snapshot!(shown(outcome.failure));
}

#[tokio::test]
async fn a_refused_event_is_named_by_its_line() {
    let taken = (StatusCode::NO_CONTENT, Vec::new(), String::new());
    let refused = problem(
        StatusCode::BAD_REQUEST,
        "validation error: 1 of 10 events is invalid",
        r#"{"index":2,"attribute":"data","reason":"must be an object"}"#,
    );
    let (fake, url) = Fake::start([taken, refused]).await;
    let text = format!("{}\n\n{}", ndjson(0..10), ndjson(10..40));
    let outcome = sent(&url, file(text.as_bytes()).path(), &options(10, 1)).await;
    assert_eq!(outcome.taken, 10);
    assert_eq!(fake.seen().len(), 2, "nothing is sent after a refusal");
    insta::assert_snapshot!(shown(outcome.failure));
}

#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let (fake, url) = Fake::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    let writer = std::thread::spawn({
        let path = path.clone();
        let fake = fake.clone();
        move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            for part in 0..3 {
                pipe.write_all(ndjson(part * 2..part * 2 + 2).as_bytes()).unwrap();
                // The next part is written only once this one has arrived.
                for _ in 0..1_000 {
                    if fake.seen().len() > part as usize {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    });
    let outcome = sent(&url, &path, &options(1_000, 4)).await;
    writer.join().unwrap();
    assert_eq!((outcome.taken, outcome.failure), (6, None));
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn a_line_that_is_not_json_is_named_and_what_came_before_is_sent() {
    let (_, url) = Fake::start([]).await;
    let text = format!("{}{{\"id\": oops}}\n{}", ndjson(0..13), ndjson(13..20));
    let outcome = sent(&url, file(text.as_bytes()).path(), &options(10, 1)).await;
    assert_eq!(outcome.taken, 13);
    insta::assert_snapshot!(shown(outcome.failure));
}

#[tokio::test]
async fn a_file_that_is_cut_off_is_a_failure() {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(ndjson(0..5_000).as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let (_, url) = Fake::start([]).await;
    let outcome = sent(&url, file(&bytes[..bytes.len() / 2]).path(), &options(10, 1)).await;
    assert!(shown(outcome.failure).contains("cannot read on after line"));
}

#[tokio::test]
async fn nobody_there_says_what_to_do() {
    let error = Client::new("http://127.0.0.1:1").unwrap().meters().await.unwrap_err();
    assert!(error.is_temporary());
    insta::assert_snapshot!(Failure::from(error).render(Style::PLAIN));
}

#[test]
fn addresses_that_cannot_work_are_refused() {
    let shown = |url: &str| Failure::from(Client::new(url).unwrap_err()).render(Style::PLAIN);
    insta::assert_snapshot!(
        [shown("https://weir.example"), shown("weir.example"), shown("ftp://x")].concat()
    );
    assert_eq!(Client::new("http://weir.example/proxy").unwrap().url(), "http://weir.example/proxy");
}

#[tokio::test]
async fn meters_are_listed_page_by_page() {
    let page = |count: usize| {
        let meters: Vec<Value> = (0..count).map(|index| json!({"slug": format!("m{index}")})).collect();
        (StatusCode::OK, Vec::new(), Value::from(meters).to_string())
    };
    let (fake, url) = Fake::start([page(1_000), page(2)]).await;
    let meters = Client::new(&format!("{url}/proxy")).unwrap().meters().await.unwrap();
    assert_eq!(meters.len(), 1_002);
    let uris: Vec<String> = fake.seen().into_iter().map(|seen| seen.uri).collect();
    assert_eq!(
        uris,
        ["/proxy/api/v1/meters?page=1&pageSize=1000", "/proxy/api/v1/meters?page=2&pageSize=1000"]
    );
}

#[tokio::test]
async fn a_question_is_asked_in_the_contracts_words() {
    let (fake, url) = Fake::start([(StatusCode::OK, Vec::new(), r#"{"data":[]}"#.to_owned())]).await;
    let question = Question {
        from: Some("2013-03-01T05:00:00Z".to_owned()),
        to: None,
        window: Some("DAY"),
        zone: Some("America/New_York".to_owned()),
        subjects: vec!["UA".to_owned()],
        group_by: vec!["origin".to_owned()],
        filters: [("origin", "JFK"), ("dest", "SFO"), ("origin", "LGA")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
    };
    let client = Client::new(&url).unwrap();
    client.query("a/b", &question.body(), Some("token")).await.unwrap();
    let seen = &fake.seen()[0];
    assert_eq!(seen.uri, "/api/v1/meters/a%2Fb/query");
    assert_eq!(seen.position.as_deref(), Some("token"));
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    let expected = json!({
        "from": "2013-03-01T05:00:00Z",
        "windowSize": "DAY",
        "windowTimeZone": "America/New_York",
        "subject": ["UA"],
        "groupBy": ["origin"],
        "filterGroupBy": {"origin": ["JFK", "LGA"], "dest": ["SFO"]},
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn problems_and_foreign_answers_are_told_apart() {
    let script = [
        problem(StatusCode::NOT_FOUND, "not found error: meter not found: distanse", "{}"),
        (StatusCode::BAD_GATEWAY, Vec::new(), "<html>nginx</html>".to_owned()),
        (StatusCode::OK, Vec::new(), "<html>hello</html>".to_owned()),
    ];
    let (fake, url) = Fake::start(script).await;
    let client = Client::new(&url).unwrap();
    let not_found = client.delete_meter("distanse").await.unwrap_err();
    assert_eq!(fake.seen()[0].method, "DELETE");
    assert!(!not_found.is_temporary());
    let gateway = client.delete_meter("distanse").await.unwrap_err();
    assert!(gateway.is_temporary());
    let strange = client.meters().await.unwrap_err();
    assert!(matches!(strange, ClientError::Strange { .. }));
    let shown = [not_found, gateway].map(|error| Failure::from(error).render(Style::PLAIN)).concat();
    insta::assert_snapshot!(shown);
}
