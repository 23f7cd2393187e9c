//! What listed windows cover, seen from one generation, and how to say it of a new segment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_catalog::Listing;
use weir_meter::segment::{Coverage, Generations, Segment, SegmentKind};
use weir_meter::window::FOLD_VERSION;
use weir_meter::{Generation, Meter, Namespace, OffsetRange, SegmentId};

use super::Look;
use crate::maintain::ranges;

pub(super) const MINUTE_S: u32 = 60;
pub(super) const HOUR_S: u32 = 3_600;

/// The offsets at which some of these segments cover the generation.
pub(super) fn covered<'s>(
    meter: &Meter,
    segments: impl IntoIterator<Item = &'s Arc<Segment>>,
) -> Vec<OffsetRange> {
    ranges::union(
        segments
            .into_iter()
            .filter(|segment| segment.new.coverage.covers(meter))
            .flat_map(|segment| segment.new.coverage.ranges.iter().copied()),
    )
}

/// The listed windows segments of one size that today's rules have folded.
pub(super) fn listed_windows<'l>(
    look: &'l Look<'_>,
    window_size_s: u32,
) -> impl Iterator<Item = &'l Arc<Segment>> {
    look.of_kind(SegmentKind::Windows).filter(move |segment| {
        let coverage = &segment.new.coverage;
        coverage.window_size_s == window_size_s && coverage.fold_version == FOLD_VERSION
    })
}

/// The members segment that came with a windows segment: they cover the same.
pub(super) fn members_of<'l>(look: &'l Look<'_>, windows: &Segment) -> Option<&'l Arc<Segment>> {
    look.of_kind(SegmentKind::Members).find(|members| same(&members.new.coverage, &windows.new.coverage))
}

/// A windows or members segment with what came along with it.
pub(in crate::maintain) fn pair_of(listing: &Listing, segment: &Segment) -> Vec<SegmentId> {
    listing
        .segments
        .iter()
        .filter(|s| s.new.kind != SegmentKind::Rows && same(&s.new.coverage, &segment.new.coverage))
        .map(|s| s.new.segment)
        .collect()
}

fn same(a: &Coverage, b: &Coverage) -> bool {
    (a.revision, a.fold_version, a.window_size_s) == (b.revision, b.fold_version, b.window_size_s)
        && a.generations == b.generations
        && ranges::union(a.ranges.iter().copied()) == ranges::union(b.ranges.iter().copied())
}

/// Listed windows segments, minutes and hours, in heaps: those whose offsets overlap are in one.
pub(super) fn connected<'l>(look: &'l Look<'_>) -> Vec<Vec<&'l Arc<Segment>>> {
    let segments: Vec<&Arc<Segment>> =
        listed_windows(look, MINUTE_S).chain(listed_windows(look, HOUR_S)).collect();
    let mut all: Vec<(OffsetRange, usize)> = segments
        .iter()
        .enumerate()
        .flat_map(|(at, segment)| segment.new.coverage.ranges.iter().map(move |range| (*range, at)))
        .filter(|(range, _)| !range.is_empty())
        .collect();
    all.sort_unstable();
    let mut leaders: Vec<usize> = (0..segments.len()).collect();
    let mut reach: Option<(OffsetRange, usize)> = None;
    for (range, at) in all {
        match &mut reach {
            Some((last, with)) if last.overlaps(&range) => {
                join(&mut leaders, *with, at);
                last.to = last.to.max(range.to);
            }
            _ => reach = Some((range, at)),
        }
    }
    let mut heaps: BTreeMap<usize, Vec<&Arc<Segment>>> = BTreeMap::new();
    for (at, segment) in segments.iter().enumerate() {
        heaps.entry(leader(&leaders, at)).or_default().push(segment);
    }
    heaps.into_values().collect()
}

fn leader(leaders: &[usize], mut at: usize) -> usize {
    while let Some(next) = leaders.get(at).copied().filter(|next| *next != at) {
        at = next;
    }
    at
}

fn join(leaders: &mut [usize], a: usize, b: usize) {
    let (a, b) = (leader(leaders, a), leader(leaders, b));
    if let Some(leads) = leaders.get_mut(a.max(b)) {
        *leads = a.min(b);
    }
}

/// All offsets that the segments cover of whatever.
pub(super) fn ranges_of<'s>(segments: impl IntoIterator<Item = &'s &'s Arc<Segment>>) -> Vec<OffsetRange> {
    ranges::union(segments.into_iter().flat_map(|segment| segment.new.coverage.ranges.iter().copied()))
}

/// Which generations a new segment holds: those of the living that `whole` says are covered on all of it.
pub(super) struct Kept {
    pub(super) meters: BTreeMap<Generation, Namespace>,
    left_out: BTreeSet<Generation>,
}

impl Kept {
    pub(super) fn of(look: &Look<'_>, whole: impl Fn(&Meter) -> bool) -> Self {
        let mut kept = Self { meters: BTreeMap::new(), left_out: BTreeSet::new() };
        for meter in look.meters {
            if whole(meter) {
                kept.meters.insert(meter.key(), meter.namespace.clone());
            } else {
                kept.left_out.insert(meter.key());
            }
        }
        kept
    }

    /// As of the current revision: those that have ended since the inputs were written are left behind,
    /// those that are made later are not covered.
    pub(super) fn coverage(&self, look: &Look<'_>, ranges: &[OffsetRange], window_size_s: u32) -> Coverage {
        Coverage {
            ranges: ranges.to_vec(),
            revision: look.listing.revision,
            fold_version: FOLD_VERSION,
            window_size_s,
            generations: Generations::AllBut(self.left_out.iter().copied().collect()),
        }
    }
}
