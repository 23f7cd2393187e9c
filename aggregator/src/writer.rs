//! The licence to write under. Flushes and maintenance have one each; after anything written under it
//! that did not end in a clear success it is closed, what it left is swept, and a new one is taken.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weir_catalog::{Catalog, CatalogError, Listing};
use weir_meter::environment::{Clock, Entropy};
use weir_meter::{SegmentId, WriterId};
use weir_store::{Store, SweepReport};

use crate::error::AggregatorError;

/// Pauses while it is not known whether something took effect.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(100);
pub(crate) const RETRY_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Writer {
    id: WriterId,
    store: Arc<dyn Store>,
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Writer {
    /// Registers a fresh one.
    pub(crate) async fn open(
        store: &Arc<dyn Store>,
        catalog: &Arc<dyn Catalog>,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, AggregatorError> {
        let id = WriterId(entropy.random_u128());
        catalog.open_writer(id, clock.now_us()).await?;
        let (store, catalog) = (Arc::clone(store), Arc::clone(catalog));
        Ok(Self { id, store, catalog, clock: Arc::clone(clock), entropy: Arc::clone(entropy) })
    }

    pub(crate) fn id(&self) -> WriterId {
        self.id
    }

    /// Whether a transaction without an answer took effect: all it brought is listed, and nothing of what
    /// it was to take away. The writer is closed first, so that it cannot take effect after the look.
    pub(crate) async fn close_and_look(
        &self,
        brought: &[SegmentId],
        taken: &[SegmentId],
    ) -> Result<bool, CatalogError> {
        let listing = self.close_and_list().await?;
        let listed: HashSet<SegmentId> = listing.segments.iter().map(|s| s.new.segment).collect();
        Ok(brought.iter().all(|id| listed.contains(id)) && !taken.iter().any(|id| listed.contains(id)))
    }

    /// What is listed once nothing of this writer can take effect any more.
    pub(crate) async fn close_and_list(&self) -> Result<Arc<Listing>, CatalogError> {
        self.catalog.close_writer(self.id, self.clock.now_us()).await?;
        self.catalog.listing().await
    }

    /// A writer that failed once never writes again: what it left behind can be told from what counts.
    pub(crate) async fn replace(&mut self) {
        match self.catalog.close_writer(self.id, self.clock.now_us()).await {
            // Every attempt writes everything anew: left there, a long fault would fill the disk.
            Ok(()) => {
                let closed = HashSet::from([self.id]);
                if let Err(error) = sweep(self.store.as_ref(), self.catalog.as_ref(), &closed).await {
                    tracing::warn!(%error, "files that were never committed stay until the next start");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not close a writer; it is tried again at the next start");
            }
        }
        match Self::open(&self.store, &self.catalog, &self.clock, &self.entropy).await {
            Ok(writer) => *self = writer,
            Err(error) => tracing::warn!(%error, "could not register a new writer"),
        }
    }
}

/// Deletes what these closed writers wrote and no transaction listed. What else the catalog does not know
/// is in the report; while others are writing, theirs is among it.
pub(crate) async fn sweep(
    store: &dyn Store,
    catalog: &dyn Catalog,
    closed: &HashSet<WriterId>,
) -> Result<SweepReport, AggregatorError> {
    let kept: HashSet<_> = catalog.kept_segments().await?.into_iter().collect();
    let report = store.sweep(closed, &kept).await?;
    if !report.removed.is_empty() {
        tracing::info!(files = report.removed.len(), "removed files that were written and never committed");
    }
    Ok(report)
}
