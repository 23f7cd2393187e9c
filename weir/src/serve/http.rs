//! Everything that answers on the API's address: ingest, queries, gRPC, probes, and the layer around
//! them that names each request, asks who sends it and turns every failure into a problem document.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, middleware};
use http::{HeaderValue, StatusCode, Version, header};
use metrics::{counter, histogram};
use serde_json::json;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use weir_meter::environment::Entropy;
use weir_proto::Problem;

use super::access::{Access, Caller};
use super::metrics::{HTTP_REQUESTS, HTTP_SECONDS};

/// What a query read at rest. Rows of several tenants lie in one file, so where there may be several it would tell
/// whether another one has a subject, and how much: whoever needs a key is not told.
const READ: &str = "weir-read";
const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_BYTES_MAX: usize = 128;
const PATH_CHARS_SHOWN_MAX: usize = 200;

/// Puts the layers around all routes. gRPC services come as a router of their own.
pub(super) fn router(
    services: Router,
    grpc: Router,
    health: Router,
    access: Arc<Access>,
    entropy: Arc<dyn Entropy>,
) -> Router {
    services
        .merge(health)
        .merge(grpc)
        .route("/version", get(version))
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(|_| {
            tracing::error!("a request panicked; please report this");
            Problem::internal().into_response()
        }))
        .layer(middleware::from_fn_with_state(access, let_in))
        .layer(middleware::from_fn(with_one_host))
        .layer(middleware::from_fn_with_state(entropy, around))
}

async fn version() -> impl IntoResponse {
    Json(json!({ "name": "weir", "version": env!("CARGO_PKG_VERSION") }))
}

async fn not_found(request: Request) -> Response {
    if is_grpc(request.headers()) {
        let sentence = format!("there is no service or method {}", shortened(request.uri().path()));
        let status = tonic::Status::unimplemented(sentence);
        return status.into_http::<axum::body::Body>();
    }
    if request.method() == http::Method::CONNECT {
        // Its target is another host, not a path of this one.
        let target = request.uri().to_string();
        let sentence = format!("CONNECT to {} is for proxies, and this server is none", shortened(&target));
        return Problem::not_found(sentence).into_response();
    }
    Problem::not_found(format!("there is nothing at {}", shortened(request.uri().path()))).into_response()
}

/// A path as an error shows it: what a client sent does not come back at any length.
pub(super) fn shortened(path: &str) -> std::borrow::Cow<'_, str> {
    match path.char_indices().nth(PATH_CHARS_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", path.get(..end).unwrap_or_default()).into(),
        None => path.into(),
    }
}

/// Refuses what RFC 9112 (section 3.2) has every server refuse: two servers in a row may each take another of two
/// hosts for the one that is meant. HTTP/2 names its authority otherwise.
pub(super) async fn with_one_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let sentence = match (request.version(), hosts) {
        (Version::HTTP_11, 0) => "a request over HTTP/1.1 names the host it is for; send one Host header",
        (Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11, 2..) => {
            "the Host header is there more than once; send one"
        }
        _ => return next.run(request).await,
    };
    Problem::invalid("invalid-request", sentence).into_response()
}

/// Lets a request in, for the namespace of its credential and no other; no body and no other header may name one.
async fn let_in(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let grpc = is_grpc(request.headers());
    if let Some(refusal) = access.refuse(&mut request, grpc) {
        let (parts, body) = request.into_parts();
        weir_ingest::discard(parts.version, &parts.headers, body).await;
        return refusal;
    }
    // Nothing behind this needs it, so nothing can tell it.
    request.headers_mut().remove(header::AUTHORIZATION);
    let keyed = matches!(request.extensions().get(), Some(Caller::Key(_)));
    let mut response = next.run(request).await;
    if keyed {
        response.headers_mut().remove(READ);
    }
    response
}

/// Runs around every request: under which id, and what a failure looks like.
async fn around(State(entropy): State<Arc<dyn Entropy>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(&request, entropy.as_ref());
    let grpc = is_grpc(request.headers());
    let method = request.method().clone();
    let path = shortened(request.uri().path()).into_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();

    let response = next.run(request).await;
    let mut response = if grpc { response } else { named_failure(response, &method, &path, &id) };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16().to_string();
    tracing::debug!(%method, %path, %status, request_id = %id, seconds = begun.elapsed().as_secs_f64(), "request");
    counter!(HTTP_REQUESTS, "route" => route.clone(), "status" => status).increment(1);
    histogram!(HTTP_SECONDS, "route" => route).record(begun.elapsed().as_secs_f64());
    response
}

/// The client's own id if it is short and printable, else a random one.
fn request_id(request: &Request, entropy: &dyn Entropy) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id)
            if (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            id.to_owned()
        }
        _ => format!("{:032x}", entropy.random_u128()),
    }
}

/// Gives a problem its request id, and makes a problem of failures that the framework answered.
fn named_failure(response: Response, method: &http::Method, path: &str, id: &str) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        None if response.headers().contains_key(header::CONTENT_TYPE) && path.starts_with("/healthz/") => {
            return response;
        }
        None => framework_problem(status, method, path),
    };
    let (parts, _) = response.into_parts();
    let mut named = problem.for_request(id).into_response();
    for (name, value) in &parts.headers {
        if name != header::CONTENT_TYPE
            && name != header::CONTENT_LENGTH
            && !named.headers().contains_key(name)
        {
            named.headers_mut().append(name, value.clone());
        }
    }
    named
}

fn framework_problem(status: StatusCode, method: &http::Method, path: &str) -> Problem {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let detail = format!("{method} is not allowed at {path}; the Allow header lists what is");
            Problem::new(status, "method-not-allowed", detail)
        }
        StatusCode::INTERNAL_SERVER_ERROR => Problem::internal(),
        _ => Problem::new(status, "refused", format!("the request to {path} was refused")),
    }
}

fn is_grpc(headers: &http::HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    async fn asked(request: http::Request<axum::body::Body>) -> Response {
        Router::new().fallback(not_found).oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_not_there_is_named() {
        let empty = axum::body::Body::empty;
        let request = http::Request::post("/weir.v1.Other/Ingest")
            .header("content-type", "application/grpc")
            .body(empty())
            .unwrap();
        let response = asked(request).await;
        assert_eq!(response.headers()["grpc-status"], "12");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert_eq!(message.replace("%20", " "), "there is no service or method /weir.v1.Other/Ingest");

        let connect = http::Request::connect("example.org:443").body(empty()).unwrap();
        let other = http::Request::get("/api/v2?x=1").body(empty()).unwrap();
        let sentences = [
            "not found error: CONNECT to example.org:443 is for proxies, and this server is none",
            "not found error: there is nothing at /api/v2",
        ];
        for (request, sentence) in [connect, other].into_iter().zip(sentences) {
            let response = asked(request).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND);
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["detail"], sentence);
        }
    }
}
