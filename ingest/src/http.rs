//! `POST /api/v1/events`, OpenMeter's ingest call: its three JSON content types, CloudEvents' binary
//! mode, and compressed bodies. The answer is 204 without a body, or a problem document.

mod binary;
mod body;
mod content;

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use tokio::time::Instant;
use weir_meter::event::BodyShape;
use weir_meter::{Namespace, RequestId};
use weir_proto::Problem;

use crate::budget::Reservation;
use crate::decode::{Encoding, decode};
use crate::error::IngestError;
use crate::metrics;
use crate::service::{Accepted, IngestService};
use content::Mode;

/// Carries the position token of an accepted request.
pub const POSITION_HEADER: HeaderName = HeaderName::from_static("weir-position");

/// The ingest route. A layer around it puts the credential's [`Namespace`] into the request's
/// extensions, and may put the [`RequestId`] there by which the request is known elsewhere. There is no
/// fallback here: the same path takes other methods from other routers.
pub fn router(service: Arc<IngestService>) -> Router {
    Router::new().route("/api/v1/events", post(post_events)).with_state(service)
}

async fn post_events(State(service): State<Arc<IngestService>>, request: Request) -> Response {
    let started = Instant::now();
    let version = request.version();
    let outcome = take(&service, request).await;
    metrics::request("http", outcome.as_ref().err(), started.elapsed());
    match outcome {
        Ok(accepted) => answer(&accepted),
        Err(error) => refusal(&error, version),
    }
}

/// The path of one request. What it reserves is held until its events are durable.
async fn take(service: &IngestService, request: Request) -> Result<Accepted, IngestError> {
    service.check_open()?;
    let (parts, body) = request.into_parts();
    let namespace = parts.extensions.get::<Namespace>().ok_or_else(|| {
        IngestError::Internal("no layer has put a namespace into the request's extensions".to_owned())
    })?;
    let mode = content::mode(&parts.headers)?;
    let encoding = content::encoding(&parts.headers)?;

    let mut reservation = service.budget().open();
    let wire = body_in_time(service, &parts.headers, body, &mut reservation).await?;
    let (plain, mut reservation) = match encoding {
        None => (wire, reservation),
        Some(encoding) => decode_apart(service, wire, encoding, reservation).await?,
    };
    let (json, shape) = match mode {
        Mode::Structured(shape) => (plain, shape),
        Mode::Binary => {
            reservation.grow(plain.len())?;
            (binary::render(&parts.headers, &plain)?, BodyShape::One)
        }
    };
    let request_id = parts.extensions.get::<RequestId>().copied();
    service.ingest(namespace, json, shape, request_id).await
}

async fn body_in_time(
    service: &IngestService,
    headers: &HeaderMap,
    body: Body,
    reservation: &mut Reservation,
) -> Result<Bytes, IngestError> {
    let limit = service.options().body_timeout;
    let reading = body::read(headers, body, service.options().wire_bytes_max, reservation);
    tokio::time::timeout(limit, reading)
        .await
        .unwrap_or(Err(IngestError::Timeout { seconds: limit.as_secs() }))
}

/// Decompresses on a thread of its own: how much work a small body makes only shows while it is done.
async fn decode_apart(
    service: &IngestService,
    wire: Bytes,
    encoding: Encoding,
    mut reservation: Reservation,
) -> Result<(Bytes, Reservation), IngestError> {
    let bytes_max = service.options().decoded_bytes_max;
    tokio::task::spawn_blocking(move || {
        decode(&wire, encoding, bytes_max, &mut reservation).map(|plain| (plain, reservation))
    })
    .await
    .map_err(|error| IngestError::Internal(format!("decompressing a body: {error}")))?
}

fn answer(accepted: &Accepted) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(position) = HeaderValue::from_str(&accepted.position) {
        response.headers_mut().insert(POSITION_HEADER, position);
    }
    response
}

fn refusal(error: &IngestError, version: Version) -> Response {
    error.log();
    let mut response = Problem::from(error).into_response();
    let headers = response.headers_mut();
    match error {
        IngestError::ContentEncoding(_) => {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        }
        // The next request should find another server. HTTP/2 has other means and forbids this header.
        IngestError::ShuttingDown { .. } if version < Version::HTTP_2 => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}
