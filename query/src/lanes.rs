//! Whose turn it is. Two lanes, each with turns and a queue of its own: whatever crowds the lane of heavy
//! queries, light ones pass it. A query's weight is told from what it would read (`weigh`).

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::QueryError;
use crate::metrics;

/// About how much a query will read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Light,
    Heavy,
}

impl Weight {
    /// What a metric calls its lane.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Heavy => "heavy",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Lanes {
    light: Lane,
    heavy: Lane,
}

#[derive(Debug)]
struct Lane {
    weight: Weight,
    turns: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// A query that runs. Ended when dropped, also by a client that goes away.
#[derive(Debug)]
pub(crate) struct Turn<'l> {
    weight: Weight,
    _permit: SemaphorePermit<'l>,
}

impl Lanes {
    pub(crate) fn new(turns: usize, waiting_max: usize) -> Self {
        let lane = |weight| Lane {
            weight,
            turns: Semaphore::new(turns.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            waiting_max,
        };
        Self { light: lane(Weight::Light), heavy: lane(Weight::Heavy) }
    }

    /// Waits for a turn; refused if too many wait already.
    pub(crate) async fn turn(&self, weight: Weight) -> Result<Turn<'_>, QueryError> {
        let lane = match weight {
            Weight::Light => &self.light,
            Weight::Heavy => &self.heavy,
        };
        let permit = match lane.turns.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::enter(lane)?;
                lane.turns.acquire().await.map_err(|_| crowded(lane.waiting_max))?
            }
        };
        metrics::running(weight, 1.0);
        Ok(Turn { weight, _permit: permit })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        metrics::running(self.weight, -1.0);
    }
}

/// One place in the queue.
struct Waiting<'l>(&'l Lane);

impl<'l> Waiting<'l> {
    fn enter(lane: &'l Lane) -> Result<Self, QueryError> {
        let ahead = lane.waiting.fetch_add(1, Ordering::Relaxed);
        metrics::waiting(lane.weight, 1.0);
        let place = Self(lane);
        if ahead >= lane.waiting_max { Err(crowded(lane.waiting_max)) } else { Ok(place) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        metrics::waiting(self.0.weight, -1.0);
    }
}

fn crowded(waiting_max: usize) -> QueryError {
    QueryError::Busy {
        limit: "query_waiting_max",
        detail: format!("{waiting_max} queries are waiting already; ask again in a moment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn light_queries_pass_a_crowd_of_heavy_ones() {
        let lanes = Lanes::new(1, 1);
        let running = lanes.turn(Weight::Heavy).await.unwrap();
        let mut next = Box::pin(lanes.turn(Weight::Heavy));
        assert!(futures::poll!(&mut next).is_pending());
        let refused = lanes.turn(Weight::Heavy).await.unwrap_err();
        assert!(matches!(refused, QueryError::Busy { limit: "query_waiting_max", .. }), "{refused}");
        let light = lanes.turn(Weight::Light).await.unwrap();
        // Whoever goes away leaves its place to others.
        drop(next);
        let mut next = Box::pin(lanes.turn(Weight::Heavy));
        assert!(futures::poll!(&mut next).is_pending());
        drop(running);
        drop(next.await.unwrap());
        drop(light);
        lanes.turn(Weight::Light).await.unwrap();
    }
}
