//! All metrics of the log, declared in one place with what they mean.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const FRAMES: &str = "weir_log_frames_total";
const RECORDS: &str = "weir_log_records_total";
const BYTES: &str = "weir_log_bytes_total";
const FDATASYNC: &str = "weir_log_fdatasync_seconds";
const QUEUE: &str = "weir_log_queue_bytes";
const TORN: &str = "weir_log_torn_bytes_total";
const CUT: &str = "weir_log_cut_bytes_total";
const REFUSED: &str = "weir_log_refused_total";

/// Gives every metric of the log its help text. Call it once, after a recorder is installed.
pub fn describe_metrics() {
    describe_counter!(FRAMES, "Frames made durable; one frame is one group commit");
    describe_counter!(RECORDS, "Records made durable");
    describe_counter!(BYTES, Unit::Bytes, "Bytes of durable frames as they lie on disk, compressed");
    describe_histogram!(FDATASYNC, Unit::Seconds, "Time of one fdatasync of the log");
    describe_gauge!(QUEUE, Unit::Bytes, "Bytes of records that wait to become durable");
    describe_counter!(TORN, Unit::Bytes, "Bytes cut off at start because a crash had left them unfinished");
    describe_counter!(
        CUT,
        Unit::Bytes,
        "Bytes of files dropped because everything in them lies below the cut"
    );
    describe_counter!(
        REFUSED,
        "Appends that were not taken, by limit: append_bytes, queue_bytes, disk_full, disk (a write failed), broken or closed"
    );
}

pub(crate) fn frame_synced(records: u64, bytes: u64) {
    counter!(FRAMES).increment(1);
    counter!(RECORDS).increment(records);
    counter!(BYTES).increment(bytes);
}

pub(crate) fn fdatasync_took(seconds: f64) {
    histogram!(FDATASYNC).record(seconds);
}

pub(crate) fn queue_holds(bytes: usize) {
    gauge!(QUEUE).set(bytes as f64);
}

pub(crate) fn torn(bytes: u64) {
    counter!(TORN).increment(bytes);
}

pub(crate) fn cut(bytes: u64) {
    counter!(CUT).increment(bytes);
}

pub(crate) fn refused(limit: &'static str) {
    counter!(REFUSED, "limit" => limit).increment(1);
}
