//! The contract over the wire, one promise at a time: what an unmodified OpenMeter client sends and what
//! it relies on in the answers, then the ways in and out that are Weir's own.

mod commands;
mod events;
mod grpc;
mod ingest;
mod meters;
mod process;
mod queries;

use tempfile::TempDir;
use weir_tests::http::{Api, JSON};
use weir_tests::reference::json::Json;
use weir_tests::server::{Options, Server};

/// A server of its own for each test, in a folder of its own.
struct Fresh {
    server: Server,
    api: Api,
    options: Options,
    _folder: TempDir,
}

fn fresh() -> Fresh {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&folder.path().join("data"), &["--flush-interval", "200ms"]);
    let server = options.start();
    Fresh { api: Api::new(&server.url), server, options, _folder: folder }
}

/// An event of type `request` and subject `acme`.
fn event(id: &str, time: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"test","type":"request","subject":"acme","time":"{time}","data":{data}}}"#
    )
}

impl Fresh {
    /// A meter of type `request` over `$.value`, grouped by `$.model`.
    async fn meter(&self, aggregation: &str) -> Json {
        let value = if aggregation == "COUNT" { "" } else { r#""valueProperty":"$.value","# };
        let slug = aggregation.to_lowercase();
        let body = format!(
            r#"{{"slug":"{slug}","eventType":"request","aggregation":"{aggregation}",{value}"groupBy":{{"model":"$.model"}}}}"#
        );
        self.api.post("/api/v1/meters", JSON, body).await.expect(201).json()
    }

    /// The rows of a query, all that is durable being visible.
    async fn rows(&self, path: &str) -> Vec<Json> {
        let position = self.api.position().await;
        let headers = [(weir_tests::http::POSITION, position.as_str())];
        let reply = self.api.send(reqwest::Method::GET, path, &headers, Vec::new()).await.expect(200);
        reply.json().get("data").unwrap().items().to_vec()
    }

    /// The value of the only row.
    async fn total(&self, slug: &str) -> String {
        let rows = self.rows(&format!("/api/v1/meters/{slug}/query")).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        value(&rows[0])
    }
}

/// A row's value, digit by digit.
fn value(row: &Json) -> String {
    match row.get("value") {
        Some(Json::Number(text)) => text.clone(),
        other => panic!("a value is a JSON number, not {other:?}"),
    }
}
