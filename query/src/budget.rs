//! Memory of queries. What the engine, folding and answers hold is counted twice: against the share of one
//! query, and against what all queries may hold together. A query that needs more than its share is too
//! large whenever it comes; one that finds the rest taken by others is asked to come again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};

use crate::error::QueryError;
use crate::metrics;

/// What all queries hold together.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    held: AtomicUsize,
}

/// What one query holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes_max: usize,
    held: AtomicUsize,
    /// The last refusal was because of what others hold.
    crowded: AtomicBool,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, held: AtomicUsize::new(0) })
    }

    /// The share of one more query.
    pub(crate) fn share(self: &Arc<Self>, bytes_max: usize) -> Arc<Share> {
        Arc::new(Share {
            budget: Arc::clone(self),
            bytes_max,
            held: AtomicUsize::new(0),
            crowded: AtomicBool::new(false),
        })
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes bytes, or says why there are none.
    pub(crate) fn grow(&self, bytes: usize) -> Result<(), QueryError> {
        if self.take(bytes) { Ok(()) } else { Err(self.refusal()) }
    }

    pub(crate) fn shrink(&self, bytes: usize) {
        let (given, _) = take_away(&self.held, bytes);
        metrics::memory_held(take_away(&self.budget.held, given).1);
    }

    /// Gives back all but so many bytes.
    pub(crate) fn keep(&self, bytes: usize) {
        Share::shrink(self, self.held.load(Ordering::Relaxed).saturating_sub(bytes));
    }

    /// Why the last bytes were refused.
    pub(crate) fn refusal(&self) -> QueryError {
        if self.crowded.load(Ordering::Relaxed) {
            let all = self.budget.bytes_max;
            return QueryError::Busy {
                limit: "query_memory_total_max",
                detail: format!(
                    "other queries hold too much of the {all} bytes that queries may hold; ask again in a moment"
                ),
            };
        }
        QueryError::too_large(
            "query_memory_max",
            format!(
                "the query needs more than the {} bytes that one query may hold; ask for a shorter range of time, larger windows or fewer groups",
                self.bytes_max
            ),
        )
    }

    fn take(&self, bytes: usize) -> bool {
        let within = |max: usize| move |held: usize| held.checked_add(bytes).filter(|sum| *sum <= max);
        let update = |held: &AtomicUsize, max| {
            held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within(max)).is_ok()
        };
        if !update(&self.held, self.bytes_max) {
            self.crowded.store(false, Ordering::Relaxed);
            return false;
        }
        if !update(&self.budget.held, self.budget.bytes_max) {
            take_away(&self.held, bytes);
            self.crowded.store(true, Ordering::Relaxed);
            return false;
        }
        metrics::memory_held(self.budget.held.load(Ordering::Relaxed));
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let (_, left) = take_away(&self.budget.held, *self.held.get_mut());
        metrics::memory_held(left);
    }
}

/// Subtracts, at most down to zero. Returns how much that was, and what is left.
fn take_away(held: &AtomicUsize, bytes: usize) -> (usize, usize) {
    let less = |held: usize| Some(held.saturating_sub(bytes));
    let before = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_else(|held| held);
    let given = before.min(bytes);
    (given, before.saturating_sub(given))
}

/// What the query engine takes comes out of the same share.
impl MemoryPool for Share {
    fn name(&self) -> &str {
        "query"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.held.fetch_add(additional, Ordering::Relaxed);
        self.budget.held.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, _: &MemoryReservation, shrink: usize) {
        Share::shrink(self, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        if self.take(additional) {
            return Ok(());
        }
        let consumer = reservation.consumer().name();
        Err(DataFusionError::ResourcesExhausted(format!("{additional} more bytes for {consumer}")))
    }

    fn reserved(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.reserved(), self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_that_is_full_and_a_house_that_is_full_are_told_apart() {
        let budget = Budget::new(100);
        let (one, two) = (budget.share(60), budget.share(60));
        one.grow(60).unwrap();
        assert!(one.grow(1).unwrap_err().to_string().contains("one query may hold"));
        let crowded = two.grow(41).unwrap_err();
        assert!(matches!(crowded, QueryError::Busy { limit: "query_memory_total_max", .. }), "{crowded}");
        two.grow(40).unwrap();
        assert_eq!(budget.held(), 100);
        drop(one);
        assert_eq!(budget.held(), 40);
        two.grow(20).unwrap();
        two.shrink(1_000);
        assert_eq!((budget.held(), two.reserved()), (0, 0));
    }

    proptest! {
        /// Whatever is taken and given back, by whom, no bound is passed and nothing stays behind.
        #[test]
        fn nothing_is_lost(steps in prop::collection::vec((0usize..3, 0usize..50, any::<bool>()), 0..60)) {
            let budget = Budget::new(100);
            let shares = [budget.share(60), budget.share(60), budget.share(60)];
            let mut plain = [0_usize; 3];
            for (who, bytes, more) in steps {
                if more {
                    let room = plain[who] + bytes <= 60 && plain.iter().sum::<usize>() + bytes <= 100;
                    prop_assert_eq!(shares[who].grow(bytes).is_ok(), room);
                    plain[who] += if room { bytes } else { 0 };
                } else {
                    shares[who].shrink(bytes);
                    plain[who] = plain[who].saturating_sub(bytes);
                }
                prop_assert_eq!(budget.held(), plain.iter().sum::<usize>());
                prop_assert_eq!(shares[who].reserved(), plain[who]);
            }
            drop(shares);
            prop_assert_eq!(budget.held(), 0);
        }
    }
}
