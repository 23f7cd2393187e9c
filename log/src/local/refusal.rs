//! Why the log does not take an append, and when to send it again. Each reason is counted under its name.

use std::io::ErrorKind;

use crate::{AppendError, Cause, LogError};

/// An append that was not taken and may be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    pub(super) reason: String,
}

impl Cause {
    /// As metrics call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Behind => "queue_bytes",
            Self::DiskFull => "disk_full",
            Self::Disk => "disk",
            Self::Broken => "broken",
            Self::Closed => "closed",
        }
    }

    fn retry_after_seconds(self) -> u32 {
        match self {
            // It empties with every sync.
            Self::Behind => 1,
            // A full disk is seldom empty again at once.
            Self::DiskFull | Self::Disk => 5,
            Self::Broken | Self::Closed => 30,
        }
    }
}

impl Refusal {
    pub(super) fn new(cause: Cause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into() }
    }

    /// A write that the disk did not take.
    pub(super) fn of_disk(error: &LogError) -> Self {
        let full = matches!(error, LogError::Io { source, .. }
            if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge));
        Self::new(if full { Cause::DiskFull } else { Cause::Disk }, error.to_string())
    }

    pub(super) fn closed() -> Self {
        Self::new(Cause::Closed, "the log is closed")
    }
}

impl From<Refusal> for AppendError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { cause, reason } = refusal;
        Self::Unavailable { cause, reason, retry_after_seconds: cause.retry_after_seconds() }
    }
}
