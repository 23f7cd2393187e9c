//! Live and ready: live as long as the process answers; ready while it takes events and folds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;
use weir_aggregator::{Handle, MaintenanceHandle};
use weir_log::Log;

use super::refusals::Refusals;

/// What readiness is made of.
pub(super) struct Health {
    pub(super) log: Arc<dyn Log>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) aggregator: Handle,
    pub(super) aggregator_stopped: AtomicBool,
    pub(super) maintenance: MaintenanceHandle,
    pub(super) draining: AtomicBool,
}

impl Health {
    async fn report(&self) -> (bool, serde_json::Value) {
        let aggregator = self.aggregator.status();
        let stopped = self.aggregator_stopped.load(Ordering::Acquire);
        let draining = self.draining.load(Ordering::Acquire);
        let log = match self.log.unavailable() {
            Some(reason) => Some(reason),
            None => self.refusals.standing().await,
        };
        let folding = if stopped {
            "stopped, see the server's log"
        } else if aggregator.caught_up {
            "ok"
        } else {
            "catching up with the log"
        };
        // A warning only: without it queries are right and get slower.
        let maintenance = self.maintenance.status();
        let ready = log.is_none() && aggregator.caught_up && !stopped && !draining;
        let report = json!({
            "ready": ready,
            "log": log.as_deref().unwrap_or("ok"),
            "aggregator": folding,
            "flush": aggregator.flush_error.as_deref().unwrap_or("ok"),
            "identity_index": aggregator.index_error.as_deref().unwrap_or("ok"),
            "maintenance": maintenance.error.as_deref().unwrap_or("ok"),
            "refold_backlog_offsets": maintenance.refold_backlog,
            "draining": draining,
        });
        (ready, report)
    }
}

pub(super) fn routes(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz/live", get(|| async { Json(json!({ "live": true })) }))
        .route("/healthz/ready", get(ready))
        .with_state(health)
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let (ready, report) = health.report().await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}
