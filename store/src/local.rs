//! The store on this disk: Parquet files in three folders, written beside the head and listed by
//! the catalog. A file that no commit lists is invisible, so nothing is ever renamed or changed;
//! what a crash leaves behind is swept at the next start.

mod blocks;
mod condition;
mod files;
mod footers;
mod marker;
mod merge;
mod pieces;
mod properties;
mod prune;
mod read;
mod refold;
mod remove;
mod sweep;
mod verify;
mod write;

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use weir_files::Disk;
use weir_meter::environment::Entropy;
use weir_meter::segment::{Coverage, NewSegment, Segment, SegmentKind};
use weir_meter::{InstallationId, SegmentId, WriterId};

use self::files::Folders;
use self::footers::Footers;
use self::read::Wanted;
use crate::{
    BatchStream, FlushPiece, Head, Merge, RowScan, ScanCounters, Store, StoreError, SweepReport,
    WindowChunks, WindowScan,
};

/// Sources of one scan that are read at the same time.
const SOURCES_AT_ONCE: usize = 2;

/// Bytes that a merge, or the files of a refold, may take in memory, unless the store is told another bound.
const MAINTENANCE_MEMORY_MAX: usize = 1 << 30;

/// Rows and windows as Parquet files in a folder of this machine, and the head in memory.
pub struct LocalStore {
    shared: Arc<Shared>,
    head: Head,
    entropy: Arc<dyn Entropy>,
    read_only: bool,
}

/// What blocking work needs of the store.
#[derive(Debug)]
struct Shared {
    folders: Folders,
    footers: Footers,
    maintenance_memory_max: usize,
}

impl Shared {
    fn new(folders: Folders) -> Self {
        Self { folders, footers: Footers::default(), maintenance_memory_max: MAINTENANCE_MEMORY_MAX }
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl LocalStore {
    /// Opens the store in `dir`, or makes one. A folder of another installation, or written by a
    /// newer Weir, is refused. Only for the one process that holds the data folder.
    pub fn open(
        dir: &Path,
        installation: InstallationId,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        Self::open_on(Disk::default(), dir, installation, entropy)
    }

    /// As `open`, on a disk of the caller's choice.
    pub fn open_on(
        disk: Disk,
        dir: &Path,
        installation: InstallationId,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let folders = Folders::open(disk, dir, installation)?;
        let shared = Arc::new(Shared::new(folders));
        Ok(Self { shared, head: Head::default(), entropy, read_only: false })
    }

    /// Opens the store in `dir` for a tool that runs beside the process that holds the data folder. Nothing
    /// is made or changed, the head is empty, and whatever would write is refused.
    pub fn open_read_only(
        dir: &Path,
        installation: InstallationId,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        Self::open_read_only_on(Disk::default(), dir, installation, entropy)
    }

    /// As `open_read_only`, on a disk of the caller's choice.
    pub fn open_read_only_on(
        disk: Disk,
        dir: &Path,
        installation: InstallationId,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let folders = Folders::open_read_only(disk, dir, installation)?;
        let shared = Arc::new(Shared::new(folders));
        Ok(Self { shared, head: Head::default(), entropy, read_only: true })
    }

    /// Bounds what one merge holds in memory, and what a refold's files take of a bound that it shares with
    /// the windows. For a store that is not at work yet.
    pub fn with_maintenance_memory_max(mut self, bytes: usize) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.maintenance_memory_max = bytes;
        }
        self
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        if self.read_only { Err(StoreError::ReadOnly) } else { Ok(()) }
    }

    fn scan(&self, wanted: Wanted, counters: &Arc<ScanCounters>) -> BatchStream {
        let sources = match wanted.check() {
            Ok(()) => wanted.sources().to_vec(),
            Err(error) => return Box::pin(stream::iter([Err(error)])),
        };
        let (shared, wanted, counters) = (Arc::clone(&self.shared), Arc::new(wanted), Arc::clone(counters));
        let streams = stream::iter(sources).map(move |source| {
            read::stream(Arc::clone(&shared), Arc::clone(&wanted), source, Arc::clone(&counters))
        });
        Box::pin(streams.flatten_unordered(SOURCES_AT_ONCE))
    }
}

#[async_trait]
impl Store for LocalStore {
    fn head(&self) -> &Head {
        &self.head
    }

    async fn write(&self, writer: WriterId, piece: &FlushPiece) -> Result<Vec<NewSegment>, StoreError> {
        self.check_writable()?;
        let ids = [SegmentKind::Rows, SegmentKind::Windows, SegmentKind::Members]
            .map(|kind| (kind, SegmentId(self.entropy.random_u128())));
        let (shared, piece) = (Arc::clone(&self.shared), piece.clone());
        let made = blocking("writing a flush", move || write::write(&shared, writer, &piece, ids)).await?;
        Ok(made.keep())
    }

    async fn merge(&self, writer: WriterId, merge: Merge) -> Result<NewSegment, StoreError> {
        self.check_writable()?;
        let (shared, entropy) = (Arc::clone(&self.shared), Arc::clone(&self.entropy));
        let made =
            blocking("merging", move || merge::merge(&shared, entropy.as_ref(), writer, &merge)).await?;
        made.keep().pop().ok_or_else(|| StoreError::Inconsistent("a merge made no segment".to_owned()))
    }

    async fn write_windows(
        &self,
        writer: WriterId,
        coverage: Coverage,
        chunks: WindowChunks,
    ) -> Result<Vec<NewSegment>, StoreError> {
        self.check_writable()?;
        let ids = [SegmentKind::Windows, SegmentKind::Members]
            .map(|kind| (kind, SegmentId(self.entropy.random_u128())));
        refold::write(Arc::clone(&self.shared), writer, coverage, ids, chunks).await
    }

    async fn remove(&self, segments: &[Segment]) -> Result<(), StoreError> {
        self.check_writable()?;
        let (shared, segments) = (Arc::clone(&self.shared), segments.to_vec());
        blocking("removing files", move || remove::remove(&shared, &segments)).await
    }

    fn scan_rows(&self, scan: RowScan) -> BatchStream {
        let counters = Arc::clone(&scan.counters);
        self.scan(Wanted::Rows(scan), &counters)
    }

    fn scan_windows(&self, scan: WindowScan) -> BatchStream {
        let counters = Arc::clone(&scan.counters);
        self.scan(Wanted::Windows(scan), &counters)
    }

    fn scan_members(&self, scan: WindowScan) -> BatchStream {
        let counters = Arc::clone(&scan.counters);
        self.scan(Wanted::Members(scan), &counters)
    }

    async fn sweep(
        &self,
        closed: &HashSet<WriterId>,
        kept: &HashSet<SegmentId>,
    ) -> Result<SweepReport, StoreError> {
        self.check_writable()?;
        let (shared, closed, kept) = (Arc::clone(&self.shared), closed.clone(), kept.clone());
        blocking("sweeping", move || sweep::sweep(&shared.folders, &closed, &kept)).await
    }

    async fn verify(&self, segments: &[Arc<Segment>], checksums: bool) -> Result<(), StoreError> {
        let (shared, segments) = (Arc::clone(&self.shared), segments.to_vec());
        blocking("verifying", move || verify::verify(&shared.folders, &segments, checksums)).await
    }
}

/// Runs work that waits for the disk, or keeps a core busy, where it holds up nobody else.
async fn blocking<T: Send + 'static>(
    context: &str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Arrow {
            context: context.to_owned(),
            reason: format!("the work broke off: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests;
