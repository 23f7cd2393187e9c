//! What compaction, refold and retention ask of a store: one segment in the place of many.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures::Stream;
use weir_meter::segment::{Coverage, Segment, SegmentKind};
use weir_meter::window::MeterWindows;
use weir_meter::{Generation, Namespace};

use crate::StoreError;

/// Several listed segments of one kind, to become one.
#[derive(Clone, Debug)]
pub struct Merge {
    pub kind: SegmentKind,
    /// Disjoint in what they cover, all of one window size.
    pub inputs: Vec<Arc<Segment>>,
    /// What the new segment covers. Its window size may be a multiple of the inputs' own: then windows
    /// are added up. All the inputs' rows lie in its ranges.
    pub coverage: Coverage,
    pub level: u32,
    /// Windows and members of these generations only.
    pub generations: Arc<BTreeMap<Generation, Namespace>>,
    pub retention: Retention,
    /// Set by whoever does not want the result any more; the work then ends soon, with `Stopped`.
    pub stop: Arc<AtomicBool>,
}

/// What a merge leaves out. By default nothing.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// Windows and members that begin before their namespace's floor go; events before it become bare
    /// rows, which keep hashes, coordinates, times and fate.
    pub floors: BTreeMap<Namespace, i64>,
    /// A bare row goes altogether if it was recorded before its namespace's floor and at or before this
    /// time: no later record can be told a duplicate by it.
    pub identities_until_us: i64,
}

/// Windows of one generation: all windows that its subjects have in its hours. A subject may go on in the
/// next chunk, with windows that begin later than any of it here; no window comes in two chunks.
#[derive(Clone, Debug)]
pub struct WindowChunk {
    pub namespace: Namespace,
    pub generation: Generation,
    pub windows: Arc<MeterWindows>,
}

pub type WindowChunks = Pin<Box<dyn Stream<Item = Result<WindowChunk, StoreError>> + Send>>;
