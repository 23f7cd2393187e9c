//! `POST /api/v1/events`: content types, what is valid, what is refused and how, and that a refused
//! batch leaves nothing behind.

use std::io::Write as _;

use reqwest::Method;
use weir_tests::http::{BATCH, JSON, POSITION, SINGLE};

use super::{event, fresh};

const NOON: &str = "2026-01-01T12:00:00Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_content_type_brings_its_events() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let one = |id: &str| event(id, NOON, "{}");
    let events = "/api/v1/events";
    let api = &fresh.api;
    // What the JavaScript SDK sends for a single event.
    api.post(events, BATCH, format!("[{}]", one("1"))).await.expect(204);
    api.post(events, SINGLE, one("2")).await.expect(204);
    api.post(events, JSON, one("3")).await.expect(204);
    api.post(events, JSON, format!("[{},{}]", one("4"), one("5"))).await.expect(204);
    api.post(events, "application/cloudevents+json; charset=utf-8", one("6")).await.expect(204);
    api.post(events, BATCH, "[]").await.expect(204);
    api.post(events, JSON, "[]").await.expect_problem(400);
    api.post(events, "text/plain", one("7")).await.expect_problem(400);
    assert_eq!(fresh.total("count").await, "6");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_bodies_and_binary_mode() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    let body = |id: &str| format!("[{}]", event(id, NOON, r#"{"value":1}"#));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(body("1").as_bytes()).unwrap();
    let zstd = zstd::encode_all(body("2").as_bytes(), 3).unwrap();
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd)] {
        let headers = [("content-type", BATCH), ("content-encoding", encoding)];
        fresh.api.send(Method::POST, "/api/v1/events", &headers, body).await.expect(204);
    }
    let headers = [("content-type", BATCH), ("content-encoding", "gzip")];
    let reply = fresh.api.send(Method::POST, "/api/v1/events", &headers, body("3").into_bytes()).await;
    reply.expect_problem(400);
    let attributes = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "4"),
        ("ce-source", "test"),
        ("ce-type", "request"),
        ("ce-subject", "acme"),
        ("ce-time", NOON),
    ];
    let reply =
        fresh.api.send(Method::POST, "/api/v1/events", &attributes, br#"{"value":"0.5"}"#.to_vec()).await;
    assert!(!reply.expect(204).header(POSITION).is_empty());
    // The same identity in another mode is the same event.
    fresh.api.ingest(&[event("4", NOON, r#"{"value":"0.5"}"#)]).await;
    assert_eq!(fresh.total("sum").await, "2.5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_event_refuses_its_whole_batch() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let good = event("good", NOON, "{}");
    let bad = [
        good.replace(r#""id":"good""#, r#""id":"""#),
        good.replace(r#""id":"good","#, ""),
        good.replace(r#""source":"test","#, ""),
        good.replace(r#""type":"request","#, ""),
        good.replace(r#""subject":"acme","#, ""),
        good.replace(r#""specversion":"1.0","#, ""),
        good.replace("1.0", "2.0"),
        good.replace(NOON, "2026-01-01 12:00:00Z"),
        good.replace(NOON, "2026-01-01T12:00Z"),
        good.replace(NOON, "2026-13-01T12:00:00Z"),
        good.replace(NOON, "1969-12-31T23:59:59Z"),
        good.replace(r#""data":{}"#, r#""data":"x""#),
        good.replace(r#""data":{}"#, r#""data":5"#),
        good.replace(r#""data":{}"#, r#""data":[]"#),
        good.replace(r#""data":{}"#, r#""datacontenttype":"application/xml","data":{}"#),
        "5".to_owned(),
        "{".to_owned(),
        good.replace(
            r#""data":{}"#,
            &format!(r#""data":{{"a":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000)),
        ),
    ];
    for bad in bad {
        let reply = fresh.api.post("/api/v1/events", BATCH, format!("[{good},{bad}]")).await;
        assert_eq!(reply.status, 400, "{bad}: {}", reply.body);
        let detail = reply.expect_problem(400);
        assert!(!detail.is_empty(), "{bad}");
        fresh.api.post("/api/v1/events", SINGLE, bad).await.expect_problem(400);
    }
    assert_eq!(fresh.total("count").await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_the_event_and_the_attribute() {
    let fresh = fresh();
    let good = event("1", NOON, "{}");
    let bad = event("2", NOON, "[]");
    let reply = fresh.api.post("/api/v1/events", BATCH, format!("[{good},{bad}]")).await.expect(400);
    let problem = reply.json();
    let extensions = problem.get("extensions").unwrap_or(&problem);
    assert_eq!(
        extensions.get("index").map(|i| format!("{i:?}")).as_deref(),
        Some("Number(\"1\")"),
        "{problem:?}"
    );
    assert_eq!(extensions.text("attribute"), "data");
    assert!(problem.text("instance").starts_with("urn:request:"), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_be_taken_is_taken() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let good = event("1", NOON, "{}");
    let all = [
        good.clone(),
        event("2", NOON, "null"),
        event("3", NOON, "{}").replace(r#","data":{}"#, ""),
        event("4", NOON, "{}").replace("1.0", "0.3"),
        event("5", "2100-12-31T23:59:59.999999Z", "{}"),
        event("6", "1970-01-01T00:00:00Z", "{}"),
        event(
            "7",
            NOON,
            r#"{"value":1e309,"a":123456789012345678901234567890123456789012345678901234567890}"#,
        ),
        event("8", NOON, "{}").replace(r#""data""#, r#""my_ext":5,"myext":true,"dataschema":"x:y","data""#),
        event("9", NOON, "{}").replace(r#""data""#, r#""datacontenttype":null,"data""#),
        // Again, and again with other content: neither counts.
        good,
        event("1", "2026-01-02T00:00:00Z", r#"{"value":5}"#),
        // Another source is another event.
        event("1", NOON, "{}").replace(r#""source":"test""#, r#""source":"other""#),
    ];
    for event in &all {
        let reply = fresh.api.post("/api/v1/events", SINGLE, event.clone()).await;
        assert_eq!(reply.status, 204, "{event}: {}", reply.body);
    }
    assert_eq!(fresh.total("count").await, "10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_of_one_identity_count_once() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let events: Vec<String> = (0..1_000)
        .map(|n| event("same", &format!("2026-01-{:02}T12:00:{:02}Z", n % 28 + 1, n % 60), "{}"))
        .collect();
    for batch in events.chunks(100) {
        fresh.api.ingest(batch).await;
    }
    assert_eq!(fresh.total("count").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_with_the_position_sees_the_event() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    for n in 1..=50 {
        let position = fresh.api.ingest(&[event(&n.to_string(), NOON, r#"{"value":0.1}"#)]).await;
        let headers = [(POSITION, position.as_str())];
        let reply =
            fresh.api.send(Method::GET, "/api/v1/meters/sum/query", &headers, Vec::new()).await.expect(200);
        let rows = weir_tests::http::rows(&reply);
        let wanted = if n % 10 == 0 { (n / 10).to_string() } else { format!("{}.{}", n / 10, n % 10) };
        assert_eq!(rows[0].value, wanted);
    }
    let headers = [(POSITION, "nonsense")];
    fresh.api.send(Method::GET, "/api/v1/meters/sum/query", &headers, Vec::new()).await.expect_problem(400);
}
