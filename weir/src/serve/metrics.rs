//! The metrics of the edge, and the recorder that all crates' metrics end up in.

use std::sync::OnceLock;

use axum::Router;
use axum::routing::get;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::ServeError;

pub(super) const HTTP_REQUESTS: &str = "weir_http_requests_total";
pub(super) const HTTP_SECONDS: &str = "weir_http_request_seconds";

const CONNECTIONS: &str = "weir_http_connections";
const HTTP_REFUSED: &str = "weir_http_refused_total";

/// Bucket edges of every histogram of seconds: a tenth of a millisecond to ten seconds.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The process has one recorder, however many servers run in it (tests start several).
pub(super) fn recorder() -> Result<PrometheusHandle, ServeError> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
                .and_then(PrometheusBuilder::install_recorder)
                .map_err(|error| error.to_string())?;
            describe_counter!(HTTP_REQUESTS, Unit::Count, "Requests, by route and status");
            describe_histogram!(HTTP_SECONDS, Unit::Seconds, "Time to answer, by route");
            describe_gauge!(CONNECTIONS, "Connections that are open now.");
            describe_counter!(
                HTTP_REFUSED,
                "Connections refused or ended by a bound, by the name of the bound's setting; requests refused by a limit of \
                 their key, by its name."
            );
            weir_log::describe_metrics();
            weir_store::describe_metrics();
            weir_catalog::describe_metrics();
            weir_ingest::describe_metrics();
            weir_aggregator::describe_metrics();
            weir_query::describe_metrics();
            Ok(handle)
        })
        .clone()
        .map_err(ServeError::Metrics)
}

/// `GET /metrics` in Prometheus' text format.
pub(super) fn routes(handle: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(move || async move { handle.render() }))
}

/// Of all that listens together.
pub(super) fn connection_opened() {
    gauge!(CONNECTIONS).increment(1);
}

pub(super) fn connection_closed() {
    gauge!(CONNECTIONS).decrement(1);
}

/// A request met a limit of its key.
pub(super) fn refused(limit: &'static str) {
    counter!(HTTP_REFUSED, "limit" => limit).increment(1);
}

/// A connection met a bound.
pub(super) fn connection_refused(limit: &'static str) {
    counter!(HTTP_REFUSED, "limit" => limit).increment(1);
}
