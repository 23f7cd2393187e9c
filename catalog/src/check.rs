//! What a commit or a swap must look like before any database sees it. These are the checks that need
//! no stored row, so every implementation of the catalog refuses the same ones in the same words.

use weir_meter::OffsetRange;
use weir_meter::segment::{NewSegment, SegmentKind};

use crate::{CatalogError, Commit, Swap};

/// Offsets are signed 64-bit integers in the databases.
pub(crate) const OFFSET_MAX: u64 = i64::MAX as u64;

/// Refuses a flush that contradicts itself. A commit that passes moves at least one frontier, each
/// once, and its segments cover nothing that it does not move past.
pub(crate) fn check_commit(commit: &Commit) -> Result<(), CatalogError> {
    if commit.moves.is_empty() {
        return refuse("a commit must move at least one frontier; it brings no move".to_owned());
    }
    for (index, step) in commit.moves.iter().enumerate() {
        check_range(&step.range, "a move")?;
        let again = commit.moves.iter().skip(index + 1).find(|other| same_partition(other.range, step.range));
        if let Some(again) = again {
            return refuse(format!("one commit moves a frontier twice: {} and {}", step.range, again.range));
        }
    }
    check_segments(&commit.segments, "commit")?;
    for new in &commit.segments {
        check_inside(new, commit)?;
        if new.dropped_rows != 0 {
            return refuse(format!(
                "segment {} comes from a flush and says that {} of its rows are gone",
                new.segment, new.dropped_rows
            ));
        }
    }
    check_rows(commit)
}

/// Refuses a swap that contradicts itself. One that passes does something, and removes each segment
/// once.
pub(crate) fn check_swap(swap: &Swap) -> Result<(), CatalogError> {
    if swap.remove.is_empty() && swap.add.is_empty() {
        return refuse("a swap must remove or add a segment; it does neither".to_owned());
    }
    for (index, segment) in swap.remove.iter().enumerate() {
        if swap.remove.iter().skip(index + 1).any(|other| other == segment) {
            return refuse(format!("one swap removes segment {segment} twice"));
        }
    }
    check_segments(&swap.add, "swap")
}

/// Offsets that a segment covers, if its ranges are disjoint.
pub(crate) fn covered_offsets(new: &NewSegment) -> u64 {
    new.coverage.ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.len()))
}

/// Each of the segments makes sense by itself, and no id comes twice.
fn check_segments(segments: &[NewSegment], what: &str) -> Result<(), CatalogError> {
    for (index, new) in segments.iter().enumerate() {
        if segments.iter().skip(index + 1).any(|other| other.segment == new.segment) {
            return refuse(format!("one {what} brings segment {} twice", new.segment));
        }
        check_shape(new)?;
    }
    Ok(())
}

fn check_shape(new: &NewSegment) -> Result<(), CatalogError> {
    let id = new.segment;
    let size_s = new.coverage.window_size_s;
    if (new.kind == SegmentKind::Rows) != (size_s == 0) {
        return refuse(format!("segment {id} holds {} and says windows of {size_s} s", new.kind.name()));
    }
    if [new.row_count, new.dropped_rows, new.byte_count, new.coverage.revision]
        .iter()
        .any(|n| *n > OFFSET_MAX)
    {
        return refuse(format!("segment {id} has a count that does not fit 63 bits"));
    }
    if new.time_range_us.is_some_and(|(earliest, latest)| earliest > latest) {
        return refuse(format!("segment {id} has a time range that ends before it begins"));
    }
    if new.coverage.ranges.is_empty() {
        return refuse(format!("segment {id} covers no offsets"));
    }
    for (index, range) in new.coverage.ranges.iter().enumerate() {
        check_range(range, "the coverage of a segment")?;
        if new.coverage.ranges.iter().skip(index + 1).any(|other| other.overlaps(range)) {
            return refuse(format!("segment {id} covers offsets of {range} twice"));
        }
    }
    check_count(new)
}

/// Every offset has its row, or had it until retention took it away: a row that is missing for any
/// other reason is an event that would never be counted again.
fn check_count(new: &NewSegment) -> Result<(), CatalogError> {
    let id = new.segment;
    if new.kind != SegmentKind::Rows {
        return match new.dropped_rows {
            0 => Ok(()),
            dropped => refuse(format!("segment {id} holds {} and drops {dropped} rows", new.kind.name())),
        };
    }
    let (offsets, rows) = (covered_offsets(new), new.row_count.saturating_add(new.dropped_rows));
    if offsets != rows {
        return refuse(format!(
            "segment {id} covers {offsets} offsets, and its {} rows and the {} that are gone make {rows}",
            new.row_count, new.dropped_rows
        ));
    }
    Ok(())
}

fn check_inside(new: &NewSegment, commit: &Commit) -> Result<(), CatalogError> {
    for range in &new.coverage.ranges {
        let inside = commit.moves.iter().any(|step| {
            same_partition(step.range, *range) && step.range.from <= range.from && range.to <= step.range.to
        });
        if !inside {
            return refuse(format!(
                "segment {} covers {range}, which the commit does not move past",
                new.segment
            ));
        }
    }
    Ok(())
}

/// Where rows come in segments, every offset that a frontier passes must have its row in one: an
/// offset without would be lost for ever. Rows kept elsewhere bring no segment and are not checked.
fn check_rows(commit: &Commit) -> Result<(), CatalogError> {
    if commit.segments.iter().all(|segment| segment.kind != SegmentKind::Rows) {
        return Ok(());
    }
    for step in &commit.moves {
        // Ranges lie inside the moves, and no two of rows may overlap: lengths suffice.
        let covered = commit
            .segments
            .iter()
            .filter(|segment| segment.kind == SegmentKind::Rows)
            .flat_map(|segment| &segment.coverage.ranges)
            .filter(|range| same_partition(**range, step.range))
            .fold(0_u64, |sum, range| sum.saturating_add(range.len()));
        if covered < step.range.len() {
            return refuse(format!(
                "the commit moves past {} and brings rows for only {covered} of its {} offsets",
                step.range,
                step.range.len()
            ));
        }
    }
    Ok(())
}

fn check_range(range: &OffsetRange, what: &str) -> Result<(), CatalogError> {
    if range.is_empty() {
        return refuse(format!("{what} is empty: {range}"));
    }
    if range.to > OFFSET_MAX {
        return refuse(format!("{what} ends past 2^63 - 1, the last offset that can be kept: {range}"));
    }
    Ok(())
}

fn same_partition(a: OffsetRange, b: OffsetRange) -> bool {
    a.epoch == b.epoch && a.partition == b.partition
}

fn refuse(text: String) -> Result<(), CatalogError> {
    Err(CatalogError::Conflict(text))
}
