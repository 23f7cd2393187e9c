//! Meters over HTTP: statuses, shapes, and which definitions are refused.

use weir_tests::http::JSON;
use weir_tests::reference::json::Json;

use super::fresh;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_read_list_delete() {
    let fresh = fresh();
    let created = fresh.meter("SUM").await;
    assert_eq!(created.text("slug"), "sum");
    assert_eq!(created.text("name"), "sum");
    assert_eq!(created.text("aggregation"), "SUM");
    assert_eq!(created.text("eventType"), "request");
    assert_eq!(created.text("valueProperty"), "$.value");
    assert_eq!(created.get("groupBy").unwrap().text("model"), "$.model");
    let id = created.text("id").to_owned();
    assert_eq!(id.len(), 26, "a ULID: {id}");
    weir_tests::reference::model::micros(created.text("createdAt"));

    let by_slug = fresh.api.get("/api/v1/meters/sum").await.expect(200);
    assert!(by_slug.header("content-type").starts_with("application/json"));
    assert_eq!(by_slug.json(), created);
    assert_eq!(fresh.api.get(&format!("/api/v1/meters/{id}")).await.expect(200).json(), created);
    fresh.meter("COUNT").await;
    let listed = fresh.api.get("/api/v1/meters").await.expect(200).json();
    let slugs: Vec<&str> = listed.items().iter().map(|meter| meter.text("slug")).collect();
    assert_eq!(slugs, ["count", "sum"]);
    let page = fresh.api.get("/api/v1/meters?page=2&pageSize=1").await.expect(200).json();
    assert_eq!(page.items(), [created]);

    let reply = fresh.api.delete("/api/v1/meters/sum").await.expect(204);
    assert_eq!(reply.body, "");
    fresh.api.get("/api/v1/meters/sum").await.expect_problem(404);
    fresh.api.get("/api/v1/meters/sum/query").await.expect_problem(404);
    // By id it stays readable, and deleting it again is fine.
    let deleted = fresh.api.get(&format!("/api/v1/meters/{id}")).await.expect(200).json();
    assert!(deleted.get("deletedAt").is_some(), "{deleted:?}");
    fresh.api.delete(&format!("/api/v1/meters/{id}")).await.expect(204);
    // The slug is free again, for a meter of another kind.
    let again = fresh.meter("SUM").await;
    assert_ne!(again.text("id"), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slug_is_taken_once() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let body = r#"{"slug":"count","eventType":"other","aggregation":"COUNT"}"#;
    let detail = fresh.api.post("/api/v1/meters", JSON, body).await.expect_problem(409);
    assert!(detail.starts_with("conflict error: "), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_says_so() {
    let fresh = fresh();
    for path in ["/api/v1/meters/nothing", "/api/v1/meters/nothing/query"] {
        let detail = fresh.api.get(path).await.expect_problem(404);
        assert_eq!(detail, "not found error: meter not found: nothing");
    }
    fresh.api.delete("/api/v1/meters/nothing").await.expect_problem(404);
    fresh.api.get("/api/v1/no/such/thing").await.expect_problem(404);
    fresh.api.get("/nowhere").await.expect_problem(404);
    fresh.api.delete("/api/v1/events").await.expect_problem(405);
    fresh.api.send(reqwest::Method::PATCH, "/api/v1/meters", &[], Vec::new()).await.expect_problem(405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_that_break_a_rule_are_refused() {
    let fresh = fresh();
    let with = |aggregation: &str, rest: &str| {
        format!(r#"{{"slug":"m","eventType":"t","aggregation":"{aggregation}"{rest}}}"#)
    };
    let bad = [
        with("COUNT", r#","valueProperty":"$.v""#),
        with("SUM", ""),
        with("SUM", r#","valueProperty":"v""#),
        with("SUM", r#","valueProperty":"""#),
        with("SUM", r#","valueProperty":"$.a-b""#),
        with("SUM", r#","valueProperty":"$..a""#),
        with("SUM", r#","valueProperty":"$.*""#),
        with("SUM", r#","valueProperty":"$.a[-1]""#),
        with("COUNT", r#","groupBy":{"a":"b"}"#),
        with("COUNT", r#","groupBy":{"1a":"$.b"}"#),
        with("COUNT", r#","groupBy":{"a-b":"$.b"}"#),
        with("SUM", r#","valueProperty":"$.v","groupBy":{"a":"$.v"}"#),
        with("MEDIAN", r#","valueProperty":"$.v""#),
        with("COUNT", r#","description":"""#),
        with("COUNT", r#","eventFrom":"yesterday""#),
        with("COUNT", "").replace(r#""slug":"m""#, r#""slug":"Upper""#),
        with("COUNT", "").replace(r#""slug":"m""#, r#""slug":"a__b""#),
        with("COUNT", "").replace(r#""slug":"m""#, r#""slug":"""#),
        with("COUNT", "").replace(r#""eventType":"t""#, r#""eventType":"""#),
        with("COUNT", "").replace(r#""eventType":"t","#, ""),
        "[]".to_owned(),
        "{".to_owned(),
    ];
    for body in bad {
        let reply = fresh.api.post("/api/v1/meters", JSON, body.clone()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.body);
        reply.expect_problem(400);
    }
    assert_eq!(fresh.api.get("/api/v1/meters").await.expect(200).json(), Json::Array(Vec::new()));
}
