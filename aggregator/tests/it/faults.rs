//! A store whose writes fail and a catalog whose answers get lost, as often as a test says.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use weir_catalog::{
    Catalog, CatalogError, Commit, CommitOutcome, EpochRow, Floor, Installation, Keys, Listing, MeterDraft,
    MeterQuery, MeterUpdate, OpenWriter, Swap, SwapOutcome, Wide,
};
use weir_meter::segment::{Coverage, NewSegment, Segment};
use weir_meter::{Generation, Meter, MeterId, Namespace, SegmentId, WriterId};
use weir_store::{
    BatchStream, FlushPiece, Head, Merge, RowScan, Store, StoreError, SweepReport, WindowChunks, WindowScan,
};

/// True as long as faults are left.
fn strike(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

fn full_disk() -> StoreError {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    StoreError::Io { context: "writing".to_owned(), source }
}

pub(crate) struct FaultyStore {
    real: Arc<dyn Store>,
    failing: AtomicUsize,
    /// Merges and refolds that fail once all is written, as a full disk does.
    pub(crate) maintenance_failing: AtomicUsize,
    /// Whether it fails as a full disk does, or as a piece that can never be written.
    pub(crate) for_ever: bool,
}

impl FaultyStore {
    pub(crate) fn new(real: Arc<dyn Store>, failing: usize) -> Self {
        Self {
            real,
            failing: AtomicUsize::new(failing),
            maintenance_failing: AtomicUsize::new(0),
            for_ever: false,
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn head(&self) -> &Head {
        self.real.head()
    }

    async fn write(&self, writer: WriterId, piece: &FlushPiece) -> Result<Vec<NewSegment>, StoreError> {
        let written = self.real.write(writer, piece).await;
        if strike(&self.failing) {
            if self.for_ever {
                return Err(StoreError::Inconsistent("a row is missing".to_owned()));
            }
            return Err(full_disk());
        }
        written
    }

    async fn merge(&self, writer: WriterId, merge: Merge) -> Result<NewSegment, StoreError> {
        let written = self.real.merge(writer, merge).await?;
        if strike(&self.maintenance_failing) { Err(full_disk()) } else { Ok(written) }
    }

    async fn write_windows(
        &self,
        writer: WriterId,
        coverage: Coverage,
        chunks: WindowChunks,
    ) -> Result<Vec<NewSegment>, StoreError> {
        let written = self.real.write_windows(writer, coverage, chunks).await?;
        if strike(&self.maintenance_failing) { Err(full_disk()) } else { Ok(written) }
    }

    async fn remove(&self, segments: &[Segment]) -> Result<(), StoreError> {
        self.real.remove(segments).await
    }

    fn scan_rows(&self, scan: RowScan) -> BatchStream {
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

/// Where the answer of a commit gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    BeforeTheEffect,
    AfterTheEffect,
}

pub(crate) struct FaultyCatalog {
    real: Arc<dyn Catalog>,
    how: Lost,
    pub(crate) lost: AtomicUsize,
    /// The same of swaps.
    pub(crate) swaps_lost: AtomicUsize,
    /// Times that the catalog is too busy to close a writer.
    pub(crate) busy: AtomicUsize,
    /// As the catalog states it; a test may say that it was restored from a copy.
    pub(crate) installation: Installation,
}

impl FaultyCatalog {
    pub(crate) fn new(real: Arc<dyn Catalog>, how: Lost, times: usize) -> Self {
        let installation = real.installation().clone();
        Self {
            real,
            how,
            lost: AtomicUsize::new(times),
            swaps_lost: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            installation,
        }
    }
}

#[async_trait]
impl Catalog for FaultyCatalog {
    fn installation(&self) -> &Installation {
        &self.installation
    }

    async fn epochs(&self) -> Result<Vec<EpochRow>, CatalogError> {
        self.real.epochs().await
    }

    async fn ensure_epoch(
        &self,
        place: &str,
        partitions: u32,
        identity_window_s: u64,
        now_us: i64,
    ) -> Result<EpochRow, CatalogError> {
        self.real.ensure_epoch(place, partitions, identity_window_s, now_us).await
    }

    async fn open_writer(&self, writer: WriterId, now_us: i64) -> Result<(), CatalogError> {
        self.real.open_writer(writer, now_us).await
    }

    async fn close_writer(&self, writer: WriterId, now_us: i64) -> Result<(), CatalogError> {
        if strike(&self.busy) {
            return Err(CatalogError::Database { context: "begin", reason: "database is locked".to_owned() });
        }
        self.real.close_writer(writer, now_us).await
    }

    async fn writers(&self) -> Result<Vec<OpenWriter>, CatalogError> {
        self.real.writers().await
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, CatalogError> {
        if !strike(&self.lost) {
            return self.real.commit(commit).await;
        }
        if self.how == Lost::AfterTheEffect {
            self.real.commit(commit).await?;
        }
        Err(CatalogError::Database { context: "commit", reason: "the answer got lost".to_owned() })
    }

    async fn swap(&self, swap: Swap) -> Result<SwapOutcome, CatalogError> {
        if !strike(&self.swaps_lost) {
            return self.real.swap(swap).await;
        }
        if self.how == Lost::AfterTheEffect {
            self.real.swap(swap).await?;
        }
        Err(CatalogError::Database { context: "commit", reason: "the answer got lost".to_owned() })
    }

    async fn forget_segments(&self, delisted_before_us: i64) -> Result<Vec<Segment>, CatalogError> {
        self.real.forget_segments(delisted_before_us).await
    }

    async fn meter_at(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        revision: u64,
    ) -> Result<Option<Meter>, CatalogError> {
        self.real.meter_at(namespace, id_or_slug, revision).await
    }

    async fn update_meter(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        update: MeterUpdate,
        now_us: i64,
    ) -> Result<Option<Meter>, CatalogError> {
        self.real.update_meter(namespace, id_or_slug, update, now_us).await
    }

    async fn note_wide(&self, generation: Generation, wide: Wide) -> Result<(), CatalogError> {
        self.real.note_wide(generation, wide).await
    }

    async fn raise_floor(
        &self,
        namespace: &Namespace,
        floor_us: i64,
        now_us: i64,
    ) -> Result<Floor, CatalogError> {
        self.real.raise_floor(namespace, floor_us, now_us).await
    }

    async fn listing(&self) -> Result<Arc<Listing>, CatalogError> {
        self.real.listing().await
    }

    fn keys(&self) -> &dyn Keys {
        self.real.keys()
    }

    async fn kept_segments(&self) -> Result<Vec<SegmentId>, CatalogError> {
        self.real.kept_segments().await
    }

    async fn create_meter(
        &self,
        namespace: &Namespace,
        draft: MeterDraft,
        id: MeterId,
        now_us: i64,
    ) -> Result<Meter, CatalogError> {
        self.real.create_meter(namespace, draft, id, now_us).await
    }

    async fn meter(&self, namespace: &Namespace, id_or_slug: &str) -> Result<Option<Meter>, CatalogError> {
        self.real.meter(namespace, id_or_slug).await
    }

    async fn meters(&self, namespace: &Namespace, query: &MeterQuery) -> Result<Vec<Meter>, CatalogError> {
        self.real.meters(namespace, query).await
    }

    async fn delete_meter(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        now_us: i64,
    ) -> Result<bool, CatalogError> {
        self.real.delete_meter(namespace, id_or_slug, now_us).await
    }

    async fn live_meters(&self) -> Result<(u64, Arc<Vec<Arc<Meter>>>), CatalogError> {
        self.real.live_meters().await
    }

    async fn close(&self) {
        self.real.close().await;
    }
}
