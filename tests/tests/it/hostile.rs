//! What comes in and must not: every row of the table in `docs/inputs.md`, over HTTP and over gRPC, with
//! the answer and with nothing stored. Then clients that are hostile to connections rather than to
//! events: slow, endless, broken off, too many.

mod bodies;
mod connections;
mod document;
mod events;
mod grpc;
mod rows;
mod values;

use reqwest::Method;
use tempfile::TempDir;
use weir_tests::http::{Api, JSON, POSITION};
use weir_tests::reference::json::Json;
use weir_tests::server::{Options, Server};

use rows::{Row, Table};

/// A server of its own, with meters that count and add up events of type `request`.
struct Target {
    server: Server,
    api: Api,
    _folder: TempDir,
}

impl Target {
    async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = [&["--flush-interval", "200ms"], flags].concat();
        let server = Options::new(&folder.path().join("data"), &flags).start();
        let api = Api::new(&server.url);
        for body in [
            r#"{"slug":"count","eventType":"request","aggregation":"COUNT"}"#,
            r#"{"slug":"sum","eventType":"request","aggregation":"SUM","valueProperty":"$.value"}"#,
        ] {
            api.post("/api/v1/meters", JSON, body).await.expect(201);
        }
        Self { server, api, _folder: folder }
    }

    /// Events that count, everything that is durable being folded.
    async fn stored(&self) -> u64 {
        self.total("count").await.parse().unwrap()
    }

    async fn total(&self, slug: &str) -> String {
        let reply = self.at_end(&format!("/api/v1/meters/{slug}/query")).await;
        weir_tests::http::rows(&reply).first().map_or_else(|| "0".to_owned(), |row| row.value.clone())
    }

    async fn at_end(&self, path: &str) -> weir_tests::http::Reply {
        let position = self.api.position().await;
        self.api.send(Method::GET, path, &[(POSITION, &position)], Vec::new()).await.expect(200)
    }

    /// What is said at each of the events whose id begins like this.
    async fn reports(&self, id: &str) -> Vec<(String, Option<String>)> {
        let reply = self.at_end(&format!("/api/v1/events?id={id}")).await;
        let told = |item: &Json| match item.get("validationError") {
            Some(Json::String(text)) => Some(text.clone()),
            _ => None,
        };
        let id = |item: &Json| item.get("event").unwrap().text("id").to_owned();
        reply.json().items().iter().map(|item| (id(item), told(item))).collect()
    }

    fn address(&self) -> &str {
        self.api.url.strip_prefix("http://").unwrap()
    }
}

/// Sends every case of a row and looks at the answers and at what is stored.
async fn prove(target: &Target, row: &Row) {
    let before = target.stored().await;
    for case in &row.http.cases {
        let headers: Vec<(&str, &str)> = case.headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let method = case.method.parse().unwrap();
        let reply = target.api.send(method, case.path, &headers, case.body.clone()).await;
        let shown = String::from_utf8_lossy(&case.body[..case.body.len().min(500)]);
        let (status, kind) = row.http.parts();
        assert_eq!(reply.status, status, "{}: {shown}: {}", row.name, reply.body);
        if let Some(kind) = kind {
            let problem = reply.json();
            assert_eq!(problem.text("type"), format!("urn:weir:problem:{kind}"), "{}: {shown}", row.name);
            let detail = reply.expect_problem(status);
            for name in &row.http.names {
                assert!(detail.contains(name), "{}: {shown}: {name:?} is missing in {detail:?}", row.name);
            }
        }
    }
    for case in &row.grpc.cases {
        let answer = grpc::send(target.address(), case).await;
        let shown = String::from_utf8_lossy(&case.body[..case.body.len().min(500)]);
        assert_eq!(answer.code, row.grpc.answer, "{}: {shown}: {answer:?}", row.name);
        for name in &row.grpc.names {
            assert!(
                answer.message.contains(name),
                "{}: {shown}: {name:?} is missing in {answer:?}",
                row.name
            );
        }
    }
    assert_eq!(target.stored().await - before, row.stores, "{}", row.name);
    if let Some((id, text)) = row.reports {
        let told = target.reports(id).await;
        assert_eq!(told.len(), row.http.cases.len() + row.grpc.cases.len(), "{}: {told:?}", row.name);
        for (id, told) in told {
            assert!(told.as_ref().is_some_and(|told| told.contains(text)), "{}: {id}: {told:?}", row.name);
        }
    }
}

async fn prove_all(table: Table) {
    let target = Target::start(&[]).await;
    for row in &table {
        prove(&target, row).await;
    }
    // Still there, and still taking what is good.
    let before = target.stored().await;
    target.api.ingest(&[rows::good("after all")]).await;
    assert_eq!(target.stored().await, before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_not_valid_are_refused_by_name() {
    prove_all(events::table()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_not_valid_are_refused_by_name() {
    prove_all(bodies::table()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_no_meter_can_use_are_taken_and_reported() {
    prove_all(values::table()).await;
}

#[test]
fn the_document_and_the_tests_have_the_same_rows() {
    document::compare([events::table(), bodies::table(), values::table()].into_iter().flatten().collect());
}
