//! Scans give exactly what a look at every row gives, from files and from the head alike.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use weir_meter::segment::SegmentKind;
use weir_meter::window::{MeterWindows, WindowKeyRef};
use weir_meter::{Generation, Namespace, OffsetRange};

use super::*;
use crate::testing::{self, NAMESPACES, SUBJECTS, TIMES_END, TYPES, any_piece, generation, plain_piece};
use crate::{Fate, Row, WindowScan};

#[derive(Clone, Debug)]
struct Filter {
    offsets: Option<Vec<OffsetRange>>,
    namespace: Option<usize>,
    event_type: Option<usize>,
    subjects: Option<Vec<usize>>,
    times_us: Option<Vec<(i64, i64)>>,
    counted_only: bool,
    recorded_after_us: Option<i64>,
}

fn times() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let time = || prop_oneof![8 => -10..TIMES_END + 10, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    prop::collection::vec((time(), time()), 0..3)
}

fn filter() -> impl Strategy<Value = Filter> {
    let offsets = (0..2_u32, 0..300_u64, 0..300_u64).prop_map(|(p, from, to)| testing::range(p, from, to));
    (
        prop::option::of(prop::collection::vec(offsets, 0..4)),
        prop::option::of(0..NAMESPACES.len()),
        prop::option::of(0..TYPES.len()),
        prop::option::of(prop::collection::vec(0..SUBJECTS.len(), 0..3)),
        prop::option::of(times()),
        any::<bool>(),
        prop::option::of(any::<i64>()),
    )
        .prop_map(|(offsets, namespace, event_type, subjects, times_us, counted_only, recorded)| {
            Filter {
                offsets,
                namespace,
                event_type,
                subjects,
                times_us,
                counted_only,
                recorded_after_us: recorded,
            }
        })
}

impl Filter {
    fn scan(&self, sources: Vec<RowSource>) -> RowScan {
        RowScan {
            offsets: self.offsets.clone(),
            namespace: self.namespace.map(|n| Namespace::new(NAMESPACES[n])),
            event_type: self.event_type.map(|t| TYPES[t].to_owned()),
            subjects: self.subjects.as_ref().map(|s| s.iter().map(|s| SUBJECTS[*s].to_owned()).collect()),
            times_us: self.times_us.clone(),
            counted_only: self.counted_only,
            recorded_after_us: self.recorded_after_us,
            ..everything(sources)
        }
    }

    /// Slow and obvious, and of no code that scans use.
    fn wants(&self, row: &Row) -> bool {
        let in_times = |time: i64| {
            self.times_us.as_ref().is_none_or(|t| t.iter().any(|(a, b)| (*a..*b).contains(&time)))
        };
        if let Some(offsets) = &self.offsets {
            let inside = |r: &OffsetRange| {
                (r.epoch, r.partition) == (row.at.epoch, row.at.partition)
                    && (r.from..r.to).contains(&row.at.offset)
            };
            if !offsets.iter().any(inside) {
                return false;
            }
        }
        if self.namespace.is_some_and(|n| NAMESPACES[n] != row.namespace.as_str()) {
            return false;
        }
        if self.counted_only && row.fate != Fate::Counted {
            return false;
        }
        if self.recorded_after_us.is_some_and(|after_us| row.record_time_us <= after_us) {
            return false;
        }
        match &row.event {
            None => self.event_type.is_none() && self.subjects.is_none() && self.times_us.is_none(),
            Some(event) => {
                self.event_type.is_none_or(|t| TYPES[t] == &*event.event_type)
                    && self
                        .subjects
                        .as_ref()
                        .is_none_or(|s| s.iter().any(|s| SUBJECTS[*s] == &*event.subject))
                    && in_times(event.time_us)
            }
        }
    }
}

/// Three pieces one after the other, each told whether it is written or stays in the head.
fn pieces() -> impl Strategy<Value = Vec<(PieceSnapshot, bool)>> {
    (any_piece(0, 200), any_piece(200, 60), any_piece(260, 20), any::<[bool; 3]>())
        .prop_map(|(a, b, c, [x, y, z])| vec![(a, x), (b, y), (c, z)])
}

async fn sources(fixture: &Fixture, pieces: &[(PieceSnapshot, bool)], kind: SegmentKind) -> Vec<RowSource> {
    let mut sources = Vec::new();
    for (piece, written) in pieces {
        sources.push(if *written {
            RowSource::Segment(of_kind(&fixture.write(piece).await, kind))
        } else {
            RowSource::Piece(Arc::new(piece.clone()))
        });
    }
    sources
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.at);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rows_are_those_that_a_look_at_every_row_finds(
        pieces in pieces(),
        filters in prop::collection::vec(filter(), 4),
    ) {
        block_on(async {
            let fixture = Fixture::new();
            let sources = sources(&fixture, &pieces, SegmentKind::Rows).await;
            let all: Vec<Row> = pieces.iter().flat_map(|(p, _)| p.rows.iter().flat_map(|s| s.iter().cloned())).collect();
            for filter in filters {
                let scan = filter.scan(sources.clone());
                let expected: Vec<Row> = all.iter().filter(|row| filter.wants(row)).cloned().collect();
                let found = sorted(rows(fixture.store.scan_rows(scan.clone())).await.unwrap());
                prop_assert_eq!(&found, &sorted(expected));
                // Rows keep their number where no column is wanted.
                let bare = RowScan { columns: vec![], ..scan.clone() };
                let bare = batches(fixture.store.scan_rows(bare)).await.unwrap();
                prop_assert_eq!(bare.iter().map(RecordBatch::num_rows).sum::<usize>(), found.len());
                // Few columns, none of which decides, in the schema's order.
                let few = RowScan { columns: vec!["data", "identity"], ..scan };
                for batch in batches(fixture.store.scan_rows(few)).await.unwrap() {
                    let schema = batch.schema();
                    let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                    prop_assert_eq!(names, ["identity", "data"]);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn windows_and_members_are_those_of_a_look_at_every_one(
        pieces in pieces(),
        subjects in prop::option::of(prop::collection::vec(0..SUBJECTS.len(), 0..3)),
        starts in prop::option::of(prop::collection::vec((0..21_i64, 0..21_i64), 0..3)),
        number in 0..5_u32,
        namespace in 0..2_usize,
        size in prop_oneof![5 => Just(60_u32), 1 => Just(3_600)],
    ) {
        block_on(async {
            let fixture = Fixture::new();
            let starts_us: Option<Vec<(i64, i64)>> =
                starts.map(|s| s.into_iter().map(|(a, b)| (a * 60_000_000, b * 60_000_000)).collect());
            let subjects: Option<Vec<String>> =
                subjects.map(|s| s.into_iter().map(|s| SUBJECTS[s].to_owned()).collect());
            for kind in [SegmentKind::Windows, SegmentKind::Members] {
                let mut expected = Vec::new();
                for (piece, _) in &pieces {
                    expected.extend(wanted_windows(piece, kind, generation(number), NAMESPACES[namespace], size, &subjects, &starts_us));
                }
                let scan = WindowScan {
                    sources: sources(&fixture, &pieces, kind).await,
                    namespace: Namespace::new(NAMESPACES[namespace]),
                    generation: generation(number),
                    window_size_s: size,
                    subjects: subjects.clone(),
                    starts_us: starts_us.clone(),
                    columns: all_columns(kind),
                    counters: Arc::default(),
                };
                let stream = if kind == SegmentKind::Windows {
                    fixture.store.scan_windows(scan)
                } else {
                    fixture.store.scan_members(scan)
                };
                let mut found: Vec<String> = batches(stream).await.unwrap().iter().flat_map(lines).collect();
                found.sort();
                expected.sort();
                prop_assert_eq!(found, expected);
            }
            Ok(())
        })?;
    }
}

/// Each row as text, all columns.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let value = |row: usize| {
        let cells: Vec<String> =
            batch.columns().iter().map(|c| array_value_to_string(c.as_ref(), row).unwrap()).collect();
        cells.join("|")
    };
    (0..batch.num_rows()).map(value).collect()
}

/// Converts all windows of a piece and keeps lines whose key is asked for.
fn wanted_windows(
    piece: &PieceSnapshot,
    kind: SegmentKind,
    wanted: Generation,
    namespace: &str,
    size: u32,
    subjects: &Option<Vec<String>>,
    starts_us: &Option<Vec<(i64, i64)>>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (generation, windows) in &piece.windows.meters {
        let owner = &piece.generations[generation];
        let batch = if kind == SegmentKind::Windows {
            concat_batches(
                &schema::windows(),
                &convert::window_batches_of(owner, *generation, 60, windows).unwrap(),
            )
        } else {
            concat_batches(
                &schema::members(),
                &convert::member_batches_of(owner, *generation, 60, windows).unwrap(),
            )
        }
        .unwrap();
        let subject = batch.column_by_name("subject").unwrap().as_string::<i32>().clone();
        let start = batch.column_by_name("window_start").unwrap().as_primitive::<Int64Type>().clone();
        for (row, line) in lines(&batch).into_iter().enumerate() {
            let keep = *generation == wanted
                && owner.as_str() == namespace
                && size == 60
                && subjects.as_ref().is_none_or(|s| s.iter().any(|s| s == subject.value(row)))
                && starts_us
                    .as_ref()
                    .is_none_or(|r| r.iter().any(|(a, b)| (*a..*b).contains(&start.value(row))));
            if keep {
                found.push(line);
            }
        }
    }
    found
}

#[test]
fn pages_that_cannot_match_are_not_decoded() {
    block_on(async {
        let fixture = Fixture::new();
        let segments = fixture.write(&plain_piece(2_000)).await;
        let source = RowSource::Segment(of_kind(&segments, SegmentKind::Rows));
        let scan = RowScan {
            subjects: Some(vec!["subject-042".to_owned()]),
            times_us: Some(vec![(1_000, 2_000)]),
            ..everything(vec![source])
        };
        let counters = Arc::clone(&scan.counters);
        let found = rows(fixture.store.scan_rows(scan)).await.unwrap();
        assert_eq!(found.len(), 10);
        let looked_at = counters.event_rows.load(Ordering::Relaxed);
        // Its twenty rows lie on two or three pages of sixteen.
        assert!((20..=48).contains(&looked_at), "looked at {looked_at} rows");
        assert_eq!(counters.segments.load(Ordering::Relaxed), 1);
        assert!(counters.bytes.load(Ordering::Relaxed) > 0);
    });
}

#[test]
fn segments_out_of_time_or_offsets_are_not_opened() {
    block_on(async {
        let fixture = Fixture::new();
        let segments = fixture.write(&plain_piece(100)).await;
        let source = RowSource::Segment(of_kind(&segments, SegmentKind::Rows));
        for scan in [
            RowScan { times_us: Some(vec![(100, 500)]), ..everything(vec![source.clone()]) },
            RowScan { offsets: Some(vec![testing::range(0, 100, 200)]), ..everything(vec![source.clone()]) },
            RowScan { offsets: Some(vec![testing::range(1, 0, 200)]), ..everything(vec![source.clone()]) },
        ] {
            let counters = Arc::clone(&scan.counters);
            assert!(batches(fixture.store.scan_rows(scan)).await.unwrap().is_empty());
            assert_eq!(counters.segments.load(Ordering::Relaxed), 0);
        }
    });
}

#[test]
fn an_unknown_column_is_an_error() {
    block_on(async {
        let fixture = Fixture::new();
        let scan = RowScan { columns: vec!["tyme"], ..everything(vec![]) };
        let error = batches(fixture.store.scan_rows(scan)).await.unwrap_err();
        assert_eq!(error.to_string(), "scanning rows: no column is called tyme");
    });
}

#[test]
fn what_a_query_folds_itself_looks_like_what_is_at_rest() {
    let mut windows = MeterWindows::default();
    let key = WindowKeyRef { subject: "s", start_us: 0, groups: &["g"] };
    let (place, state) = windows.windows.place(key);
    state.add_event(1);
    windows.add_member(place, 7);
    let owner = Namespace::default();
    let batches = convert::window_batches_of(&owner, generation(0), 60, &windows).unwrap();
    assert_eq!(
        batches.iter().map(|b| (b.schema(), b.num_rows())).collect::<Vec<_>>(),
        [(schema::windows(), 1)]
    );
    let batches = convert::member_batches_of(&owner, generation(0), 60, &windows).unwrap();
    assert_eq!(
        batches.iter().map(|b| (b.schema(), b.num_rows())).collect::<Vec<_>>(),
        [(schema::members(), 1)]
    );
    let none = convert::window_batches_of(&owner, generation(0), 60, &MeterWindows::default()).unwrap();
    assert!(none.is_empty());
}
