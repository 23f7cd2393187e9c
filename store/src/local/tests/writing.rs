//! What a flush writes: everything, once, in order, and covered even where there is nothing.

use std::fs;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal256Type, Int64Type};
use proptest::prelude::*;
use weir_meter::Coordinates;
use weir_meter::segment::Generations;
use weir_meter::window::{FOLD_VERSION, LatestKey, Values, WindowSet};

use super::*;
use crate::WindowScan;
use crate::row::Row;
use crate::testing::{
    any_piece, generation, generations, greatest_decimal, least_decimal, plain_piece, range,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rows_come_back_as_they_were_and_in_order(piece in any_piece(5, 300)) {
        block_on(async {
            let fixture = Fixture::new();
            let segments = fixture.write(&piece).await;
            let source = RowSource::Segment(of_kind(&segments, SegmentKind::Rows));
            let found = rows(fixture.store.scan_rows(everything(vec![source]))).await.unwrap();
            let mut expected: Vec<Row> = piece.rows.iter().flat_map(|s| s.iter().cloned()).collect();
            expected.sort_by(|a, b| {
                let key = |row: &Row| {
                    let event = row.event.clone();
                    let event = event.map(|e| (e.event_type, e.subject, e.time_us));
                    (row.namespace.as_str().to_owned(), event, row.at)
                };
                key(a).cmp(&key(b))
            });
            prop_assert_eq!(found, expected);
            for segment in &segments {
                prop_assert_eq!(&segment.new.coverage.ranges, &piece.ranges);
                prop_assert_eq!(segment.new.coverage.revision, piece.revision);
                prop_assert_eq!(segment.new.coverage.fold_version, FOLD_VERSION);
                prop_assert_eq!(&segment.new.coverage.generations, &Generations::AllBut(vec![]));
                let size = if segment.new.kind == SegmentKind::Rows { 0 } else { 60 };
                prop_assert_eq!(segment.new.coverage.window_size_s, size);
                let has_file = segment.new.row_count > 0;
                prop_assert_eq!(!segment.new.location.is_empty(), has_file);
                prop_assert_eq!(segment.new.time_range_us.is_some() || segment.new.kind == SegmentKind::Rows, has_file);
                if has_file {
                    let bytes = fs::read(fixture.path(segment)).unwrap();
                    prop_assert_eq!(segment.new.byte_count, bytes.len() as u64);
                    prop_assert_eq!(segment.new.checksum, crc32c::crc32c(&bytes));
                }
            }
            fixture.store.verify(&segments, true).await.unwrap();
            Ok(())
        })?;
    }

    #[test]
    fn windows_lie_in_order(piece in any_piece(0, 3)) {
        block_on(async {
            let fixture = Fixture::new();
            for segment in fixture.write(&piece).await {
                if segment.new.kind == SegmentKind::Rows || segment.new.location.is_empty() {
                    continue;
                }
                let mut keys = Vec::new();
                for batch in plainly(&fixture.path(&segment)) {
                    keys.extend(window_keys(&batch));
                }
                prop_assert_eq!(keys.len() as u64, segment.new.row_count);
                prop_assert!(keys.is_sorted());
                let starts = || keys.iter().map(|key| key.5);
                prop_assert_eq!(segment.new.time_range_us, starts().min().zip(starts().max()));
            }
            Ok(())
        })?;
    }
}

type Key = (String, Vec<u8>, u32, u32, String, i64, Vec<String>, Vec<u8>);

fn window_keys(batch: &RecordBatch) -> Vec<Key> {
    let text = |name: &str, row| batch.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
    let number = |name: &str, row| {
        batch.column_by_name(name).unwrap().as_primitive::<arrow::datatypes::UInt32Type>().value(row)
    };
    let id = |name: &str, row| {
        batch.column_by_name(name).map(|c| c.as_fixed_size_binary().value(row).to_vec()).unwrap_or_default()
    };
    (0..batch.num_rows())
        .map(|row| {
            let groups = batch.column_by_name("groups").unwrap().as_list::<i32>().value(row);
            (
                text("namespace", row),
                id("meter", row),
                number("generation", row),
                number("window_size", row),
                text("subject", row),
                batch.column_by_name("window_start").unwrap().as_primitive::<Int64Type>().value(row),
                groups.as_string::<i32>().iter().map(|g| g.unwrap().to_owned()).collect(),
                id("member", row),
            )
        })
        .collect()
}

/// As any other program would read it.
fn plainly(path: &std::path::Path) -> Vec<RecordBatch> {
    let file = fs::File::open(path).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.build().unwrap().map(|batch| batch.unwrap()).collect()
}

#[test]
fn meters_that_met_no_event_are_covered_without_a_file() {
    block_on(async {
        let fixture = Fixture::new();
        let segments = fixture.write(&plain_piece(4)).await;
        assert_eq!(segments.len(), 3);
        for segment in &segments[1..] {
            assert_eq!((segment.new.row_count, segment.new.location.as_str()), (0, ""));
            assert_eq!(segment.new.coverage.ranges, [range(0, 0, 4)]);
        }
        fixture.store.verify(&segments, true).await.unwrap();
        let scan = WindowScan {
            sources: vec![RowSource::Segment(Arc::clone(&segments[1]))],
            namespace: generations()[&generation(0)].clone(),
            generation: generation(0),
            window_size_s: 60,
            subjects: None,
            starts_us: None,
            columns: vec!["sum"],
            counters: Arc::default(),
        };
        assert!(batches(fixture.store.scan_windows(scan)).await.unwrap().is_empty());
    });
}

#[test]
fn without_meters_there_is_nothing_to_cover() {
    let fixture = Fixture::new();
    let piece = PieceSnapshot { generations: Arc::default(), ..plain_piece(4) };
    let segments = block_on(fixture.write(&piece));
    assert_eq!(segments.iter().map(|s| s.new.kind).collect::<Vec<_>>(), [SegmentKind::Rows]);
    let piece = PieceSnapshot { ranges: vec![], rows: vec![], ..plain_piece(4) };
    assert!(block_on(fixture.write(&piece)).is_empty());
}

#[test]
fn a_piece_that_contradicts_itself_is_not_written() {
    block_on(async {
        let fixture = Fixture::new();
        let good = plain_piece(4);
        let mut twice = good.clone();
        Arc::make_mut(&mut twice.rows[0])[3].at.offset = 2;
        let stray = {
            let mut windows = WindowSet::default();
            windows.meters.entry(generation(77)).or_default();
            PieceSnapshot { windows, ..good.clone() }
        };
        for bad in [
            PieceSnapshot { ranges: vec![range(0, 0, 5)], ..good.clone() },
            PieceSnapshot { ranges: vec![range(0, 1, 5)], ..good.clone() },
            PieceSnapshot { ranges: vec![range(1, 0, 4)], ..good.clone() },
            PieceSnapshot { ranges: vec![range(0, 0, 2), range(0, 0, 2)], ..good },
            twice,
            stray,
        ] {
            let error = fixture.store.write(WRITER, &bad).await.unwrap_err();
            assert!(matches!(error, StoreError::Inconsistent(_)), "{error}");
        }
        // Not even the files that were good by themselves.
        for kind in ["rows", "windows", "members"] {
            assert_eq!(fs::read_dir(fixture.dir.path().join(kind)).unwrap().count(), 0);
        }
    });
}

#[test]
fn the_greatest_and_the_least_decimal_come_back() {
    block_on(async {
        let fixture = Fixture::new();
        let mut windows = WindowSet::default();
        let key = weir_meter::window::WindowKeyRef::<&str> { subject: "s", start_us: 0, groups: &[] };
        let of_meter = Arc::make_mut(windows.meters.entry(generation(0)).or_default());
        let state = of_meter.windows.entry(key);
        state.events = i64::MAX;
        let at = Coordinates { epoch: 1, partition: 0, offset: 0 };
        let latest = (LatestKey { time_us: 0, record_time_us: 0, at }, least_decimal());
        let (min, max) = (least_decimal(), greatest_decimal());
        state.values = Some(Box::new(Values { sum: greatest_decimal(), min, max, latest }));
        let piece = PieceSnapshot { windows, ..plain_piece(1) };
        let segments = fixture.write(&piece).await;
        let batch = plainly(&fixture.path(&of_kind(&segments, SegmentKind::Windows))).remove(0);
        let decimal =
            |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Decimal256Type>().value(0);
        assert_eq!(decimal("sum"), greatest_decimal().unscaled());
        assert_eq!(decimal("min"), least_decimal().unscaled());
        assert_eq!(decimal("max"), greatest_decimal().unscaled());
        assert_eq!(decimal("latest"), least_decimal().unscaled());
    });
}
