//! Rows at rest as a merge sees them, and new batches of rows picked from others. A picked row is copied
//! as it is, all columns, and never read.

use std::cell::Cell;
use std::cmp::Ordering;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;

use super::sorted::Page;
use crate::StoreError;
use crate::convert::{BATCH_ROWS, BATCH_TEXT_BYTES, StoredRows};

/// Batches that are read to their end and wait for rows picked from them to leave, at most. Where few
/// rows stay, there could be as many as rows.
pub(super) const PASSED_BATCHES_MAX: usize = 16;

/// A batch of rows at rest.
pub(super) struct RowPage {
    batch: RecordBatch,
    pub(super) stored: StoredRows,
    /// Which `Picks` took it in last, by their number, and at which place.
    taken: Cell<(u64, usize)>,
}

impl Page for RowPage {
    fn of(batch: RecordBatch) -> Result<Self, StoreError> {
        Ok(Self { stored: StoredRows::of(&batch)?, batch, taken: Cell::new((0, 0)) })
    }

    fn len(&self) -> usize {
        self.stored.len()
    }

    fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let (mine, others) = (&self.stored, &other.stored);
        mine.namespace(row)
            .cmp(others.namespace(other_row))
            .then_with(|| mine.event(row).cmp(&others.event(other_row)))
            .then_with(|| mine.at(row).cmp(&others.at(other_row)))
    }
}

/// Rows that will make one batch.
pub(super) struct Picks {
    /// From 1 on.
    number: u64,
    batches_max: usize,
    batches: Vec<RecordBatch>,
    rows: Vec<(usize, usize)>,
    text_bytes: usize,
}

impl Picks {
    /// Each input has a batch in memory anyhow.
    pub(super) fn new(inputs: usize) -> Self {
        let batches_max = inputs.saturating_add(PASSED_BATCHES_MAX);
        Self { number: 1, batches_max, batches: Vec::new(), rows: Vec::new(), text_bytes: 0 }
    }

    /// True if the row belongs into the next batch.
    pub(super) fn is_full_for(&self, page: &RowPage, row: usize) -> bool {
        let with_row = self.text_bytes.saturating_add(page.stored.text_bytes(row));
        self.rows.len() >= BATCH_ROWS
            || self.batches.len() >= self.batches_max
            || (!self.rows.is_empty() && with_row > BATCH_TEXT_BYTES)
    }

    pub(super) fn add(&mut self, page: &RowPage, row: usize) {
        let (number, mut place) = page.taken.get();
        if number != self.number {
            place = self.batches.len();
            self.batches.push(page.batch.clone());
            page.taken.set((self.number, place));
        }
        self.rows.push((place, row));
        self.text_bytes = self.text_bytes.saturating_add(page.stored.text_bytes(row));
    }

    /// The batch, if any row was picked, and its text; and begins the next one.
    pub(super) fn take(&mut self) -> Result<Option<(RecordBatch, usize)>, StoreError> {
        let next = Self {
            number: self.number.wrapping_add(1),
            batches_max: self.batches_max,
            batches: Vec::new(),
            rows: Vec::new(),
            text_bytes: 0,
        };
        let picks = std::mem::replace(self, next);
        if picks.rows.is_empty() {
            return Ok(None);
        }
        let batch = copied(&picks.batches, &picks.rows)?;
        Ok(Some((batch, picks.text_bytes)))
    }
}

/// The rows of the batches, by batch and row.
pub(super) fn copied(batches: &[RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch, StoreError> {
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    interleave_record_batch(&batches, rows)
        .map_err(|error| StoreError::Arrow { context: "merging rows".to_owned(), reason: error.to_string() })
}
