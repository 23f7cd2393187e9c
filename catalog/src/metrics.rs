//! Everything the catalog measures about itself, with its help text.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) const COMMITS: &str = "weir_catalog_commits_total";
pub(crate) const COMMIT_SECONDS: &str = "weir_catalog_commit_duration_seconds";
pub(crate) const SWAPS: &str = "weir_catalog_swaps_total";
pub(crate) const SWAP_SECONDS: &str = "weir_catalog_swap_duration_seconds";
pub(crate) const LISTED_SEGMENTS: &str = "weir_catalog_listed_segments";
pub(crate) const RETIRED_SEGMENTS: &str = "weir_catalog_retired_segments";
pub(crate) const LIVING_METERS: &str = "weir_catalog_living_meters";
pub(crate) const REVISION: &str = "weir_catalog_revision_number";

/// Says what each metric means. Call once, after the recorder is installed.
pub fn describe_metrics() {
    describe_counter!(
        COMMITS,
        "Commits of flushes, by outcome: committed, not_owner, writer_closed, overlap or failed"
    );
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Time a commit took, waiting for its turn included");
    describe_counter!(
        SWAPS,
        "Swaps of segments for others, by outcome: swapped, writer_closed, not_listed, overlap or failed"
    );
    describe_histogram!(SWAP_SECONDS, Unit::Seconds, "Time a swap took, waiting for its turn included");
    describe_gauge!(LISTED_SEGMENTS, "Segments that count now");
    describe_gauge!(
        RETIRED_SEGMENTS,
        "Windows and members segments that others replaced, kept for old positions"
    );
    describe_gauge!(LIVING_METERS, "Meter generations that count now, of all namespaces");
    describe_gauge!(REVISION, "The newest revision of the meters");
}
