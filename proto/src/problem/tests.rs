//! What clients compare to the letter: the content type, the fields, the headers.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Json, Query};
use http::Request;
use http_body_util::BodyExt as _;

use super::*;

async fn read(response: Response) -> (http::response::Parts, Value) {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_problem_goes_out_in_the_contracts_form() {
    let problem = Problem::invalid("invalid-event", "no id").with("index", 3).for_request("r1");
    let (parts, body) = read(problem.into_response()).await;
    assert_eq!(parts.status, 400);
    assert_eq!(parts.headers["content-type"], "application/problem+json");
    assert_eq!(
        body,
        serde_json::json!({
            "type": "urn:weir:problem:invalid-event",
            "title": "Bad Request",
            "status": 400,
            "detail": "validation error: no id",
            "instance": "urn:request:r1",
            "extensions": { "index": 3 },
        })
    );
}

#[tokio::test]
async fn retry_after_is_a_header_and_empty_extensions_stay_out() {
    let (parts, body) = read(Problem::unavailable("log-unavailable", "disk full", 5).into_response()).await;
    assert_eq!(parts.status, 503);
    assert_eq!(parts.headers["retry-after"], "5");
    assert!(body.get("extensions").is_none());
    assert!(parts.extensions.get::<Problem>().is_some());
}

#[tokio::test]
async fn refusals_of_extractors_become_problems() {
    let (mut parts, ()) = Request::get("/?limit=many").body(()).unwrap().into_parts();
    let refused = Query::<std::collections::HashMap<String, u32>>::from_request_parts(&mut parts, &()).await;
    let refused: QueryRejection = refused.map(|_| ()).unwrap_err();
    let problem = Problem::from(refused);
    assert_eq!((problem.status, problem.kind.as_str()), (400, "urn:weir:problem:invalid-request"));
    assert!(problem.detail.starts_with("validation error: "), "{}", problem.detail);

    for (content_type, body, kind) in [
        ("application/json", "{", "invalid-request"),
        ("application/json", "\"text\"", "invalid-request"),
        ("text/plain", "1", "invalid-content-type"),
    ] {
        let request = Request::post("/").header("content-type", content_type).body(Body::from(body)).unwrap();
        let refused: JsonRejection = Json::<u32>::from_request(request, &()).await.map(|_| ()).unwrap_err();
        let problem = Problem::from(refused);
        assert_eq!((problem.status, problem.kind), (400, format!("urn:weir:problem:{kind}")));
    }
    // The type is what a handler returns.
    let _: Router =
        Router::new().route("/", axum::routing::get(|| async { Err::<(), _>(Problem::internal()) }));
}
