//! A data folder with a log, a store and a catalog in it, and what a test asks of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal256Type, Int64Type, UInt32Type, UInt64Type, i256};
use bytes::Bytes;
use futures::TryStreamExt as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use weir_aggregator::{
    AggregatorError, IndexFolder, Maintenance, MaintenanceOptions, MaintenanceParts, Options, Parts, Service,
    Step,
};
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions, Storage};
use weir_catalog::{Catalog, MeterDraft};
use weir_files::Disk;
use weir_files::simulated::SimulatedDisk;
use weir_files::simulated::sqlite::SqliteVfs;
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
    place: Place,
    clock: Arc<SetClock>,
    entropy: Arc<dyn Entropy>,
    pub(crate) options: Options,
    pub(crate) maintenance: MaintenanceOptions,
    pub(crate) partitions: u32,
}

/// Where the data lies.
enum Place {
    Folder(TempDir),
    Simulated { disk: SimulatedDisk, vfs: SqliteVfs },
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
        Self::in_place(Place::Folder(TempDir::new().unwrap()))
    }

    /// On a disk whose power can be cut.
    pub(crate) fn on(disk: SimulatedDisk) -> Self {
        Self::in_place(Place::simulated(disk))
    }

    fn in_place(place: Place) -> Self {
        Self {
            place,
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

    pub(crate) fn simulated(&self) -> SimulatedDisk {
        match &self.place {
            Place::Simulated { disk, .. } => disk.clone(),
            Place::Folder(_) => panic!("the data lies in a real folder"),
        }
    }

    /// What is left of the disk takes its place.
    pub(crate) fn set_simulated(&mut self, disk: SimulatedDisk) {
        self.place = Place::simulated(disk);
    }

    /// Maintenance under a writer of its own, as a new process would start it.
    pub(crate) async fn maintenance(&self, parts: &Parts) -> Maintenance {
        self.try_maintenance(parts).await.unwrap()
    }

    pub(crate) async fn try_maintenance(&self, parts: &Parts) -> Result<Maintenance, String> {
        let parts = MaintenanceParts {
            store: Arc::clone(&parts.store),
            catalog: Arc::clone(&parts.catalog),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            hash_key: parts.hash_key,
        };
        let started = Maintenance::start(parts, self.maintenance.clone()).await;
        started.map(|(maintenance, _)| maintenance).map_err(|error| error.to_string())
    }

    /// Every job until there is none left.
    pub(crate) async fn maintain(&self, parts: &Parts) -> Vec<Step> {
        work_to_the_end(&mut self.maintenance(parts).await).await
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match &self.place {
            Place::Folder(folder) => folder.path().join(name),
            Place::Simulated { .. } => Path::new("/data").join(name),
        }
    }

    /// Opens everything, as a new process would.
    pub(crate) async fn open(&self) -> Parts {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Parts, String> {
        let (disk, vfs) = match &self.place {
            Place::Folder(_) => (Disk::default(), None),
            Place::Simulated { disk, vfs } => (disk.disk(), Some(vfs.name().to_owned())),
        };
        // The real folder is there already.
        disk.create_folders(&self.path("")).map_err(told)?;
        let catalog = SqliteCatalog::open_on(
            Storage { disk: disk.clone(), vfs },
            &self.path("catalog.db"),
            SqliteOptions::default(),
            Arc::clone(&self.clock) as _,
            Arc::clone(&self.entropy),
        )
        .await
        .map_err(told)?;
        let installation = catalog.installation().clone();
        catalog.ensure_epoch("log", self.partitions, 3_600, 1).await.map_err(told)?;
        let mut options = LocalLogOptions::new(self.path("log"), installation.id, 0, self.partitions);
        // Every frame a file of its own: what is cut shows to the offset.
        options.segment_bytes_max = 1;
        let log = LocalLog::open_on(disk.clone(), options, Arc::clone(&self.clock) as _).map_err(told)?;
        let index = self.path("index");
        let index = IndexFolder::open(disk.clone(), &index, installation.id, installation.incarnation, 0)
            .map_err(told)?;
        let store =
            LocalStore::open_on(disk, &self.path("store"), installation.id, Arc::clone(&self.entropy))
                .map_err(told)?;
        Ok(Parts {
            log: Arc::new(log),
            store: Arc::new(store),
            catalog: Arc::new(catalog),
            clock: Arc::clone(&self.clock) as _,
            entropy: Arc::clone(&self.entropy),
            hash_key: HashKey::new(installation.hash_key),
            index,
        })
    }

    /// Folds and flushes all that the log holds, then ends.
    pub(crate) async fn drain(&self, parts: &Parts) -> Result<(), AggregatorError> {
        let stop = CancellationToken::new();
        stop.cancel();
        let (service, _) = Service::start(parts.clone(), self.options).await?;
        service.run(stop).await
    }
}

impl Place {
    fn simulated(disk: SimulatedDisk) -> Self {
        let vfs = SqliteVfs::new(disk.disk()).unwrap();
        Self::Simulated { disk, vfs }
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
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

pub(crate) fn event_record(parts: &Parts, event: &Event) -> Record {
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
    let draft = meter_draft(id, aggregation, event_type);
    parts.catalog.create_meter(&Namespace::default(), draft, MeterId(id), 5).await.unwrap()
}

pub(crate) fn meter_draft(id: u128, aggregation: Aggregation, event_type: &str) -> MeterDraft {
    MeterDraft {
        slug: format!("m{id}"),
        name: None,
        description: None,
        metadata: None,
        event_type: event_type.to_owned(),
        aggregation,
        value_property: Some("$.v".to_owned()),
        group_by: BTreeMap::new(),
        event_from_us: None,
    }
}

/// A row at rest as tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct AtRest {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) fate: String,
    /// None where only a fate is left.
    pub(crate) id: Option<String>,
}

/// (offset, fate) of every row at rest, in the order of offsets.
pub(crate) async fn rows(parts: &Parts) -> Vec<(u64, String)> {
    let mut rows: Vec<_> = at_rest(parts).await.into_iter().map(|row| (row.offset, row.fate)).collect();
    rows.sort();
    rows
}

/// Every row at rest, in no order.
pub(crate) async fn at_rest(parts: &Parts) -> Vec<AtRest> {
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
        columns: vec!["partition", "offset", "fate", "id"],
        counters: Arc::default(),
    };
    let batches: Vec<RecordBatch> = parts.store.scan_rows(scan).try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let column = |name| batch.column_by_name(name).unwrap();
        let (partitions, offsets) =
            (column("partition").as_primitive::<UInt32Type>(), column("offset").as_primitive::<UInt64Type>());
        let (fates, ids) = (column("fate").as_string::<i32>(), column("id").as_string::<i32>());
        rows.extend((0..batch.num_rows()).map(|row| AtRest {
            partition: partitions.value(row),
            offset: offsets.value(row),
            fate: fates.value(row).to_owned(),
            id: ids.is_valid(row).then(|| ids.value(row).to_owned()),
        }));
    }
    rows
}

/// Events in all listed windows of the meter.
pub(crate) async fn counted(parts: &Parts, meter: &Meter) -> i64 {
    totals(parts, meter).await.0
}

/// Events in all listed windows of the meter, and the sum of their values, which must be whole.
pub(crate) async fn totals(parts: &Parts, meter: &Meter) -> (i64, i128) {
    let scan = WindowScan {
        sources: listed(parts, SegmentKind::Windows).await,
        namespace: meter.namespace.clone(),
        generation: meter.key(),
        window_size_s: 60,
        subjects: None,
        starts_us: None,
        columns: vec!["events", "sum"],
        counters: Arc::default(),
    };
    let batches: Vec<RecordBatch> = parts.store.scan_windows(scan).try_collect().await.unwrap();
    let one = i256::from_i128(10i128.pow(30));
    let (mut events, mut sum) = (0, i256::ZERO);
    for batch in batches {
        let column = |name| batch.column_by_name(name).unwrap();
        events += column("events").as_primitive::<Int64Type>().values().iter().sum::<i64>();
        for value in column("sum").as_primitive::<Decimal256Type>().values() {
            sum = sum.checked_add(*value).unwrap();
        }
    }
    assert_eq!(sum % one, i256::ZERO);
    (events, (sum / one).to_i128().unwrap())
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
