//! What a refold holds at once: bounds small enough to be crossed, on rows that a test makes up.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use futures::stream;
use proptest::prelude::*;
use weir_catalog::Catalog as _;
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_meter::environment::{Clock, Entropy};
use weir_meter::segment::{Generations, Segment};
use weir_meter::window::WindowKeyRef;
use weir_meter::{Aggregation, MeterId, OffsetRange, SegmentId, WriterId};
use weir_store::{BatchStream, FlushPiece, Head, Merge, SweepReport, WindowChunks, WindowScan};

use super::*;
use crate::maintain::{MaintenanceOptions, MaintenanceParts};

/// A subject, a minute, a group and a value.
type Event = (String, i64, String, u64);

/// By subject, minute and group: the events, and the sum or the number of distinct values.
type Windows = BTreeMap<(String, i64, String), (i64, u64)>;

/// Rows by segment, so many to a batch; what is written is only collected.
struct Rows {
    head: Head,
    segments: Vec<Vec<Event>>,
    at_once: usize,
    read: Arc<AtomicUsize>,
    written: Mutex<Vec<WindowChunk>>,
}

fn batch(events: &[Event]) -> RecordBatch {
    let texts = |text: fn(&Event) -> String| Arc::new(StringArray::from_iter_values(events.iter().map(text)));
    let count = events.len();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("epoch", Arc::new(UInt32Array::from(vec![0; count]))),
        ("partition", Arc::new(UInt32Array::from(vec![0; count]))),
        ("offset", Arc::new(UInt64Array::from_iter_values(0..count as u64))),
        ("record_time", Arc::new(Int64Array::from(vec![0; count]))),
        ("subject", texts(|e| e.0.clone())),
        ("time", Arc::new(Int64Array::from_iter_values(events.iter().map(|e| e.1 * MINUTE_US)))),
        ("data", texts(|e| format!(r#"{{"g":"{}","v":{}}}"#, e.2, e.3))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[async_trait::async_trait]
impl Store for Rows {
    fn head(&self) -> &Head {
        &self.head
    }

    async fn write(&self, _: WriterId, _: &FlushPiece) -> Result<Vec<NewSegment>, StoreError> {
        unreachable!()
    }

    async fn merge(&self, _: WriterId, _: Merge) -> Result<NewSegment, StoreError> {
        unreachable!()
    }

    async fn write_windows(
        &self,
        _: WriterId,
        _: Coverage,
        mut chunks: WindowChunks,
    ) -> Result<Vec<NewSegment>, StoreError> {
        let mut written = Vec::new();
        while let Some(chunk) = chunks.next().await {
            written.push(chunk?);
        }
        *self.written.lock().unwrap() = written;
        Ok(Vec::new())
    }

    async fn remove(&self, _: &[Segment]) -> Result<(), StoreError> {
        unreachable!()
    }

    fn scan_rows(&self, scan: RowScan) -> BatchStream {
        let mut batches = Vec::new();
        for source in scan.sources {
            let RowSource::Segment(segment) = source else { unreachable!() };
            let rows = &self.segments[segment.new.segment.0 as usize];
            batches.extend(rows.chunks(self.at_once).map(batch));
        }
        let read = Arc::clone(&self.read);
        Box::pin(stream::iter(batches).map(Ok).inspect(move |_| {
            read.fetch_add(1, Ordering::Relaxed);
        }))
    }

    fn scan_windows(&self, _: WindowScan) -> BatchStream {
        unreachable!()
    }

    fn scan_members(&self, _: WindowScan) -> BatchStream {
        unreachable!()
    }

    async fn sweep(&self, _: &HashSet<WriterId>, _: &HashSet<SegmentId>) -> Result<SweepReport, StoreError> {
        Ok(SweepReport::default())
    }

    async fn verify(&self, _: &[Arc<Segment>], _: bool) -> Result<(), StoreError> {
        unreachable!()
    }
}

struct Numbers(AtomicUsize);

impl Clock for Numbers {
    fn now_us(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed) as i64
    }
}

impl Entropy for Numbers {
    fn random_u128(&self) -> u128 {
        self.0.fetch_add(1, Ordering::Relaxed) as u128
    }
}

fn meter(aggregation: Aggregation) -> Arc<Meter> {
    Arc::new(Meter {
        id: MeterId(1),
        generation: 1,
        namespace: Namespace::default(),
        slug: String::new(),
        name: String::new(),
        description: None,
        metadata: None,
        event_type: "t".to_owned(),
        aggregation,
        value_property: Some("$.v".to_owned()),
        group_by: BTreeMap::from([("g".to_owned(), "$.g".to_owned())]),
        event_from_us: None,
        created_revision: 1,
        deleted_revision: None,
        created_at_us: 0,
        updated_at_us: 0,
        deleted_at_us: None,
    })
}

/// A job over segments of one hundred offsets each.
fn job(segments: usize, streamed: bool, meter: Arc<Meter>) -> Refold {
    let coverage = |from: usize, to: usize, window_size_s| Coverage {
        ranges: vec![OffsetRange { epoch: 0, partition: 0, from: from as u64 * 100, to: to as u64 * 100 }],
        revision: 1,
        fold_version: 1,
        window_size_s,
        generations: Generations::Only(vec![meter.key()]),
    };
    let rows = (0..segments).map(|at| {
        let new = NewSegment {
            segment: SegmentId(at as u128),
            kind: SegmentKind::Rows,
            level: at as u32,
            row_count: 100,
            dropped_rows: 0,
            byte_count: 0,
            coverage: coverage(at, at + 1, 0),
            time_range_us: None,
            location: String::new(),
            checksum: 0,
        };
        Arc::new(Segment { new, writer: WriterId(0), listed_at_us: 0, delisted_at_us: None })
    });
    let rows = rows.collect();
    Refold { rows, coverage: coverage(0, segments, 60), level: 9, meters: vec![meter], streamed }
}

struct Done {
    folded: Result<(Refold, Vec<NewSegment>, Emitted), Broken>,
    chunks: Vec<WindowChunk>,
    batches_read: usize,
}

impl Done {
    /// The count, if it was too wide.
    fn groups(&self) -> Option<u64> {
        match self.folded {
            Err(Broken::TooWide { groups, .. }) => Some(groups),
            _ => None,
        }
    }
}

fn run(
    segments: Vec<Vec<Event>>,
    at_once: usize,
    (streamed, aggregation): (bool, Aggregation),
    (bounds, wide_groups_max): (Bounds, u64),
) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::TempDir::new().unwrap();
        let numbers = Arc::new(Numbers(AtomicUsize::new(1)));
        let (path, options) = (folder.path().join("catalog.db"), SqliteOptions::default());
        let catalog =
            SqliteCatalog::open(&path, options, Arc::clone(&numbers) as _, Arc::clone(&numbers) as _);
        let catalog = Arc::new(catalog.await.unwrap());
        let refold = job(segments.len(), streamed, meter(aggregation));
        let (read, written) = (Arc::default(), Mutex::default());
        let rows = Rows { head: Head::default(), segments, at_once, read: Arc::clone(&read), written };
        let store = Arc::new(rows);
        let parts = MaintenanceParts {
            store: Arc::clone(&store) as _,
            catalog: Arc::clone(&catalog) as _,
            clock: Arc::clone(&numbers) as _,
            entropy: numbers as _,
            hash_key: HashKey::new(catalog.installation().hash_key),
        };
        let listing = parts.catalog.listing().await.unwrap();
        let options = MaintenanceOptions { wide_groups_max, ..MaintenanceOptions::default() };
        let mut maintenance = Maintenance::start(parts, options).await.unwrap().0;
        let folded = maintenance.fold_to_fit(refold, &listing, bounds).await;
        drop(maintenance);
        catalog.close().await;
        let chunks = std::mem::take(&mut *store.written.lock().unwrap());
        Done { folded, chunks, batches_read: read.load(Ordering::Relaxed) }
    })
}

/// What a window of these meters is charged, but for its texts; and one that has no numbers.
const WINDOW: usize = 316;
const WINDOW_LEAST: usize = 140;

const WIDE: Bounds =
    Bounds { chunk: usize::MAX, count: usize::MAX, hour_max: usize::MAX, held_max: usize::MAX };

fn hour(key: WindowKeyRef<'_>) -> (String, i64) {
    (key.subject.to_string(), key.start_us.div_euclid(HOUR_US))
}

/// What the events make, one after the other, and the groups of the widest hour.
fn expected(events: &[Event], unique: bool) -> (Windows, u64) {
    let mut windows: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    let mut hours: BTreeMap<i64, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for (subject, minute, group, value) in events {
        windows.entry((subject.clone(), *minute, group.clone())).or_default().push(*value);
        hours.entry(minute.div_euclid(60)).or_default().insert((subject, group));
    }
    let value = |v: &Vec<u64>| if unique { BTreeSet::from_iter(v).len() as u64 } else { v.iter().sum() };
    let windows = windows.into_iter().map(|(key, v)| (key, (v.len() as i64, value(&v)))).collect();
    (windows, hours.values().map(|groups| groups.len() as u64).max().unwrap_or(0))
}

fn found(chunks: &[WindowChunk], unique: bool) -> Windows {
    let mut found = BTreeMap::new();
    for chunk in chunks {
        for (key, state) in chunk.windows.windows.iter() {
            let members = chunk.windows.members().filter(|(other, ..)| other.to_key() == key.to_key());
            let distinct = members.count() as u64;
            let sum = state.sum().to_string().parse().unwrap_or(0);
            let value = if unique { distinct } else { sum };
            let key = (key.subject.to_string(), key.start_us / MINUTE_US, key.groups[0].to_string());
            assert!(found.insert(key, (state.events, value)).is_none(), "a window comes once");
        }
    }
    found
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = ("[ab]", -130..400_i64, "[xyz]", 1..4_u64);
    proptest::collection::vec(event, 1..200).prop_map(|mut events| {
        events.sort_by_key(|(subject, minute, ..)| (subject.clone(), *minute));
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn chunks_make_what_one_fold_makes_and_groups_count_once(
        events in events(), at_once in 1..40_usize, chunk in 1..20_000_usize, unique in any::<bool>(),
    ) {
        let how = (true, if unique { Aggregation::UniqueCount } else { Aggregation::Sum });
        let (windows, widest) = expected(&events, unique);
        let bounds = Bounds { chunk, ..WIDE };
        let done = run(vec![events.clone()], at_once, how, (bounds, widest));
        prop_assert!(done.folded.is_ok(), "{:?}", done.folded);
        prop_assert_eq!(found(&done.chunks, unique), windows);
        let mut last: Option<(String, i64)> = None;
        for chunk_of in &done.chunks {
            let hours: BTreeSet<_> = chunk_of.windows.windows.iter().map(|(key, _)| hour(key)).collect();
            prop_assert!(last.as_ref() < hours.first(), "an hour of a subject is in one chunk");
            last = hours.last().cloned();
            // It is full only with its last hour.
            let before = chunk_of.windows.windows.iter().filter(|(key, _)| Some(hour(*key)) != last);
            prop_assert!(before.count() * WINDOW_LEAST < chunk);
        }
        // One group less in the hour is too few.
        let done = run(vec![events], at_once, how, (bounds, widest - 1));
        prop_assert_eq!(done.groups(), Some(widest));
    }
}

fn one_hour(minutes: i64, groups: usize) -> Vec<Event> {
    let of_minute = |minute| (0..groups).map(move |group| ("s".to_owned(), minute, group.to_string(), 1));
    (0..minutes).flat_map(of_minute).collect()
}

#[test]
fn a_wide_hour_is_noted_while_it_is_folded() {
    let how = (true, Aggregation::Sum);
    let bounds = Bounds { chunk: 1, count: 20 * WINDOW, ..WIDE };
    // Another hour of the subject comes first and is handed on.
    let mut events = one_hour(1, 5_000);
    events.splice(0..0, [("s".to_owned(), -1, "x".to_owned(), 1)]);
    let done = run(vec![events.clone()], 10, how, (bounds, 100));
    let groups = done.groups().unwrap();
    assert!((101..=121).contains(&groups), "{groups}");
    assert!(done.batches_read <= 14, "{}", done.batches_read);
    assert!(run(vec![events], 10, how, (bounds, 5_000)).folded.is_ok());
    // What another subject had in the hour, and has handed on, counts along.
    let mut events = one_hour(1, 80);
    events.extend(
        one_hour(1, 5_000).into_iter().map(|(_, minute, group, v)| ("t".to_owned(), minute, group, v)),
    );
    let done = run(vec![events], 10, how, (bounds, 100));
    let groups = done.groups().unwrap();
    assert!((101..=121).contains(&groups), "{groups}");
    assert!(done.batches_read <= 14, "{}", done.batches_read);
}

#[test]
fn an_hour_that_takes_too_much_is_wide_however_few_its_groups() {
    let how = (true, Aggregation::Sum);
    let bounds = Bounds { chunk: 1, count: 50 * WINDOW, hour_max: 100 * WINDOW, ..WIDE };
    let done = run(vec![one_hour(60, 3)], 10, how, (bounds, 1_000));
    assert_eq!(done.groups(), Some(3));
    assert!(done.batches_read <= 11, "{}", done.batches_read);
    // As much in two hours, or of two subjects, is nothing special.
    let mut hours = one_hour(60, 3);
    hours.iter_mut().enumerate().for_each(|(at, event)| event.1 += at as i64 / 90 * 60);
    assert!(run(vec![hours.clone()], 10, how, (bounds, 1_000)).folded.is_ok());
    hours.iter_mut().enumerate().for_each(|(at, event)| event.0 = format!("s{}", at / 90));
    assert!(run(vec![hours], 10, how, (bounds, 1_000)).folded.is_ok());
}

#[test]
fn rows_that_go_back_in_time_are_damaged() {
    let row = |subject: &str, minute| (subject.to_owned(), minute, "x".to_owned(), 1);
    for (rows, good) in [
        (vec![row("a", 60), row("a", 59)], false),
        (vec![row("a", 1), row("b", 1), row("a", 70)], false),
        (vec![row("a", 60), row("b", 1)], true),
    ] {
        let done = run(vec![rows], 1, (true, Aggregation::Sum), (WIDE, 10));
        let store_error = |error: &AggregatorError| error.to_string().contains("damaged");
        let damaged = matches!(&done.folded, Err(Broken::Error(error)) if store_error(error));
        assert_eq!((done.folded.is_ok(), damaged), (good, !good), "{:?}", done.folded);
    }
}

#[test]
fn what_memory_does_not_hold_is_folded_in_smaller_parts() {
    // Four segments, each an hour and a few windows more than a third of the bound.
    let segments: Vec<Vec<Event>> = (0..4)
        .map(|at| one_hour(40, 1).into_iter().map(|event| (event.0, event.1 + at * 60, event.2, 1)).collect())
        .collect();
    let how = (false, Aggregation::Sum);
    for (windows_max, count, streamed) in [(200, 4, false), (100, 2, false), (70, 1, false)] {
        let bounds = Bounds { hour_max: windows_max * (WINDOW + 10), ..WIDE };
        let done = run(segments.clone(), 10, how, (bounds, 10));
        let (refold, ..) = done.folded.unwrap();
        assert_eq!((refold.rows.len(), refold.streamed), (count, streamed));
        assert_eq!(ranges::len(&refold.coverage.ranges), count as u64 * 100);
        let covered = segments.iter().take(count).flatten().cloned().collect::<Vec<_>>();
        assert_eq!(found(&done.chunks, false), expected(&covered, false).0);
        assert_eq!(refold.level, if count == 4 { 9 } else { count as u32 - 1 });
    }
    // One segment that is too large is streamed, hour by hour.
    let long = segments.concat();
    let bounds = Bounds { chunk: WINDOW, hour_max: 70 * (WINDOW + 10), ..WIDE };
    let done = run(vec![long.clone()], 10, how, (bounds, 10));
    assert!(done.folded.as_ref().unwrap().0.streamed);
    assert_eq!(done.chunks.len(), 4);
    assert_eq!(found(&done.chunks, false), expected(&long, false).0);
    // What is wide is not folded in parts first.
    let done = run(vec![one_hour(1, 500), one_hour(1, 500)], 10, how, (bounds, 20));
    assert!(done.groups().unwrap() < 90, "{:?}", done.groups());
}
