//! Decides where each event of a query is counted: in a stored window or by folding its row at
//! rest, and in exactly one of the two. A pure function of what the listing and the head say; every
//! way of splitting offsets between windows and rows gives the same numbers.
//!
//! Two axes are cut. By offset: what a window source covers is *covered*, the rest is *open*. By
//! time: whole minutes are the *interior*, what is left of a minute that the query's bounds or a
//! zone cut is an *edge*. Windows answer the interior of covered offsets; rows answer the interior
//! of open offsets, and the edges of all offsets.

mod time;

use std::collections::HashMap;
use std::sync::Arc;

use weir_catalog::Frontier;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::window::FOLD_VERSION;
use weir_meter::{Aggregation, Meter, OffsetRange};
use weir_store::{PieceSnapshot, RowSource, WindowSource};

use crate::ranges;
pub use time::{TimeRange, TimeSplit};

/// Window size that queries read, in seconds.
pub const WINDOW_SIZE_S: u32 = 60;

/// One consistent look at what is at rest and in the head; pieces lie wholly above the frontiers.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    pub frontiers: Vec<Frontier>,
    pub segments: Vec<Arc<Segment>>,
    /// Oldest first.
    pub pieces: Vec<Arc<PieceSnapshot>>,
}

/// Rows to fold: those of `sources` at one of `offsets` and with a time in one of `times`.
#[derive(Clone, Debug, Default)]
pub struct RowPart {
    pub sources: Vec<RowSource>,
    /// None means every offset of the sources.
    pub offsets: Option<Vec<OffsetRange>>,
    pub times: Vec<TimeRange>,
}

/// Where a query's events are counted.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Sources of windows that start in `interior`.
    pub windows: Vec<WindowSource>,
    /// Sources of the members of those windows; only for UNIQUE_COUNT.
    pub members: Vec<WindowSource>,
    pub interior: Option<TimeRange>,
    /// Disjoint by offset and time from each other and from the windows.
    pub rows: Vec<RowPart>,
}

/// What the listing and the head say cannot be true. None of these heals by asking again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("two listed segments or pieces cover {shared}; the numbers of it would count twice")]
    CoveredTwice { shared: OffsetRange },
    #[error("no listed segment holds {missing}, which lies below the frontier")]
    Gap { missing: OffsetRange },
    #[error("a piece of the head holds {piece}, which the frontier {frontier} divides")]
    PieceAcrossFrontier { piece: OffsetRange, frontier: u64 },
    #[error("the head goes on at {piece}, but what is at rest ends at offset {expected}")]
    HeadGap { piece: OffsetRange, expected: u64 },
}

impl Shelf {
    /// From a head taken before the listing: pieces that the frontier has passed are at rest and
    /// listed by now, so they are dropped.
    pub fn new(
        head: &[Arc<PieceSnapshot>],
        frontiers: &[Frontier],
        segments: &[Arc<Segment>],
    ) -> Result<Self, PlanError> {
        let mut ends: HashMap<(u32, u32), u64> =
            frontiers.iter().map(|f| ((f.epoch, f.partition), f.next_offset)).collect();
        let frontier = |range: &OffsetRange| {
            frontiers
                .iter()
                .find(|f| f.epoch == range.epoch && f.partition == range.partition)
                .map_or(0, |f| f.next_offset)
        };
        let mut pieces = Vec::with_capacity(head.len());
        for piece in head {
            let mut above = false;
            let mut below = None;
            for range in piece.ranges.iter().filter(|r| !r.is_empty()) {
                let frontier = frontier(range);
                if range.from < frontier && frontier < range.to {
                    return Err(PlanError::PieceAcrossFrontier { piece: *range, frontier });
                }
                if range.to <= frontier {
                    below = Some((*range, frontier));
                } else {
                    above = true;
                }
            }
            if !above {
                continue;
            }
            // A flush moves all of a piece's frontiers or none.
            if let Some((range, frontier)) = below {
                return Err(PlanError::PieceAcrossFrontier { piece: range, frontier });
            }
            for range in piece.ranges.iter().filter(|r| !r.is_empty()) {
                let end = ends.entry((range.epoch, range.partition)).or_insert(0);
                if *end != range.from {
                    return Err(PlanError::HeadGap { piece: *range, expected: *end });
                }
                *end = range.to;
            }
            pieces.push(Arc::clone(piece));
        }
        Ok(Self { frontiers: frontiers.to_vec(), segments: segments.to_vec(), pieces })
    }

    /// Everything that holds rows, and could hold some with a time in one of `times`.
    pub fn row_sources(&self, times: &[TimeRange]) -> Vec<RowSource> {
        let segments = self.of_kind(SegmentKind::Rows).filter(|s| touches(s, times)).cloned();
        let pieces = self.pieces.iter().cloned();
        segments.map(RowSource::Segment).chain(pieces.map(RowSource::Piece)).collect()
    }

    fn of_kind(&self, kind: SegmentKind) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter().filter(move |s| s.new.kind == kind)
    }
}

/// Plans a query over the events of `meter` in the times that `split` has divided.
pub fn plan(meter: &Meter, shelf: &Shelf, split: &TimeSplit) -> Result<Plan, PlanError> {
    let folded = window_segments(meter, shelf);
    let covered =
        disjoint(folded.iter().flat_map(|(windows, _)| windows.new.coverage.ranges.iter().copied()))?;
    let rows_at_rest =
        disjoint(shelf.of_kind(SegmentKind::Rows).flat_map(|s| s.new.coverage.ranges.iter().copied()))?;
    let at_rest: Vec<OffsetRange> = shelf.frontiers.iter().map(below_frontier).collect();
    let mut open = ranges::subtract(&disjoint(at_rest)?, &covered);
    if let Some(missing) = ranges::subtract(&open, &rows_at_rest).first() {
        return Err(PlanError::Gap { missing: *missing });
    }

    let mut plan = Plan { interior: split.interior, ..Plan::default() };
    let interior: Vec<TimeRange> = split.interior.into_iter().collect();
    for (windows, members) in folded {
        if touches(windows, &interior) {
            plan.windows.push(WindowSource::Segment(Arc::clone(windows)));
            plan.members.extend(members.map(|m| WindowSource::Segment(Arc::clone(m))));
        }
    }
    let mut open_rows: Vec<RowSource> = Vec::new();
    for segment in shelf.of_kind(SegmentKind::Rows).filter(|s| touches(s, &interior)) {
        if segment.new.coverage.ranges.iter().any(|r| open.iter().any(|o| o.overlaps(r))) {
            open_rows.push(RowSource::Segment(Arc::clone(segment)));
        }
    }
    for piece in &shelf.pieces {
        if interior.is_empty() {
            break;
        }
        if piece.covers(meter.key()) {
            plan.windows.push(WindowSource::Piece(Arc::clone(piece)));
            if meter.aggregation == Aggregation::UniqueCount {
                plan.members.push(WindowSource::Piece(Arc::clone(piece)));
            }
        } else {
            open.extend(piece.ranges.iter().copied());
            open_rows.push(RowSource::Piece(Arc::clone(piece)));
        }
    }
    if !open_rows.is_empty() {
        plan.rows.push(RowPart { sources: open_rows, offsets: Some(disjoint(open)?), times: interior });
    }
    if !split.edges.is_empty() {
        let sources = shelf.row_sources(&split.edges);
        if !sources.is_empty() {
            plan.rows.push(RowPart { sources, offsets: None, times: split.edges.clone() });
        }
    }
    Ok(plan)
}

/// The windows segments that folded this generation by today's rules. For UNIQUE_COUNT each comes
/// with the members segment of the same offsets; without one it folded nothing that can be used.
fn window_segments<'s>(meter: &Meter, shelf: &'s Shelf) -> Vec<(&'s Arc<Segment>, Option<&'s Arc<Segment>>)> {
    let usable = |segment: &&'s Arc<Segment>| {
        let coverage = &segment.new.coverage;
        coverage.window_size_s == WINDOW_SIZE_S
            && coverage.fold_version == FOLD_VERSION
            && coverage.covers(meter)
    };
    let windows = shelf.of_kind(SegmentKind::Windows).filter(usable);
    if meter.aggregation != Aggregation::UniqueCount {
        return windows.map(|segment| (segment, None)).collect();
    }
    let sorted = |segment: &Arc<Segment>| {
        let mut ranges = segment.new.coverage.ranges.clone();
        ranges.sort_unstable();
        ranges
    };
    let members: HashMap<Vec<OffsetRange>, &Arc<Segment>> =
        shelf.of_kind(SegmentKind::Members).filter(usable).map(|m| (sorted(m), m)).collect();
    windows.filter_map(|w| members.get(&sorted(w)).map(|m| (w, Some(*m)))).collect()
}

fn below_frontier(frontier: &Frontier) -> OffsetRange {
    OffsetRange { epoch: frontier.epoch, partition: frontier.partition, from: 0, to: frontier.next_offset }
}

fn disjoint(ranges: impl IntoIterator<Item = OffsetRange>) -> Result<Vec<OffsetRange>, PlanError> {
    ranges::disjoint(ranges).map_err(|shared| PlanError::CoveredTwice { shared: shared.0 })
}

/// True if the segment could hold a time in one of the ranges.
fn touches(segment: &Segment, times: &[TimeRange]) -> bool {
    segment
        .new
        .time_range_us
        .is_some_and(|(first, last)| times.iter().any(|t| t.from_us <= last && first < t.to_us))
}

#[cfg(test)]
mod tests;
