//! Which stored windows may answer for a meter, and a disjoint choice among them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::window::FOLD_VERSION;
use weir_meter::{Aggregation, Meter, OffsetRange, SegmentId};

use super::{HOUR_S, MINUTE_S, PlanError, Scope, Shelf};
use crate::ranges::{self, Taken};

/// A segment of windows that may answer for all the offsets it covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'s> {
    pub(super) windows: &'s Arc<Segment>,
    /// With the same offsets and size; always there for UNIQUE_COUNT.
    pub(super) members: Option<&'s Arc<Segment>>,
    listed: bool,
}

impl Candidate<'_> {
    pub(super) fn id(&self) -> SegmentId {
        self.windows.new.segment
    }

    fn ranges(&self) -> &[OffsetRange] {
        &self.windows.new.coverage.ranges
    }

    fn offsets(&self) -> u64 {
        self.ranges().iter().fold(0, |sum, range| sum.saturating_add(range.len()))
    }
}

/// The segments that folded this generation by today's rules and end at or below the query's ends. For
/// UNIQUE_COUNT each comes with the members segment of the same offsets; without one it folded nothing
/// that can be used.
pub(super) fn candidates<'s>(
    meter: &Meter,
    shelf: &'s Shelf,
    scope: &Scope,
) -> Result<Vec<Candidate<'s>>, PlanError> {
    let listed = || shelf.segments.iter().filter(|s| usable(s, meter));
    for size_s in [MINUTE_S, HOUR_S] {
        let windows =
            listed().filter(|s| s.new.kind == SegmentKind::Windows && s.new.coverage.window_size_s == size_s);
        ranges::disjoint(windows.flat_map(|s| s.new.coverage.ranges.iter().copied()))
            .map_err(|shared| PlanError::CoveredTwice { shared: shared.0 })?;
    }
    let kept = |s: &&'s Arc<Segment>| {
        scope.retired_after_us.is_some_and(|after| s.delisted_at_us.is_some_and(|at| at > after))
    };
    let retired = || shelf.retired.iter().filter(kept).filter(|s| usable(s, meter));
    let all = || listed().map(|s| (s, true)).chain(retired().map(|s| (s, false)));
    let below = |s: &Segment| s.new.coverage.ranges.iter().all(|r| ranges::holds(&scope.ends, r));

    let mut members = HashMap::new();
    if meter.aggregation == Aggregation::UniqueCount {
        let pairs = all().filter(|(s, _)| s.new.kind == SegmentKind::Members);
        members = pairs.map(|(s, listed)| (pair_key(s, listed), s)).collect();
    }
    let mut found = Vec::new();
    for (windows, listed) in all().filter(|(s, _)| s.new.kind == SegmentKind::Windows && below(s)) {
        let of_windows = members.get(&pair_key(windows, listed)).copied();
        if of_windows.is_some() || meter.aggregation != Aggregation::UniqueCount {
            found.push(Candidate { windows, members: of_windows, listed });
        }
    }
    Ok(found)
}

fn usable(segment: &Segment, meter: &Meter) -> bool {
    let coverage = &segment.new.coverage;
    coverage.fold_version == FOLD_VERSION
        && [MINUTE_S, HOUR_S].contains(&coverage.window_size_s)
        && coverage.covers(meter)
}

/// What a segment of windows and its members have in common.
fn pair_key(segment: &Segment, listed: bool) -> (Vec<OffsetRange>, u32, bool) {
    let mut ranges = segment.new.coverage.ranges.clone();
    ranges.sort_unstable();
    (ranges, segment.new.coverage.window_size_s, listed)
}

/// A disjoint choice of one size, outside of what is taken, which it adds itself to. Those with the most
/// offsets come first: segments are made of whole segments, so a large one stands in the way of none
/// that together would cover more.
pub(super) fn choose<'s>(candidates: &[Candidate<'s>], size_s: u32, taken: &mut Taken) -> Vec<Candidate<'s>> {
    let mut of_size: Vec<Candidate<'s>> =
        candidates.iter().filter(|c| c.windows.new.coverage.window_size_s == size_s).copied().collect();
    of_size.sort_by_key(|c| (Reverse(c.offsets()), !c.listed, c.id()));
    of_size.retain(|candidate| {
        let free = candidate.offsets() > 0 && !candidate.ranges().iter().any(|range| taken.meets(range));
        if free {
            candidate.ranges().iter().for_each(|range| taken.add(range));
        }
        free
    });
    of_size
}
