//! Merging: one segment in the place of several of its kind. Their files are read side by side, each in
//! its order at rest, and leave in that order, so that memory holds a few batches of each. What goes in
//! and what comes out is counted before and after.

mod bare;
mod check;
mod input;
mod picks;
mod rows;
mod sorted;
mod windows;

use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{counter, histogram};
use tokio::time::Instant;
use weir_meter::WriterId;
use weir_meter::environment::Entropy;
use weir_meter::segment::SegmentKind;

use super::Shared;
use super::write::Made;
use crate::metrics::{MERGE_SECONDS, MERGED_BYTES, MERGED_ROWS};
use crate::{Merge, StoreError};

/// On any error, also when asked to stop, nothing of the new segment is left.
pub(super) fn merge(
    shared: &Shared,
    entropy: &dyn Entropy,
    writer: WriterId,
    merge: &Merge,
) -> Result<Made, StoreError> {
    let began = Instant::now();
    check::check(merge)?;
    let made = match merge.kind {
        SegmentKind::Rows => rows::merge(shared, entropy, writer, merge)?,
        SegmentKind::Windows | SegmentKind::Members => windows::merge(shared, entropy, writer, merge)?,
    };
    let kind = merge.kind.name();
    let (rows, bytes) = merge.inputs.iter().fold((0_u64, 0_u64), |(rows, bytes), input| {
        (rows.saturating_add(input.new.row_count), bytes.saturating_add(input.new.byte_count))
    });
    counter!(MERGED_ROWS, "kind" => kind).increment(rows);
    counter!(MERGED_BYTES, "kind" => kind).increment(bytes);
    histogram!(MERGE_SECONDS, "kind" => kind).record(began.elapsed().as_secs_f64());
    Ok(made)
}

/// Asked once a batch.
fn go_on(stop: &AtomicBool) -> Result<(), StoreError> {
    if stop.load(Ordering::Relaxed) { Err(StoreError::Stopped) } else { Ok(()) }
}
