//! Every metric of the aggregator.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) const RECORDS: &str = "weir_aggregator_records_total";
pub(crate) const VALUES_IGNORED: &str = "weir_aggregator_ignored_values_total";
pub(crate) const VALUES_ROUNDED: &str = "weir_aggregator_rounded_values_total";
pub(crate) const VALUES_OVERFLOWED: &str = "weir_aggregator_overflowed_values_total";
pub(crate) const IDENTITIES: &str = "weir_aggregator_identities";
pub(crate) const PIECE_RECORDS: &str = "weir_aggregator_piece_records";
pub(crate) const LAG_RECORDS: &str = "weir_aggregator_lag_records";
pub(crate) const FLUSHES: &str = "weir_aggregator_flushes_total";
pub(crate) const FLUSH_SECONDS: &str = "weir_aggregator_flush_seconds";

/// Tells the recorder what each metric means. Call once at start.
pub fn describe_metrics() {
    describe_counter!(RECORDS, Unit::Count, "Records taken from the log, by fate");
    describe_counter!(VALUES_IGNORED, Unit::Count, "Values that a meter could make no number of");
    describe_counter!(VALUES_ROUNDED, Unit::Count, "Values with more than 30 fractional digits");
    describe_counter!(VALUES_OVERFLOWED, Unit::Count, "Values left out of a window whose sum was full");
    describe_gauge!(IDENTITIES, Unit::Count, "Identities remembered");
    describe_gauge!(PIECE_RECORDS, Unit::Count, "Records folded since the head was last cut");
    describe_gauge!(LAG_RECORDS, Unit::Count, "Durable records that are not folded yet");
    describe_counter!(FLUSHES, Unit::Count, "Flushes, by result");
    describe_histogram!(FLUSH_SECONDS, Unit::Seconds, "Time from freezing a piece to its commit");
}
