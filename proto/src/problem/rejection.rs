//! What axum's extractors refuse, as problems: a handler that takes `Result<Query<T>, QueryRejection>`
//! can pass the refusal on with `?`.

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use http::StatusCode;

use super::Problem;

/// The extractor's own status and words, in our form.
fn refused(status: StatusCode, text: String) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(status, "body-too-large", text),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::invalid("invalid-content-type", text),
        // The extractors say 422 for JSON of another shape; the contract knows only 400.
        status if status.is_client_error() => Problem::invalid("invalid-request", text),
        _ => Problem::internal(),
    }
}

macro_rules! from_rejection {
    ($($rejection:ty),*) => {
        $(impl From<$rejection> for Problem {
            fn from(rejection: $rejection) -> Self {
                refused(rejection.status(), rejection.body_text())
            }
        })*
    };
}

from_rejection!(BytesRejection, JsonRejection, PathRejection, QueryRejection);
