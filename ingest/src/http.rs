//! `POST /api/v1/events`, OpenMeter's ingest call: its three JSON content types, CloudEvents' binary
//! mode, and compressed bodies. The answer is 204 without a body, or a problem document.

mod binary;
mod content;

use std::sync::Arc;

use ::http::request::Parts;
use ::http::{HeaderName, HeaderValue, StatusCode, Version, header};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::time::Instant;
use weir_meter::event::BodyShape;
use weir_meter::{Namespace, RequestId};
use weir_proto::Problem;

use crate::allowance::EventAllowance;
use crate::error::IngestError;
use crate::metrics;
use crate::receive;
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
    let (parts, mut body) = request.into_parts();
    let outcome = take(&service, &parts, &mut body).await;
    metrics::request("http", outcome.as_ref().err(), started.elapsed());
    match outcome {
        Ok(accepted) => answer(&accepted),
        Err(error) => {
            // Whoever was too slow has had its time.
            if !matches!(error, IngestError::Timeout { .. }) {
                receive::discard(parts.version, &parts.headers, body).await;
            }
            refusal(&error, parts.version)
        }
    }
}

/// The path of one request. What it reserves is held until its events are durable.
async fn take(service: &IngestService, parts: &Parts, body: &mut Body) -> Result<Accepted, IngestError> {
    service.check_open()?;
    let namespace = parts.extensions.get::<Namespace>().ok_or_else(|| {
        IngestError::Internal("no layer has put a namespace into the request's extensions".to_owned())
    })?;
    let mode = content::mode(&parts.headers)?;
    let encoding = content::encoding(&parts.headers)?;

    let bytes_max = service.options().wire_bytes_max;
    let mut reservation = service.budget().open();
    let wire = receive::body_in_time(service, &parts.headers, body, bytes_max, &mut reservation).await?;
    let (plain, mut reservation) = match encoding {
        None => (wire, reservation),
        Some(encoding) => receive::decoded_apart(service, wire, encoding, reservation).await?,
    };
    let (json, shape) = match mode {
        Mode::Structured(shape) => (plain, shape),
        Mode::Binary => {
            reservation.grow(plain.len())?;
            (binary::render(&parts.headers, &plain)?, BodyShape::One)
        }
    };
    let request_id = parts.extensions.get::<RequestId>().copied();
    let allowance = parts.extensions.get::<EventAllowance>();
    service.ingest(namespace, json, shape, request_id, allowance).await
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
