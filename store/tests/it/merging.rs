//! Merges at real sizes: 200,000 rows in five segments of two partitions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use weir_meter::segment::{Coverage, Generations, Segment, SegmentKind};
use weir_meter::window::{FOLD_VERSION, WindowKeyRef, WindowSet};
use weir_meter::{Generation, MeterId, Namespace, OffsetRange, WriterId};
use weir_store::local::LocalStore;
use weir_store::{Merge, Retention, Row, Store};

use super::{MINUTE_US, open, plainly, row};

const ROWS: u64 = 40_000;
const SEGMENTS: u64 = 5;
const WRITER: WriterId = WriterId(7);
const METER: Generation = Generation { meter: MeterId(4), generation: 1 };

fn listed(new: weir_meter::segment::NewSegment) -> Arc<Segment> {
    Arc::new(Segment { new, writer: WRITER, listed_at_us: 0, delisted_at_us: None })
}

/// The ranges alternate between the partitions.
fn range_of(segment: u64) -> OffsetRange {
    let from = segment / 2 * ROWS;
    OffsetRange { epoch: 1, partition: (segment % 2) as u32, from, to: from + ROWS }
}

fn rows_of(range: OffsetRange) -> Vec<Row> {
    let mut rows: Vec<Row> = (range.from..range.to).map(row).collect();
    rows.iter_mut().for_each(|row| row.at.partition = range.partition);
    rows
}

fn start_of(time_us: i64, size_us: i64) -> i64 {
    time_us - time_us % size_us
}

async fn flush_all(store: &LocalStore) -> Vec<Vec<Arc<Segment>>> {
    let meters = Arc::new(BTreeMap::from([(METER, Namespace::default())]));
    let fold = |rows: &[Row], set: &mut WindowSet| {
        let windows = Arc::make_mut(set.meters.entry(METER).or_default());
        for event in rows.iter().filter_map(|row| row.event.as_ref()) {
            let start_us = start_of(event.time_us, MINUTE_US as i64);
            let key = WindowKeyRef::<&str> { subject: &event.subject, start_us, groups: &[] };
            let (place, state) = windows.windows.place(key);
            state.add_event(event.time_us);
            windows.add_member(place, u128::from(event.time_us as u64 % 3));
        }
    };
    let mut segments = Vec::new();
    for segment in 0..SEGMENTS {
        let range = range_of(segment);
        store.head().begin(1, Arc::clone(&meters), Vec::new()).unwrap();
        store.head().add(range, rows_of(range), fold).unwrap();
        let piece = store.head().freeze().unwrap();
        segments.push(store.write(WRITER, &piece).await.unwrap().into_iter().map(listed).collect());
        store.head().drop_piece(&piece);
    }
    segments
}

fn merge_of(flushes: &[Vec<Arc<Segment>>], kind: SegmentKind, window_size_s: u32) -> Merge {
    let inputs: Vec<Arc<Segment>> =
        flushes.iter().flatten().filter(|segment| segment.new.kind == kind).cloned().collect();
    Merge {
        kind,
        coverage: Coverage {
            ranges: (0..SEGMENTS).map(range_of).collect(),
            revision: 2,
            fold_version: FOLD_VERSION,
            window_size_s,
            generations: Generations::AllBut(Vec::new()),
        },
        inputs,
        level: 1,
        generations: Arc::new(BTreeMap::from([(METER, Namespace::default())])),
        retention: Retention::default(),
        stop: Arc::default(),
    }
}

fn read(dir: &Path, segment: &Segment) -> Vec<RecordBatch> {
    plainly(&dir.join(&segment.new.location))
}

#[tokio::test]
async fn five_flushes_become_one_segment_of_each_kind_and_size() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = open(dir.path());
    let flushes = flush_all(&store).await;

    // A third of the time of the first 40,000 rows, to the hour; one row in six was recorded after 6,000.
    let floor = start_of(row(ROWS / 3).event.unwrap().time_us, 60 * MINUTE_US as i64);
    let below = |row: &Row| row.event.as_ref().unwrap().time_us < floor;
    let until = 6_000;
    let retention =
        Retention { floors: BTreeMap::from([(Namespace::default(), floor)]), identities_until_us: until };
    let merge = Merge { retention, ..merge_of(&flushes, SegmentKind::Rows, 0) };
    let segment = listed(store.merge(WRITER, merge).await.unwrap());
    store.verify(&[Arc::clone(&segment)], true).await.unwrap();
    let mut expected = Vec::new();
    for row in (0..SEGMENTS).flat_map(|segment| rows_of(range_of(segment))) {
        let bare = below(&row);
        if !(bare && row.record_time_us < floor && row.record_time_us <= until) {
            expected.push((row.at.partition, row.at.offset, bare));
        }
    }
    let dropped = SEGMENTS * ROWS - expected.len() as u64;
    assert!(dropped > 10_000 && expected.iter().filter(|(_, _, bare)| *bare).count() > 10_000);
    assert_eq!((segment.new.row_count, segment.new.dropped_rows), (expected.len() as u64, dropped));
    let mut found = Vec::new();
    for batch in read(dir.path(), &segment) {
        let partitions = batch.column_by_name("partition").unwrap().as_primitive::<UInt32Type>();
        let offsets = batch.column_by_name("offset").unwrap().as_primitive::<UInt64Type>();
        let data = batch.column_by_name("data").unwrap().as_string::<i32>();
        for at in 0..batch.num_rows() {
            let offset = offsets.value(at);
            if data.is_valid(at) {
                let sent = row(offset).event.unwrap().data.unwrap();
                assert_eq!(data.value(at).as_bytes(), &*sent);
            }
            found.push((partitions.value(at), offset, data.is_null(at)));
        }
    }
    // Bare rows come first, by their coordinates.
    assert!(found.is_sorted_by_key(|(_, _, bare)| !bare));
    let bare = found.iter().filter(|(_, _, bare)| *bare);
    assert!(bare.is_sorted());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);

    for size_s in [60_u32, 3_600] {
        let size_us = i64::from(size_s) * 1_000_000;
        let mut expected: BTreeMap<(String, i64), i64> = BTreeMap::new();
        for row in (0..SEGMENTS).flat_map(|segment| rows_of(range_of(segment))) {
            let event = row.event.unwrap();
            *expected.entry((event.subject.to_string(), start_of(event.time_us, size_us))).or_default() += 1;
        }
        let new = store.merge(WRITER, merge_of(&flushes, SegmentKind::Windows, size_s)).await.unwrap();
        let mut found = Vec::new();
        for batch in read(dir.path(), &listed(new)) {
            let subjects = batch.column_by_name("subject").unwrap().as_string::<i32>();
            let starts = batch.column_by_name("window_start").unwrap().as_primitive::<Int64Type>();
            let events = batch.column_by_name("events").unwrap().as_primitive::<Int64Type>();
            found.extend(
                (0..batch.num_rows())
                    .map(|at| ((subjects.value(at).to_owned(), starts.value(at)), events.value(at))),
            );
        }
        assert!(
            found.iter().eq(expected
                .iter()
                .map(|(key, events)| (key.clone(), *events))
                .collect::<Vec<_>>()
                .iter())
        );

        let new = store.merge(WRITER, merge_of(&flushes, SegmentKind::Members, size_s)).await.unwrap();
        let holders: i64 = read(dir.path(), &listed(new))
            .iter()
            .flat_map(|b| b.column_by_name("holders").unwrap().as_primitive::<Int64Type>().values().to_vec())
            .sum();
        assert_eq!(holders as u64, SEGMENTS * ROWS);
    }
}
