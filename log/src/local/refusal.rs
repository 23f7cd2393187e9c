//! Why the log does not take an append, and when to send it again. Each reason is counted under its name.

use crate::AppendError;

/// What stood in the way of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// As many bytes wait as may wait.
    Queue,
    /// The disk did not take the write: mostly it is full.
    Disk,
    /// Only opening the log again helps.
    Broken,
    /// The log was told to stop.
    Closed,
}

/// An append that was not taken and may be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) limit: Limit,
    pub(super) reason: String,
}

impl Limit {
    /// As metrics call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue_bytes",
            Self::Disk => "disk",
            Self::Broken => "broken",
            Self::Closed => "closed",
        }
    }

    fn retry_after_seconds(self) -> u32 {
        match self {
            // It empties with every sync.
            Self::Queue => 1,
            // A full disk is seldom empty again at once.
            Self::Disk => 5,
            Self::Broken | Self::Closed => 30,
        }
    }
}

impl Refusal {
    pub(super) fn new(limit: Limit, reason: impl Into<String>) -> Self {
        Self { limit, reason: reason.into() }
    }

    pub(super) fn closed() -> Self {
        Self::new(Limit::Closed, "the log is closed")
    }
}

impl From<Refusal> for AppendError {
    fn from(refusal: Refusal) -> Self {
        let retry_after_seconds = refusal.limit.retry_after_seconds();
        Self::Unavailable { reason: refusal.reason, retry_after_seconds }
    }
}
