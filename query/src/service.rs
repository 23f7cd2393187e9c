//! The query service: what every question needs, and how many of them may run for how long.

use std::future::Future;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use weir_catalog::{Catalog, Listing};
use weir_meter::Generation;
use weir_meter::environment::{Clock, Entropy};
use weir_meter::hash::HashKey;
use weir_proto::PositionKey;
use weir_store::Store;

use crate::budget::{Budget, Share};
use crate::error::QueryError;
use crate::lanes::{Lanes, Weight};
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
    lanes: Lanes,
    budget: Arc<Budget>,
}

impl QueryService {
    pub fn new(options: QueryOptions, parts: QueryParts) -> Self {
        let installation = parts.catalog.installation();
        Self {
            hash_key: HashKey::new(installation.hash_key),
            position_key: PositionKey::new(installation.position_key),
            durable_at_start: (parts.log_ends)(),
            lanes: Lanes::new(options.concurrent_queries_max, options.waiting_queries_max),
            budget: Budget::new(options.memory_total_max),
            options,
            parts,
        }
    }

    /// Runs one question when it is its turn, within the deadline.
    pub(crate) async fn run<T>(
        &self,
        kind: &'static str,
        weight: Weight,
        question: impl Future<Output = Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        let mut underway = Underway { kind, begun: Instant::now(), outcome: "cancelled" };
        let answer = timeout_at(underway.begun + self.options.deadline, async {
            let _turn = self.lanes.turn(weight).await?;
            question.await
        });
        let answer = answer
            .await
            .unwrap_or_else(|_| Err(QueryError::Deadline { limit_s: self.options.deadline.as_secs() }));
        underway.outcome = answer.as_ref().map_or_else(QueryError::outcome, |_| "answered");
        answer
    }

    /// Memory for one more query.
    pub(crate) fn share(&self) -> Arc<Share> {
        self.budget.share(self.options.memory_bytes_max)
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

/// A question on its way. Its client may go away at any moment; then it is dropped where it is.
struct Underway {
    kind: &'static str,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Underway {
    fn drop(&mut self) {
        metrics::query_done(self.kind, self.outcome, self.begun);
    }
}
