//! The head: what has been folded and is not at rest yet. A list of pieces, cut where flushes cut:
//! frozen ones that wait to be written, then the active one that folding still adds to. A reader
//! takes an immutable snapshot of the list first and the catalog's listing second, and drops the
//! pieces that the listing's frontier has passed; so a flush that commits in between is seen once.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use weir_meter::window::{MeterWindows, WindowSet};
use weir_meter::{Generation, Namespace, OffsetRange};

use crate::row::Row;

/// Rows that steps of folding share before the next batch is begun.
const BATCH_ROWS_MAX: usize = 4_096;

/// An immutable look at one piece.
#[derive(Clone, Debug)]
pub struct PieceSnapshot {
    /// One range per partition that the piece holds records of.
    pub ranges: Vec<OffsetRange>,
    pub revision: u64,
    /// Every generation that the piece folded, also those that no event met, and whose it is.
    pub generations: Arc<BTreeMap<Generation, Namespace>>,
    /// Generations that live at the revision and were not folded: too wide to keep windows of.
    pub left_out: Vec<Generation>,
    /// Batches of rows; together every offset of the ranges, each once.
    pub rows: Vec<Arc<Vec<Row>>>,
    pub windows: WindowSet,
}

impl PieceSnapshot {
    pub fn covers(&self, generation: Generation) -> bool {
        self.generations.contains_key(&generation)
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

/// The aggregator broke the head's rules. Nothing was changed; no trying again helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("no piece of the head is active")]
    NotActive,
    #[error("the active piece holds records and has to be frozen before another is begun")]
    NotFrozen,
    #[error("{range} came with {rows} rows; every offset has exactly one")]
    RowCount { range: OffsetRange, rows: usize },
    #[error("{range} was added to a piece that goes on at offset {expected}")]
    Gap { range: OffsetRange, expected: u64 },
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
    /// An immutable value of everything folded and not dropped yet, with the windows of these
    /// generations. As long as it is held, the next change to one of them copies that meter's windows
    /// first; all other meters go on being changed in place. Of the other generations the active piece
    /// says that it never folded them, so whoever asks it for one is answered from its rows.
    pub fn snapshot_of(&self, wanted: &[Generation]) -> HeadSnapshot {
        let state = self.state.lock();
        let mut pieces = state.frozen.clone();
        pieces.extend(state.active.iter().filter(|piece| !piece.ranges.is_empty()).map(|piece| {
            let generations = piece.generations.iter().filter(|(key, _)| wanted.contains(key));
            let meters = wanted.iter().filter_map(|key| Some((*key, Arc::clone(piece.windows_of(*key)?))));
            Arc::new(PieceSnapshot {
                ranges: piece.ranges.clone(),
                revision: piece.revision,
                generations: Arc::new(generations.map(|(key, of)| (*key, of.clone())).collect()),
                left_out: piece.left_out.clone(),
                rows: piece.rows.clone(),
                windows: WindowSet { meters: meters.collect() },
            })
        }));
        HeadSnapshot { pieces }
    }

    /// Begins an empty active piece, which folds `generations`; `left_out` live too and are not folded. The piece before it must have been
    /// frozen: its records are in no other place yet.
    pub fn begin(
        &self,
        revision: u64,
        generations: Arc<BTreeMap<Generation, Namespace>>,
        left_out: Vec<Generation>,
    ) -> Result<(), HeadError> {
        let mut state = self.state.lock();
        if state.active.as_ref().is_some_and(|piece| !piece.ranges.is_empty()) {
            return Err(HeadError::NotFrozen);
        }
        state.active = Some(PieceSnapshot {
            ranges: Vec::new(),
            revision,
            generations,
            left_out,
            rows: Vec::new(),
            windows: WindowSet::default(),
        });
        Ok(())
    }

    /// Adds the rows of one range and lets `fold` add their windows; readers see both or neither.
    /// Should `fold` panic, the active piece is gone with its half of the windows, and every later
    /// add says so: nobody ever sees a torn piece.
    pub fn add<T>(
        &self,
        range: OffsetRange,
        rows: Vec<Row>,
        fold: impl FnOnce(&[Row], &mut WindowSet) -> T,
    ) -> Result<T, HeadError> {
        if rows.len() as u64 != range.len() {
            return Err(HeadError::RowCount { range, rows: rows.len() });
        }
        let mut state = self.state.lock();
        let mut piece = state.active.take().ok_or(HeadError::NotActive)?;
        let known = piece.ranges.iter_mut().find(|r| same_partition(r, &range));
        if let Some(expected) = known.as_ref().map(|r| r.to).filter(|to| *to != range.from) {
            state.active = Some(piece);
            return Err(HeadError::Gap { range, expected });
        }
        match known {
            Some(known) => known.to = range.to,
            None if range.is_empty() => {}
            None => piece.ranges.push(range),
        }
        let result = fold(&rows, &mut piece.windows);
        add_rows(&mut piece.rows, rows);
        state.active = Some(piece);
        drop(state);
        self.visible.send_modify(|ends| {
            let mut next = ends.as_ref().clone();
            match next.iter_mut().find(|r| same_partition(r, &range)) {
                Some(existing) => existing.to = range.to,
                None => next.push(OffsetRange { from: 0, ..range }),
            }
            *ends = Arc::new(next);
        });
        Ok(result)
    }

    /// Lets go of the windows of a generation in the active piece: from now on the piece says that it
    /// never folded it, and queries answer it from rows. Folding must leave it out from the next add on.
    pub fn leave_out(&self, generation: Generation) {
        let mut state = self.state.lock();
        let Some(piece) = &mut state.active else { return };
        if piece.generations.contains_key(&generation) {
            let mut kept = piece.generations.as_ref().clone();
            kept.remove(&generation);
            piece.generations = Arc::new(kept);
            piece.left_out.push(generation);
            piece.windows.meters.remove(&generation);
        }
    }

    /// How many windows each generation has in the active piece.
    pub fn window_counts(&self) -> Vec<(Generation, usize)> {
        let state = self.state.lock();
        let meters = state.active.iter().flat_map(|piece| &piece.windows.meters);
        meters.map(|(key, windows)| (*key, windows.windows.len())).collect()
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

    /// Forgets everything folded (the partition turned out to be somebody else's). Nothing counts as
    /// visible until `set_visible` says so again.
    pub fn clear(&self) {
        self.visible.send_replace(Arc::default());
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

/// Rows of one step after those before it. Small steps share a batch, so that single events do not make a
/// list as long as the head; a batch that a reader holds is left as it is.
fn add_rows(batches: &mut Vec<Arc<Vec<Row>>>, rows: Vec<Row>) {
    if let Some(last) = batches.last_mut()
        && last.len().saturating_add(rows.len()) <= BATCH_ROWS_MAX
        && let Some(last) = Arc::get_mut(last)
    {
        last.extend(rows);
        return;
    }
    batches.push(Arc::new(rows));
}

fn same_partition(a: &OffsetRange, b: &OffsetRange) -> bool {
    a.epoch == b.epoch && a.partition == b.partition
}

#[cfg(test)]
mod tests;
