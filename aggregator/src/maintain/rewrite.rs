//! Segments in the place of others: the store writes them, then one swap in the catalog makes them count.
//! Those that were replaced stay for a while, for queries at old positions; then the catalog forgets them,
//! and only after that their files go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_catalog::{CatalogError, Listing, Swap, SwapOutcome};
use weir_log::phase::{self, Lane, Phase};
use weir_meter::SegmentId;
use weir_meter::segment::NewSegment;
use weir_store::{Merge, Retention, StoreError};

use super::choose::{Output, Rewrite, Why, floors_revision};
use super::{FORGET_INTERVAL_MAX, Maintenance, Step};
use crate::error::AggregatorError;
use crate::metrics;
use crate::writer::{RETRY_FIRST, RETRY_MAX};

impl Maintenance {
    pub(super) fn is_time_to_forget(&self) -> bool {
        let now_us = self.parts.clock.now_us();
        let interval_us = microseconds(FORGET_INTERVAL_MAX.min(self.options.segments_kept_for));
        // A clock that was set back is no reason to wait.
        !self
            .forgotten_at_us
            .is_some_and(|at_us| (at_us..at_us.saturating_add(interval_us)).contains(&now_us))
    }

    /// Forgets what was replaced long enough ago. None if there is no such thing.
    pub(super) async fn forget(&mut self) -> Result<Option<Step>, AggregatorError> {
        let now_us = self.parts.clock.now_us();
        let kept_us = microseconds(self.options.segments_kept_for.saturating_add(self.options.forget_margin));
        let before_us = now_us.saturating_sub(kept_us);
        phase::enter(Lane::Maintenance, Phase::Forget);
        let forgotten = self.parts.catalog.forget_segments(before_us).await?;
        self.forgotten_at_us = Some(now_us);
        if forgotten.is_empty() {
            return Ok(None);
        }
        phase::enter(Lane::Maintenance, Phase::Remove);
        // Files that could not be removed are found at the next start: nothing knows them any more.
        self.parts.store.remove(&forgotten).await?;
        Ok(Some(Step::Forgot { segments: forgotten.len() }))
    }

    pub(super) async fn rewrite(
        &mut self,
        rewrite: Rewrite,
        listing: &Listing,
    ) -> Result<Step, AggregatorError> {
        let (why, taken) = (rewrite.why, rewrite.remove.len());
        phase::enter(Lane::Maintenance, Phase::Merge);
        let mut add = Vec::with_capacity(rewrite.add.len());
        for output in rewrite.add {
            let merged = self.merge(output, listing).await?;
            metrics::count_rows(&merged);
            add.push(merged);
        }
        let brought: Vec<SegmentId> = add.iter().map(|new| new.segment).collect();
        self.swap(rewrite.remove, add).await?;
        // These floors have been applied now; only later ones can take more away.
        let floors = floors_revision(listing);
        self.applied.extend(brought.into_iter().map(|segment| (segment, floors)));
        Ok(match why {
            Why::Compaction(kind) => Step::Compacted { kind, segments: taken },
            Why::Retention(kind) => Step::Retained { kind },
            Why::Minutes => Step::LeftMinutes { segments: taken },
            Why::OldFolding => {
                tracing::warn!(segments = taken, "windows of another version's folding are made anew");
                Step::LeftOldFolding { segments: taken }
            }
        })
    }

    async fn merge(&self, output: Output, listing: &Listing) -> Result<NewSegment, AggregatorError> {
        let floors = listing.floors.iter().map(|(namespace, floor)| (namespace.clone(), floor.floor_us));
        let merge = Merge {
            kind: output.kind,
            inputs: output.inputs,
            coverage: output.coverage,
            level: output.level,
            generations: output.generations,
            retention: Retention {
                floors: floors.collect(),
                identities_until_us: self.identities_until_us(listing),
            },
            stop: Arc::clone(&self.stop),
        };
        Ok(self.parts.store.merge(self.writer.id(), merge).await?)
    }

    /// Identities of records before this are not asked for any more. A later record is told a duplicate by
    /// an identity of its own partition, so the slowest one decides.
    pub(super) fn identities_until_us(&self, listing: &Listing) -> i64 {
        let recorded_us = listing.frontiers.iter().map(|frontier| frontier.record_time_max_us).min();
        recorded_us.unwrap_or(i64::MIN).saturating_sub(self.identity_window_us)
    }

    /// On an error nothing of it has taken effect, or ever will once the writer is replaced.
    pub(super) async fn swap(
        &mut self,
        remove: Vec<SegmentId>,
        add: Vec<NewSegment>,
    ) -> Result<(), AggregatorError> {
        phase::enter(Lane::Maintenance, Phase::Swap);
        let brought: Vec<SegmentId> = add.iter().map(|new| new.segment).collect();
        let taken = remove.clone();
        let swap = Swap { writer: self.writer.id(), remove, add, now_us: self.parts.clock.now_us() };
        match self.parts.catalog.swap(swap).await {
            Ok(SwapOutcome::Swapped) => Ok(()),
            Ok(SwapOutcome::WriterClosed) => {
                Err(AggregatorError::Refused("its writer was closed".to_owned()))
            }
            Ok(SwapOutcome::NotListed { segment }) => {
                Err(AggregatorError::Refused(format!("segment {segment} is not listed any more")))
            }
            Ok(SwapOutcome::Overlap { segment, listed }) => {
                Err(AggregatorError::Overlap { segment: segment.to_string(), listed: listed.to_string() })
            }
            Err(error @ CatalogError::Database { .. }) => {
                if !self.took_effect(&brought, &taken).await? {
                    return Err(error.into());
                }
                self.writer.replace().await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a swap without an answer counts. Asks until the catalog says, or until it is time to stop:
    /// the next start reads it off the listing.
    async fn took_effect(&self, brought: &[SegmentId], taken: &[SegmentId]) -> Result<bool, AggregatorError> {
        let mut pause = RETRY_FIRST;
        loop {
            match self.writer.close_and_look(brought, taken).await {
                Err(error @ CatalogError::Database { .. }) => {
                    if self.stop.load(Ordering::Acquire) {
                        return Err(StoreError::Stopped.into());
                    }
                    tracing::error!(%error, retry_in = ?pause, "it is not known whether a swap took effect");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                looked => return Ok(looked?),
            }
        }
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
