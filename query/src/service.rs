//! The query service: what every question needs, and how many of them may run for how long.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use weir_catalog::{Catalog, Listing};
use weir_meter::Generation;
use weir_meter::environment::{Clock, Entropy};
use weir_meter::hash::HashKey;
use weir_proto::PositionKey;
use weir_store::Store;

use crate::error::QueryError;
use crate::metrics;
use crate::options::QueryOptions;
use crate::planner::Shelf;

/// The durable end of each partition of the log: (partition, next offset).
pub type LogEnds = dyn Fn() -> Vec<(u32, u64)> + Send + Sync;

/// What the service works with.
#[derive(Clone)]
pub struct QueryParts {
    pub store: Arc<dyn Store>,
    pub catalog: Arc<dyn Catalog>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Of the newest epoch.
    pub log_ends: Arc<LogEnds>,
}

impl std::fmt::Debug for QueryParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryParts").finish_non_exhaustive()
    }
}

/// Answers questions about usage. Shared by all requests.
pub struct QueryService {
    pub(crate) options: QueryOptions,
    pub(crate) parts: QueryParts,
    pub(crate) hash_key: HashKey,
    pub(crate) position_key: PositionKey,
    /// What acknowledged events came before this process: no answer leaves any of them out.
    pub(crate) durable_at_start: Vec<(u32, u64)>,
    running: Semaphore,
    waiting: AtomicUsize,
}

impl QueryService {
    pub fn new(options: QueryOptions, parts: QueryParts) -> Self {
        let installation = parts.catalog.installation();
        Self {
            hash_key: HashKey::new(installation.hash_key),
            position_key: PositionKey::new(installation.position_key),
            durable_at_start: (parts.log_ends)(),
            running: Semaphore::new(options.concurrent_queries_max),
            waiting: AtomicUsize::new(0),
            options,
            parts,
        }
    }

    /// Runs one question when it is its turn, within the deadline.
    pub(crate) async fn run<T>(
        &self,
        kind: &'static str,
        question: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let begun = Instant::now();
        let late = |_| QueryError::Deadline { limit_s: self.options.deadline.as_secs() };
        let answer = async {
            timeout_at(begun + self.options.deadline, async {
                let _turn = self.turn().await?;
                question.await
            })
            .await
            .map_err(late)?
        }
        .await;
        metrics::query_done(kind, answer.as_ref().map_or_else(QueryError::outcome, |_| "answered"), begun);
        answer
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, QueryError> {
        if let Ok(permit) = self.running.try_acquire() {
            return Ok(permit);
        }
        let _waiting = Waiting::enter(&self.waiting, self.options.waiting_queries_max)?;
        self.running.acquire().await.map_err(|_| QueryError::Busy)
    }

    /// Everything that counts now, and the listing of it. Windows in the head come for `wanted` only, so
    /// that folding goes on undisturbed with all others.
    pub(crate) async fn shelf(&self, wanted: &[Generation]) -> Result<(Shelf, Arc<Listing>), QueryError> {
        let head = self.parts.store.head().snapshot_of(wanted);
        let listing = self.parts.catalog.listing().await?;
        Ok((Shelf::new(&head.pieces, &listing)?, listing))
    }
}

impl std::fmt::Debug for QueryService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryService").field("options", &self.options).finish_non_exhaustive()
    }
}

/// One place in the queue; left when dropped, also by a client that goes away.
struct Waiting<'s>(&'s AtomicUsize);

impl<'s> Waiting<'s> {
    fn enter(waiting: &'s AtomicUsize, waiting_max: usize) -> Result<Self, QueryError> {
        let ahead = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(waiting);
        metrics::queries_waiting(ahead + 1);
        if ahead >= waiting_max { Err(QueryError::Busy) } else { Ok(place) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        metrics::queries_waiting(before.saturating_sub(1));
    }
}
