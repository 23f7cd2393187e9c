//! Every metric of the store.

use metrics::{Unit, describe_counter, describe_histogram};

pub(crate) const FILES_WRITTEN: &str = "weir_store_written_files_total";
pub(crate) const BYTES_WRITTEN: &str = "weir_store_written_bytes_total";
pub(crate) const ROWS_WRITTEN: &str = "weir_store_written_rows_total";
pub(crate) const WRITE_SECONDS: &str = "weir_store_write_seconds";
pub(crate) const ROWS_SCANNED: &str = "weir_store_scanned_rows_total";
pub(crate) const BYTES_READ: &str = "weir_store_read_bytes_total";
pub(crate) const FILES_OPENED: &str = "weir_store_opened_files_total";
pub(crate) const FILES_SWEPT: &str = "weir_store_swept_files_total";
pub(crate) const FILES_REMOVED: &str = "weir_store_removed_files_total";
pub(crate) const MERGED_ROWS: &str = "weir_store_merged_rows_total";
pub(crate) const MERGED_BYTES: &str = "weir_store_merged_bytes_total";
pub(crate) const MERGE_SECONDS: &str = "weir_store_merge_seconds";
pub(crate) const ROWS_BARED: &str = "weir_store_bared_rows_total";
pub(crate) const ROWS_DROPPED: &str = "weir_store_dropped_rows_total";

/// Tells the recorder what each metric means. Call once at start.
pub fn describe_metrics() {
    describe_counter!(FILES_WRITTEN, Unit::Count, "Files written, by kind");
    describe_counter!(BYTES_WRITTEN, Unit::Bytes, "Bytes of files written, by kind");
    describe_counter!(ROWS_WRITTEN, Unit::Count, "Rows, windows and members written, by kind");
    describe_histogram!(WRITE_SECONDS, Unit::Seconds, "Time to write and sync the files of one flush");
    describe_counter!(ROWS_SCANNED, Unit::Count, "Rows, windows and members looked at by scans, by kind");
    describe_counter!(BYTES_READ, Unit::Bytes, "Bytes that scans and merges read from files");
    describe_counter!(FILES_OPENED, Unit::Count, "Files that scans opened, by kind");
    describe_counter!(FILES_SWEPT, Unit::Count, "Files of closed writers that a sweep removed");
    describe_counter!(
        FILES_REMOVED,
        Unit::Count,
        "Files of segments that the catalog forgot and that were deleted, by kind"
    );
    describe_counter!(MERGED_ROWS, Unit::Count, "Rows, windows and members that went into merges, by kind");
    describe_counter!(MERGED_BYTES, Unit::Bytes, "Bytes of the files that went into merges, by kind");
    describe_histogram!(MERGE_SECONDS, Unit::Seconds, "Time to make one segment of several, by kind");
    describe_counter!(ROWS_BARED, Unit::Count, "Events below the floor that a merge made bare rows");
    describe_counter!(
        ROWS_DROPPED,
        Unit::Count,
        "Rows below the floor that a merge dropped: no identity window reaches them any more"
    );
}
