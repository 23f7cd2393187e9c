//! The head: what has been folded and is not at rest yet. A list of pieces, cut where flushes cut:
//! frozen ones that wait to be written, then the active one that folding still adds to. A reader
//! takes an immutable snapshot of the list first and the catalog's listing second, and drops the
//! pieces that the listing's frontier has passed; so a flush that commits in between is seen once.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use weir_meter::window::{MeterWindows, WindowSet};
use weir_meter::{Generation, OffsetRange};

use crate::row::Row;

/// An immutable look at one piece.
#[derive(Clone, Debug)]
pub struct PieceSnapshot {
    /// One range per partition that the piece holds records of.
    pub ranges: Vec<OffsetRange>,
    pub revision: u64,
    /// Generations that the piece folded, sorted.
    pub generations: Arc<[Generation]>,
    /// One entry per folded batch; together every offset of the ranges, each once.
    pub rows: Vec<Arc<Vec<Row>>>,
    pub windows: WindowSet,
}

impl PieceSnapshot {
    pub fn covers(&self, generation: Generation) -> bool {
        self.generations.binary_search(&generation).is_ok()
    }

    pub fn windows_of(&self, generation: Generation) -> Option<&Arc<MeterWindows>> {
        self.windows.meters.get(&generation)
    }

    pub fn row_count(&self) -> usize {
        self.rows.iter().map(|batch| batch.len()).sum()
    }
}

/// A frozen piece on its way to rest.
pub type FlushPiece = PieceSnapshot;

/// All pieces, oldest first.
#[derive(Clone, Debug, Default)]
pub struct HeadSnapshot {
    pub pieces: Vec<Arc<PieceSnapshot>>,
}

/// Shared by the aggregator, which adds, and by queries, which look.
#[derive(Debug)]
pub struct Head {
    state: Mutex<HeadState>,
    visible: watch::Sender<Arc<Vec<OffsetRange>>>,
}

#[derive(Debug, Default)]
struct HeadState {
    frozen: Vec<Arc<PieceSnapshot>>,
    active: Option<PieceSnapshot>,
}

impl Default for Head {
    fn default() -> Self {
        Self { state: Mutex::default(), visible: watch::Sender::new(Arc::default()) }
    }
}

impl Head {
    /// An immutable value of everything folded and not dropped yet. While a reader holds it, the
    /// next change to a meter's windows copies that meter's windows first.
    pub fn snapshot(&self) -> HeadSnapshot {
        let state = self.state.lock();
        let mut pieces = state.frozen.clone();
        pieces.extend(state.active.iter().filter(|p| !p.ranges.is_empty()).map(|p| Arc::new(p.clone())));
        HeadSnapshot { pieces }
    }

    /// Begins an empty active piece. The piece before it must have been frozen.
    pub fn begin(&self, revision: u64, generations: Arc<[Generation]>) {
        let mut state = self.state.lock();
        debug_assert!(state.active.as_ref().is_none_or(|p| p.ranges.is_empty()));
        state.active = Some(PieceSnapshot {
            ranges: Vec::new(),
            revision,
            generations,
            rows: Vec::new(),
            windows: WindowSet::default(),
        });
    }

    /// Adds the rows of one range and lets `fold` add their windows; readers see both or neither.
    pub fn add<T>(
        &self,
        range: OffsetRange,
        rows: Vec<Row>,
        fold: impl FnOnce(&[Row], &mut WindowSet) -> T,
    ) -> Option<T> {
        let mut state = self.state.lock();
        let active = state.active.as_mut()?;
        let result = fold(&rows, &mut active.windows);
        match active.ranges.iter_mut().find(|r| r.epoch == range.epoch && r.partition == range.partition) {
            Some(existing) => {
                debug_assert_eq!(existing.to, range.from);
                existing.to = range.to;
            }
            None => active.ranges.push(range),
        }
        active.rows.push(Arc::new(rows));
        drop(state);
        self.visible.send_modify(|ends| {
            let mut next = ends.as_ref().clone();
            match next.iter_mut().find(|r| r.epoch == range.epoch && r.partition == range.partition) {
                Some(existing) => existing.to = range.to,
                None => next.push(OffsetRange { from: 0, ..range }),
            }
            *ends = Arc::new(next);
        });
        Some(result)
    }

    /// Freezes the active piece, if it holds anything. A new one must be begun before the next add.
    pub fn freeze(&self) -> Option<Arc<PieceSnapshot>> {
        let mut state = self.state.lock();
        let piece = state.active.take().filter(|p| !p.ranges.is_empty())?;
        let piece = Arc::new(piece);
        state.frozen.push(Arc::clone(&piece));
        Some(piece)
    }

    /// Lets go of a piece that is at rest and listed now.
    pub fn drop_piece(&self, piece: &Arc<PieceSnapshot>) {
        self.state.lock().frozen.retain(|p| !Arc::ptr_eq(p, piece));
    }

    /// Forgets everything folded (the partition turned out to be somebody else's).
    pub fn clear(&self) {
        *self.state.lock() = HeadState::default();
    }

    /// What readers can see, by partition: from 0 to the end of the head (or the frontier).
    pub fn visible(&self) -> watch::Receiver<Arc<Vec<OffsetRange>>> {
        self.visible.subscribe()
    }

    /// Says that everything below `to` is visible, at rest or in the head (at start, from the catalog).
    pub fn set_visible(&self, ends: Vec<OffsetRange>) {
        self.visible.send_replace(Arc::new(ends));
    }
}
