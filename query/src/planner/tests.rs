//! The planner against the slow truth: every event is looked up in every part of the plan, and
//! must be found in exactly one.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use weir_catalog::{Frontier, Listing};
use weir_meter::segment::{Coverage, Generations, NewSegment, SegmentKind};
use weir_meter::window::{FOLD_VERSION, WindowSet};
use weir_meter::zone::{WindowSize, zone};
use weir_meter::{Coordinates, MeterId, Namespace, WriterId};

use super::*;

const S: i64 = 1_000_000;

fn meter(aggregation: Aggregation) -> Meter {
    Meter {
        id: MeterId(7),
        generation: 1,
        namespace: Namespace::default(),
        slug: "m".into(),
        name: "m".into(),
        description: None,
        metadata: None,
        event_type: "t".into(),
        aggregation,
        value_property: None,
        group_by: BTreeMap::new(),
        event_from_us: None,
        created_revision: 5,
        deleted_revision: None,
        created_at_us: 0,
        updated_at_us: 0,
        deleted_at_us: None,
    }
}

fn range(partition: u32, from: u64, to: u64) -> OffsetRange {
    OffsetRange { epoch: 1, partition, from, to }
}

fn segment(id: u128, kind: SegmentKind, ranges: Vec<OffsetRange>, revision: u64) -> Segment {
    Segment {
        new: NewSegment {
            segment: SegmentId(id),
            kind,
            level: 0,
            row_count: 1,
            dropped_rows: 0,
            byte_count: 1,
            coverage: Coverage {
                ranges,
                revision,
                fold_version: FOLD_VERSION,
                window_size_s: if kind == SegmentKind::Rows { 0 } else { MINUTE_S },
                generations: Generations::AllBut(Vec::new()),
            },
            time_range_us: Some((i64::MIN, i64::MAX)),
            location: String::new(),
            checksum: 0,
        },
        writer: WriterId(1),
        listed_at_us: 0,
        delisted_at_us: None,
    }
}

fn piece(ranges: Vec<OffsetRange>, covers: bool) -> Arc<PieceSnapshot> {
    let meter = meter(Aggregation::Sum);
    let generations = covers.then(|| (meter.key(), meter.namespace.clone())).into_iter().collect();
    Arc::new(PieceSnapshot {
        ranges,
        revision: 0,
        generations: Arc::new(generations),
        left_out: Vec::new(),
        rows: Vec::new(),
        windows: WindowSet::default(),
    })
}

fn frontier(partition: u32, next_offset: u64) -> Frontier {
    Frontier { epoch: 1, partition, next_offset, record_time_max_us: 0, last_record_hash: 0 }
}

fn listing(frontiers: &[Frontier], segments: impl IntoIterator<Item = Segment>) -> Listing {
    Listing {
        frontiers: frontiers.to_vec(),
        segments: segments.into_iter().map(Arc::new).collect(),
        ..Listing::default()
    }
}

/// Everything that is there, from windows and rows.
fn now(shelf: &Shelf, times: TimeSplit) -> Scope {
    Scope { ends: shelf.ends(), times, retired_after_us: None, windows: true }
}

fn source_ranges(source: &RowSource) -> &[OffsetRange] {
    match source {
        RowSource::Segment(segment) => &segment.new.coverage.ranges,
        RowSource::Piece(piece) => &piece.ranges,
    }
}

/// How many parts of the plan count the event.
fn counted(plan: &Plan, at: Coordinates, time_us: i64) -> usize {
    let holds = |source: &&RowSource| source_ranges(source).iter().any(|r| r.contains(at));
    let folded_it = |source: &&WindowSource, size_s: u32| match source {
        WindowSource::Segment(segment) => {
            let coverage = &segment.new.coverage;
            assert_eq!((segment.new.kind, coverage.window_size_s), (SegmentKind::Windows, size_s));
            coverage.fold_version == FOLD_VERSION && coverage.covers(&meter(Aggregation::Sum))
        }
        WindowSource::Piece(piece) => size_s == MINUTE_S && piece.covers(meter(Aggregation::Sum).key()),
    };
    let windows = plan.windows.iter().map(|part| {
        let start = time_us - time_us.rem_euclid(i64::from(part.size_s) * S);
        let sources = part.sources.iter().filter(holds).filter(|s| folded_it(s, part.size_s));
        if part.times.contains(start) { sources.count() } else { 0 }
    });
    let rows = plan.rows.iter().filter(|part| part.times.contains(time_us)).map(|part| {
        let open = part.offsets.iter().any(|r| r.contains(at));
        if open { part.sources.iter().filter(holds).count() } else { 0 }
    });
    windows.sum::<usize>() + rows.sum::<usize>()
}

/// What became of one stretch of offsets, the same in every partition.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stretch {
    /// At rest with windows of a revision that knows the meter.
    Folded,
    /// The same, and the meter was named: a refold.
    Refolded,
    /// At rest, folded before the meter was there, or not folded, or by other rules.
    FoldedBefore,
    NotFolded,
    FoldedOtherwise,
    /// At rest, windows listed but no members.
    NoMembers,
}

impl Stretch {
    fn covers(self) -> bool {
        matches!(self, Self::Folded | Self::Refolded | Self::NoMembers)
    }
}

fn a_stretch() -> impl Strategy<Value = Stretch> {
    prop_oneof![
        9 => Just(Stretch::Folded),
        2 => Just(Stretch::Refolded),
        1 => Just(Stretch::FoldedBefore),
        1 => Just(Stretch::NotFolded),
        1 => Just(Stretch::FoldedOtherwise),
        1 => Just(Stretch::NoMembers),
    ]
}

/// What compaction made of four stretches: of which pairs one segment, and of both pairs one again;
/// whether hours came with it, and whether what it replaced is still kept.
#[derive(Clone, Copy, Debug)]
struct Compacted {
    pairs: [bool; 2],
    whole: bool,
    hours: bool,
    kept: bool,
}

prop_compose! {
    fn a_compaction()(pairs in any::<[bool; 2]>(), whole: bool, hours: bool, kept: bool) -> Compacted {
        Compacted { pairs, whole: whole && pairs == [true, true], hours, kept }
    }
}

const KEPT_SINCE_US: i64 = 100;

#[derive(Default, Debug)]
struct Catalogued {
    segments: Vec<Arc<Segment>>,
    retired: Vec<Arc<Segment>>,
    id: u128,
}

impl Catalogued {
    /// Adds windows and their members; with a time they are retired ones.
    fn windows(&mut self, from: u64, to: u64, stretch: Stretch, size_s: u32, delisted_at_us: Option<i64>) {
        for kind in [SegmentKind::Windows, SegmentKind::Members] {
            if stretch == Stretch::NotFolded
                || (stretch == Stretch::NoMembers && kind == SegmentKind::Members)
            {
                continue;
            }
            self.id += 1;
            let revision = if stretch == Stretch::FoldedBefore { 4 } else { 5 };
            let mut windows = segment(self.id, kind, vec![range(1, from, to), range(0, from, to)], revision);
            let coverage = &mut windows.new.coverage;
            coverage.window_size_s = size_s;
            if stretch == Stretch::FoldedOtherwise {
                coverage.fold_version += 1;
            }
            if stretch == Stretch::Refolded {
                coverage.revision = 3;
                coverage.generations = Generations::Only(vec![meter(Aggregation::Sum).key()]);
            }
            windows.delisted_at_us = delisted_at_us;
            let list = if delisted_at_us.is_some() { &mut self.retired } else { &mut self.segments };
            list.push(Arc::new(windows));
        }
    }

    fn rows(&mut self, from: u64, to: u64) {
        self.id += 1;
        let rows = segment(self.id, SegmentKind::Rows, vec![range(0, from, to), range(1, from, to)], 9);
        self.segments.push(Arc::new(rows));
    }

    /// Four stretches as they were flushed, and what compaction made of them.
    fn compact(&mut self, stretches: &[(Stretch, u64, u64)], compacted: Compacted) {
        let delisted = Some(if compacted.kept { KEPT_SINCE_US + 1 } else { KEPT_SINCE_US });
        for (pair, merged) in stretches.chunks(2).zip(compacted.pairs) {
            for (stretch, from, to) in pair {
                self.windows(*from, *to, *stretch, MINUTE_S, if merged { delisted } else { None });
            }
            if merged {
                self.merged(pair, compacted.hours, if compacted.whole { delisted } else { None });
            }
        }
        if compacted.whole {
            self.merged(stretches, compacted.hours, None);
        }
    }

    /// A merged segment covers the meter if all did that it was made of.
    fn merged(&mut self, of: &[(Stretch, u64, u64)], hours: bool, delisted_at_us: Option<i64>) {
        let covers = of.iter().all(|(stretch, _, _)| stretch.covers());
        let (Some((_, from, _)), Some((_, _, to))) = (of.first(), of.last()) else { return };
        let stretch = match covers {
            true if of.iter().any(|(s, _, _)| *s == Stretch::NoMembers) => Stretch::NoMembers,
            true => Stretch::Folded,
            false => Stretch::FoldedBefore,
        };
        self.windows(*from, *to, stretch, MINUTE_S, delisted_at_us);
        if hours {
            self.windows(*from, *to, stretch, HOUR_S, delisted_at_us);
        }
    }
}

prop_compose! {
    fn a_shelf()(
        at_rest in prop::collection::vec((a_stretch(), 1u64..5, any::<bool>()), 0..12),
        compacted in prop::collection::vec(a_compaction(), 3),
        head in prop::collection::vec((any::<bool>(), any::<bool>(), 1u64..4), 0..4),
    ) -> Shelf {
        let mut catalogued = Catalogued::default();
        let (mut at, mut rows_from) = (0, 0);
        let mut stretches = Vec::new();
        for (stretch, length, rows_end) in &at_rest {
            stretches.push((*stretch, at, at + length));
            at += length;
            // Rows may have been put together over the offsets of several windows segments.
            if *rows_end {
                catalogued.rows(rows_from, at);
                rows_from = at;
            }
        }
        if rows_from < at {
            catalogued.rows(rows_from, at);
        }
        for (stretches, compacted) in stretches.chunks(4).zip(compacted) {
            catalogued.compact(stretches, compacted);
        }
        let mut frontiers = vec![frontier(0, at), frontier(1, at)];
        frontiers.retain(|f| f.next_offset > 0);
        // Pieces that were at rest already when the listing was taken.
        let mut pieces = Vec::new();
        if at > 0 {
            pieces.push(piece(vec![range(0, 0, at), range(1, 0, at)], true));
        }
        let mut end = at;
        for (covers, both, length) in head {
            let mut ranges = vec![range(0, end, end + length)];
            if both && end == at {
                ranges.push(range(1, at, at + length));
            }
            pieces.push(piece(ranges, covers));
            end += length;
        }
        let Catalogued { segments, retired, .. } = catalogued;
        Shelf::new(&pieces, &Listing { frontiers, segments, retired, ..Listing::default() }).unwrap()
    }
}

/// Windows of a query, some in zones that have no whole hours, or windows that begin inside minutes.
fn some_windows() -> impl Strategy<Value = Option<(WindowSize, &'static str)>> {
    let sizes = [WindowSize::Minute, WindowSize::Hour, WindowSize::Day];
    let zones = ["UTC", "UTC", "Europe/Berlin", "Asia/Kolkata", "Africa/Monrovia"];
    prop::option::of((prop::sample::select(sizes.to_vec()), prop::sample::select(zones.to_vec())))
}

const TIMES: [i64; 13] = [0, 1, 59, 60, 61, 3_599, 3_600, 3_601, 7_199, 7_200, 7_260, 10_799, 14_399];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn every_event_counts_in_one_place(
        shelf in a_shelf(),
        unique in any::<bool>(), windows in prop::bool::weighted(0.9),
        from in prop::option::of(0i64..9_000), length in prop::option::of(1i64..9_000), named in some_windows(),
        cut in prop::option::of((0u64..40, 0u64..40)),
    ) {
        let aggregation = if unique { Aggregation::UniqueCount } else { Aggregation::Sum };
        let times = TimeRange::new(from.map(|f| f * S), length.map(|l| (from.unwrap_or(0) + l) * S));
        let named = named.map(|(size, name)| (size, zone(name).unwrap()));
        let split = TimeSplit::new(times, named.as_ref().map(|(size, zone)| (*size, zone)));
        let all = shelf.ends();
        let end_of = |ends: &[OffsetRange], p: u32| ends.iter().find(|e| e.partition == p).map_or(0, |e| e.to);
        let offsets = cut.map(|(a, b)| [(0, a.min(end_of(&all, 0))), (1, b.min(end_of(&all, 1)))]);
        let ends = offsets.map_or(all.clone(), |offsets| shelf.ends_at(1, &offsets).unwrap());
        let retired_after_us = cut.map(|_| KEPT_SINCE_US);
        let scope = Scope { ends: ends.clone(), times: split, retired_after_us, windows };
        let plan = plan(&meter(aggregation), &shelf, &scope).unwrap();
        for part in &plan.windows {
            prop_assert!(windows && !part.sources.is_empty());
            prop_assert_eq!(part.members.len(), if unique { part.sources.len() } else { 0 });
            for (member, window) in part.members.iter().zip(&part.sources) {
                prop_assert_eq!(source_ranges(member), source_ranges(window));
                if let WindowSource::Segment(member) = member {
                    prop_assert_eq!(member.new.kind, SegmentKind::Members);
                    prop_assert_eq!(member.new.coverage.window_size_s, part.size_s);
                }
            }
            for source in &part.sources {
                prop_assert!(source_ranges(source).iter().all(|r| r.to <= end_of(&ends, r.partition)));
                if let WindowSource::Segment(segment) = source {
                    prop_assert!(segment.delisted_at_us.is_none_or(|at| cut.is_some() && at > KEPT_SINCE_US));
                }
            }
        }
        for partition in 0..2 {
            for offset in 0..end_of(&all, partition) {
                for second in TIMES {
                    let at = Coordinates { epoch: 1, partition, offset };
                    let time = second * S + S / 2;
                    let counts = times.contains(time) && offset < end_of(&ends, partition);
                    prop_assert_eq!(counted(&plan, at, time), usize::from(counts),
                        "partition {} offset {} second {} {:#?}", partition, offset, second, plan);
                }
            }
        }
    }
}

#[test]
fn windows_answer_alone_when_they_can() {
    let segments = [
        segment(1, SegmentKind::Rows, vec![range(0, 0, 9)], 5),
        segment(2, SegmentKind::Windows, vec![range(0, 0, 9)], 5),
    ];
    let head = [piece(vec![range(0, 9, 12)], true)];
    let shelf = Shelf::new(&head, &listing(&[frontier(0, 9)], segments)).unwrap();
    let whole = TimeSplit::new(TimeRange::new(None, Some(120 * S)), None);
    let plan = plan(&meter(Aggregation::Sum), &shelf, &now(&shelf, whole)).unwrap();
    assert_eq!((plan.windows.len(), plan.rows.len()), (1, 0));
    assert_eq!(plan.windows[0].sources.len(), 2);
}

/// Hours over the first offsets, minutes over more, rows and a piece over all.
fn shelf_of_two_sizes() -> Shelf {
    let mut hours = segment(4, SegmentKind::Windows, vec![range(0, 0, 9)], 5);
    hours.new.coverage.window_size_s = HOUR_S;
    let segments = [
        segment(1, SegmentKind::Rows, vec![range(0, 0, 20)], 5),
        segment(2, SegmentKind::Windows, vec![range(0, 0, 9)], 5),
        segment(3, SegmentKind::Windows, vec![range(0, 9, 15)], 5),
        hours,
    ];
    Shelf::new(&[piece(vec![range(0, 20, 22)], true)], &listing(&[frontier(0, 20)], segments)).unwrap()
}

/// (size, number of sources, times) of each part that reads windows, and (offsets, times) of rows.
type Shape = (Vec<(u32, usize, String)>, Vec<(Vec<OffsetRange>, String)>);

fn shape(plan: &Plan) -> Shape {
    let windows = plan.windows.iter().map(|p| (p.size_s, p.sources.len(), p.times.to_string()));
    (windows.collect(), plan.rows.iter().map(|p| (p.offsets.clone(), p.times.to_string())).collect())
}

fn day(from_s: i64, to_s: i64, name: &str) -> TimeSplit {
    let zone: TimeZone = zone(name).unwrap();
    TimeSplit::new(TimeRange::new(Some(from_s * S), Some(to_s * S)), Some((WindowSize::Day, &zone)))
}

#[test]
fn hours_answer_hours_and_minutes_the_rest() {
    let shelf = shelf_of_two_sizes();
    let plan = plan(&meter(Aggregation::Sum), &shelf, &now(&shelf, day(1_830, 7_200, "UTC"))).unwrap();
    let hour = "1970-01-01T01:00:00Z..1970-01-01T02:00:00Z";
    let minutes = "1970-01-01T00:31:00Z..1970-01-01T01:00:00Z";
    let whole = "1970-01-01T00:31:00Z..1970-01-01T02:00:00Z";
    let edge = "1970-01-01T00:30:30Z..1970-01-01T00:31:00Z";
    let windows = [(HOUR_S, 1, hour), (MINUTE_S, 2, whole), (MINUTE_S, 1, minutes)]
        .map(|(s, n, t)| (s, n, t.to_owned()));
    let rows = [(vec![range(0, 15, 20)], whole), (vec![range(0, 0, 22)], edge)];
    assert_eq!(shape(&plan), (windows.to_vec(), rows.map(|(o, t)| (o, t.to_owned())).to_vec()));
}

#[test]
fn no_hour_answers_where_clocks_show_half_hours() {
    let shelf = shelf_of_two_sizes();
    let split = day(0, 7_200, "Asia/Kolkata");
    let plan = plan(&meter(Aggregation::Sum), &shelf, &now(&shelf, split)).unwrap();
    let whole = "1970-01-01T00:00:00Z..1970-01-01T02:00:00Z".to_owned();
    assert_eq!(shape(&plan), (vec![(MINUTE_S, 3, whole.clone())], vec![(vec![range(0, 15, 20)], whole)]));
}

#[test]
fn what_crosses_a_position_is_answered_from_rows() {
    let shelf = shelf_of_two_sizes();
    let whole = "1970-01-01T00:00:00Z..1970-01-01T02:00:00Z".to_owned();
    for (end, windows, open) in [(22, 3, (15, 20)), (21, 2, (15, 21)), (14, 1, (9, 14)), (8, 0, (0, 8))] {
        let ends = shelf.ends_at(1, &[(0, end)]).unwrap();
        let scope = Scope { ends, ..now(&shelf, day(0, 7_200, "UTC")) };
        let plan = plan(&meter(Aggregation::Sum), &shelf, &scope).unwrap();
        let sources: usize = plan.windows.iter().map(|part| part.sources.len()).sum();
        assert_eq!(sources, windows, "{end}");
        let rows = vec![(vec![range(0, open.0, open.1)], whole.clone())];
        assert_eq!(shape(&plan).1, rows, "{end}");
    }
    assert_eq!(shelf.ends_at(1, &[(0, 23)]), None, "the head ends below it");
    assert_eq!(shelf.ends_at(1, &[(1, 1)]), None);
    assert_eq!(shelf.ends_at(1, &[(1, 0)]), Some(Vec::new()));
    assert_eq!(shelf.ends_at(0, &[]), Some(Vec::new()), "a later epoch does not count");
    assert_eq!(shelf.ends_at(2, &[]), Some(vec![range(0, 0, 22)]), "an earlier epoch counts wholly");
}

#[test]
fn a_gap_below_the_frontier_is_named() {
    let segments = [segment(1, SegmentKind::Rows, vec![range(0, 0, 4)], 5)];
    let shelf = Shelf::new(&[], &listing(&[frontier(0, 9)], segments)).unwrap();
    let all = TimeSplit::new(TimeRange::new(None, None), None);
    let error = plan(&meter(Aggregation::Sum), &shelf, &now(&shelf, all)).unwrap_err();
    assert_eq!(error, PlanError::Gap { missing: range(0, 4, 9) });
}

#[test]
fn double_cover_is_refused() {
    let rows = segment(1, SegmentKind::Rows, vec![range(0, 0, 9)], 5);
    let windows = segment(2, SegmentKind::Windows, vec![range(0, 0, 9)], 5);
    let again = segment(3, SegmentKind::Windows, vec![range(0, 8, 9)], 6);
    let mut hours = again.clone();
    hours.new.coverage.window_size_s = HOUR_S;
    let all = TimeSplit::new(TimeRange::new(None, None), None);
    let plan_of = |segments: [&Segment; 3], to| {
        let shelf = Shelf::new(&[], &listing(&[frontier(0, 9)], segments.map(Segment::clone))).unwrap();
        let scope = Scope { ends: vec![range(0, 0, to)], ..now(&shelf, all.clone()) };
        plan(&meter(Aggregation::Sum), &shelf, &scope).map(|_| ())
    };
    let twice = PlanError::CoveredTwice { shared: range(0, 8, 9) };
    assert_eq!(plan_of([&rows, &windows, &again], 9), Err(twice.clone()));
    assert_eq!(plan_of([&rows, &windows, &again], 3), Err(twice), "also above a position");
    assert_eq!(plan_of([&rows, &windows, &hours], 9), Ok(()));
}

#[test]
fn a_piece_that_the_frontier_divides_is_refused() {
    let at = |ranges| Shelf::new(&[piece(ranges, true)], &listing(&[frontier(0, 5)], [])).unwrap_err();
    let error = at(vec![range(0, 3, 9)]);
    assert_eq!(error, PlanError::PieceAcrossFrontier { piece: range(0, 3, 9), frontier: 5 });
    let error = at(vec![range(0, 0, 5), range(1, 0, 5)]);
    assert_eq!(error, PlanError::PieceAcrossFrontier { piece: range(0, 0, 5), frontier: 5 });
}

#[test]
fn a_head_that_begins_above_the_frontier_is_refused() {
    let head = [piece(vec![range(0, 7, 9)], true)];
    let error = Shelf::new(&head, &listing(&[frontier(0, 5)], [])).unwrap_err();
    assert_eq!(error, PlanError::HeadGap { piece: range(0, 7, 9), expected: 5 });
}
