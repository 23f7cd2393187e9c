//! The local store against what a reader would find by looking at every row. Row groups, pages and
//! batches are small in tests, so that a few hundred rows make many of each.

mod damage;
mod faults;
mod flips;
mod merging;
mod merging_rows;
mod power;
mod read_only;
mod refolding;
mod removing;
mod scans;
mod simulated;
mod sweeping;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;
use weir_meter::environment::Entropy;
use weir_meter::segment::{NewSegment, Segment, SegmentKind};
use weir_meter::{InstallationId, WriterId};

use crate::local::LocalStore;
use crate::{BatchStream, PieceSnapshot, RowScan, RowSource, Store as _, StoreError, convert, schema};

pub(super) const INSTALLATION: InstallationId = InstallationId(0xabc);
pub(super) const WRITER: WriterId = WriterId(0x51);

/// Counts up: no two numbers are the same, and a failing test fails the same way again.
#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn random_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1
    }
}

pub(super) struct Fixture {
    pub(super) dir: TempDir,
    pub(super) store: LocalStore,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = open(&dir, INSTALLATION).unwrap();
        Self { dir, store }
    }

    pub(super) fn path(&self, segment: &Segment) -> PathBuf {
        self.dir.path().join(&segment.new.location)
    }

    pub(super) async fn write(&self, piece: &PieceSnapshot) -> Vec<Arc<Segment>> {
        listed(self.store.write(WRITER, piece).await.unwrap())
    }
}

pub(super) fn open(dir: &TempDir, installation: InstallationId) -> Result<LocalStore, StoreError> {
    LocalStore::open(dir.path(), installation, Arc::new(Counting::default()))
}

pub(super) fn listed(new: Vec<NewSegment>) -> Vec<Arc<Segment>> {
    new.into_iter()
        .map(|new| Arc::new(Segment { new, writer: WRITER, listed_at_us: 0, delisted_at_us: None }))
        .collect()
}

pub(super) fn of_kind(segments: &[Arc<Segment>], kind: SegmentKind) -> Arc<Segment> {
    Arc::clone(segments.iter().find(|segment| segment.new.kind == kind).unwrap())
}

/// Everything in the sources, with all columns.
pub(super) fn everything(sources: Vec<RowSource>) -> RowScan {
    RowScan {
        sources,
        offsets: None,
        namespace: None,
        event_type: None,
        subjects: None,
        times_us: None,
        counted_only: false,
        recorded_after_us: None,
        columns: all_columns(SegmentKind::Rows),
        counters: Arc::default(),
    }
}

pub(super) fn all_columns(kind: SegmentKind) -> Vec<&'static str> {
    let schema = schema::of_kind(kind);
    // Scans take names that live for ever, as every caller but a test has them.
    schema.fields().iter().map(|field| &*Box::leak(field.name().clone().into_boxed_str())).collect()
}

pub(super) async fn batches(stream: BatchStream) -> Result<Vec<RecordBatch>, StoreError> {
    stream.try_collect().await
}

pub(super) async fn rows(stream: BatchStream) -> Result<Vec<crate::Row>, StoreError> {
    let batches: Vec<_> = stream.collect().await;
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(convert::batch_to_rows(&batch?)?);
    }
    Ok(rows)
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}
