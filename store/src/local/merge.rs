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
use crate::convert::BATCH_TEXT_BYTES;
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

/// How a merge shares out its memory.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Text of a batch of one input, about.
    input_text_bytes: usize,
    /// Of the row group that is being made.
    group_bytes: usize,
}

impl Memory {
    /// Half is for batches: each input has two of them, as it decodes one while rows picked from the one before
    /// still wait to leave, and some more wait that were read to their end. A quarter is for what decoding
    /// takes, and an eighth for the file that is made.
    fn of(memory_max: usize, inputs: usize) -> Self {
        let batches = inputs.saturating_mul(2).saturating_add(picks::PASSED_BATCHES_MAX);
        let share = (memory_max / 2).checked_div(batches).unwrap_or(memory_max);
        Self { input_text_bytes: share.min(BATCH_TEXT_BYTES), group_bytes: memory_max / 8 }
    }
}

/// Asked once a batch.
fn go_on(stop: &AtomicBool) -> Result<(), StoreError> {
    if stop.load(Ordering::Relaxed) { Err(StoreError::Stopped) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_merge_stay_below_its_memory() {
        for (memory_max, inputs) in [(0, 0), (1 << 20, 2), (48 << 20, 8), (1 << 30, 8), (1 << 30, 1_000)] {
            let memory = Memory::of(memory_max, inputs);
            let batches = (2 * inputs + picks::PASSED_BATCHES_MAX) * memory.input_text_bytes;
            assert!(batches <= memory_max / 2 && memory.group_bytes <= memory_max / 8, "{memory:?}");
            assert!(memory.input_text_bytes <= BATCH_TEXT_BYTES);
        }
        assert_eq!(Memory::of(1 << 30, 8).input_text_bytes, BATCH_TEXT_BYTES);
    }
}
