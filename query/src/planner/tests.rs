//! The planner against the slow truth: every event is looked up in every part of the plan, and
//! must be found in exactly one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_meter::segment::{Coverage, Generations, NewSegment};
use weir_meter::window::{MINUTE_US, WindowSet};
use weir_meter::{Coordinates, MeterId, Namespace, SegmentId, WriterId};

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

fn segment(id: u128, kind: SegmentKind, ranges: Vec<OffsetRange>, revision: u64) -> Arc<Segment> {
    Arc::new(Segment {
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
                window_size_s: if kind == SegmentKind::Rows { 0 } else { WINDOW_SIZE_S },
                generations: Generations::AllBut(Vec::new()),
            },
            time_range_us: Some((i64::MIN, i64::MAX)),
            location: String::new(),
            checksum: 0,
        },
        writer: WriterId(1),
        listed_at_us: 0,
        delisted_at_us: None,
    })
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

fn source_ranges(source: &RowSource) -> &[OffsetRange] {
    match source {
        RowSource::Segment(segment) => &segment.new.coverage.ranges,
        RowSource::Piece(piece) => &piece.ranges,
    }
}

/// How many parts of the plan count the event; the members, where there are some, must agree.
fn counted(plan: &Plan, at: Coordinates, time_us: i64) -> usize {
    let holds = |source: &&RowSource| source_ranges(source).iter().any(|r| r.contains(at));
    let minute = time_us - time_us.rem_euclid(MINUTE_US);
    let folded_it = |source: &&WindowSource| match source {
        WindowSource::Segment(segment) => {
            let coverage = &segment.new.coverage;
            coverage.fold_version == FOLD_VERSION && coverage.covers(&meter(Aggregation::Sum))
        }
        WindowSource::Piece(piece) => piece.covers(meter(Aggregation::Sum).key()),
    };
    let windows = match plan.interior {
        Some(interior) if interior.contains(minute) => {
            plan.windows.iter().filter(holds).filter(folded_it).count()
        }
        _ => 0,
    };
    let rows = plan.rows.iter().filter(|part| part.times.iter().any(|t| t.contains(time_us))).map(|part| {
        let open = part.offsets.as_ref().is_none_or(|o| o.iter().any(|r| r.contains(at)));
        if open { part.sources.iter().filter(holds).count() } else { 0 }
    });
    windows + rows.sum::<usize>()
}

/// What became of one stretch of offsets, the same in every partition.
#[derive(Clone, Copy, Debug)]
enum Stretch {
    /// At rest with windows of a revision that knows the meter.
    Folded,
    /// At rest, folded before the meter was there, or not folded, or by other rules.
    FoldedBefore,
    NotFolded,
    FoldedOtherwise,
    /// At rest, windows listed but no members.
    NoMembers,
}

fn a_stretch() -> impl Strategy<Value = Stretch> {
    prop_oneof![
        3 => Just(Stretch::Folded),
        1 => Just(Stretch::FoldedBefore),
        1 => Just(Stretch::NotFolded),
        1 => Just(Stretch::FoldedOtherwise),
        1 => Just(Stretch::NoMembers),
    ]
}

prop_compose! {
    fn a_shelf()(
        at_rest in prop::collection::vec((a_stretch(), 1u64..5, any::<bool>()), 0..8),
        head in prop::collection::vec((any::<bool>(), any::<bool>(), 1u64..4), 0..4),
    ) -> (Vec<Frontier>, Vec<Arc<Segment>>, Vec<Arc<PieceSnapshot>>, u64) {
        let mut at = 0;
        let mut segments = Vec::new();
        let mut rows_from = 0;
        let last = at_rest.len().saturating_sub(1);
        for (number, (stretch, length, rows_end)) in at_rest.into_iter().enumerate() {
            let ranges = || vec![range(0, at, at + length), range(1, at, at + length)];
            let id = u128::from(at) * 10;
            // Rows may have been put together over the offsets of several windows segments.
            if rows_end || number == last {
                let to = at + length;
                let ranges = vec![range(0, rows_from, to), range(1, rows_from, to)];
                segments.push(segment(id, SegmentKind::Rows, ranges, 9));
                rows_from = to;
            }
            let revision = if matches!(stretch, Stretch::FoldedBefore) { 4 } else { 5 };
            if !matches!(stretch, Stretch::NotFolded) {
                let mut windows = Segment::clone(&segment(id + 1, SegmentKind::Windows, ranges(), revision));
                if matches!(stretch, Stretch::FoldedOtherwise) {
                    windows.new.coverage.fold_version += 1;
                }
                segments.push(Arc::new(windows));
                if !matches!(stretch, Stretch::NoMembers) {
                    segments.push(segment(id + 2, SegmentKind::Members, ranges(), revision));
                }
            }
            at += length;
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
        (frontiers, segments, pieces, end)
    }
}

proptest! {
    #[test]
    fn every_event_counts_in_one_place(
        (frontiers, segments, pieces, end) in a_shelf(),
        unique in any::<bool>(),
        from in prop::option::of(0i64..300), length in 1i64..300, below in prop::option::of(0i64..300),
    ) {
        let aggregation = if unique { Aggregation::UniqueCount } else { Aggregation::Sum };
        let shelf = Shelf::new(&pieces, &frontiers, &segments).unwrap();
        let times = TimeRange::new(from.map(|f| f * S), from.map(|f| (f + length) * S));
        let split = TimeSplit::new(times, below.map(|b| b * S));
        let plan = plan(&meter(aggregation), &shelf, &split).unwrap();
        if unique {
            prop_assert_eq!(plan.members.len(), plan.windows.len());
            for (member, window) in plan.members.iter().zip(&plan.windows) {
                prop_assert_eq!(source_ranges(member), source_ranges(window));
            }
        } else {
            prop_assert!(plan.members.is_empty());
        }
        for partition in 0..2 {
            let holds = |offset| {
                let at = Coordinates { epoch: 1, partition, offset };
                offset < frontiers.first().map_or(0, |f| f.next_offset)
                    || shelf.pieces.iter().any(|p| p.ranges.iter().any(|r| r.contains(at)))
            };
            for offset in (0..end).filter(|o| holds(*o)) {
                for second in [0, 1, 59, 60, 61, 119, 120, 180, 299, 300, 599] {
                    let at = Coordinates { epoch: 1, partition, offset };
                    let time = second * S + S / 2;
                    prop_assert_eq!(counted(&plan, at, time), usize::from(times.contains(time)),
                        "offset {} second {}", offset, second);
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
    let shelf = Shelf::new(&head, &[frontier(0, 9)], &segments).unwrap();
    let whole = TimeSplit::new(TimeRange::new(None, Some(120 * S)), None);
    let plan = plan(&meter(Aggregation::Sum), &shelf, &whole).unwrap();
    assert_eq!((plan.windows.len(), plan.rows.len()), (2, 0));
}

#[test]
fn a_gap_below_the_frontier_is_named() {
    let segments = [segment(1, SegmentKind::Rows, vec![range(0, 0, 4)], 5)];
    let shelf = Shelf::new(&[], &[frontier(0, 9)], &segments).unwrap();
    let all = TimeSplit::new(TimeRange::new(None, None), None);
    let error = plan(&meter(Aggregation::Sum), &shelf, &all).unwrap_err();
    assert_eq!(error, PlanError::Gap { missing: range(0, 4, 9) });
}

#[test]
fn double_cover_is_refused() {
    let segments = [
        segment(1, SegmentKind::Rows, vec![range(0, 0, 9)], 5),
        segment(2, SegmentKind::Windows, vec![range(0, 0, 9)], 5),
        segment(3, SegmentKind::Windows, vec![range(0, 8, 9)], 6),
    ];
    let shelf = Shelf::new(&[], &[frontier(0, 9)], &segments).unwrap();
    let all = TimeSplit::new(TimeRange::new(None, None), None);
    let error = plan(&meter(Aggregation::Sum), &shelf, &all).unwrap_err();
    assert_eq!(error, PlanError::CoveredTwice { shared: range(0, 8, 9) });
}

#[test]
fn a_piece_that_the_frontier_divides_is_refused() {
    let head = [piece(vec![range(0, 3, 9)], true)];
    let error = Shelf::new(&head, &[frontier(0, 5)], &[]).unwrap_err();
    assert_eq!(error, PlanError::PieceAcrossFrontier { piece: range(0, 3, 9), frontier: 5 });
    let head = [piece(vec![range(0, 0, 5), range(1, 0, 5)], true)];
    let error = Shelf::new(&head, &[frontier(0, 5)], &[]).unwrap_err();
    assert_eq!(error, PlanError::PieceAcrossFrontier { piece: range(0, 0, 5), frontier: 5 });
}

#[test]
fn a_head_that_begins_above_the_frontier_is_refused() {
    let head = [piece(vec![range(0, 7, 9)], true)];
    let error = Shelf::new(&head, &[frontier(0, 5)], &[]).unwrap_err();
    assert_eq!(error, PlanError::HeadGap { piece: range(0, 7, 9), expected: 5 });
}
