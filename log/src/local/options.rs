//! Where a local log lies, whose it is, and what bounds it, each bound with its default.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use weir_meter::InstallationId;

use super::frame::{Compression, PAYLOAD_BYTES_MAX};
use crate::LogError;

pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
pub const SEGMENT_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
pub const APPEND_BYTES_MAX: usize = 16 << 20;
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
pub const GROUP_BYTES_MAX: usize = 4 << 20;
pub const TAIL_BYTES_MAX: usize = 16 << 20;

/// The most partitions that an epoch may have.
const PARTITIONS_MAX: u32 = 256;

/// Where a local log lies, whose it is, and its bounds.
#[derive(Clone, Debug)]
pub struct LocalLogOptions {
    /// Holds a folder for each epoch. Whoever opens the log has made sure that no other process does.
    pub dir: PathBuf,
    pub installation: InstallationId,
    pub epoch: u32,
    pub partitions: u32,
    /// By partition, the offset up to which its records have been read and are at rest elsewhere. A log that
    /// ends below one, or begins above it, is refused before anything of it is touched. Without an entry a
    /// partition may hold whatever it does.
    pub frontiers: BTreeMap<u32, u64>,
    /// A file is closed and the next one begun at this size.
    pub segment_bytes_max: u64,
    /// A file whose first record is this old, by the log's own time, takes no more records. Only whole files
    /// are ever cut, so this is how long one event can keep older ones from being dropped.
    pub segment_age_max: Duration,
    /// One request's records, encoded: a larger request is refused.
    pub append_bytes_max: usize,
    /// Records that wait to become durable, in all partitions: over it, appends are unavailable.
    pub queue_bytes_max: usize,
    /// Records that one frame takes from the queue; a single larger request still lies in one frame.
    pub group_bytes_max: usize,
    /// Newest records kept in memory for readers that keep up, in all partitions.
    pub tail_bytes_max: usize,
    pub compression: Compression,
}

impl LocalLogOptions {
    /// The default bounds.
    pub fn new(dir: impl Into<PathBuf>, installation: InstallationId, epoch: u32, partitions: u32) -> Self {
        Self {
            dir: dir.into(),
            installation,
            epoch,
            partitions,
            frontiers: BTreeMap::new(),
            segment_bytes_max: SEGMENT_BYTES_MAX,
            segment_age_max: SEGMENT_AGE_MAX,
            append_bytes_max: APPEND_BYTES_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            group_bytes_max: GROUP_BYTES_MAX,
            tail_bytes_max: TAIL_BYTES_MAX,
            compression: Compression::default(),
        }
    }

    /// Sets the bound of the queue, and makes what else is held of records follow it: the newest ones that
    /// are kept for readers take at most a quarter as much, and so do the frames of all partitions, if none
    /// holds a single request that is larger.
    pub fn with_queue_bytes_max(self, queue_bytes_max: usize) -> Self {
        let quarter = queue_bytes_max / 4;
        let partitions = usize::try_from(self.partitions).unwrap_or(usize::MAX).max(1);
        Self {
            queue_bytes_max,
            group_bytes_max: self.group_bytes_max.min(quarter / partitions),
            tail_bytes_max: self.tail_bytes_max.min(quarter),
            ..self
        }
    }

    /// Settings that contradict each other are found before anything is touched.
    pub(super) fn check(&self) -> Result<(), LogError> {
        let wrong = if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            format!("{} partitions; an epoch has from 1 to {PARTITIONS_MAX}", self.partitions)
        } else if self.append_bytes_max.max(self.group_bytes_max) > PAYLOAD_BYTES_MAX {
            format!("a request or a group above {PAYLOAD_BYTES_MAX} bytes; a frame cannot hold it")
        } else if self.append_bytes_max > self.queue_bytes_max {
            format!(
                "requests of up to {} bytes, but a queue of {}; make the queue at least as large",
                self.append_bytes_max, self.queue_bytes_max
            )
        } else {
            return Ok(());
        };
        Err(LogError::Options(wrong))
    }
}
