//! One of the sorted streams that a merge reads side by side: a file, or batches that wait in memory.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use weir_meter::segment::{NewSegment, Segment};

use super::go_on;
use crate::StoreError;
use crate::local::read::{Batches, open_whole};
use crate::local::{Shared, verify};

pub(super) struct Input {
    /// For messages.
    name: String,
    batches: Batches,
    stop: Arc<AtomicBool>,
}

impl Input {
    /// The files of the segments; one without rows has none. Whatever is read of them is compared with its
    /// checksum: a merge would otherwise hide damage behind a checksum of its own.
    pub(super) fn of_segments(
        shared: &Shared,
        segments: &[Arc<Segment>],
        text_bytes: usize,
        stop: &Arc<AtomicBool>,
    ) -> Result<Vec<Self>, StoreError> {
        let mut inputs = Vec::new();
        for segment in segments {
            go_on(stop)?;
            verify::verify(&shared.folders, std::slice::from_ref(segment), false)?;
            if let Some(path) = shared.folders.file_of(segment)? {
                let batches = open_whole(shared, &segment.new, path, text_bytes)?;
                inputs.push(Self { name: segment.new.location.clone(), batches, stop: Arc::clone(stop) });
            }
        }
        Ok(inputs)
    }

    /// A file that the merge has written for itself.
    pub(super) fn of_own(
        shared: &Shared,
        segment: &NewSegment,
        text_bytes: usize,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, StoreError> {
        let path = shared.folders.path(&segment.location);
        let batches = open_whole(shared, segment, path, text_bytes)?;
        Ok(Self { name: segment.location.clone(), batches, stop: Arc::clone(stop) })
    }

    pub(super) fn of_batches(batches: Vec<RecordBatch>, stop: &Arc<AtomicBool>) -> Self {
        let batches = Box::new(batches.into_iter().map(Ok));
        Self { name: "rows in memory".to_owned(), batches, stop: Arc::clone(stop) }
    }

    /// The next batch that has rows.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, StoreError> {
        loop {
            go_on(&self.stop)?;
            match self.batches.next().transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                batch => return Ok(batch),
            }
        }
    }

    pub(super) fn out_of_order(&self) -> StoreError {
        StoreError::Damaged {
            path: self.name.clone(),
            reason: "its rows are not in order; restore it from a copy".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing::plain_row;
    use crate::{convert, schema};

    #[test]
    fn stopping_is_noticed_at_the_next_batch() {
        let row = plain_row(1);
        let batch = convert::rows_to_batch(&[&row], weir_meter::WriterId(1), &schema::rows()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let mut input = Input::of_batches(vec![batch.slice(0, 0), batch.clone(), batch], &stop);
        assert_eq!(input.next().unwrap().unwrap().num_rows(), 1);
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(input.next(), Err(StoreError::Stopped)));
    }
}
