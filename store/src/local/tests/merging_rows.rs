//! Merged rows against a sort of all rows, with retention told in the plainest words.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::AsArray as _;
use proptest::prelude::*;
use weir_meter::segment::Coverage;
use weir_meter::{Namespace, OffsetRange, SegmentId};

use super::merging::{files_in, lines_of, merged, plain_merge};
use super::*;
use crate::local::{merge, write::SegmentWriter};
use crate::row::Row;
use crate::testing::{NAMESPACES, TIMES_END, any_piece, plain_piece, plain_row, range};
use crate::{Merge, Retention};

/// Rows with who wrote them.
type Written = Vec<(Row, WriterId)>;

async fn read(fixture: &Fixture, segment: &Arc<Segment>) -> Written {
    let scan = everything(vec![RowSource::Segment(Arc::clone(segment))]);
    let mut found = Vec::new();
    for batch in batches(fixture.store.scan_rows(scan)).await.unwrap() {
        let writers = batch.column_by_name("writer").unwrap().as_fixed_size_binary().clone();
        let rows = convert::batch_to_rows(&batch).unwrap();
        found.extend(
            rows.into_iter()
                .enumerate()
                .map(|(at, row)| (row, WriterId(u128::from_be_bytes(writers.value(at).try_into().unwrap())))),
        );
    }
    found
}

/// Each piece by a writer of its own.
async fn write_all(fixture: &Fixture, pieces: &[PieceSnapshot]) -> (Vec<Arc<Segment>>, Written) {
    let (mut segments, mut all) = (Vec::new(), Vec::new());
    for (number, piece) in (1_u128..).zip(pieces) {
        let new = fixture.store.write(WriterId(number), piece).await.unwrap().remove(0);
        let segment = Segment { new, writer: WriterId(number), listed_at_us: 0, delisted_at_us: None };
        segments.push(Arc::new(segment));
        all.extend(piece.rows.iter().flat_map(|step| step.iter().map(|row| (row.clone(), WriterId(number)))));
    }
    (segments, all)
}

/// What should be left, in order, and how many rows should be gone.
fn kept(all: &Written, retention: &Retention) -> (Written, u64) {
    let mut left = Vec::new();
    for (row, writer) in all {
        let mut row = row.clone();
        if let Some(floor) = retention.floors.get(&row.namespace) {
            if row.event.as_ref().is_some_and(|event| event.time_us < *floor) {
                row.event = None;
            }
            if row.event.is_none()
                && row.record_time_us < *floor
                && row.record_time_us <= retention.identities_until_us
            {
                continue;
            }
        }
        left.push((row, *writer));
    }
    left.sort_by_cached_key(|(row, _)| {
        let event = row.event.as_ref().map(|e| (e.event_type.clone(), e.subject.clone(), e.time_us));
        (row.namespace.as_str().to_owned(), event, row.at)
    });
    let gone = (all.len() - left.len()) as u64;
    (left, gone)
}

fn retention() -> impl Strategy<Value = Retention> {
    let floors = prop::collection::btree_map(
        (0..NAMESPACES.len()).prop_map(|n| Namespace::new(NAMESPACES[n])),
        prop_oneof![3 => -2..TIMES_END + 2, 1 => Just(i64::MAX), 1 => Just(i64::MIN)],
        0..=2,
    );
    let until = prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>(), -2..TIMES_END];
    (floors, until).prop_map(|(floors, identities_until_us)| Retention { floors, identities_until_us })
}

/// Neighbours in both of two partitions, some of them large enough for more than one sorted file aside.
fn pieces() -> impl Strategy<Value = Vec<PieceSnapshot>> {
    (1..5_u64, 2..150_u64)
        .prop_flat_map(|(count, rows)| (0..count).map(|at| any_piece(at * rows, rows)).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_row_stays_or_goes_as_told(
        pieces in pieces(),
        first in retention(),
        second in retention(),
        split in 0..5_usize,
    ) {
        block_on(async {
            let fixture = Fixture::new();
            let (segments, all) = write_all(&fixture, &pieces).await;
            let mut on_disk = files_in(&fixture).len();
            let (left, right) = segments.split_at(split.min(segments.len()));
            let mut inputs = right.to_vec();
            let mut expected: Written = all.iter().filter(|(row, _)| right.iter().any(|s| holds(s, row))).cloned().collect();
            let mut dropped = 0;
            if !left.is_empty() {
                let of_left: Written = all.iter().filter(|(row, _)| left.iter().any(|s| holds(s, row))).cloned().collect();
                let (rows, gone) = kept(&of_left, &first);
                let merge = Merge { retention: first, level: 3, ..plain_merge(left.to_vec(), 0) };
                let segment = merged(&fixture, merge.clone()).await.unwrap();
                prop_assert_eq!(&read(&fixture, &segment).await, &rows);
                prop_assert_eq!((segment.new.row_count, segment.new.dropped_rows), (rows.len() as u64, gone));
                prop_assert_eq!((segment.new.level, &segment.new.coverage), (3, &merge.coverage));
                let times = || rows.iter().filter_map(|(row, _)| row.event.as_ref().map(|e| e.time_us));
                prop_assert_eq!(segment.new.time_range_us, times().min().zip(times().max()));
                prop_assert_eq!(segment.new.location.is_empty(), rows.is_empty());
                on_disk += usize::from(!rows.is_empty());
                dropped += gone;
                expected.extend(rows);
                inputs.push(segment);
            }
            let (rows, gone) = kept(&expected, &second);
            let segment = merged(&fixture, Merge { retention: second, ..plain_merge(inputs, 0) }).await.unwrap();
            prop_assert_eq!(&read(&fixture, &segment).await, &rows);
            prop_assert_eq!((segment.new.row_count, segment.new.dropped_rows), (rows.len() as u64, gone + dropped));
            on_disk += usize::from(!rows.is_empty());
            // What was sorted aside is gone.
            prop_assert_eq!(files_in(&fixture).len(), on_disk);
            fixture.store.verify(&[segment], true).await.unwrap();
            Ok(())
        })?;
    }

    #[test]
    fn one_file_is_scanned_in_the_order_at_rest(
        pieces in pieces(),
        namespace in prop::option::of(0..NAMESPACES.len()),
        partition in 0..3_u32,
    ) {
        block_on(async {
            let fixture = Fixture::new();
            let (segments, all) = write_all(&fixture, &pieces).await;
            let segment = merged(&fixture, plain_merge(segments, 0)).await.unwrap();
            let scan = RowScan {
                namespace: namespace.map(|n| Namespace::new(NAMESPACES[n])),
                offsets: (partition < 2).then(|| vec![range(partition, 0, 90)]),
                ..everything(vec![RowSource::Segment(segment)])
            };
            let (sorted, _) = kept(&all, &Retention::default());
            let expected: Vec<Row> = sorted.into_iter().map(|(row, _)| row).filter(|row| scan.matches(row)).collect();
            prop_assert_eq!(rows(fixture.store.scan_rows(scan)).await.unwrap(), expected);
            Ok(())
        })?;
    }
}

fn holds(segment: &Segment, row: &Row) -> bool {
    segment.new.coverage.ranges.iter().any(|range| range.contains(row.at))
}

/// Two plain pieces of 200 rows.
async fn two(fixture: &Fixture) -> Vec<Arc<Segment>> {
    let next = PieceSnapshot {
        ranges: vec![range(0, 200, 400)],
        rows: vec![Arc::new((200..400).map(plain_row).collect())],
        ..plain_piece(1)
    };
    write_all(fixture, &[plain_piece(200), next]).await.0
}

#[test]
fn what_cannot_be_right_is_refused() {
    block_on(async {
        let fixture = Fixture::new();
        let inputs = two(&fixture).await;
        let before = files_in(&fixture);
        let good = plain_merge(inputs.clone(), 0);
        let covering = |ranges: Vec<OffsetRange>| {
            let coverage = Coverage { ranges, ..good.coverage.clone() };
            Merge { coverage, ..good.clone() }
        };
        let with_counts = |row_count: u64, dropped_rows: u64| {
            let mut merge = good.clone();
            let new = &mut Arc::make_mut(&mut merge.inputs[0]).new;
            (new.row_count, new.dropped_rows) = (row_count, dropped_rows);
            merge
        };
        for bad in [
            covering(vec![range(0, 0, 399)]),
            covering(vec![range(0, 0, 401)]),
            covering(vec![range(0, 0, 400), range(0, 300, 310)]),
            covering(vec![range(1, 0, 400)]),
            covering(vec![]),
            plain_merge(vec![Arc::clone(&inputs[0]), Arc::clone(&inputs[0])], 0),
            with_counts(199, 0),
            with_counts(200, 1),
            with_counts(u64::MAX, 201),
            // The counts add up, but the row is in the file.
            with_counts(199, 1),
        ] {
            let error = merged(&fixture, bad).await.unwrap_err();
            assert!(matches!(error, StoreError::Inconsistent(_)), "{error}");
        }
        assert_eq!(files_in(&fixture), before);
        assert_eq!(merged(&fixture, covering(vec![range(0, 0, 400)])).await.unwrap().new.row_count, 400);
    });
}

/// A file whose rows are these, in this order.
fn file_of(fixture: &Fixture, offsets: &[u64], ranges: Vec<OffsetRange>, id: u128) -> Arc<Segment> {
    let rows: Vec<Row> = offsets.iter().map(|offset| plain_row(*offset)).collect();
    let batch = convert::rows_to_batch(&rows.iter().collect::<Vec<_>>(), WRITER, &schema::rows()).unwrap();
    let coverage = Coverage { ranges, ..super::merging::coverage(&[], 0) };
    let shared = &fixture.store.shared;
    let mut file = SegmentWriter::new(shared, WRITER, SegmentId(id), SegmentKind::Rows, coverage);
    file.push(&batch, 0).unwrap();
    listed(file.finish().unwrap().keep()).remove(0)
}

#[test]
fn a_file_out_of_order_and_an_offset_held_twice_are_found_and_leave_nothing() {
    block_on(async {
        let fixture = Fixture::new();
        // Subjects go by the offset's last two digits, so up to 99 the order is that of the offsets.
        let good: Vec<u64> = (0..99).collect();
        let mut swapped = good.clone();
        swapped.swap(97, 98);
        // Across the end of a batch of 24.
        let mut at_edge = good.clone();
        at_edge.swap(71, 72);
        for offsets in [swapped, at_edge] {
            let bad = file_of(&fixture, &offsets, vec![range(0, 0, 99)], 0xbad0 + u128::from(offsets[71]));
            let before = files_in(&fixture);
            let error = merged(&fixture, plain_merge(vec![bad], 0)).await.unwrap_err();
            assert!(error.to_string().contains("not in order"), "{error}");
            assert_eq!(files_in(&fixture), before);
        }
        // It says that it holds what comes after, and holds the first again.
        let one = file_of(&fixture, &good, vec![range(0, 0, 99)], 0xbad3);
        let other = file_of(&fixture, &good, vec![range(0, 99, 198)], 0xbad4);
        let before = files_in(&fixture);
        let error = merged(&fixture, plain_merge(vec![one, other], 0)).await.unwrap_err();
        assert!(error.to_string().contains("two rows stand at"), "{error}");
        assert_eq!(files_in(&fixture), before);
    });
}

/// Asks to stop when it is asked for a number the so-manieth time: in the middle of the work.
struct Stopping {
    asked: AtomicUsize,
    at: usize,
    stop: Arc<AtomicBool>,
}

impl Entropy for Stopping {
    fn random_u128(&self) -> u128 {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        self.stop.store(asked == self.at, Ordering::Relaxed);
        0x5_0000 + asked as u128
    }
}

#[test]
fn work_that_is_stopped_leaves_nothing() {
    block_on(async {
        let fixture = Fixture::new();
        let inputs = two(&fixture).await;
        let before = files_in(&fixture);
        let below_all = Retention {
            floors: BTreeMap::from([(Namespace::default(), 1_000)]),
            identities_until_us: i64::MIN,
        };
        // 400 events below the floor make eight files of 48 aside.
        for at in 1..=9 {
            let merge = Merge { retention: below_all.clone(), ..plain_merge(inputs.clone(), 0) };
            let entropy = Stopping { asked: AtomicUsize::new(0), at, stop: Arc::clone(&merge.stop) };
            let error = merge::merge(&fixture.store.shared, &entropy, WRITER, &merge).unwrap_err();
            assert!(matches!(error, StoreError::Stopped), "{error}");
            assert_eq!(entropy.asked.load(Ordering::Relaxed), at);
            assert_eq!(files_in(&fixture), before);
        }
        let merge = Merge { retention: below_all, ..plain_merge(inputs, 0) };
        let entropy = Stopping { asked: AtomicUsize::new(0), at: usize::MAX, stop: Arc::clone(&merge.stop) };
        let made = merge::merge(&fixture.store.shared, &entropy, WRITER, &merge).unwrap();
        assert_eq!(files_in(&fixture).len(), before.len() + 1);
        // Nobody took it.
        drop(made);
        assert_eq!(files_in(&fixture), before);
    });
}

#[test]
fn a_counted_event_below_the_floor_stays_counted() {
    block_on(async {
        let fixture = Fixture::new();
        let inputs = two(&fixture).await;
        let floors = BTreeMap::from([(Namespace::default(), 300)]);
        let retention = Retention { floors, identities_until_us: 99 };
        let segment = merged(&fixture, Merge { retention, ..plain_merge(inputs, 0) }).await.unwrap();
        assert_eq!((segment.new.row_count, segment.new.dropped_rows), (300, 100));
        assert_eq!(segment.new.time_range_us, Some((300, 399)));
        let path = fixture.path(&segment);
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
            fs::File::open(path).unwrap(),
        );
        for batch in reader.unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let signs =
                batch.column_by_name("sign").unwrap().as_primitive::<arrow::datatypes::Int8Type>().clone();
            assert!(signs.values().iter().all(|sign| *sign == 1));
            assert!(
                batch.column_by_name("fate").unwrap().as_string::<i32>().iter().all(|f| f == Some("counted"))
            );
            let given = batch.column_by_name("time_given").unwrap();
            assert_eq!(given.null_count(), batch.column_by_name("time").unwrap().null_count());
        }
    });
}

#[test]
fn with_little_memory_a_merge_writes_the_same_rows_in_smaller_groups() {
    block_on(async {
        let mut fixture = Fixture::new();
        let inputs = two(&fixture).await;
        let much = merged(&fixture, plain_merge(inputs.clone(), 0)).await.unwrap();
        Arc::get_mut(&mut fixture.store.shared).unwrap().maintenance_memory_max = 4_096;
        let little = merged(&fixture, plain_merge(inputs, 0)).await.unwrap();
        assert_eq!(lines_of(&fixture, &little), lines_of(&fixture, &much));
        let groups = |segment| {
            let file = std::fs::File::open(fixture.path(segment)).unwrap();
            let reader =
                parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            reader.metadata().num_row_groups()
        };
        assert!(groups(&little) > groups(&much), "{} {}", groups(&little), groups(&much));
    });
}
