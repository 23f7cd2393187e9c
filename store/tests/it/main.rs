//! The store at its real sizes, read back as any other program would read it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod merging;

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, UInt64Type};
use bytes::Bytes;
use futures::TryStreamExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir_meter::environment::Entropy;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::window::{WindowKeyRef, WindowSet};
use weir_meter::{
    ContentHash, Coordinates, Generation, IdentityHash, InstallationId, MeterId, Namespace, OffsetRange,
    RequestId, WriterId,
};
use weir_store::local::LocalStore;
use weir_store::row::RowEvent;
use weir_store::{Fate, Row, RowScan, RowSource, Store, schema};

const RANGE: OffsetRange = OffsetRange { epoch: 1, partition: 0, from: 0, to: 40_000 };
const MINUTE_US: u64 = 60_000_000;

#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn random_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1
    }
}

fn row(offset: u64) -> Row {
    let subject = offset % 200;
    Row {
        at: Coordinates { epoch: 1, partition: 0, offset },
        record_time_us: offset as i64,
        record_time_raw_us: offset as i64,
        namespace: Namespace::default(),
        fate: Fate::Counted,
        identity: IdentityHash(u128::from(offset) << 100),
        content: ContentHash(u128::from(offset) << 90),
        request: RequestId(u128::from(offset / 100)),
        event: Some(RowEvent {
            source: "it".into(),
            id: format!("id-{offset}").into(),
            event_type: "api-call".into(),
            subject: format!("customer-{subject}").into(),
            time_us: (offset * MINUTE_US / 50) as i64,
            time_given: true,
            data: Some(Bytes::from(format!("{{\"tokens\": {offset}, \"model\": \"größe-{}\"}}", offset % 7))),
            attributes: Some(Bytes::from_static(b"{\"specversion\": \"1.0\"}")),
        }),
        stored_at_us: 1,
    }
}

fn open(dir: &std::path::Path) -> LocalStore {
    LocalStore::open(dir, InstallationId(1), Arc::new(Counting::default())).unwrap()
}

fn plainly(path: &std::path::Path) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    reader.build().unwrap().map(|batch| batch.unwrap()).collect()
}

#[tokio::test]
async fn a_flush_of_the_head_is_read_back() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = open(dir.path());
    let generation = Generation { meter: MeterId(4), generation: 1 };
    let meters = BTreeMap::from([(generation, Namespace::default())]);
    store.head().begin(1, Arc::new(meters), Vec::new()).unwrap();
    let fold = |rows: &[Row], set: &mut WindowSet| {
        let windows = Arc::make_mut(set.meters.entry(generation).or_default());
        for event in rows.iter().filter_map(|row| row.event.as_ref()) {
            let start_us = event.time_us - event.time_us % MINUTE_US as i64;
            let key = WindowKeyRef::<&str> { subject: &event.subject, start_us, groups: &[] };
            windows.windows.entry(key).add_event(event.time_us);
        }
    };
    store.head().add(RANGE, (RANGE.from..RANGE.to).map(row).collect(), fold).unwrap();
    let piece = store.head().freeze().unwrap();
    let writer = WriterId(7);
    let segments: Vec<Arc<Segment>> = store
        .write(writer, &piece)
        .await
        .unwrap()
        .into_iter()
        .map(|new| Arc::new(Segment { new, writer, listed_at_us: 0, delisted_at_us: None }))
        .collect();
    store.verify(&segments, true).await.unwrap();

    let rows = &segments[0].new;
    assert_eq!((rows.kind, rows.row_count), (SegmentKind::Rows, 40_000));
    let path = dir.path().join(&rows.location);
    assert_eq!(rows.location, format!("rows/{writer}-{}.parquet", rows.segment));
    let batches = plainly(&path);
    let found = batches[0].schema();
    let documented = schema::rows();
    let columns = |s: &arrow::datatypes::Schema| -> Vec<_> {
        s.fields().iter().map(|f| (f.name().clone(), f.data_type().clone(), f.is_nullable())).collect()
    };
    assert_eq!(columns(&found), columns(&documented));
    let mut offsets: Vec<u64> = batches
        .iter()
        .flat_map(|b| b.column_by_name("offset").unwrap().as_primitive::<UInt64Type>().values().to_vec())
        .collect();
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(RANGE.from..RANGE.to));

    let windows = &segments[1].new;
    let batches = plainly(&dir.path().join(&windows.location));
    let events: i64 = batches
        .iter()
        .flat_map(|b| b.column_by_name("events").unwrap().as_primitive::<Int64Type>().values().to_vec())
        .sum();
    assert_eq!(events, 40_000);
    assert_eq!(segments[2].new.location, "");
}

#[tokio::test]
async fn one_subject_reads_few_pages() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = open(dir.path());
    store.head().begin(1, Arc::default(), Vec::new()).unwrap();
    store.head().add(RANGE, (RANGE.from..RANGE.to).map(row).collect(), |_, _| {}).unwrap();
    let piece = store.head().freeze().unwrap();
    let new = store.write(WriterId(7), &piece).await.unwrap().remove(0);
    let segment = Arc::new(Segment { new, writer: WriterId(7), listed_at_us: 0, delisted_at_us: None });
    let scan = RowScan {
        sources: vec![RowSource::Segment(segment)],
        offsets: None,
        namespace: Some(Namespace::default()),
        event_type: Some("api-call".to_owned()),
        subjects: Some(vec!["customer-42".to_owned()]),
        times_us: None,
        counted_only: true,
        recorded_after_us: None,
        columns: vec!["data"],
        counters: Arc::default(),
    };
    let counters = Arc::clone(&scan.counters);
    let batches: Vec<RecordBatch> = store.scan_rows(scan).try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 200);
    let looked_at = counters.event_rows.load(Ordering::Relaxed);
    assert!(looked_at <= 2 * 8_192 + 1_024, "looked at {looked_at} rows of 40,000");
}
