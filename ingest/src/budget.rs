//! The bound on all bytes of request bodies that are held at one time. A request reserves what it
//! has really received, as it receives it, so that a slow client holds no more than it has sent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::IngestError;
use crate::metrics;

/// Reservations are counted in blocks of this many bytes.
const BLOCK_BYTES: usize = 1_024;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Budget {
    blocks: Arc<Semaphore>,
    retry_after_seconds: u32,
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    blocks: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
    retry_after_seconds: u32,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize, retry_after_seconds: u32) -> Self {
        let blocks = (bytes_max / BLOCK_BYTES).min(Semaphore::MAX_PERMITS);
        Self { blocks: Arc::new(Semaphore::new(blocks)), retry_after_seconds }
    }

    /// A reservation of nothing yet.
    pub(crate) fn open(&self) -> Reservation {
        Reservation {
            blocks: self.blocks.clone(),
            held: None,
            bytes: 0,
            retry_after_seconds: self.retry_after_seconds,
        }
    }
}

impl Reservation {
    /// Reserves `bytes` more; refused if the requests together would hold more than they may.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), IngestError> {
        let overloaded = || IngestError::Overloaded { retry_after_seconds: self.retry_after_seconds };
        let after = self.bytes.saturating_add(bytes);
        let missing = after.div_ceil(BLOCK_BYTES).saturating_sub(self.bytes.div_ceil(BLOCK_BYTES));
        if missing > 0 {
            let missing = u32::try_from(missing).map_err(|_| overloaded())?;
            let more = self.blocks.clone().try_acquire_many_owned(missing).map_err(|_| overloaded())?;
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        }
        self.bytes = after;
        metrics::buffered_grew(bytes);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        metrics::buffered_shrank(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_share_one_bound_and_give_back() {
        let budget = Budget::new(10 * BLOCK_BYTES, 3);
        let mut one = budget.open();
        let mut other = budget.open();
        one.grow(1).unwrap();
        one.grow(BLOCK_BYTES - 1).unwrap();
        other.grow(9 * BLOCK_BYTES).unwrap();
        assert_eq!(one.grow(1), Err(IngestError::Overloaded { retry_after_seconds: 3 }));
        drop(other);
        one.grow(9 * BLOCK_BYTES).unwrap();
        drop(one);
        assert_eq!(budget.blocks.available_permits(), 10);
    }
}
