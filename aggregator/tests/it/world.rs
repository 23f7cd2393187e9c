//! A data folder with a log, a store and a catalog in it, and what a test asks of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, UInt64Type};
use bytes::Bytes;
use futures::TryStreamExt as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use weir_aggregator::{
    AggregatorError, IndexFolder, Maintenance, MaintenanceOptions, MaintenanceParts, Options, Parts, Service,
    Step,
};
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, MeterDraft};
use weir_log::local::{LocalLog, LocalLogOptions};
use weir_log::{Record, RecordKind};
use weir_meter::environment::{Clock, Entropy};
use weir_meter::event::read_event;
use weir_meter::hash::HashKey;
use weir_meter::segment::SegmentKind;
use weir_meter::time::format_utc;
use weir_meter::{Aggregation, Meter, MeterId, Namespace, RequestId};
use weir_store::local::LocalStore;
use weir_store::{RowScan, RowSource, WindowScan};

/// When every test begins.
pub(crate) const NOW_US: i64 = 1_700_000_000_000_000;

struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_us(&self) -> i64 {
        self.0.fetch_add(1_000, Ordering::SeqCst)
    }
}

struct Counting(AtomicU64);

impl Entropy for Counting {
    fn random_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) struct World {
    folder: TempDir,
    clock: Arc<SetClock>,
    entropy: Arc<dyn Entropy>,
    pub(crate) options: Options,
    pub(crate) maintenance: MaintenanceOptions,
    pub(crate) partitions: u32,
}

/// An event as a test thinks of it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) value: u64,
    pub(crate) subject: String,
    pub(crate) time_us: i64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            clock: Arc::new(SetClock(AtomicI64::new(NOW_US))),
            entropy: Arc::new(Counting(AtomicU64::new(1))),
            options: Options {
                flush_interval: Duration::from_secs(3_600),
                flush_records: 10,
                flush_bytes: usize::MAX,
                // One frame a step, so that flushes are cut where the test expects them.
                step_bytes: 1,
                identity_window_us: 3_600_000_000,
                identities_in_memory: 1_000_000,
                wide_groups_max: 1_000,
            },
            maintenance: MaintenanceOptions { fanout: 2, ..MaintenanceOptions::default() },
            partitions: 1,
        }
    }

    pub(crate) fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(time.as_micros() as i64, Ordering::SeqCst);
    }

    /// Maintenance under a writer of its own, as a new process would start it.
    pub(crate) async fn maintenance(&self, parts: &Parts) -> Maintenance {
        let parts = MaintenanceParts {
            store: Arc::clone(&parts.store),
            catalog: Arc::clone(&parts.catalog),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            hash_key: parts.hash_key,
        };
        Maintenance::start(parts, self.maintenance.clone()).await.unwrap().0
    }

    /// Every job until there is none left.
    pub(crate) async fn maintain(&self, parts: &Parts) -> Vec<Step> {
        work_to_the_end(&mut self.maintenance(parts).await).await
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens everything, as a new process would.
    pub(crate) async fn open(&self) -> Parts {
        let catalog = SqliteCatalog::open(
            &self.path("catalog.db"),
            SqliteOptions::default(),
            Arc::clone(&self.clock) as _,
            Arc::clone(&self.entropy),
        )
        .await
        .unwrap();
        let installation = catalog.installation().clone();
        catalog.ensure_epoch("log", self.partitions, 3_600, 1).await.unwrap();
        let mut options = LocalLogOptions::new(self.path("log"), installation.id, 0, self.partitions);
        // Every frame a file of its own: what is cut shows to the offset.
        options.segment_bytes_max = 1;
        let log = LocalLog::open(options, Arc::clone(&self.clock) as _).unwrap();
        let store =
            LocalStore::open(&self.path("store"), installation.id, Arc::clone(&self.entropy)).unwrap();
        let (id, incarnation) = (installation.id, installation.incarnation);
        let index =
            IndexFolder::open(weir_files::Disk::default(), &self.path("index"), id, incarnation, 0).unwrap();
        Parts {
            log: Arc::new(log),
            store: Arc::new(store),
            catalog: Arc::new(catalog),
            clock: Arc::clone(&self.clock) as _,
            entropy: Arc::clone(&self.entropy),
            hash_key: HashKey::new(installation.hash_key),
            index,
        }
    }

    /// Folds and flushes all that the log holds, then ends.
    pub(crate) async fn drain(&self, parts: &Parts) -> Result<(), AggregatorError> {
        let stop = CancellationToken::new();
        stop.cancel();
        let (service, _) = Service::start(parts.clone(), self.options).await?;
        service.run(stop).await
    }
}

/// Closes the files, as the end of a process does.
pub(crate) async fn close(parts: Parts) {
    parts.log.close().await;
    parts.catalog.close().await;
}

pub(crate) fn record(parts: &Parts, id: u64, value: u64) -> Record {
    record_of(parts, id, value, "x")
}

fn record_of(parts: &Parts, id: u64, value: u64, subject: &str) -> Record {
    let time_us = 1_704_067_200_000_000;
    event_record(parts, &Event { id, value, subject: subject.to_owned(), time_us })
}

fn event_record(parts: &Parts, event: &Event) -> Record {
    let Event { id, value, subject, time_us } = event;
    let time = format_utc(*time_us);
    let json = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","subject":"{subject}","time":"{time}","data":{{"v":{value}}}}}"#
    );
    let value = Bytes::from(json);
    let event = read_event(&value).unwrap();
    let namespace = Namespace::default();
    let (identity, content) =
        (parts.hash_key.identity(&namespace, &event.source, &event.id), parts.hash_key.content(&event));
    Record {
        namespace,
        kind: RecordKind::Event,
        identity,
        content,
        request: RequestId(1),
        value: value.clone(),
    }
}

/// Each in a frame of its own.
pub(crate) async fn append(parts: &Parts, events: impl IntoIterator<Item = (u64, u64)>) {
    for (id, value) in events {
        parts.log.append(vec![record(parts, id, value)]).await.unwrap();
    }
}

/// Each in a frame of its own.
pub(crate) async fn append_events(parts: &Parts, events: &[Event]) {
    append_frames(parts, events, 1).await;
}

/// So many in a frame.
pub(crate) async fn append_frames(parts: &Parts, events: &[Event], count: usize) {
    for events in events.chunks(count) {
        let records = events.iter().map(|event| event_record(parts, event)).collect();
        parts.log.append(records).await.unwrap();
    }
}

pub(crate) async fn work_to_the_end(maintenance: &mut Maintenance) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        match maintenance.step().await.unwrap() {
            Step::Idle => return steps,
            step => steps.push(step),
        }
        assert!(steps.len() < 1_000, "it never ends: {steps:?}");
    }
}

/// Every event of a subject of its own, so that each makes a window.
pub(crate) async fn append_to_subjects(parts: &Parts, count: u64) {
    for id in 0..count {
        parts.log.append(vec![record_of(parts, id, 1, &id.to_string())]).await.unwrap();
    }
}

pub(crate) async fn sum_meter(parts: &Parts) -> Meter {
    make_meter(parts, 77, Aggregation::Sum).await
}

/// A meter of `v`, by nothing but the subject.
pub(crate) async fn make_meter(parts: &Parts, id: u128, aggregation: Aggregation) -> Meter {
    make_meter_of(parts, id, aggregation, "t").await
}

/// The same for events of any type; a test's own are of type `t`.
pub(crate) async fn make_meter_of(
    parts: &Parts,
    id: u128,
    aggregation: Aggregation,
    event_type: &str,
) -> Meter {
    let draft = MeterDraft {
        slug: format!("m{id}"),
        name: None,
        description: None,
        metadata: None,
        event_type: event_type.to_owned(),
        aggregation,
        value_property: Some("$.v".to_owned()),
        group_by: BTreeMap::new(),
        event_from_us: None,
    };
    parts.catalog.create_meter(&Namespace::default(), draft, MeterId(id), 5).await.unwrap()
}

/// (offset, fate) of every row at rest, in the order of offsets.
pub(crate) async fn rows(parts: &Parts) -> Vec<(u64, String)> {
    let sources = listed(parts, SegmentKind::Rows).await;
    let scan = RowScan {
        sources,
        offsets: None,
        namespace: None,
        event_type: None,
        subjects: None,
        times_us: None,
        counted_only: false,
        recorded_after_us: None,
        columns: vec!["offset", "fate"],
        counters: Arc::default(),
    };
    let batches: Vec<RecordBatch> = parts.store.scan_rows(scan).try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let offsets = batch.column_by_name("offset").unwrap().as_primitive::<UInt64Type>().clone();
        let fates = batch.column_by_name("fate").unwrap().as_string::<i32>().clone();
        for row in 0..batch.num_rows() {
            rows.push((offsets.value(row), fates.value(row).to_owned()));
        }
    }
    rows.sort();
    rows
}

/// Events in all listed windows of the meter.
pub(crate) async fn counted(parts: &Parts, meter: &Meter) -> i64 {
    let scan = WindowScan {
        sources: listed(parts, SegmentKind::Windows).await,
        namespace: meter.namespace.clone(),
        generation: meter.key(),
        window_size_s: 60,
        subjects: None,
        starts_us: None,
        columns: vec!["events"],
        counters: Arc::default(),
    };
    let batches: Vec<RecordBatch> = parts.store.scan_windows(scan).try_collect().await.unwrap();
    batches.iter().map(|b| b.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>()).sum()
}

async fn listed(parts: &Parts, kind: SegmentKind) -> Vec<RowSource> {
    let listing = parts.catalog.listing().await.unwrap();
    listing.segments.iter().filter(|s| s.new.kind == kind).cloned().map(RowSource::Segment).collect()
}

/// Every offset once, counted or not.
pub(crate) fn offsets(rows: &[(u64, String)]) -> Vec<u64> {
    rows.iter().map(|(offset, _)| *offset).collect()
}

pub(crate) fn fates<'r>(rows: &'r [(u64, String)], fate: &str) -> Vec<&'r u64> {
    rows.iter().filter(|(_, f)| f == fate).map(|(offset, _)| offset).collect()
}
