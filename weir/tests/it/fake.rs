//! A server that remembers what it was sent and answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// What arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) content_type: String,
    pub(crate) position: Option<String>,
    pub(crate) body: String,
}

/// An answer: status, headers, body.
pub(crate) type Answer = (StatusCode, Vec<(&'static str, &'static str)>, String);

#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<VecDeque<Answer>>>,
}

impl Fake {
    /// Answers in this order, and 204 when the script is over.
    pub(crate) async fn start(script: impl IntoIterator<Item = Answer>) -> (Self, String) {
        let fake = Self { script: Arc::new(Mutex::new(script.into_iter().collect())), ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (fake, url)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    State(fake): State<Fake>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let mut seen = fake.seen.lock().unwrap();
    seen.push(Seen {
        method,
        uri: uri.to_string(),
        content_type: header("content-type").unwrap_or_default(),
        position: header("weir-position"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let position = format!("position-{}", seen.len());
    let (status, headers, body) = fake.script.lock().unwrap().pop_front().unwrap_or((
        StatusCode::NO_CONTENT,
        Vec::new(),
        String::new(),
    ));
    let mut response = (status, body).into_response();
    response.headers_mut().insert("weir-position", position.parse().unwrap());
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A problem document.
pub(crate) fn problem(status: StatusCode, detail: &str, extensions: &str) -> Answer {
    let title = status.canonical_reason().unwrap();
    let body = format!(
        r#"{{"type":"urn:weir:problem:x","title":"{title}","status":{},"detail":"{detail}","instance":"urn:request:1","extensions":{extensions}}}"#,
        status.as_u16()
    );
    (status, vec![("content-type", "application/problem+json")], body)
}
