//! Decides where each event of a query is counted: in a stored window or by folding its row at
//! rest, and in exactly one of the two. A pure function of what the listing and the head say; every
//! way of splitting offsets between windows and rows gives the same numbers.
//!
//! Two axes are cut. By offset: what a window source covers is *covered*, the rest is *open*; what lies
//! at or above the query's ends does not exist for it. By time: *hours* that no window of the query
//! divides, other whole *minutes*, and the *edges* that are left. Stored hours answer hours, stored minutes
//! answer minutes and what stored hours leave open, and rows answer all that is open then, and the
//! edges of all offsets.

mod shelf;
mod sources;
mod time;

use std::collections::HashSet;
use std::sync::Arc;

use weir_meter::segment::Segment;
use weir_meter::{Aggregation, Meter, OffsetRange, SegmentId};
use weir_store::{PieceSnapshot, RowSource, WindowSource};

use crate::ranges::{self, Taken};
use sources::{Candidate, candidates, choose};

pub use shelf::Shelf;
pub use time::{TimeRange, TimeSplit, Times};

/// Sizes of stored windows in seconds.
pub const MINUTE_S: u32 = 60;
pub const HOUR_S: u32 = 3_600;

/// Which events a query is about, and what may answer for them.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Everything below these ends: disjoint, sorted, each from offset 0.
    pub ends: Vec<OffsetRange>,
    pub times: TimeSplit,
    /// Segments that were taken off the listing after this time may answer too. For a query about now
    /// the listing alone has all it needs.
    pub retired_after_us: Option<i64>,
    /// False answers everything from rows.
    pub windows: bool,
}

/// Windows to read: those of `sources`, of one size, that start in `times`.
#[derive(Clone, Debug, Default)]
pub struct WindowPart {
    pub sources: Vec<WindowSource>,
    /// Sources of the members of those windows; only for UNIQUE_COUNT.
    pub members: Vec<WindowSource>,
    pub size_s: u32,
    pub times: Times,
}

/// Rows to fold: those of `sources` at one of `offsets` and with a time in `times`.
#[derive(Clone, Debug, Default)]
pub struct RowPart {
    pub sources: Vec<RowSource>,
    pub offsets: Vec<OffsetRange>,
    pub times: Times,
}

/// Where a query's events are counted. All parts are disjoint by offset and time.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub windows: Vec<WindowPart>,
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

/// Plans a query over the events of `meter`.
pub fn plan(meter: &Meter, shelf: &Shelf, scope: &Scope) -> Result<Plan, PlanError> {
    let mut segments = candidates(meter, shelf, scope)?;
    let mut pieces: Vec<&Arc<PieceSnapshot>> = shelf.pieces.iter().collect();
    pieces.retain(|p| p.covers(meter.key()) && p.ranges.iter().all(|r| ranges::holds(&scope.ends, r)));
    if !scope.windows {
        segments.clear();
        pieces.clear();
    }
    let unique = meter.aggregation == Aggregation::UniqueCount;
    let mut plan = Plan::default();

    let mut in_minutes = Taken::default();
    pieces.iter().flat_map(|p| &p.ranges).for_each(|range| in_minutes.add(range));
    let mut in_hours = in_minutes.clone();
    let by_hour = choose(&segments, HOUR_S, &mut in_hours);
    let (mut hours, mut minutes) = (scope.times.hours.clone(), scope.times.minutes.clone());
    if !by_hour.iter().any(|c| touches(c.windows, &hours)) {
        // Nothing tells hours from other minutes then, and one scan is cheaper than two.
        (hours, minutes) = (Times::default(), hours.union(&minutes));
    }
    plan.read(HOUR_S, &by_hour, &[], &hours, unique);

    let mut for_hours = choose(&segments, MINUTE_S, &mut in_hours);
    let mut for_minutes = choose(&segments, MINUTE_S, &mut in_minutes);
    if hours.is_empty() {
        for_hours.clone_from(&for_minutes);
    } else if minutes.is_empty() {
        for_minutes.clone_from(&for_hours);
    }
    // What answers both is read once.
    let among = |chosen: &[Candidate<'_>]| chosen.iter().map(|c| c.id()).collect::<HashSet<SegmentId>>();
    let (hour_ids, minute_ids) = (among(&for_hours), among(&for_minutes));
    let (for_both, for_hours): (Vec<_>, Vec<_>) =
        for_hours.into_iter().partition(|c| minute_ids.contains(&c.id()));
    for_minutes.retain(|c| !hour_ids.contains(&c.id()));
    plan.read(MINUTE_S, &for_both, &pieces, &hours.union(&minutes), unique);
    plan.read(MINUTE_S, &for_hours, &[], &hours, unique);
    plan.read(MINUTE_S, &for_minutes, &[], &minutes, unique);

    plan.fold(ranges::subtract(&scope.ends, &in_hours.set()), &hours);
    plan.fold(ranges::subtract(&scope.ends, &in_minutes.set()), &minutes);
    plan.fold(scope.ends.clone(), &scope.times.edges);
    shelf.find_rows(&mut plan.rows)?;
    Ok(plan)
}

impl Plan {
    /// Adds a part that reads windows, if there are any at these times.
    fn read(
        &mut self,
        size_s: u32,
        segments: &[Candidate<'_>],
        pieces: &[&Arc<PieceSnapshot>],
        times: &Times,
        unique: bool,
    ) {
        if times.is_empty() {
            return;
        }
        let mut part = WindowPart { size_s, times: times.clone(), ..WindowPart::default() };
        for segment in segments.iter().filter(|c| touches(c.windows, times)) {
            part.sources.push(WindowSource::Segment(Arc::clone(segment.windows)));
            part.members.extend(segment.members.map(|m| WindowSource::Segment(Arc::clone(m))));
        }
        for piece in pieces {
            part.sources.push(WindowSource::Piece(Arc::clone(piece)));
            if unique {
                part.members.push(WindowSource::Piece(Arc::clone(piece)));
            }
        }
        if !part.sources.is_empty() {
            self.windows.push(part);
        }
    }

    /// Adds rows to fold, the sources of which are still to be found.
    fn fold(&mut self, offsets: Vec<OffsetRange>, times: &Times) {
        if times.is_empty() || offsets.is_empty() {
            return;
        }
        match self.rows.iter_mut().find(|part| part.offsets == offsets) {
            Some(part) => part.times = part.times.union(times),
            None => self.rows.push(RowPart { sources: Vec::new(), offsets, times: times.clone() }),
        }
    }
}

/// True if the segment could hold a time in one of the ranges.
fn touches(segment: &Segment, times: &Times) -> bool {
    segment.new.time_range_us.is_some_and(|(first, last)| times.meet(first, last))
}

#[cfg(test)]
mod tests;
