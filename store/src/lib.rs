//! Rows at rest and windows. One trait; `local` is Parquet files on this disk. The head, what has
//! been folded and is not at rest yet, is a source like any segment.

pub mod convert;
pub mod head;
pub mod local;
mod merge;
mod metrics;
pub mod row;
pub mod scan;
pub mod schema;
#[cfg(test)]
mod testing;

use std::collections::HashSet;

use async_trait::async_trait;
use weir_meter::segment::{Coverage, NewSegment, Segment};
use weir_meter::{SegmentId, WriterId};

pub use head::{FlushPiece, Head, HeadError, HeadSnapshot, PieceSnapshot};
pub use merge::{Merge, Retention, WindowChunk, WindowChunks};
pub use metrics::describe_metrics;
pub use row::{Fate, Row};
pub use scan::{BatchStream, RowScan, RowSource, ScanCounters, WindowScan, WindowSource};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{context}: {source}")]
    Io {
        context: String,
        #[source]
        source: std::io::Error,
    },
    /// A file is not what the catalog says it is.
    #[error("{path} is damaged: {reason}")]
    Damaged { path: String, reason: String },
    #[error("the store does not belong here: {0}")]
    Mismatch(String),
    /// A piece of the head, a refold or a merge must not become files. No trying again helps.
    #[error("what was to be written contradicts itself: {0}")]
    Inconsistent(String),
    #[error("the store was opened only to be read")]
    ReadOnly,
    /// The work was asked to stop; what it had written is gone.
    #[error("the work was stopped")]
    Stopped,
    #[error("{context}: {reason}")]
    Arrow { context: String, reason: String },
}

/// What a sweep did and what it left for a person to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    pub removed: Vec<String>,
    /// Files that the catalog knows nothing about. They are never deleted.
    pub unknown: Vec<String>,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What is folded and not at rest; always empty where another process folds.
    fn head(&self) -> &Head;

    /// Writes a piece's rows, windows and members, invisible to all until a commit lists them.
    /// On return everything is durable.
    async fn write(&self, writer: WriterId, piece: &FlushPiece) -> Result<Vec<NewSegment>, StoreError>;

    /// Writes one segment that holds what several listed ones hold, invisible to all until a swap lists
    /// it. On return it is durable.
    async fn merge(&self, writer: WriterId, merge: Merge) -> Result<NewSegment, StoreError>;

    /// Writes windows that a refold made, with their members, as one segment of each kind, invisible to all
    /// until a swap lists them. The chunks come by namespace, generation, subject, then window start: the
    /// first window of a chunk lies after the last one of the chunk before. On return all is durable.
    async fn write_windows(
        &self,
        writer: WriterId,
        coverage: Coverage,
        chunks: WindowChunks,
    ) -> Result<Vec<NewSegment>, StoreError>;

    /// Deletes what segments hold that the catalog has forgotten. What is not there is no error.
    async fn remove(&self, segments: &[Segment]) -> Result<(), StoreError>;

    /// Rows at rest that match: of one segment in the order at rest, of one piece of the head in the order
    /// of the log, of several sources in no particular order. See `schema::rows`.
    fn scan_rows(&self, scan: RowScan) -> BatchStream;

    /// Windows that match, in no particular order. See `schema::windows`.
    fn scan_windows(&self, scan: WindowScan) -> BatchStream;

    /// Members of UNIQUE_COUNT windows that match. See `schema::members`.
    fn scan_members(&self, scan: WindowScan) -> BatchStream;

    /// Deletes what the given closed writers left behind and no listing knows.
    async fn sweep(
        &self,
        closed: &HashSet<WriterId>,
        kept: &HashSet<SegmentId>,
    ) -> Result<SweepReport, StoreError>;

    /// Checks that every listed segment is there with the length it should have; with `checksums`
    /// also reads and compares every byte.
    async fn verify(&self, segments: &[std::sync::Arc<Segment>], checksums: bool) -> Result<(), StoreError>;
}
