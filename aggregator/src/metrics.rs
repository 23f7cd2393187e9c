//! Every metric of the aggregator.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use weir_catalog::Listing;
use weir_meter::Generation;
use weir_meter::segment::{NewSegment, SegmentKind};

use crate::identity::IndexCounts;

pub(crate) const RECORDS: &str = "weir_aggregator_records_total";
pub(crate) const VALUES_IGNORED: &str = "weir_aggregator_ignored_values_total";
pub(crate) const VALUES_ROUNDED: &str = "weir_aggregator_rounded_values_total";
pub(crate) const VALUES_OVERFLOWED: &str = "weir_aggregator_overflowed_values_total";
const IDENTITIES: &str = "weir_aggregator_identities";
pub(crate) const PIECE_RECORDS: &str = "weir_aggregator_piece_records";
pub(crate) const LAG_RECORDS: &str = "weir_aggregator_lag_records";
pub(crate) const FLUSHES: &str = "weir_aggregator_flushes_total";
pub(crate) const FLUSH_SECONDS: &str = "weir_aggregator_flush_seconds";
const IDENTITIES_IN_MEMORY: &str = "weir_aggregator_identities_in_memory";
const INDEX_RUNS: &str = "weir_aggregator_index_runs";
const INDEX_RUN_BYTES: &str = "weir_aggregator_index_run_bytes";
const INDEX_FILTER_BYTES: &str = "weir_aggregator_index_filter_bytes";
const INDEX_PROBES: &str = "weir_aggregator_index_filter_probes_total";
const INDEX_FALSE_POSITIVES: &str = "weir_aggregator_index_filter_false_positives_total";
const INDEX_SEALS: &str = "weir_aggregator_index_seals_total";
const INDEX_MERGES: &str = "weir_aggregator_index_merges_total";
const INDEX_MERGED: &str = "weir_aggregator_index_merged_entries_total";
const INDEX_WAITS: &str = "weir_aggregator_index_waits_total";
const INDEX_UNREADABLE: &str = "weir_aggregator_index_unreadable_runs_total";
const INDEX_READ_BACK: &str = "weir_aggregator_index_read_back_identities_total";
const MAINTENANCE_JOBS: &str = "weir_maintenance_jobs_total";
const MAINTENANCE_JOB_SECONDS: &str = "weir_maintenance_job_seconds";
const MAINTENANCE_ROWS: &str = "weir_maintenance_written_rows_total";
const MAINTENANCE_DAMAGE: &str = "weir_maintenance_damaged_files_total";
const MAINTENANCE_DROPPED: &str = "weir_maintenance_dropped_segments_total";
const SEGMENTS: &str = "weir_maintenance_listed_segments";
const BACKLOG: &str = "weir_maintenance_refold_backlog_offsets";
const WIDE_METERS: &str = "weir_maintenance_wide_meters";
const FLOOR: &str = "weir_maintenance_floor_timestamp_seconds";

/// Tells the recorder what each metric means. Call once at start.
pub fn describe_metrics() {
    describe_counter!(RECORDS, Unit::Count, "Records taken from the log, by fate");
    describe_counter!(VALUES_IGNORED, Unit::Count, "Values that a meter could make no number of");
    describe_counter!(VALUES_ROUNDED, Unit::Count, "Values with more than 30 fractional digits");
    describe_counter!(VALUES_OVERFLOWED, Unit::Count, "Values left out of a window whose sum was full");
    describe_gauge!(IDENTITIES, Unit::Count, "Identities remembered");
    describe_gauge!(IDENTITIES_IN_MEMORY, Unit::Count, "Identities remembered that are in no run yet");
    describe_gauge!(INDEX_RUNS, Unit::Count, "Runs of the identity index, over all partitions");
    describe_gauge!(INDEX_RUN_BYTES, Unit::Bytes, "Size of these runs on disk");
    describe_gauge!(INDEX_FILTER_BYTES, Unit::Bytes, "Memory that their filters take");
    describe_counter!(INDEX_PROBES, Unit::Count, "Filters of runs that were asked for an identity");
    describe_counter!(
        INDEX_FALSE_POSITIVES,
        Unit::Count,
        "Filters that said yes to an identity that was not in their run; it cost a look at the disk"
    );
    describe_counter!(INDEX_SEALS, Unit::Count, "Tables of identities that became runs, by result");
    describe_counter!(INDEX_MERGES, Unit::Count, "Merges of runs that were done");
    describe_counter!(INDEX_MERGED, Unit::Count, "Entries of runs that merges have read");
    describe_counter!(
        INDEX_WAITS,
        Unit::Count,
        "Times that folding waited because a second table of identities was full before the first was sealed"
    );
    describe_counter!(
        INDEX_UNREADABLE,
        Unit::Count,
        "Runs that could not be read and were read back from rows at rest"
    );
    describe_counter!(INDEX_READ_BACK, Unit::Count, "Identities that were read back from rows at rest");
    describe_gauge!(PIECE_RECORDS, Unit::Count, "Records folded since the head was last cut");
    describe_gauge!(LAG_RECORDS, Unit::Count, "Durable records that are not folded yet");
    describe_counter!(FLUSHES, Unit::Count, "Flushes, by result");
    describe_histogram!(FLUSH_SECONDS, Unit::Seconds, "Time from freezing a piece to its commit");
    describe_counter!(MAINTENANCE_JOBS, Unit::Count, "Jobs of maintenance, by kind and result");
    describe_histogram!(
        MAINTENANCE_JOB_SECONDS,
        Unit::Seconds,
        "Time that jobs of maintenance took, by kind"
    );
    describe_counter!(
        MAINTENANCE_ROWS,
        Unit::Count,
        "Rows, windows and members that maintenance wrote, by kind"
    );
    describe_counter!(MAINTENANCE_DAMAGE, Unit::Count, "Times that maintenance met a damaged file");
    describe_counter!(
        MAINTENANCE_DROPPED,
        Unit::Count,
        "Windows and members segments taken off the listing because a file of theirs is damaged"
    );
    describe_gauge!(SEGMENTS, Unit::Count, "Listed segments, by kind and by window size in seconds");
    describe_gauge!(
        BACKLOG,
        Unit::Count,
        "Offsets at rest that no window covers, summed over the meters: queries read them from rows"
    );
    describe_gauge!(WIDE_METERS, Unit::Count, "Meters with too many groups to keep windows of");
    describe_gauge!(FLOOR, Unit::Seconds, "The lowest floor: the time before which events are not kept");
}

pub(crate) fn count_job(kind: &'static str, succeeded: bool, took: Duration) {
    let result = if succeeded { "done" } else { "failed" };
    counter!(MAINTENANCE_JOBS, "kind" => kind, "result" => result).increment(1);
    histogram!(MAINTENANCE_JOB_SECONDS, "kind" => kind).record(took.as_secs_f64());
}

pub(crate) fn count_rows(written: &NewSegment) {
    counter!(MAINTENANCE_ROWS, "kind" => written.kind.name()).increment(written.row_count);
}

pub(crate) fn measure_index(counts: impl Iterator<Item = IndexCounts>) {
    let mut sum = IndexCounts::default();
    for of_one in counts {
        sum = sum.plus(&of_one);
    }
    gauge!(IDENTITIES).set(sum.identities as f64);
    gauge!(IDENTITIES_IN_MEMORY).set(sum.in_memory as f64);
    gauge!(INDEX_RUNS).set(sum.runs as f64);
    gauge!(INDEX_RUN_BYTES).set(sum.run_bytes as f64);
    gauge!(INDEX_FILTER_BYTES).set(sum.filter_bytes as f64);
    counter!(INDEX_PROBES).increment(sum.probes);
    counter!(INDEX_FALSE_POSITIVES).increment(sum.false_positives);
}

pub(crate) fn count_seal(succeeded: bool) {
    let result = if succeeded { "done" } else { "failed" };
    counter!(INDEX_SEALS, "result" => result).increment(1);
}

pub(crate) fn count_merge(entries: u64) {
    counter!(INDEX_MERGES).increment(1);
    counter!(INDEX_MERGED).increment(entries);
}

pub(crate) fn count_index_wait() {
    counter!(INDEX_WAITS).increment(1);
}

pub(crate) fn count_unreadable() {
    counter!(INDEX_UNREADABLE).increment(1);
}

pub(crate) fn count_read_back(identities: u64) {
    counter!(INDEX_READ_BACK).increment(identities);
}

pub(crate) fn count_damage() {
    counter!(MAINTENANCE_DAMAGE).increment(1);
}

pub(crate) fn count_dropped(segments: usize) {
    counter!(MAINTENANCE_DROPPED).increment(segments as u64);
}

pub(crate) fn measure_backlog(offsets: u64) {
    gauge!(BACKLOG).set(offsets as f64);
}

pub(crate) fn measure_listing(listing: &Listing) {
    // Kinds without a segment are told too, so that a gauge never stays at what it was.
    let mut counts: BTreeMap<(SegmentKind, u32), u64> = [
        (SegmentKind::Rows, 0),
        (SegmentKind::Windows, 60),
        (SegmentKind::Windows, 3_600),
        (SegmentKind::Members, 60),
        (SegmentKind::Members, 3_600),
    ]
    .map(|key| (key, 0))
    .into();
    for segment in &listing.segments {
        let count = counts.entry((segment.new.kind, segment.new.coverage.window_size_s)).or_insert(0);
        *count = count.saturating_add(1);
    }
    for ((kind, size), count) in counts {
        gauge!(SEGMENTS, "kind" => kind.name(), "size" => size.to_string()).set(count as f64);
    }
    gauge!(WIDE_METERS).set(listing.wide.len() as f64);
    if let Some(floor_us) = listing.floors.values().map(|floor| floor.floor_us).min() {
        gauge!(FLOOR).set((floor_us / 1_000_000) as f64);
    }
}

pub(crate) fn warn_wide(generation: Generation, groups: u64, groups_max: u64) {
    tracing::warn!(
        meter = %generation.meter,
        generation = generation.generation,
        groups,
        groups_max,
        "a meter has too many groups in one hour to keep windows of; queries of it read its events"
    );
}
