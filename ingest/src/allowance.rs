//! How many events a credential may still send. The layer that reads credentials knows; ingest asks it once
//! the events of a request have been counted, before any of them is appended.

use std::fmt;
use std::sync::Arc;

use crate::error::IngestError;

/// Put into a request's extensions by the layer around. Without one, nothing is asked.
#[derive(Clone)]
pub struct EventAllowance {
    limit: &'static str,
    take: Arc<dyn Fn(usize) -> Result<(), u32> + Send + Sync>,
}

impl EventAllowance {
    /// `take` is given the number of events, and takes them or says after how many seconds to come again.
    pub fn new(limit: &'static str, take: impl Fn(usize) -> Result<(), u32> + Send + Sync + 'static) -> Self {
        Self { limit, take: Arc::new(take) }
    }

    pub(crate) fn take(&self, events: usize) -> Result<(), IngestError> {
        (self.take)(events).map_err(|retry_after_seconds| IngestError::RateLimited {
            limit: self.limit,
            retry_after_seconds,
        })
    }
}

impl fmt::Debug for EventAllowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventAllowance").field("limit", &self.limit).finish_non_exhaustive()
    }
}
