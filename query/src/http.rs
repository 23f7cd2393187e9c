//! The HTTP edge of queries: routes, and what every handler needs from a request. Query strings are
//! read by hand, as their parameters repeat and use brackets. Every refusal is a problem document.

mod csv;
mod events;
mod meters;
mod position;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, RawQuery};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use weir_meter::{Meter, Namespace};
use weir_proto::Problem;

use crate::error::QueryError;
use crate::service::QueryService;
use crate::usage::ReadCounts;

/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// A request that carries this is answered at or after the position in it.
const POSITION: &str = "weir-position";
/// Tells what a query read.
const READ: &str = "weir-read";

/// The routes of meters, their queries, the event list and the position. The namespace comes as a
/// request extension from the layer that reads credentials.
pub fn router(service: Arc<QueryService>) -> Router {
    Router::new()
        .route("/api/v1/meters", get(meters::list).post(meters::create))
        .route("/api/v1/meters/{meter}", get(meters::read).delete(meters::delete))
        .route("/api/v1/meters/{meter}/query", get(usage::get).post(usage::post))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/position", get(position::current))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service)
}

/// The namespace that the request's credential belongs to.
struct Tenant(Namespace);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Namespace>() {
            Some(namespace) => Ok(Self(namespace.clone())),
            None => {
                tracing::error!("a request came without a namespace: the layer that sets it is missing");
                Err(Problem::internal())
            }
        }
    }
}

/// A meter's id or slug from the path.
type MeterPath = Result<Path<String>, PathRejection>;

fn query_text(query: &RawQuery) -> &str {
    query.0.as_deref().unwrap_or_default()
}

async fn find_meter(
    service: &QueryService,
    namespace: &Namespace,
    id_or_slug: &str,
) -> Result<Meter, QueryError> {
    let meter = service.parts.catalog.meter(namespace, id_or_slug).await?;
    meter.ok_or_else(|| QueryError::no_meter(id_or_slug))
}

/// Waits for what this process has to catch up with, and for the position that the request names, if any.
async fn reach(service: &QueryService, namespace: &Namespace, headers: &HeaderMap) -> Result<(), QueryError> {
    service.caught_up().await?;
    let Some(token) = headers.get(POSITION) else { return Ok(()) };
    let token = token.to_str().map_err(|_| {
        QueryError::invalid(
            "invalid-position",
            "the Weir-Position header holds characters that no position has",
        )
    })?;
    service.reach(token.trim(), namespace).await
}

fn read_header(read: &ReadCounts) -> HeaderValue {
    HeaderValue::from_str(&read.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
