//! Many sorted inputs as one: a heap of their next rows.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use arrow::array::RecordBatch;

use super::input::Input;
use crate::StoreError;

/// A batch whose rows can be compared.
pub(super) trait Page: Sized {
    fn of(batch: RecordBatch) -> Result<Self, StoreError>;

    fn len(&self) -> usize;

    /// By the order at rest, with all that tells two rows of one segment apart.
    fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering;
}

/// Rows of all inputs, the least first.
pub(super) struct Sorted<P: Page> {
    heap: BinaryHeap<Cursor<P>>,
}

impl<P: Page> Sorted<P> {
    pub(super) fn new(inputs: Vec<Input>) -> Result<Self, StoreError> {
        let mut heap = BinaryHeap::with_capacity(inputs.len());
        for mut input in inputs {
            if let Some(batch) = input.next()? {
                heap.push(Cursor { input, page: Box::new(P::of(batch)?), row: 0 });
            }
        }
        Ok(Self { heap })
    }

    /// The least row that was not passed yet.
    pub(super) fn top(&self) -> Option<(&P, usize)> {
        self.heap.peek().map(|cursor| (&*cursor.page, cursor.row))
    }

    /// Passes the least row.
    pub(super) fn advance(&mut self) -> Result<(), StoreError> {
        if let Some(mut cursor) = self.heap.peek_mut()
            && !cursor.advance()?
        {
            PeekMut::pop(cursor);
        }
        Ok(())
    }
}

/// The next row of one input.
struct Cursor<P> {
    input: Input,
    /// In a box, because a heap moves what it holds.
    page: Box<P>,
    row: usize,
}

impl<P: Page> Cursor<P> {
    /// False at the end. An input that does not rise strictly would spoil the order of everything.
    fn advance(&mut self) -> Result<bool, StoreError> {
        let next = self.row.saturating_add(1);
        if next < self.page.len() {
            if self.page.compare(self.row, &self.page, next) != Ordering::Less {
                return Err(self.input.out_of_order());
            }
            self.row = next;
            return Ok(true);
        }
        let Some(batch) = self.input.next()? else { return Ok(false) };
        let page = Box::new(P::of(batch)?);
        if self.page.compare(self.row, &page, 0) != Ordering::Less {
            return Err(self.input.out_of_order());
        }
        (self.page, self.row) = (page, 0);
        Ok(true)
    }
}

/// Turned round, because the heap gives the greatest.
impl<P: Page> Ord for Cursor<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.page.compare(other.row, &self.page, self.row)
    }
}

impl<P: Page> PartialOrd for Cursor<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: Page> PartialEq for Cursor<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<P: Page> Eq for Cursor<P> {}
