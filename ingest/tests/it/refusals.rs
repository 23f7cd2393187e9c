//! What is refused, how it is said, and that nothing of it is in the log.

use axum::body::Body;
use axum::http::{Request, Version};
use tower::ServiceExt as _;
use weir_log::Cause;

use crate::support::{Answer, BATCH, Edge, JSON, ONE, batch, event, request};

#[tokio::test]
async fn events_that_are_not_valid_are_named() {
    let without = |name: &str| {
        let mut event: serde_json::Value = serde_json::from_str(&event("a")).unwrap();
        event.as_object_mut().unwrap().remove(name);
        event.to_string()
    };
    let with = |name: &str, value: serde_json::Value| {
        let mut event: serde_json::Value = serde_json::from_str(&event("a")).unwrap();
        event[name] = value;
        event.to_string()
    };
    let cases = [
        ("{".to_owned(), None),
        (String::new(), None),
        ("nonsense".to_owned(), None),
        ("7".to_owned(), None),
        (without("id"), Some("id")),
        (without("source"), Some("source")),
        (without("specversion"), Some("specversion")),
        (without("type"), Some("type")),
        (without("subject"), Some("subject")),
        (with("id", "".into()), Some("id")),
        (with("id", 7.into()), Some("id")),
        (with("subject", serde_json::Value::Null), Some("subject")),
        (with("specversion", "2.0".into()), Some("specversion")),
        (with("time", "yesterday".into()), Some("time")),
        (with("data", "text".into()), Some("data")),
        (with("data", vec![1].into()), Some("data")),
        (with("datacontenttype", "application/xml".into()), Some("datacontenttype")),
    ];
    let edge = Edge::new();
    for (body, attribute) in cases {
        let problem = edge.post_as(ONE, body.clone()).await.problem(400, "invalid-event");
        assert_eq!(problem["extensions"]["attribute"].as_str(), attribute, "{body}: {problem}");
        assert!(problem["extensions"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
        assert_eq!(problem["title"], "Bad Request");
    }
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn one_bad_event_of_a_thousand_refuses_all() {
    let edge = Edge::new();
    let mut events = batch(1_000);
    events[617] = events[617].replace("\"c\"", "\"\"");
    for content_type in [BATCH, JSON] {
        let body = format!("[{}]", events.join(","));
        let problem = edge.post_as(content_type, body).await.problem(400, "invalid-event");
        assert_eq!(problem["extensions"]["index"], 617, "{problem}");
        assert_eq!(problem["extensions"]["attribute"], "subject", "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("617") && detail.contains("subject"), "{detail}");
    }
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn an_empty_json_array_holds_no_events() {
    let edge = Edge::new();
    edge.post_as(JSON, "[]").await.problem(400, "invalid-event");
    edge.post_as(BATCH, event("a")).await.problem(400, "invalid-event");
    edge.post_as(ONE, format!("[{}]", event("a"))).await.problem(400, "invalid-event");
}

#[tokio::test]
async fn a_log_that_takes_nothing_is_503_and_keeps_its_reasons() {
    let edge = Edge::new();
    edge.log.answer(Answer::Unavailable { retry_after_seconds: 7 });
    let answered = edge.post_as(ONE, event("a")).await;
    let problem = answered.problem(503, "log-unavailable");
    assert_eq!(answered.headers["retry-after"], "7");
    assert!(problem["detail"].as_str().unwrap().contains("again in 7 s"), "{problem}");
    assert!(!problem.to_string().contains("secret"), "{problem}");
    assert!(!answered.headers.contains_key("weir-position"));

    edge.log.answer(Answer::TooLarge);
    let problem = edge.post_as(ONE, event("a")).await.problem(413, "body-too-large");
    assert_eq!(problem["extensions"]["bytes_max"], 1_000);

    edge.log.answer(Answer::Take);
    edge.post_as(ONE, event("a")).await.position();
}

#[tokio::test]
async fn each_reason_of_the_log_has_a_type_of_its_own() {
    let edge = Edge::new();
    for (cause, kind) in [
        (Cause::Behind, "log-behind"),
        (Cause::DiskFull, "disk-full"),
        (Cause::Closed, "shutting-down"),
        (Cause::Disk, "log-unavailable"),
        (Cause::Broken, "log-unavailable"),
    ] {
        edge.log.answer(Answer::Because(cause));
        let answered = edge.post_as(ONE, event("a")).await;
        let problem = answered.problem(503, kind);
        assert_eq!(answered.headers["retry-after"], "3");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("again in 3 s") && !detail.contains("secret"), "{detail}");
    }
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn an_append_without_a_place_is_never_acknowledged() {
    let edge = Edge::new();
    edge.log.answer(Answer::Nowhere);
    let problem = edge.post_as(ONE, event("a")).await.problem(500, "internal");
    assert_eq!(problem["detail"], "");
}

#[tokio::test]
async fn without_a_namespace_nothing_is_taken() {
    let edge = Edge::new();
    let router = weir_ingest::router(edge.service.clone());
    let request = request(&[("content-type", ONE), ("x-namespace", "tenant")], event("a"));
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn a_draining_service_sends_clients_away() {
    let edge = Edge::new();
    edge.post_as(ONE, event("a")).await.position();
    edge.service.drain();
    let answered = edge.post_as(ONE, event("b")).await;
    answered.problem(503, "shutting-down");
    assert_eq!(answered.headers["retry-after"], "1");
    assert_eq!(answered.headers["connection"], "close");
    assert_eq!(edge.values(), [event("a")]);

    // HTTP/2 knows no such header.
    let mut request: Request<Body> = request(&[("content-type", ONE)], event("b"));
    *request.version_mut() = Version::HTTP_2;
    let answered = edge.send(request).await;
    answered.problem(503, "shutting-down");
    assert!(!answered.headers.contains_key("connection"));
}
