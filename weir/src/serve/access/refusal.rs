//! Why a request is not let in, and how HTTP and gRPC say it, in the same words. What was sent as a key never
//! comes back, and whether a key is unknown, has expired or was revoked is told to nobody.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use tonic::Code;
use weir_catalog::{Scope, Scopes};
use weir_proto::Problem;

use crate::keys::token::NotAToken;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No credential was sent.
    Missing,
    /// What was sent is no key, whatever keys there are.
    Malformed,
    /// The key is not in force here.
    Unknown,
    /// The key lacks a scope.
    Scope { needed: Scope, held: Scopes },
    /// An operator's key, for anything but keys.
    Operator { needed: Scope },
    /// Nobody may call it.
    Nobody,
    /// The path is there, but not with this method.
    Method { method: String, path: String, allowed: String },
    /// The key has been used too much.
    TooMany { limit: &'static str, retry_after_seconds: u32 },
}

impl Refusal {
    fn kind(&self) -> &'static str {
        match self {
            Self::Missing | Self::Malformed | Self::Unknown => "unauthorized",
            Self::Scope { .. } | Self::Operator { .. } | Self::Nobody => "forbidden",
            Self::Method { .. } => "method-not-allowed",
            Self::TooMany { .. } => "rate-limited",
        }
    }

    fn status(&self) -> (StatusCode, Code) {
        match self {
            Self::Missing | Self::Malformed | Self::Unknown => {
                (StatusCode::UNAUTHORIZED, Code::Unauthenticated)
            }
            Self::Scope { .. } | Self::Operator { .. } | Self::Nobody => {
                (StatusCode::FORBIDDEN, Code::PermissionDenied)
            }
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Missing => {
                "this server asks for a key; send one as `Authorization: Bearer weir_…`, over gRPC as the \
                              metadata `authorization`"
                    .to_owned()
            }
            Self::Malformed => {
                format!("the Authorization header does not hold `Bearer` and a key: {NotAToken}")
            }
            Self::Unknown => {
                "the key is not in force: it is unknown here, has expired, or was revoked".to_owned()
            }
            Self::Scope { needed, held } => format!(
                "this needs a key with the scope `{}`; the key that was sent has: {held}",
                needed.name()
            ),
            Self::Operator { needed } => format!(
                "this needs a key of a namespace with the scope `{}`; the key that was sent is an operator's, which \
                 manages keys and does nothing else",
                needed.name()
            ),
            Self::Nobody => "no key opens this route".to_owned(),
            Self::Method { method, path, .. } => {
                format!("{method} is not allowed at {path}; the Allow header lists what is")
            }
            Self::TooMany { limit, retry_after_seconds } => format!(
                "the key's limit {limit} is used up, and nothing of this request was done; send it again in \
                 {retry_after_seconds} s"
            ),
        }
    }

    pub(super) fn into_response(self, is_grpc: bool) -> Response {
        let (status, code) = self.status();
        let (limit, retry_after_seconds) = match self {
            Self::TooMany { limit, retry_after_seconds } => (Some(limit), Some(retry_after_seconds)),
            _ => (None, None),
        };
        if is_grpc {
            let refused = weir_ingest::Refused {
                code,
                kind: self.kind(),
                message: self.sentence(),
                limit,
                retry_after_seconds,
            };
            return tonic::Status::from(refused).into_http();
        }
        let mut problem = Problem::new(status, self.kind(), self.sentence());
        problem.retry_after_seconds = retry_after_seconds;
        if let Some(limit) = limit {
            problem = problem.with("limit", limit);
        }
        let mut response = problem.into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::Method { allowed, .. } = &self
            && let Ok(allowed) = HeaderValue::from_str(allowed)
        {
            headers.insert(header::ALLOW, allowed);
        }
        response
    }
}
