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

/// Tells the recorder what each metric means. Call once at start.
pub fn describe_metrics() {
    describe_counter!(FILES_WRITTEN, Unit::Count, "Files written, by kind");
    describe_counter!(BYTES_WRITTEN, Unit::Bytes, "Bytes of files written, by kind");
    describe_counter!(ROWS_WRITTEN, Unit::Count, "Rows, windows and members written, by kind");
    describe_histogram!(WRITE_SECONDS, Unit::Seconds, "Time to write and sync the files of one flush");
    describe_counter!(ROWS_SCANNED, Unit::Count, "Rows, windows and members looked at by scans, by kind");
    describe_counter!(BYTES_READ, Unit::Bytes, "Bytes that scans read from files");
    describe_counter!(FILES_OPENED, Unit::Count, "Files that scans opened, by kind");
    describe_counter!(FILES_SWEPT, Unit::Count, "Files of closed writers that a sweep removed");
}
