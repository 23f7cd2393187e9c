//! The durable event log: what was acknowledged, in the order in which it counts. One trait, so
//! that nothing outside this crate knows which log it has; `local` is segmented files on this disk.

pub mod local;
mod metrics;
mod record;

use async_trait::async_trait;
use tokio::sync::watch;
use weir_meter::OffsetRange;

pub use local::phase;
pub use metrics::describe_metrics;
pub use record::{LoggedRecord, Record, RecordKind};

/// Where an append went wrong, sorted by what the caller should do next.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Nothing of the batch was written, or it is unknown whether it was: send the same again later.
    #[error("the log cannot take events now: {reason}")]
    Unavailable { cause: Cause, reason: String, retry_after_seconds: u32 },
    /// The batch can never be taken: it is larger than the log's limit.
    #[error("the batch has {bytes} bytes of records, the log takes at most {bytes_max} at once")]
    TooLarge { bytes: usize, bytes_max: usize },
}

/// Why a log takes nothing just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// As many bytes wait as may wait.
    Behind,
    /// There is no room for the write.
    DiskFull,
    /// The write failed for another reason.
    Disk,
    /// Only opening the log again helps.
    Broken,
    /// The log was told to stop.
    Closed,
}

/// What is wrong with the log itself. None of these heals by trying again.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{context}: {source}")]
    Io {
        context: String,
        #[source]
        source: std::io::Error,
    },
    /// Good frames follow a bad one: something other than a crash has happened to the file.
    #[error(
        "hole in the log: {path} is damaged at byte {byte}, where offset {offset} should begin, and good frames follow it; restore this file from a copy"
    )]
    Hole { path: String, byte: u64, offset: u64 },
    /// Bytes that were durable once cannot be read as what they were.
    #[error(
        "{path} is damaged at byte {byte}, where offset {offset} should begin: {what}; restore this file from a copy"
    )]
    Damaged { path: String, byte: u64, offset: u64, what: String },
    #[error("the log cannot work with these settings: {0}")]
    Options(String),
    #[error("the log does not belong here: {0}")]
    Mismatch(String),
    #[error("offset {asked} of partition {partition} was cut; the log starts at {start}")]
    BelowStart { partition: u32, asked: u64, start: u64 },
    /// Records that were read before are not there any more.
    #[error(
        "partition {partition} of the log ends at offset {end} and was read up to {frontier} before: files of it are missing, or it is an older copy; restore the right one"
    )]
    Short { partition: u32, end: u64, frontier: u64 },
    #[error("the log is closed: {0}")]
    Closed(String),
}

/// Where a batch came to lie: one range for each partition that it touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub ranges: Vec<OffsetRange>,
}

/// A durable log of records in one epoch. A record exists for readers only once it is durable.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    fn epoch(&self) -> u32;

    /// Number of partitions. A record's partition is its identity hash modulo this.
    fn partitions(&self) -> u32;

    /// Appends a batch and returns once all of it is durable. On an error nothing of it is
    /// acknowledged; it may still be there, which a retry settles by identity.
    async fn append(&self, batch: Vec<Record>) -> Result<Appended, AppendError>;

    /// The end of what is durable in a partition; changes as records are appended.
    fn durable_end(&self, partition: u32) -> watch::Receiver<u64>;

    /// The lowest offset that the log still holds in a partition.
    async fn start(&self, partition: u32) -> Result<u64, LogError>;

    /// Durable records from `from` on, in order, without gaps; about `bytes_max` bytes of them
    /// (at least one record), none if there is nothing at `from` yet.
    async fn read(&self, partition: u32, from: u64, bytes_max: usize) -> Result<Vec<LoggedRecord>, LogError>;

    /// Allows the log to drop what lies wholly below `below`. It may keep more.
    async fn cut(&self, partition: u32, below: u64) -> Result<(), LogError>;

    /// Why the log takes no events, if it does not.
    fn unavailable(&self) -> Option<String>;

    /// Takes no more appends, syncs what it has and releases the files.
    async fn close(&self);
}
