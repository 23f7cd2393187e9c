//! Which rows to fold next, for which generations: the newest rows first, as most queries ask for them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_meter::segment::{Coverage, Generations, Segment, SegmentKind};
use weir_meter::window::FOLD_VERSION;
use weir_meter::{Meter, OffsetRange};

use super::covered::{HOUR_S, MINUTE_S, connected, listed_windows, ranges_of};
use super::{Job, Look, Refold};
use crate::maintain::ranges;

/// Generations that the same offsets are open for.
pub(super) struct Open<'l> {
    pub(super) ranges: Vec<OffsetRange>,
    pub(super) meters: Vec<&'l Arc<Meter>>,
}

/// What is below the frontier and in no listed window, by generation. Hours count too if they may be all
/// that a setting has left.
pub(super) fn open<'l>(look: &'l Look<'_>) -> Vec<Open<'l>> {
    let hours = listed_windows(look, HOUR_S).filter(|_| look.hours_suffice());
    let segments: Vec<&Arc<Segment>> = listed_windows(look, MINUTE_S).chain(hours).collect();
    // Most generations are covered by the very same segments: reckon once for all of these.
    let mut alike: HashMap<Vec<usize>, Vec<&'l Arc<Meter>>> = HashMap::new();
    for meter in look.meters.iter().filter(|meter| !look.is_wide(meter)) {
        let covering = segments.iter().enumerate().filter(|(_, s)| s.new.coverage.covers(meter));
        alike.entry(covering.map(|(at, _)| at).collect()).or_default().push(meter);
    }
    let below = below_frontiers(look);
    let mut groups: BTreeMap<Vec<OffsetRange>, Vec<&'l Arc<Meter>>> = BTreeMap::new();
    for (covering, meters) in alike {
        let covering = covering.iter().filter_map(|at| segments.get(*at));
        let covered = ranges::union(covering.flat_map(|s| s.new.coverage.ranges.iter().copied()));
        let open = ranges::subtract(&below, &covered);
        if !open.is_empty() {
            groups.entry(open).or_default().extend(meters);
        }
    }
    groups.into_iter().map(|(ranges, meters)| Open { ranges, meters }).collect()
}

pub(super) fn choose(look: &Look<'_>, open: &[Open<'_>]) -> Option<Job> {
    if open.is_empty() {
        return None;
    }
    let mut rows: Vec<&Arc<Segment>> = look.of_kind(SegmentKind::Rows).collect();
    rows.sort_by_key(|segment| Reverse((newest(segment), segment.new.segment)));
    let places = places(look);
    let (at, place, offsets, groups) = rows.iter().enumerate().find_map(|(at, segment)| {
        let own = own_ranges(segment);
        places.iter().find_map(|place| {
            let (offsets, groups) = largest_group(&ranges::intersect(&own, place), open)?;
            Some((at, place, offsets, groups))
        })
    })?;
    let mut chosen: Vec<Arc<Segment>> = rows.get(at).map(|segment| Arc::clone(segment)).into_iter().collect();
    let mut folded = offsets;
    let rows_max = look.options.refold_rows.max(1);
    let streamed = ranges::len(&folded) > rows_max;
    for segment in rows.iter().skip(at + 1).take_while(|_| !streamed) {
        let own = ranges::intersect(&own_ranges(segment), place);
        let mut parts = groups.iter().map(|group| ranges::intersect(&own, &group.ranges));
        let Some(part) = parts.next().filter(|part| !part.is_empty()) else { continue };
        let together = ranges::len(&folded).saturating_add(ranges::len(&part));
        if together <= rows_max && parts.all(|other| other == part) {
            folded = ranges::union(folded.into_iter().chain(part));
            chosen.push(Arc::clone(segment));
        }
    }
    let mut meters: Vec<Arc<Meter>> =
        groups.iter().flat_map(|group| group.meters.iter().map(|meter| Arc::clone(meter))).collect();
    meters.sort_by(|a, b| (&a.namespace, a.key()).cmp(&(&b.namespace, b.key())));
    Some(Job::Refold(Refold {
        level: chosen.iter().map(|segment| segment.new.level).max().unwrap_or(0),
        rows: chosen,
        coverage: Coverage {
            ranges: folded,
            revision: look.listing.revision,
            fold_version: FOLD_VERSION,
            window_size_s: MINUTE_S,
            generations: Generations::Only(meters.iter().map(|meter| meter.key()).collect()),
        },
        meters,
        streamed,
    }))
}

/// What is folded in one job lies in one of these: windows of other meters that are there already are
/// grouped by age, and a refold across them would tie young and old together for ever.
fn places(look: &Look<'_>) -> Vec<Vec<OffsetRange>> {
    let mut places: Vec<Vec<OffsetRange>> = connected(look).iter().map(ranges_of).collect();
    let taken = ranges::union(places.iter().flatten().copied());
    places.push(ranges::subtract(&below_frontiers(look), &taken));
    places.sort_by_key(|place| Reverse(place.iter().map(|range| (range.epoch, range.to)).max()));
    places
}

fn below_frontiers(look: &Look<'_>) -> Vec<OffsetRange> {
    ranges::union(look.listing.frontiers.iter().map(|frontier| OffsetRange {
        epoch: frontier.epoch,
        partition: frontier.partition,
        from: 0,
        to: frontier.next_offset,
    }))
}

fn own_ranges(segment: &Segment) -> Vec<OffsetRange> {
    ranges::union(segment.new.coverage.ranges.iter().copied())
}

fn newest(segment: &Segment) -> Option<(u32, u64)> {
    segment.new.coverage.ranges.iter().map(|range| (range.epoch, range.to)).max()
}

/// Of the generations that some of these offsets are open for: the most that share the same ones.
fn largest_group<'o, 'l>(
    own: &[OffsetRange],
    open: &'o [Open<'l>],
) -> Option<(Vec<OffsetRange>, Vec<&'o Open<'l>>)> {
    let mut groups: BTreeMap<Vec<OffsetRange>, Vec<&'o Open<'l>>> = BTreeMap::new();
    for group in open {
        let part = ranges::intersect(own, &group.ranges);
        if !part.is_empty() {
            groups.entry(part).or_default().push(group);
        }
    }
    groups.into_iter().max_by_key(|(_, groups)| groups.iter().map(|group| group.meters.len()).sum::<usize>())
}
