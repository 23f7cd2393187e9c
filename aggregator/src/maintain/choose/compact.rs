//! Which segments become one. Rows go by themselves; windows, minutes and hours, and their members go
//! together, unit by unit: a unit is all windows segments whose offsets overlap, as those of meters that
//! came later lie over those of the flush.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_meter::segment::{Coverage, Generations, Segment, SegmentKind};
use weir_meter::window::FOLD_VERSION;
use weir_meter::{Meter, OffsetRange, SegmentId};

use super::covered::{HOUR_S, Kept, MINUTE_S, connected, covered, members_of, ranges_of};
use super::{Job, Look, Output, Rewrite, Why};
use crate::maintain::ranges;

/// A windows segment and its members.
#[derive(Clone, Copy)]
struct Pair<'l> {
    windows: &'l Arc<Segment>,
    members: &'l Arc<Segment>,
}

struct Unit<'l> {
    ranges: Vec<OffsetRange>,
    minutes: Vec<Pair<'l>>,
    hours: Vec<Pair<'l>>,
    level: u32,
    /// Windows and members that a merge would read.
    rows: u64,
    /// Minutes were let go here: hours know of generations that minutes do not.
    let_go: bool,
}

pub(super) fn rows(look: &Look<'_>) -> Option<Job> {
    let rows_max = look.options.segment_rows_max;
    let mut levels: BTreeMap<u32, Vec<&Arc<Segment>>> = BTreeMap::new();
    // Beyond half of the most, no two of a kind would fit into one.
    for segment in look.of_kind(SegmentKind::Rows).filter(|s| s.new.row_count <= rows_max / 2) {
        levels.entry(segment.new.level).or_default().push(segment);
    }
    for (level, mut segments) in levels {
        if segments.len() < look.options.fanout_min() {
            continue;
        }
        segments
            .sort_by_key(|segment| (segment.new.coverage.ranges.iter().min().copied(), segment.new.segment));
        let mut together = 0_u64;
        let inputs: Vec<Arc<Segment>> = segments
            .into_iter()
            .take(look.options.fanout_min())
            .take_while(|segment| {
                together = together.saturating_add(segment.new.row_count);
                together <= rows_max
            })
            .cloned()
            .collect();
        let coverage = Coverage {
            ranges: ranges::union(inputs.iter().flat_map(|s| s.new.coverage.ranges.iter().copied())),
            revision: look.listing.revision,
            fold_version: FOLD_VERSION,
            window_size_s: 0,
            generations: Generations::AllBut(Vec::new()),
        };
        return Some(Job::Rewrite(Rewrite {
            why: Why::Compaction(SegmentKind::Rows),
            remove: inputs.iter().map(|segment| segment.new.segment).collect(),
            add: vec![Output {
                kind: SegmentKind::Rows,
                inputs,
                coverage,
                level: level.saturating_add(1),
                generations: Arc::default(),
            }],
        }));
    }
    None
}

pub(super) fn windows(look: &Look<'_>) -> Option<Job> {
    let units: Vec<Unit<'_>> = units(look).into_iter().filter(|unit| unit.is_complete(look)).collect();
    let mut levels: BTreeMap<(u32, bool), Vec<&Unit<'_>>> = BTreeMap::new();
    let may_grow = |unit: &&Unit<'_>| !unit.is_large(look) && (!unit.let_go || unit.minutes.is_empty());
    for unit in units.iter().filter(may_grow) {
        levels.entry((unit.level, unit.let_go)).or_default().push(unit);
    }
    let fanout = look.options.fanout_min();
    let many = levels.into_iter().find(|(_, units)| units.len() >= fanout);
    if let Some(((level, _), units)) = many {
        let mut together = 0_u64;
        let oldest: Vec<&Unit<'_>> = units
            .into_iter()
            .take(fanout)
            .take_while(|unit| {
                together = together.saturating_add(unit.rows);
                together <= look.options.segment_rows_max
            })
            .collect();
        return Some(merge(look, &oldest, level.saturating_add(1)));
    }
    units.iter().find_map(|unit| {
        let several = if unit.let_go {
            unit.minutes.is_empty() && unit.hours.len() > 1
        } else {
            unit.minutes.len() > 1
        };
        if several { Some(merge(look, &[unit], unit.level)) } else { unit.missing_hours(look) }
    })
}

/// Every unit that can be looked at as a whole, the oldest first.
fn units<'l>(look: &'l Look<'_>) -> Vec<Unit<'l>> {
    let mut units: Vec<Unit<'l>> =
        connected(look).iter().filter_map(|segments| Unit::of(look, segments)).collect();
    units.sort_by(|a, b| a.ranges.cmp(&b.ranges));
    units
}

impl<'l> Unit<'l> {
    /// None if one of the segments has lost its members: nobody can say what the whole would be.
    fn of(look: &'l Look<'_>, segments: &[&'l Arc<Segment>]) -> Option<Self> {
        let mut unit = Self {
            ranges: ranges_of(segments),
            minutes: Vec::new(),
            hours: Vec::new(),
            level: segments.iter().map(|segment| segment.new.level).max().unwrap_or(0),
            rows: 0,
            let_go: false,
        };
        for windows in segments.iter().copied() {
            let pair = Pair { windows, members: members_of(look, windows)? };
            match windows.new.coverage.window_size_s {
                MINUTE_S => unit.minutes.push(pair),
                _ => unit.hours.push(pair),
            }
        }
        let read = if unit.minutes.is_empty() { &unit.hours } else { &unit.minutes };
        unit.rows = read.iter().fold(0, |sum: u64, pair| {
            sum.saturating_add(pair.windows.new.row_count).saturating_add(pair.members.new.row_count)
        });
        unit.let_go = !unit.hours.is_empty()
            && (unit.minutes.is_empty()
                || look.meters.iter().any(|meter| {
                    !ranges::contains(&covered_by(meter, [&unit.minutes]), &covered_by(meter, [&unit.hours]))
                }));
        Some(unit)
    }

    /// As it is with rows: no two of this size fit into one, so it stays by itself.
    fn is_large(&self, look: &Look<'_>) -> bool {
        self.rows > look.options.segment_rows_max / 2
    }

    /// No folding is left to do here. A generation that some of it is still open for would lose what
    /// there is, as a merged segment says one thing of all of its offsets.
    fn is_complete(&self, look: &Look<'_>) -> bool {
        look.meters.iter().filter(|meter| !look.is_wide(meter)).all(|meter| {
            let hours = Some(&self.hours).filter(|_| look.hours_suffice());
            let covered = covered_by(meter, std::iter::once(&self.minutes).chain(hours));
            ranges::contains(&covered, &self.ranges)
        })
    }

    /// Hours of minutes that will not be merged soon: of a refold on ground where minutes were let go, of
    /// rows that were merged before their windows were made, and of what is too large for it.
    fn missing_hours(&self, look: &Look<'_>) -> Option<Job> {
        if !self.let_go && self.level == 0 && !self.is_large(look) {
            return None;
        }
        self.minutes.iter().find_map(|pair| {
            let own = ranges::union(pair.windows.new.coverage.ranges.iter().copied());
            let without_hours = |meter: &Meter| {
                pair.windows.new.coverage.covers(meter)
                    && ranges::intersect(&covered_by(meter, [&self.hours]), &own).is_empty()
            };
            let kept = Kept::of(look, without_hours);
            if kept.meters.is_empty() {
                return None;
            }
            let coverage = kept.coverage(look, &own, HOUR_S);
            Some(Job::Rewrite(Rewrite {
                why: Why::Compaction(SegmentKind::Windows),
                remove: Vec::new(),
                add: outputs(&[*pair], &coverage, pair.windows.new.level, kept),
            }))
        })
    }
}

/// What minutes, hours or both of a unit cover of a generation.
fn covered_by<'u, 'l: 'u>(
    meter: &Meter,
    pairs: impl IntoIterator<Item = &'u Vec<Pair<'l>>>,
) -> Vec<OffsetRange> {
    covered(meter, pairs.into_iter().flatten().map(|pair| pair.windows))
}

fn merge(look: &Look<'_>, units: &[&Unit<'_>], level: u32) -> Job {
    let all = ranges::union(units.iter().flat_map(|unit| unit.ranges.iter().copied()));
    let minutes: Vec<Pair<'_>> = units.iter().flat_map(|unit| unit.minutes.iter().copied()).collect();
    let hours: Vec<Pair<'_>> = units.iter().flat_map(|unit| unit.hours.iter().copied()).collect();
    let whole = |meter: &Meter, pairs: &Vec<Pair<'_>>| ranges::contains(&covered_by(meter, [pairs]), &all);
    let mut add = Vec::new();
    let (known, hours_are_whole) = if minutes.is_empty() {
        (Kept::of(look, |meter| whole(meter, &hours)), true)
    } else {
        let known = Kept::of(look, |meter| whole(meter, &minutes));
        let mut kept = look.meters.iter().filter(|meter| known.meters.contains_key(&meter.key()));
        let hours_are_whole = kept.all(|meter| whole(meter, &hours));
        (known, hours_are_whole)
    };
    // Where no living generation is covered, nothing needs to be: the segments just go.
    if !known.meters.is_empty() {
        let (minute, hour) = (known.coverage(look, &all, MINUTE_S), known.coverage(look, &all, HOUR_S));
        let kept = Arc::new(known.meters);
        if !minutes.is_empty() {
            add.extend(pair_of(&minutes, &minute, level, &kept));
        }
        add.extend(pair_of(if hours_are_whole { &hours } else { &minutes }, &hour, level, &kept));
    }
    let removed: Vec<SegmentId> = minutes
        .iter()
        .chain(&hours)
        .flat_map(|pair| [pair.windows.new.segment, pair.members.new.segment])
        .collect();
    Job::Rewrite(Rewrite { why: Why::Compaction(SegmentKind::Windows), remove: removed, add })
}

fn outputs(inputs: &[Pair<'_>], coverage: &Coverage, level: u32, kept: Kept) -> Vec<Output> {
    pair_of(inputs, coverage, level, &Arc::new(kept.meters)).into()
}

/// Windows and members of the same inputs.
fn pair_of(
    inputs: &[Pair<'_>],
    coverage: &Coverage,
    level: u32,
    kept: &Arc<BTreeMap<weir_meter::Generation, weir_meter::Namespace>>,
) -> [Output; 2] {
    [SegmentKind::Windows, SegmentKind::Members].map(|kind| Output {
        kind,
        inputs: inputs
            .iter()
            .map(|pair| Arc::clone(if kind == SegmentKind::Windows { pair.windows } else { pair.members }))
            .collect(),
        coverage: coverage.clone(),
        level,
        generations: Arc::clone(kept),
    })
}
