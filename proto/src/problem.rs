//! The one form of every HTTP error: a problem document (RFC 9457), `application/problem+json`
//! exactly, as the JavaScript SDK compares that header to the letter.

mod rejection;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

/// An error as a client reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// Stable name of the kind of error, a URI.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What was wrong, where, and what to do.
    pub detail: String,
    pub instance: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extensions: Map<String, Value>,
    /// Sent as `Retry-After`.
    #[serde(skip)]
    pub retry_after_seconds: Option<u32>,
}

impl Problem {
    /// `kind` is the last part of the type URI, such as `invalid-event`.
    pub fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:weir:problem:{kind}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: "urn:request:unknown".to_owned(),
            extensions: Map::new(),
            retry_after_seconds: None,
        }
    }

    /// 400; the detail is prefixed as OpenMeter does.
    pub fn invalid(kind: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, format!("validation error: {detail}"))
    }

    /// 404; the detail is prefixed as OpenMeter does.
    pub fn not_found(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("not found error: {detail}"))
    }

    /// 409; the detail is prefixed as OpenMeter does.
    pub fn conflict(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", format!("conflict error: {detail}"))
    }

    /// 503 with `Retry-After`: the same request may be sent again.
    pub fn unavailable(kind: &str, detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail);
        problem.retry_after_seconds = Some(retry_after_seconds);
        problem
    }

    /// 500; the detail stays empty, the cause belongs in the log.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "")
    }

    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Names the request, from the request-id layer.
    pub fn for_request(mut self, request_id: &str) -> Self {
        self.instance = format!("urn:request:{request_id}");
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // The layer that knows the request's id rewrites `instance` with the help of this.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
