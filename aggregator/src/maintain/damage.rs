//! Files that cannot be read must not hold up the jobs that could do without them. Windows and members are
//! a cache: they leave the listing, and the refold writes them again. Rows are nowhere else: they stay
//! listed for somebody to bring back, and for a while no job is chosen that would read them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_catalog::Listing;
use weir_meter::SegmentId;
use weir_meter::segment::{Segment, SegmentKind};
use weir_store::StoreError;

use super::choose::pair_of;
use super::{Maintenance, Step};
use crate::error::AggregatorError;
use crate::metrics;

/// How long rows that could not be read are left alone. Somebody may have mended them by then.
const LEFT_OUT_US: i64 = 60 * 60 * 1_000_000;

/// Rows segments that could not be read a while ago.
#[derive(Debug, Default)]
pub(super) struct LeftOut(HashMap<SegmentId, Met>);

#[derive(Debug)]
struct Met {
    at_us: i64,
    path: String,
    error: String,
}

impl LeftOut {
    /// What there is to choose from. Only what is listed and was met lately stays in mind.
    pub(super) fn without(&mut self, listing: &Arc<Listing>, now_us: i64) -> Arc<Listing> {
        // A clock that was set back is no reason to wait.
        self.0.retain(|_, met| (met.at_us..met.at_us.saturating_add(LEFT_OUT_US)).contains(&now_us));
        if self.0.is_empty() {
            return Arc::clone(listing);
        }
        self.0.retain(|id, _| listing.segments.iter().any(|segment| segment.new.segment == *id));
        let mut readable = Listing::clone(listing);
        readable.segments.retain(|segment| !self.0.contains_key(&segment.new.segment));
        Arc::new(readable)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.values().any(|met| met.path == path)
    }

    /// One of them is named, so that it is seen and brought back.
    pub(super) fn error(&self) -> Option<String> {
        let first = self.0.values().min_by_key(|met| met.at_us)?;
        Some(match self.0.len() {
            1 => first.error.clone(),
            count => format!("{} ({count} rows segments cannot be read)", first.error),
        })
    }
}

impl Maintenance {
    /// After a job failed on damaged windows: takes them off the listing. Any other error is handed back,
    /// with the name of the damaged file if there is one.
    pub(super) async fn meet_damage(
        &mut self,
        error: AggregatorError,
        inputs: &[Arc<Segment>],
        listing: &Listing,
    ) -> Result<Step, AggregatorError> {
        let Some((segment, path, reason)) = self.damaged_of(&error, inputs, listing).await else {
            if matches!(error, AggregatorError::Store(StoreError::Damaged { .. })) {
                metrics::count_damage();
            }
            return Err(error);
        };
        metrics::count_damage();
        let id = segment.new.segment;
        if segment.new.kind == SegmentKind::Rows {
            let error = AggregatorError::from(StoreError::Damaged { path: path.clone(), reason });
            let at_us = self.parts.clock.now_us();
            self.left_out.0.insert(id, Met { at_us, path, error: error.to_string() });
            return Err(error);
        }
        let remove = pair_of(listing, &segment);
        let segments = remove.len();
        tracing::error!(
            %path, %reason, segments,
            "A FILE OF THE STORE IS DAMAGED: its windows and members are taken off and folded again from rows"
        );
        if let Err(error) = self.swap(remove, Vec::new()).await {
            self.writer.replace().await;
            return Err(error);
        }
        metrics::count_dropped(segments);
        Ok(Step::LeftDamaged { segments })
    }

    /// The listed segment that an error names. Decoding does not always know which file it was that made
    /// no sense, and a refold may only hear that its source has ended: then what was read is held against
    /// its checksums.
    async fn damaged_of(
        &self,
        error: &AggregatorError,
        inputs: &[Arc<Segment>],
        listing: &Listing,
    ) -> Option<(Arc<Segment>, String, String)> {
        if self.stop.load(Ordering::Acquire) {
            return None;
        }
        match error {
            AggregatorError::Store(StoreError::Damaged { path, reason }) => {
                let named = |s: &&Arc<Segment>| !s.new.location.is_empty() && path.ends_with(&s.new.location);
                if let Some(segment) = listing.segments.iter().find(named) {
                    return Some((Arc::clone(segment), path.clone(), reason.clone()));
                }
            }
            AggregatorError::Store(
                StoreError::Arrow { .. } | StoreError::Inconsistent(_) | StoreError::Stopped,
            ) => {}
            _ => return None,
        }
        for input in inputs {
            let verified = self.parts.store.verify(std::slice::from_ref(input), true).await;
            if let Err(StoreError::Damaged { path, reason }) = verified {
                return Some((Arc::clone(input), path, reason));
            }
        }
        None
    }
}
