//! The HTTP edge of queries: routes, and what every handler needs from a request. Query strings are
//! read by hand, as their parameters repeat and use brackets. Every refusal is a problem document.

mod answer;
mod body;
mod csv;
mod events;
mod json;
mod meters;
mod position;
mod progress;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, RawQuery};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use weir_meter::{Meter, Namespace};
use weir_proto::{Position, Problem};

use crate::error::QueryError;
use crate::request::parameter;
use crate::service::QueryService;
use crate::usage::ReadCounts;

/// A request that carries this is answered at, after or as of the position in it; every usage answer
/// carries the one it is as of.
const POSITION: &str = "weir-position";
/// Tells what a query read.
const READ: &str = "weir-read";
/// Tells that an answer begins at its namespace's floor.
const FLOOR: &str = "weir-floor";
/// Asks for an answer from `rows` alone, or from `segments` alone.
const READ_FROM: &str = "weir-read-from";

/// The routes of meters, their queries, the event list and the position. The namespace comes as a
/// request extension from the layer that reads credentials.
pub fn router(service: Arc<QueryService>) -> Router {
    Router::new()
        .route("/api/v1/meters", get(meters::list).post(meters::create))
        .route("/api/v1/meters/{meter}", get(meters::read).put(meters::update).delete(meters::delete))
        .route("/api/v1/meters/{meter}/query", get(usage::get).post(usage::post))
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/position", get(position::current))
        .route("/api/v1/info/progress/{meter}", get(progress::read))
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

/// The meter of an id or slug; of an id also a deleted one.
async fn find_meter(
    service: &QueryService,
    namespace: &Namespace,
    id_or_slug: &str,
) -> Result<Meter, QueryError> {
    let meter = service.parts.catalog.meter(namespace, id_or_slug).await?;
    meter.ok_or_else(|| QueryError::no_meter(id_or_slug))
}

/// The position that the request names, if any, as sent and as read.
fn position(
    service: &QueryService,
    namespace: &Namespace,
    headers: &HeaderMap,
) -> Result<Option<(HeaderValue, Position)>, QueryError> {
    let Some(sent) = only(headers, POSITION, "Weir-Position")? else { return Ok(None) };
    let token = sent.to_str().map_err(|_| {
        QueryError::invalid(
            "invalid-position",
            "the Weir-Position header holds characters that no position has",
        )
    })?;
    Ok(Some((sent.clone(), service.open_position(token.trim(), namespace)?)))
}

/// A header that may be given once: which of two would count is not to be guessed.
fn only<'h>(headers: &'h HeaderMap, name: &str, shown: &str) -> Result<Option<&'h HeaderValue>, QueryError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(parameter(format!("the {shown} header is given twice"))),
        (value, _) => Ok(value),
    }
}

fn read_header(read: &ReadCounts) -> HeaderValue {
    HeaderValue::from_str(&read.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
