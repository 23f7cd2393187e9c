//! The metrics of queries.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tokio::time::Instant;

use crate::lanes::Weight;
use crate::usage::ReadCounts;

const QUERIES: &str = "weir_query_requests_total";
const SECONDS: &str = "weir_query_duration_seconds";
const WAITING: &str = "weir_query_waiting_requests";
const RUNNING: &str = "weir_query_running_requests";
const REFUSED: &str = "weir_query_refused_total";
const MEMORY: &str = "weir_query_memory_bytes";
const UNREAD: &str = "weir_query_unread_answers_total";
const WINDOW_ROWS: &str = "weir_query_window_rows_total";
const EVENT_ROWS: &str = "weir_query_event_rows_total";
const BYTES: &str = "weir_query_read_bytes_total";
const POSITION_SECONDS: &str = "weir_query_position_wait_seconds";

/// Gives every metric of this crate its help text.
pub fn describe_metrics() {
    describe_counter!(
        QUERIES,
        "Queries by kind (usage, events) and outcome; cancelled are those whose client went away"
    );
    describe_histogram!(SECONDS, "Time from a query's arrival to its answer, waiting included");
    describe_gauge!(WAITING, "Queries that wait for their turn, by lane (light, heavy)");
    describe_gauge!(RUNNING, "Queries that run now, by lane (light, heavy)");
    describe_counter!(REFUSED, "Requests that a limit refused, by the limit's name");
    describe_gauge!(MEMORY, Unit::Bytes, "Memory that queries hold now, unsent answers included");
    describe_counter!(UNREAD, "Answers thrown away because their client did not read them");
    describe_counter!(WINDOW_ROWS, "Stored windows read for usage queries");
    describe_counter!(EVENT_ROWS, "Rows at rest read for queries, where no window answers");
    describe_counter!(BYTES, "Bytes read from segments for queries");
    describe_histogram!(POSITION_SECONDS, "Time that queries waited for the position they were given");
}

pub(crate) fn query_done(kind: &'static str, outcome: &'static str, begun: Instant) {
    counter!(QUERIES, "kind" => kind, "outcome" => outcome).increment(1);
    histogram!(SECONDS, "kind" => kind).record(begun.elapsed());
}

/// One more or less waits.
pub(crate) fn waiting(weight: Weight, change: f64) {
    gauge!(WAITING, "lane" => weight.name()).increment(change);
}

/// One more or less runs.
pub(crate) fn running(weight: Weight, change: f64) {
    gauge!(RUNNING, "lane" => weight.name()).increment(change);
}

/// A limit refused a request.
pub(crate) fn refused(limit: &'static str) {
    counter!(REFUSED, "limit" => limit).increment(1);
}

pub(crate) fn memory_held(bytes: usize) {
    gauge!(MEMORY).set(bytes as f64);
}

pub(crate) fn unread() {
    counter!(UNREAD).increment(1);
}

pub(crate) fn read(counts: &ReadCounts) {
    counter!(WINDOW_ROWS).increment(counts.windows);
    counter!(EVENT_ROWS).increment(counts.events);
    counter!(BYTES).increment(counts.bytes);
}

pub(crate) fn position_waited(begun: Instant) {
    histogram!(POSITION_SECONDS).record(begun.elapsed());
}
