//! What may go: events below the floor, minutes that hours stand for, windows that other rules folded.

use std::sync::Arc;
use std::time::Duration;

use weir_meter::Namespace;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::window::FOLD_VERSION;

use super::covered::{HOUR_S, Kept, MINUTE_S, covered, listed_windows, members_of};
use super::{Job, Look, Output, Rewrite, Why};
use crate::maintain::ranges;

const DAY_US: i64 = 86_400_000_000;
/// A segment that lies across the floor is rewritten once this part of its time is below.
const PART_BELOW: i64 = 8;

/// The floor first: nothing is deleted that a query could still see.
pub(super) fn floor(look: &Look<'_>) -> Option<Job> {
    let floor_us = look.now_us.saturating_sub(microseconds(look.options.retention?));
    let floor_us = floor_us.saturating_sub(floor_us.rem_euclid(DAY_US));
    let default = Namespace::default();
    let mut namespaces: Vec<&Namespace> =
        std::iter::once(&default).chain(look.meters.iter().map(|meter| &meter.namespace)).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let due = |namespace: &&Namespace| {
        look.listing.floors.get(*namespace).map_or(0, |floor| floor.floor_us) < floor_us
    };
    namespaces
        .into_iter()
        .find(due)
        .map(|namespace| Job::RaiseFloor { namespace: namespace.clone(), floor_us })
}

/// A segment, with its members if it has windows, without what lies below the lowest floor.
pub(super) fn rewrite(look: &Look<'_>) -> Option<Job> {
    let floor_us = look.listing.floors.values().map(|floor| floor.floor_us).min()?;
    let revision = floors_revision(look.listing);
    let due = |segment: &&Arc<Segment>| {
        if look.applied.get(&segment.new.segment) == Some(&revision) {
            return false;
        }
        let Some((first_us, last_us)) = segment.new.time_range_us else { return is_of_no_use(look, segment) };
        let span_us = last_us.saturating_sub(first_us);
        let below_us = floor_us.saturating_sub(first_us);
        below_us > 0 && (last_us < floor_us || below_us >= DAY_US.max(span_us / PART_BELOW))
    };
    // Windows that have lost their members say nothing of those after them.
    let windows =
        |size| listed_windows(look, size).filter(due).find_map(|windows| windows_pair(look, windows));
    look.of_kind(SegmentKind::Rows)
        .find(due)
        .map(|rows| rewritten(rows, SegmentKind::Rows, vec![again(rows)]))
        .or_else(|| windows(MINUTE_S))
        .or_else(|| windows(HOUR_S))
}

/// Rows that are all bare, and older than every identity that is still asked for. A segment written anew
/// is as young as its listing, so this comes to an end.
fn is_of_no_use(look: &Look<'_>, segment: &Segment) -> bool {
    segment.new.kind == SegmentKind::Rows
        && segment.new.row_count > 0
        && segment.listed_at_us < look.identities_until_us
}

/// Of all floors, the revision of the one that was raised last.
pub(in crate::maintain) fn floors_revision(listing: &weir_catalog::Listing) -> u64 {
    listing.floors.values().map(|floor| floor.revision).max().unwrap_or(0)
}

fn rewritten(segment: &Arc<Segment>, kind: SegmentKind, add: Vec<Output>) -> Job {
    let remove = vec![segment.new.segment];
    Job::Rewrite(Rewrite { why: Why::Retention(kind), remove, add })
}

/// The same rows again: the merge leaves out what the floors say.
fn again(segment: &Arc<Segment>) -> Output {
    Output {
        kind: segment.new.kind,
        inputs: vec![Arc::clone(segment)],
        coverage: segment.new.coverage.clone(),
        level: segment.new.level,
        generations: Arc::default(),
    }
}

/// Windows say anew what they cover: those of ended generations stay behind.
fn windows_pair(look: &Look<'_>, windows: &Arc<Segment>) -> Option<Job> {
    let members = members_of(look, windows)?;
    let kept = Kept::of(look, |meter| windows.new.coverage.covers(meter));
    let own = ranges::union(windows.new.coverage.ranges.iter().copied());
    let coverage = kept.coverage(look, &own, windows.new.coverage.window_size_s);
    let generations = Arc::new(kept.meters);
    let add = [windows, members].into_iter().filter(|_| !generations.is_empty()).map(|input| Output {
        kind: input.new.kind,
        inputs: vec![Arc::clone(input)],
        coverage: coverage.clone(),
        level: input.new.level,
        generations: Arc::clone(&generations),
    });
    Some(Job::Rewrite(Rewrite {
        why: Why::Retention(SegmentKind::Windows),
        remove: vec![windows.new.segment, members.new.segment],
        add: add.collect(),
    }))
}

/// Minutes older than the setting, each of whose generations hours stand for.
pub(super) fn minutes(look: &Look<'_>) -> Option<Job> {
    let before_us = look.now_us.saturating_sub(microseconds(look.options.minute_windows_kept_for?));
    let hours: Vec<&Arc<Segment>> = listed_windows(look, HOUR_S).collect();
    let mut remove = Vec::new();
    for windows in listed_windows(look, MINUTE_S) {
        if windows.new.time_range_us.is_some_and(|(_, last_us)| last_us >= before_us) {
            continue;
        }
        let own = ranges::union(windows.new.coverage.ranges.iter().copied());
        let stood_for = look
            .meters
            .iter()
            .filter(|meter| windows.new.coverage.covers(meter))
            .all(|meter| ranges::contains(&covered(meter, hours.iter().copied()), &own));
        let Some(members) = members_of(look, windows).filter(|_| stood_for) else { continue };
        remove.extend([windows.new.segment, members.new.segment]);
    }
    let job = Rewrite { why: Why::Minutes, remove, add: Vec::new() };
    (!job.remove.is_empty()).then_some(Job::Rewrite(job))
}

/// Windows that another version folded: no query reads them, and they would be in the way of new ones.
pub(super) fn old_folding(look: &Look<'_>) -> Option<Job> {
    let remove: Vec<_> = look
        .listing
        .segments
        .iter()
        .filter(|s| s.new.kind != SegmentKind::Rows && s.new.coverage.fold_version != FOLD_VERSION)
        .map(|segment| segment.new.segment)
        .collect();
    let job = Rewrite { why: Why::OldFolding, remove, add: Vec::new() };
    (!job.remove.is_empty()).then_some(Job::Rewrite(job))
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
