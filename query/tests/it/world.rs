//! A catalog and a store in a folder of their own, and the part of the aggregator that tests need:
//! rows into the head, pieces to rest, and segments in the place of others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tower::ServiceExt as _;
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, Commit, CommitOutcome, FrontierMove, MeterDraft, Swap, SwapOutcome};
use weir_meter::environment::{Clock, Entropy};
use weir_meter::fold::{FoldEvent, FoldScratch, Folder};
use weir_meter::hash::HashKey;
use weir_meter::segment::{Coverage, Generations, NewSegment, Segment, SegmentKind};
use weir_meter::window::{FOLD_VERSION, MINUTE_US};
use weir_meter::{
    Aggregation, ContentHash, Coordinates, Generation, IdentityHash, Meter, MeterId, Namespace, OffsetRange,
    RequestId, WriterId,
};
use weir_query::{Ask, QueryError, QueryOptions, QueryParts, QueryService, UsageAnswer, UsageParams};
use weir_store::local::LocalStore;
use weir_store::row::RowEvent;
use weir_store::{Fate, Merge, PieceSnapshot, Retention, Row, Store};

/// 2024-01-01T00:00:00Z.
pub(crate) const NOW_US: i64 = 1_704_067_200_000_000;
pub(crate) const WRITER: WriterId = WriterId(99);

#[derive(Debug)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn random_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1
    }
}

/// An event that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) event_type: &'static str,
    pub(crate) subject: String,
    pub(crate) time_us: i64,
    pub(crate) data: Option<String>,
}

/// A catalog of its own.
pub(crate) async fn catalog(folder: &Path, options: SqliteOptions) -> SqliteCatalog {
    let clock = Arc::new(Hand(AtomicI64::new(NOW_US)));
    let entropy = Arc::new(Counting::default());
    SqliteCatalog::open(&folder.join("catalog.db"), options, clock, entropy).await.unwrap()
}

pub(crate) struct World {
    options: QueryOptions,
    parts: QueryParts,
    pub(crate) temporary: TempDir,
    pub(crate) catalog: Arc<SqliteCatalog>,
    pub(crate) store: Arc<LocalStore>,
    pub(crate) service: Arc<QueryService>,
    pub(crate) namespace: Namespace,
    pub(crate) epoch: u32,
    /// Next offset of each partition.
    ends: BTreeMap<u32, u64>,
    folder: Option<Folder>,
    frozen: Vec<Arc<PieceSnapshot>>,
    record_time_us: i64,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(QueryOptions::default()).await
    }

    /// Queries as of a process that found so many durable events in the log when it began.
    pub(crate) fn begin_again(&mut self, durable: u64) {
        let parts = QueryParts { log_ends: Arc::new(move || vec![(0, durable)]), ..self.parts.clone() };
        self.service = Arc::new(QueryService::new(self.options.clone(), parts));
    }

    pub(crate) async fn with(options: QueryOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(Hand(AtomicI64::new(NOW_US)));
        let entropy: Arc<dyn Entropy> = Arc::new(Counting::default());
        let path = folder.path().join("catalog.db");
        let catalog =
            SqliteCatalog::open(&path, SqliteOptions::default(), Arc::clone(&clock), Arc::clone(&entropy))
                .await
                .unwrap();
        let catalog = Arc::new(catalog);
        let epoch = catalog.ensure_epoch("log", 2, 86_400, NOW_US).await.unwrap().epoch;
        catalog.open_writer(WRITER, NOW_US).await.unwrap();
        let store_folder = folder.path().join("store");
        let store = LocalStore::open(&store_folder, catalog.installation().id, Arc::clone(&entropy)).unwrap();
        let store = Arc::new(store);
        let head = Arc::clone(&store);
        let parts = QueryParts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            catalog: Arc::clone(&catalog) as Arc<dyn Catalog>,
            clock,
            entropy,
            log_ends: Arc::new(move || {
                head.head().visible().borrow().iter().map(|end| (end.partition, end.to)).collect()
            }),
        };
        let service = Arc::new(QueryService::new(options.clone(), parts.clone()));
        let mut world = Self {
            temporary: folder,
            options,
            parts,
            catalog,
            store,
            service,
            namespace: Namespace::default(),
            epoch,
            ends: BTreeMap::new(),
            folder: None,
            frozen: Vec::new(),
            record_time_us: NOW_US,
        };
        world.freeze().await;
        world
    }

    /// A meter made by hand, under a revision of its own.
    pub(crate) async fn meter(
        &self,
        slug: &str,
        aggregation: Aggregation,
        value: Option<&str>,
        groups: &[(&str, &str)],
    ) -> Meter {
        let draft = MeterDraft {
            slug: slug.to_owned(),
            name: None,
            description: None,
            metadata: None,
            event_type: "t".to_owned(),
            aggregation,
            value_property: value.map(str::to_owned),
            group_by: groups.iter().map(|(key, path)| ((*key).to_owned(), (*path).to_owned())).collect(),
            event_from_us: None,
        };
        // Slugs are used again, ids are not.
        let revision = self.catalog.listing().await.unwrap().revision;
        let id =
            MeterId(slug.bytes().fold(u128::from(revision) + 1, |id, byte| (id << 8) | u128::from(byte)));
        self.catalog.create_meter(&self.namespace, draft, id, NOW_US).await.unwrap()
    }

    /// Folds accepted events into the head, as one batch of one partition.
    pub(crate) fn take(&mut self, partition: u32, events: &[Sent]) {
        let end = self.ends.entry(partition).or_insert(0);
        let range = OffsetRange { epoch: self.epoch, partition, from: *end, to: *end + events.len() as u64 };
        *end = range.to;
        let mut rows = Vec::with_capacity(events.len());
        for (offset, event) in (range.from..).zip(events) {
            self.record_time_us += 1_000;
            rows.push(self.row(Coordinates { epoch: range.epoch, partition, offset }, event));
        }
        let folder = self.folder.as_ref().unwrap();
        let added = self.store.head().add(range, rows, |rows, windows| {
            let mut scratch = FoldScratch::default();
            for row in rows {
                let event = row.event.as_ref().unwrap();
                let fold = FoldEvent {
                    namespace: &row.namespace,
                    event_type: &event.event_type,
                    subject: &event.subject,
                    time_us: event.time_us,
                    record_time_us: row.record_time_us,
                    at: row.at,
                    data: event.data.as_deref(),
                };
                let start = event.time_us - event.time_us.rem_euclid(MINUTE_US);
                folder.fold(&fold, start, &mut scratch, windows);
            }
        });
        added.unwrap();
    }

    /// Ends the active piece, and begins one that knows the meters of now.
    pub(crate) async fn freeze(&mut self) {
        self.frozen.extend(self.store.head().freeze());
        let (revision, meters) = self.catalog.live_meters().await.unwrap();
        let key = HashKey::new(self.catalog.installation().hash_key);
        let folder = Folder::new(meters.iter().map(|meter| &**meter), key).unwrap();
        let generations = meters.iter().map(|meter| (meter.key(), meter.namespace.clone())).collect();
        self.store.head().begin(revision, Arc::new(generations), Vec::new()).unwrap();
        self.folder = Some(folder);
    }

    /// Brings every frozen piece to rest. Some are left in the head as if the process had not yet
    /// come to drop them.
    pub(crate) async fn flush(&mut self, drop_pieces: bool) {
        self.freeze().await;
        for piece in std::mem::take(&mut self.frozen) {
            let segments = self.store.write(WRITER, &piece).await.unwrap();
            let moves = piece.ranges.iter().map(|range| FrontierMove {
                range: *range,
                record_time_max_us: self.record_time_us,
                last_record_hash: 0,
            });
            let commit = Commit { writer: WRITER, moves: moves.collect(), segments, now_us: NOW_US };
            assert_eq!(self.catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
            if drop_pieces {
                self.store.head().drop_piece(&piece);
            }
        }
    }

    /// Makes one segment of the first listed segments of rows.
    pub(crate) async fn merge_rows(&self, count: usize) {
        let inputs = self.first_of(SegmentKind::Rows, 0, count).await;
        if inputs.len() < 2 {
            return;
        }
        let coverage = Coverage { ranges: ranges_of(&inputs), ..inputs[0].new.coverage.clone() };
        let added = self.store.merge(WRITER, merge(inputs.clone(), coverage, BTreeMap::new())).await.unwrap();
        self.swap(&inputs, vec![added]).await;
    }

    /// Makes one segment of minutes and one of hours of the first listed segments of windows, with
    /// their members, for the meters that live and that all of them have folded.
    pub(crate) async fn compact(&self, count: usize) {
        let inputs = self.first_of(SegmentKind::Windows, 60, count).await;
        if inputs.len() < 2 {
            return;
        }
        let ranges = ranges_of(&inputs);
        let (revision, meters) = self.catalog.live_meters().await.unwrap();
        let (folded, not): (Vec<_>, Vec<_>) =
            meters.iter().partition(|meter| inputs.iter().all(|input| input.new.coverage.covers(meter)));
        let generations: BTreeMap<_, _> =
            folded.iter().map(|meter| (meter.key(), meter.namespace.clone())).collect();
        let coverage = |window_size_s| Coverage {
            ranges: ranges.clone(),
            revision,
            fold_version: FOLD_VERSION,
            window_size_s,
            generations: Generations::AllBut(not.iter().map(|meter| meter.key()).collect()),
        };
        let mut removed: Vec<Arc<Segment>> = self.catalog.listing().await.unwrap().segments.clone();
        removed.retain(|segment| {
            segment.new.kind != SegmentKind::Rows
                && segment
                    .new
                    .coverage
                    .ranges
                    .iter()
                    .any(|held| ranges.iter().any(|range| range.overlaps(held)))
        });
        let mut added = Vec::new();
        for (kind, size_s) in
            [SegmentKind::Windows, SegmentKind::Members].into_iter().flat_map(|k| [(k, 60), (k, 3_600)])
        {
            let minutes = removed.iter().filter(|s| s.new.kind == kind && s.new.coverage.window_size_s == 60);
            let merge = merge(minutes.cloned().collect(), coverage(size_s), generations.clone());
            added.push(self.store.merge(WRITER, merge).await.unwrap());
        }
        self.swap(&removed, added).await;
    }

    /// Deletes everything that has been replaced.
    pub(crate) async fn forget(&self) {
        let forgotten = self.catalog.forget_segments(NOW_US + 1).await.unwrap();
        self.store.remove(&forgotten).await.unwrap();
    }

    /// The first listed segments of a kind and size, in the order of the log.
    async fn first_of(&self, kind: SegmentKind, size_s: u32, count: usize) -> Vec<Arc<Segment>> {
        let mut found: Vec<Arc<Segment>> = self.catalog.listing().await.unwrap().segments.clone();
        found.retain(|s| s.new.kind == kind && s.new.coverage.window_size_s == size_s);
        found.sort_by_key(|s| s.new.coverage.ranges.iter().map(|r| (r.from, r.partition)).min());
        found.truncate(count);
        found
    }

    async fn swap(&self, removed: &[Arc<Segment>], add: Vec<NewSegment>) {
        let remove = removed.iter().map(|segment| segment.new.segment).collect();
        let swap = Swap { writer: WRITER, remove, add, now_us: NOW_US };
        assert_eq!(self.catalog.swap(swap).await.unwrap(), SwapOutcome::Swapped);
    }

    /// Asks a question that comes as a query string.
    pub(crate) async fn usage(&self, meter: &str, query: &str) -> Result<UsageAnswer, QueryError> {
        let params = UsageParams::from_query(query).unwrap();
        self.service.usage(&self.namespace, meter, params, Ask::default()).await
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, HeaderMap, String) {
        let response = self.respond(method, path, headers, body).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// Sends a request and reads nothing of what it is answered.
    pub(crate) async fn respond(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path).extension(self.namespace.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        weir_query::router(Arc::clone(&self.service)).oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let (status, _, body) = self.request(Method::GET, path, &[], "").await;
        (status, body)
    }

    fn row(&self, at: Coordinates, event: &Sent) -> Row {
        let hash = u128::from(at.offset) << 8 | u128::from(at.partition);
        Row {
            at,
            record_time_us: self.record_time_us,
            record_time_raw_us: self.record_time_us,
            namespace: self.namespace.clone(),
            fate: Fate::Counted,
            identity: IdentityHash(hash),
            content: ContentHash(hash),
            request: RequestId(1),
            event: Some(RowEvent {
                source: "test".into(),
                id: format!("{}-{}", at.partition, at.offset).into(),
                event_type: event.event_type.into(),
                subject: event.subject.as_str().into(),
                time_us: event.time_us,
                time_given: true,
                data: event.data.clone().map(Into::into),
                attributes: None,
            }),
            stored_at_us: self.record_time_us + 5,
        }
    }
}

/// The offsets of segments, with ranges that touch as one.
fn ranges_of(segments: &[Arc<Segment>]) -> Vec<OffsetRange> {
    let mut ranges: Vec<OffsetRange> = segments.iter().flat_map(|s| s.new.coverage.ranges.clone()).collect();
    ranges.sort();
    let mut joined: Vec<OffsetRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.partition == range.partition && last.to == range.from => last.to = range.to,
            _ => joined.push(range),
        }
    }
    joined
}

fn merge(
    inputs: Vec<Arc<Segment>>,
    coverage: Coverage,
    generations: BTreeMap<Generation, Namespace>,
) -> Merge {
    Merge {
        kind: inputs[0].new.kind,
        level: inputs.iter().map(|input| input.new.level).max().unwrap() + 1,
        inputs,
        coverage,
        generations: Arc::new(generations),
        retention: Retention::default(),
        stop: Arc::default(),
    }
}
