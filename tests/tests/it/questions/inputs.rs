//! Input → answer for queries and meters. Every row is sent to a real server, and stands as a row of
//! `docs/inputs.md`: a change of either is a change of both.

mod events;
mod meters;
mod queries;

use reqwest::Method;
use weir_tests::http::{Api, BATCH, JSON, POSITION, Reply};
use weir_tests::plain::total;
use weir_tests::process::{Metrics, TELEMETRY};

use super::{Own, own};

/// One input in a few spellings, and what each of them is answered.
struct Row {
    /// As the document calls it.
    input: &'static str,
    status: u16,
    /// The last part of the problem's type; empty for what is no problem.
    kind: &'static str,
    /// What the answer's text names.
    names: &'static str,
    sent: Vec<Sent>,
}

struct Sent {
    method: Method,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    /// To the server that is full already.
    full: bool,
}

fn row(
    input: &'static str,
    status: u16,
    kind: &'static str,
    names: &'static str,
    sent: impl IntoIterator<Item = Sent>,
) -> Row {
    Row { input, status, kind, names, sent: sent.into_iter().collect() }
}

fn get(path: impl Into<String>) -> Sent {
    Sent { method: Method::GET, path: path.into(), headers: Vec::new(), body: Vec::new(), full: false }
}

fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Sent {
    let headers = vec![("content-type", JSON.into())];
    Sent { method: Method::POST, path: path.into(), headers, body: body.into(), full: false }
}

fn put(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Sent {
    Sent { method: Method::PUT, ..post(path, body) }
}

fn delete(path: impl Into<String>) -> Sent {
    Sent { method: Method::DELETE, ..get(path) }
}

impl Sent {
    fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn when_full(self) -> Self {
        Self { full: true, ..self }
    }

    fn without_type(mut self) -> Self {
        self.headers.clear();
        self
    }
}

/// What rows need to know of the server they are sent to.
struct Given {
    /// A meter that was deleted.
    deleted_id: String,
    /// A position of this server, and one of another.
    position: String,
    foreign: String,
}

/// Bounds so low that a test can pass them.
const FLAGS: [&str; 14] = [
    "--flush-interval",
    "200ms",
    "--meters-max",
    "6",
    "--query-body-bytes-max",
    "64 KiB",
    "--query-result-rows-max",
    "20",
    "--query-result-bytes-max",
    "16 KiB",
    "--query-windows-max",
    "30",
    "--query-events-max",
    "100",
];
/// A server that one meter and one query are too much for.
const FULL: [&str; 8] = [
    "--meters-max",
    "1",
    "--meters-ever-max",
    "1",
    "--query-memory-max",
    "1 KiB",
    "--query-memory-total-max",
    "1 KiB",
];
/// Limits that refuse nothing, or nothing that one request alone can bring about.
const NOT_HERE: [&str; 10] = [
    "query_concurrency",
    "query_light_bytes",
    "query_waiting_max",
    "query_deadline",
    "query_position_wait",
    "query_memory_total_max",
    "query_folded_bytes_max",
    "query_unread_wait",
    "query_body_wait",
    "query_values_max",
];
const EVENTS: usize = 60;
/// So long that 20 rows of it are a large answer.
const LONG_GROUP: usize = 1_000;

async fn given(server: &Own) -> Given {
    let api = &server.api;
    for (slug, event_type, aggregation) in [
        ("sum", "request", "SUM"),
        ("count", "request", "COUNT"),
        ("users", "request", "UNIQUE_COUNT"),
        ("many", "many", "COUNT"),
        ("long", "long", "COUNT"),
        ("gone", "request", "COUNT"),
    ] {
        let value = if aggregation == "COUNT" { "" } else { r#""valueProperty":"$.value","# };
        let body = format!(
            r#"{{"slug":"{slug}","eventType":"{event_type}","aggregation":"{aggregation}",{value}"groupBy":{{"model":"$.model"}}}}"#
        );
        api.post("/api/v1/meters", JSON, body).await.expect(201);
    }
    let event = |kind: &str, n: usize, model: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{kind}{n}","source":"test","type":"{kind}","subject":"acme","time":"2026-01-01T00:{:02}:30Z","data":{{"value":1,"model":"{model}"}}}}"#,
            n % 60
        )
    };
    let mut events: Vec<String> = (0..EVENTS).map(|n| event("request", n, &format!("m{n}"))).collect();
    events.extend((0..2 * EVENTS).map(|n| event("many", n, "m")));
    events.extend((0..18).map(|n| event("long", n, &format!("{n}{}", "x".repeat(LONG_GROUP)))));
    let position = api.ingest(&events).await;
    api.get_at("/api/v1/meters/sum/query", &position).await.expect(200);
    let deleted_id = api.get("/api/v1/meters/gone").await.expect(200).json().text("id").to_owned();
    api.delete("/api/v1/meters/gone").await.expect(204);
    let other = own(&[]);
    let foreign = other.api.position().await;
    Given { deleted_id, position, foreign }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_input_has_its_answer() {
    let server = own(&[FLAGS.as_slice(), &TELEMETRY].concat());
    let given = given(&server).await;
    let meters = server.api.get("/api/v1/meters").await.expect(200).body;
    let full = own(&[FULL.as_slice(), &TELEMETRY].concat());
    let body = r#"{"slug":"only","eventType":"request","aggregation":"COUNT"}"#;
    full.api.post("/api/v1/meters", JSON, body).await.expect(201);
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"request","subject":"acme"}"#;
    full.api.ingest(&[event.to_owned()]).await;
    let mut wrong = Vec::new();
    for (_, rows) in tables(&given) {
        for row in rows {
            for sent in &row.sent {
                let api = if sent.full { &full.api } else { &server.api };
                let reply = raw(api, sent).await;
                if let Some(why) = difference(&row, &reply) {
                    let body = String::from_utf8_lossy(&sent.body);
                    let asked = format!("{} {:.200} {:.200}", sent.method, sent.path, body);
                    wrong.push(format!(
                        "{}: {asked}\n  {why}: {} {:.400}",
                        row.input, reply.status, reply.body
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers are not as they should be:\n{}", wrong.len(), wrong.join("\n"));
    let metrics = [Metrics::of(&server.server).await, Metrics::of(&full.server).await];
    for limit in limits().iter().filter(|limit| !NOT_HERE.contains(&limit.as_str())) {
        let label = format!("limit=\"{limit}\"");
        let refused =
            metrics.iter().map(|metrics| metrics.sum("weir_query_refused_total", &label)).sum::<f64>();
        assert!(refused > 0.0, "{limit} counts what it refuses");
    }
    // None of it changed anything.
    assert_eq!(server.api.get("/api/v1/meters").await.expect(200).body, meters);
    let reply = server.api.get_at("/api/v1/meters/sum/query", &server.api.position().await).await.expect(200);
    assert_eq!(total(&reply), EVENTS.to_string());
    server.api.post("/api/v1/events", BATCH, "[]").await.expect(204);
    server.server.stop();
}

/// The rows under the document's headings.
fn tables(given: &Given) -> [(&'static str, Vec<Row>); 3] {
    [
        ("Queries", queries::rows(given)),
        ("Meters", meters::rows(given)),
        ("Event list and progress", events::rows(given)),
    ]
}

/// What an answer should have been, if it is not.
fn difference(row: &Row, reply: &Reply) -> Option<String> {
    if reply.status != row.status {
        return Some(format!("{} was expected", row.status));
    }
    if row.kind.is_empty() {
        return (!reply.body.contains(row.names)).then(|| format!("{:?} was expected", row.names));
    }
    let problem = reply.json();
    let (kind, detail) = (problem.text("type"), problem.text("detail"));
    if reply.header("content-type") != "application/problem+json" || problem.text("title").is_empty() {
        return Some("a problem document was expected".to_owned());
    }
    if kind != format!("urn:weir:problem:{}", row.kind) || !detail.contains(row.names) {
        return Some(format!("{} that says {:?} was expected", row.kind, row.names));
    }
    // Nobody gets back what they sent at any length.
    (detail.chars().count() > 1_100 || reply.body.len() > 4_000)
        .then(|| "a shorter text was expected".to_owned())
}

/// Sends headers of any bytes.
async fn raw(api: &Api, sent: &Sent) -> Reply {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(sent.method.clone(), format!("{}{}", api.url, sent.path));
    for (name, value) in &sent.headers {
        request = request.header(*name, reqwest::header::HeaderValue::from_bytes(value).unwrap());
    }
    let response = request.body(sent.body.clone()).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Reply { status, headers, body: response.text().await.unwrap() }
}

#[test]
fn the_document_has_these_rows() {
    let nothing = || "0123456789".repeat(12);
    let given = Given { deleted_id: nothing(), position: nothing(), foreign: nothing() };
    for (heading, rows) in tables(&given) {
        let written = documented(heading);
        let expected: Vec<String> = rows.iter().map(line).collect();
        assert_eq!(written, expected, "### {heading}\n\n{}\n", expected.join("\n"));
    }
}

/// The names of the limits that the document has.
fn limits() -> Vec<String> {
    let rows = documented("Limits of meters and queries");
    let names = rows.iter().map(|row| row.split('`').nth(1).expect("a row begins with a name").to_owned());
    names.collect()
}

/// The rows of the first table under a heading of the document.
fn documented(heading: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/inputs.md");
    let document = std::fs::read_to_string(path).unwrap();
    let section = document.split(&format!("\n### {heading}\n")).nth(1).expect("the document has the heading");
    let table =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table.skip(2).map(str::to_owned).collect()
}

/// A row as the document has it.
fn line(row: &Row) -> String {
    let kind = if row.kind.is_empty() { "answered".to_owned() } else { format!("`{}`", row.kind) };
    let names = if row.names.is_empty() { String::new() } else { format!("`{}`", row.names) };
    format!("| {} | {} | {kind} | {names} |", row.input, row.status)
}

/// The header of a position.
fn at(sent: Sent, position: impl Into<Vec<u8>>) -> Sent {
    sent.with(POSITION, position)
}
