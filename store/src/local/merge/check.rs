//! What a merge is asked to do, looked at before anything is read: a segment that claims offsets which
//! no input holds, or counts one twice, would make wrong numbers for ever.

use weir_meter::OffsetRange;
use weir_meter::segment::{Segment, SegmentKind};

use crate::{Merge, StoreError};

pub(super) fn check(merge: &Merge) -> Result<(), StoreError> {
    let (kind, coverage) = (merge.kind, &merge.coverage);
    if let Some(input) = merge.inputs.iter().find(|input| input.new.kind != kind) {
        let other = input.new.kind.name();
        return Err(wrong(input, &format!("holds {other}; what is merged are {}", kind.name())));
    }
    match kind {
        SegmentKind::Rows => check_rows(merge),
        SegmentKind::Windows | SegmentKind::Members => {
            let size = merge.inputs.first().map_or(coverage.window_size_s, |i| i.new.coverage.window_size_s);
            if size == 0 || coverage.window_size_s == 0 || !coverage.window_size_s.is_multiple_of(size) {
                return Err(StoreError::Inconsistent(format!(
                    "windows of {size} s cannot become windows of {} s",
                    coverage.window_size_s
                )));
            }
            check_windows(merge, size)
        }
    }
}

/// Every covered offset has its row in exactly one input, or was dropped there.
fn check_rows(merge: &Merge) -> Result<(), StoreError> {
    for input in &merge.inputs {
        let offsets = covered(&input.new.coverage.ranges);
        if input.new.row_count.checked_add(input.new.dropped_rows) != Some(offsets) {
            return Err(wrong(
                input,
                &format!(
                    "has {} rows and dropped {}, and covers {offsets} offsets",
                    input.new.row_count, input.new.dropped_rows
                ),
            ));
        }
    }
    let inputs: Vec<OffsetRange> =
        merge.inputs.iter().flat_map(|input| input.new.coverage.ranges.iter().copied()).collect();
    let (held, claimed) = (joined(&inputs), joined(&merge.coverage.ranges));
    if covered(&held) != covered(&inputs) || covered(&claimed) != covered(&merge.coverage.ranges) {
        return Err(StoreError::Inconsistent("an offset is covered twice".to_owned()));
    }
    if held != claimed {
        return Err(StoreError::Inconsistent(format!(
            "the merged rows would cover {}, their inputs hold {}",
            shown(&claimed),
            shown(&held)
        )));
    }
    Ok(())
}

fn check_windows(merge: &Merge, size: u32) -> Result<(), StoreError> {
    let claimed = joined(&merge.coverage.ranges);
    for input in &merge.inputs {
        let coverage = &input.new.coverage;
        if coverage.window_size_s != size {
            return Err(wrong(
                input,
                &format!("has windows of {} s beside {size} s", coverage.window_size_s),
            ));
        }
        if coverage.fold_version != merge.coverage.fold_version {
            return Err(wrong(
                input,
                &format!(
                    "was folded by version {}, not {}",
                    coverage.fold_version, merge.coverage.fold_version
                ),
            ));
        }
        if let Some(range) = joined(&coverage.ranges).iter().find(|range| !lies_in(range, &claimed)) {
            return Err(wrong(input, &format!("holds {range}, which the merged segment would not cover")));
        }
    }
    Ok(())
}

/// Offsets of the ranges, one that is in two of them twice.
pub(super) fn covered(ranges: &[OffsetRange]) -> u64 {
    ranges.iter().fold(0, |sum, range| sum.saturating_add(range.len()))
}

/// The same offsets in the least number of ranges, in order.
fn joined(ranges: &[OffsetRange]) -> Vec<OffsetRange> {
    let mut sorted: Vec<OffsetRange> = ranges.iter().copied().filter(|range| !range.is_empty()).collect();
    sorted.sort_unstable();
    let mut joined: Vec<OffsetRange> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last)
                if (last.epoch, last.partition) == (range.epoch, range.partition)
                    && range.from <= last.to =>
            {
                last.to = last.to.max(range.to);
            }
            _ => joined.push(range),
        }
    }
    joined
}

fn lies_in(range: &OffsetRange, joined: &[OffsetRange]) -> bool {
    joined.iter().any(|outer| {
        (outer.epoch, outer.partition) == (range.epoch, range.partition)
            && outer.from <= range.from
            && range.to <= outer.to
    })
}

fn shown(ranges: &[OffsetRange]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn wrong(input: &Segment, what: &str) -> StoreError {
    StoreError::Inconsistent(format!("segment {} {what}", input.new.segment))
}
