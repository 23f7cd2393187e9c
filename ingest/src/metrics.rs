//! Every metric of the ingest service.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use weir_meter::event::InvalidEvents;

use crate::error::IngestError;

const REQUESTS: &str = "weir_ingest_requests_total";
const REQUEST_SECONDS: &str = "weir_ingest_request_seconds";
const EVENTS: &str = "weir_ingest_events_total";
const EVENT_BYTES: &str = "weir_ingest_event_bytes_total";
const REJECTED_EVENTS: &str = "weir_ingest_rejected_events_total";
const REFUSED: &str = "weir_ingest_refused_total";
const BUFFERED_BYTES: &str = "weir_ingest_buffered_bytes";

/// Attributes by which rejected events are counted; any other is `other`, as names come from clients.
const COUNTED_ATTRIBUTES: [&str; 9] =
    ["id", "source", "specversion", "type", "subject", "time", "data", "datacontenttype", "dataschema"];

/// Registers the help texts.
pub fn describe_metrics() {
    describe_counter!(
        REQUESTS,
        "Ingest requests, by transport and result: `accepted`, or the problem's type."
    );
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time from an ingest request's headers to its answer, durable append included, by transport."
    );
    describe_counter!(EVENTS, "Events acknowledged: durable in the log. Duplicates are among them.");
    describe_counter!(EVENT_BYTES, Unit::Bytes, "Bytes of acknowledged events, uncompressed.");
    describe_counter!(
        REJECTED_EVENTS,
        "Events because of which a whole request was refused, by the attribute that was wrong; `json` if no attribute can be named."
    );
    describe_counter!(REFUSED, "Requests refused by a bound, by the name of the bound's setting.");
    describe_gauge!(BUFFERED_BYTES, Unit::Bytes, "Bytes of request bodies that are held now.");
}

/// One request has been answered.
pub(crate) fn request(transport: &'static str, error: Option<&IngestError>, took: Duration) {
    let result = error.map_or("accepted", IngestError::kind);
    counter!(REQUESTS, "transport" => transport, "result" => result).increment(1);
    histogram!(REQUEST_SECONDS, "transport" => transport).record(took.as_secs_f64());
    if let Some(limit) = error.and_then(IngestError::limit) {
        counter!(REFUSED, "limit" => limit).increment(1);
    }
    if let Some(IngestError::Invalid(invalid)) = error {
        counter!(REJECTED_EVENTS, "attribute" => attribute_label(invalid)).increment(1);
    }
}

/// Events are durable.
pub(crate) fn accepted(events: usize, bytes: usize) {
    counter!(EVENTS).increment(events as u64);
    counter!(EVENT_BYTES).increment(bytes as u64);
}

pub(crate) fn buffered_grew(bytes: usize) {
    gauge!(BUFFERED_BYTES).increment(bytes as f64);
}

pub(crate) fn buffered_shrank(bytes: usize) {
    gauge!(BUFFERED_BYTES).decrement(bytes as f64);
}

fn attribute_label(invalid: &InvalidEvents) -> &'static str {
    let Some(name) = &invalid.attribute else { return "json" };
    COUNTED_ATTRIBUTES.into_iter().find(|counted| counted == name).unwrap_or("other")
}
