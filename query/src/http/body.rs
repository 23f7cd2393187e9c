//! Bodies of requests that are JSON: bounded in bytes and in time, and plain. What they may hold is the
//! business of whoever reads them.

use axum::body::Body;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode, header};

use crate::error::QueryError;
use crate::service::QueryService;
use crate::shown::shown;

/// Reads a body whole.
pub(super) async fn json_body(
    service: &QueryService,
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<u8>, QueryError> {
    check_type(headers)?;
    let (bytes_max, wait) = (service.options.body_bytes_max, service.options.body_wait);
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    tokio::time::timeout(wait, read(body, bytes_max)).await.unwrap_or_else(|_| {
        Err(QueryError::OverLimit {
            limit: "query_body_wait",
            status: StatusCode::REQUEST_TIMEOUT,
            kind: "request-timeout",
            detail: format!("the body did not arrive within {} seconds; send it again", wait.as_secs()),
        })
    })
}

async fn read(body: Body, bytes_max: usize) -> Result<Vec<u8>, QueryError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| QueryError::invalid("invalid-request", "the body broke off; send it again"))?;
        if bytes.len().saturating_add(chunk.len()) > bytes_max {
            return Err(too_large(bytes_max));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// No content type passes for JSON, so that a hand-written request is not refused for nothing.
fn check_type(headers: &HeaderMap) -> Result<(), QueryError> {
    let refused = |what: &str| {
        let detail = format!("invalid content type: {what}; send application/json");
        Err(QueryError::invalid("invalid-content-type", detail))
    };
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    match (types.next().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()), types.next()) {
        (None, _) => {}
        (_, Some(_)) => return refused("more than one was sent"),
        (Some(text), None) => {
            let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            if media_type != "application/json" && !media_type.ends_with("+json") {
                return refused(&format!("{:?}", shown(&text)));
            }
        }
    }
    match headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .find(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        None => Ok(()),
        Some(encoding) => Err(QueryError::OverLimit {
            limit: "query_body_encoding",
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            kind: "unsupported-content-encoding",
            detail: format!(
                "bodies of meters and queries are not compressed, and this one says {:?}; send it plain",
                shown(&String::from_utf8_lossy(encoding.as_bytes()))
            ),
        }),
    }
}

fn too_large(bytes_max: usize) -> QueryError {
    QueryError::OverLimit {
        limit: "query_body_bytes_max",
        status: StatusCode::PAYLOAD_TOO_LARGE,
        kind: "body-too-large",
        detail: format!(
            "the body has more than {bytes_max} bytes, the most that a meter or a query may have; ask in several requests"
        ),
    }
}
