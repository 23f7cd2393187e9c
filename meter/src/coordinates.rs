//! Where a record stands in the log. Coordinates are the only order that fates, coverage and
//! positions know; offsets of different epochs are compared by epoch first.

use std::fmt;

/// The place of one record: an earlier epoch is lower, then a lower partition, then a lower offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinates {
    pub epoch: u32,
    pub partition: u32,
    pub offset: u64,
}

/// A half-open range of offsets (`from` inside, `to` outside) in one partition of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetRange {
    pub epoch: u32,
    pub partition: u32,
    pub from: u64,
    pub to: u64,
}

impl OffsetRange {
    /// Number of offsets in the range.
    pub fn len(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    pub fn is_empty(&self) -> bool {
        self.to <= self.from
    }

    pub fn contains(&self, at: Coordinates) -> bool {
        self.epoch == at.epoch
            && self.partition == at.partition
            && self.from <= at.offset
            && at.offset < self.to
    }

    /// True if both ranges hold at least one common offset.
    pub fn overlaps(&self, other: &OffsetRange) -> bool {
        self.epoch == other.epoch
            && self.partition == other.partition
            && self.from.max(other.from) < self.to.min(other.to)
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} partition {} offsets {}..{}", self.epoch, self.partition, self.from, self.to)
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} partition {} offset {}", self.epoch, self.partition, self.offset)
    }
}
