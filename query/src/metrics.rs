//! The metrics of queries.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tokio::time::Instant;

use crate::usage::ReadCounts;

const QUERIES: &str = "weir_query_requests_total";
const SECONDS: &str = "weir_query_duration_seconds";
const WAITING: &str = "weir_query_waiting_requests";
const WINDOW_ROWS: &str = "weir_query_window_rows_total";
const EVENT_ROWS: &str = "weir_query_event_rows_total";
const BYTES: &str = "weir_query_read_bytes_total";
const POSITION_SECONDS: &str = "weir_query_position_wait_seconds";

/// Gives every metric of this crate its help text.
pub fn describe_metrics() {
    describe_counter!(QUERIES, "Queries by kind (usage, events) and outcome");
    describe_histogram!(SECONDS, "Time from a query's arrival to its answer, waiting included");
    describe_gauge!(WAITING, "Queries that wait for their turn");
    describe_counter!(WINDOW_ROWS, "Stored windows read for usage queries");
    describe_counter!(EVENT_ROWS, "Rows at rest read for queries, where no window answers");
    describe_counter!(BYTES, "Bytes read from segments for queries");
    describe_histogram!(POSITION_SECONDS, "Time that queries waited for the position they were given");
}

pub(crate) fn query_done(kind: &'static str, outcome: &'static str, begun: Instant) {
    counter!(QUERIES, "kind" => kind, "outcome" => outcome).increment(1);
    histogram!(SECONDS, "kind" => kind).record(begun.elapsed());
}

pub(crate) fn queries_waiting(count: usize) {
    gauge!(WAITING).set(count as f64);
}

pub(crate) fn read(counts: &ReadCounts) {
    counter!(WINDOW_ROWS).increment(counts.windows);
    counter!(EVENT_ROWS).increment(counts.events);
    counter!(BYTES).increment(counts.bytes);
}

pub(crate) fn position_waited(begun: Instant) {
    histogram!(POSITION_SECONDS).record(begun.elapsed());
}
