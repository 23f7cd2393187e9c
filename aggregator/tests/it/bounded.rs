//! How much a refold holds at once, with the bounds that a server has: what it hands to the store, and
//! when it gives a meter up, shows it.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray as _, RecordBatch};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use weir_aggregator::{Parts, Step};
use weir_catalog::MeterDraft;
use weir_log::{Record, RecordKind};
use weir_meter::event::read_event;
use weir_meter::segment::{Coverage, NewSegment, Segment, SegmentKind};
use weir_meter::time::format_utc;
use weir_meter::{Aggregation, Meter, MeterId, Namespace, RequestId, SegmentId, WriterId};
use weir_store::{
    BatchStream, FlushPiece, Head, Merge, RowScan, RowSource, Store, StoreError, SweepReport, WindowChunks,
    WindowScan,
};

use crate::sight::stray_files;
use crate::world::{NOW_US, World};

const MINUTE_US: i64 = 60_000_000;
const TEXT_BYTES: usize = 200_000;
const MIB: usize = 1024 * 1024;

/// Notes the bytes of group texts in every chunk that a refold hands on.
struct Weighing {
    real: Arc<dyn Store>,
    chunks: Arc<Mutex<Vec<usize>>>,
    scans: AtomicUsize,
}

#[async_trait]
impl Store for Weighing {
    fn head(&self) -> &Head {
        self.real.head()
    }

    async fn write(&self, writer: WriterId, piece: &FlushPiece) -> Result<Vec<NewSegment>, StoreError> {
        self.real.write(writer, piece).await
    }

    async fn merge(&self, writer: WriterId, merge: Merge) -> Result<NewSegment, StoreError> {
        self.real.merge(writer, merge).await
    }

    async fn write_windows(
        &self,
        writer: WriterId,
        coverage: Coverage,
        chunks: WindowChunks,
    ) -> Result<Vec<NewSegment>, StoreError> {
        let weights = Arc::clone(&self.chunks);
        let weighed = chunks.inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                weights.lock().unwrap().push(chunk.windows.windows.iter().map(|(k, _)| k.text_bytes()).sum());
            }
        });
        self.real.write_windows(writer, coverage, Box::pin(weighed)).await
    }

    async fn remove(&self, segments: &[Segment]) -> Result<(), StoreError> {
        self.real.remove(segments).await
    }

    fn scan_rows(&self, scan: RowScan) -> BatchStream {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.real.scan_rows(scan)
    }

    fn scan_windows(&self, scan: WindowScan) -> BatchStream {
        self.real.scan_windows(scan)
    }

    fn scan_members(&self, scan: WindowScan) -> BatchStream {
        self.real.scan_members(scan)
    }

    async fn sweep(
        &self,
        closed: &HashSet<WriterId>,
        kept: &HashSet<SegmentId>,
    ) -> Result<SweepReport, StoreError> {
        self.real.sweep(closed, kept).await
    }

    async fn verify(&self, segments: &[Arc<Segment>], checksums: bool) -> Result<(), StoreError> {
        self.real.verify(segments, checksums).await
    }
}

/// Events of one subject, each with a long group value of its own, so many minutes apart.
async fn append_long(parts: &Parts, count: usize, minutes: i64) {
    for id in 0..count {
        let time = format_utc(NOW_US + id as i64 * minutes * MINUTE_US);
        let group = format!("{id}-{}", "g".repeat(TEXT_BYTES));
        let value = Bytes::from(format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","subject":"one","time":"{time}","data":{{"g":"{group}"}}}}"#
        ));
        let event = read_event(&value).unwrap();
        let namespace = Namespace::default();
        let record = Record {
            identity: parts.hash_key.identity(&namespace, &event.source, &event.id),
            content: parts.hash_key.content(&event),
            namespace,
            kind: RecordKind::Event,
            request: RequestId(1),
            value: value.clone(),
        };
        parts.log.append(vec![record]).await.unwrap();
    }
}

async fn count_by_group(parts: &Parts) -> Meter {
    let draft = MeterDraft {
        slug: "long".to_owned(),
        name: None,
        description: None,
        metadata: None,
        event_type: "t".to_owned(),
        aggregation: Aggregation::Count,
        value_property: None,
        group_by: BTreeMap::from([("g".to_owned(), "$.g".to_owned())]),
        event_from_us: None,
    };
    parts.catalog.create_meter(&Namespace::default(), draft, MeterId(9), 5).await.unwrap()
}

/// One segment, more rows than are folded in memory.
async fn streamed(world: &mut World, events: usize, minutes: i64) -> (Parts, Parts, Arc<Weighing>) {
    world.options.flush_records = 100_000;
    world.maintenance.refold_rows = 10;
    let real = world.open().await;
    append_long(&real, events, minutes).await;
    world.drain(&real).await.unwrap();
    let chunks = Arc::default();
    let store = Arc::new(Weighing { real: Arc::clone(&real.store), chunks, scans: AtomicUsize::new(0) });
    (Parts { store: Arc::clone(&store) as _, ..real.clone() }, real, store)
}

#[tokio::test]
async fn windows_of_one_subject_are_handed_on_hour_by_hour() {
    let mut world = World::new();
    // About 2.4 MB an hour, 24 MB together.
    let (parts, _, store) = streamed(&mut world, 120, 5).await;
    let meter = count_by_group(&parts).await;
    let steps = world.maintain(&parts).await;
    assert!(steps.iter().any(|step| matches!(step, Step::Refolded { windows: 120, .. })), "{steps:?}");
    let chunks = store.chunks.lock().unwrap().clone();
    assert!(chunks.len() >= 2, "{chunks:?}");
    assert!(chunks.iter().all(|bytes| *bytes < 12 * MIB), "{chunks:?}");

    let listing = parts.catalog.listing().await.unwrap();
    let sources = listing.segments.iter().filter(|s| s.new.kind == SegmentKind::Windows);
    let scan = WindowScan {
        sources: sources.cloned().map(RowSource::Segment).collect(),
        namespace: meter.namespace.clone(),
        generation: meter.key(),
        window_size_s: 60,
        subjects: Some(vec!["one".to_owned()]),
        starts_us: None,
        columns: vec!["window_start"],
        counters: Arc::default(),
    };
    let batches: Vec<RecordBatch> = parts.store.scan_windows(scan).try_collect().await.unwrap();
    let starts = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec());
    let first = NOW_US - NOW_US.rem_euclid(MINUTE_US);
    let mut starts: Vec<i64> = starts.collect();
    starts.sort_unstable();
    assert_eq!(starts, (0..120).map(|id| first + id * 5 * MINUTE_US).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_wide_hour_of_one_subject_is_noted_before_it_is_folded_whole() {
    let mut world = World::new();
    world.maintenance.wide_groups_max = 50;
    // About 100 MB in one minute.
    let (parts, real, store) = streamed(&mut world, 500, 0).await;
    let meter = count_by_group(&parts).await;
    let steps = world.maintain(&parts).await;
    let noted = steps.iter().find_map(|step| match step {
        Step::NotedWide { generation, groups } if *generation == meter.key() => Some(*groups),
        _ => None,
    });
    let groups = noted.expect("it is wide");
    assert!((50..400).contains(&groups), "{groups}");
    assert!(store.chunks.lock().unwrap().is_empty());
    assert_eq!(stray_files(&world, &real).await, [""; 0]);
}
