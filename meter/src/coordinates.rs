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

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> OffsetRange {
        OffsetRange { epoch: 1, partition: 0, from, to }
    }

    #[test]
    fn ranges_are_half_open() {
        let at = |offset| Coordinates { epoch: 1, partition: 0, offset };
        assert!(!range(3, 5).contains(at(2)) && range(3, 5).contains(at(3)));
        assert!(range(3, 5).contains(at(4)) && !range(3, 5).contains(at(5)));
        assert!(!range(3, 5).contains(Coordinates { epoch: 2, ..at(3) }));
        assert!(!range(3, 5).contains(Coordinates { partition: 1, ..at(3) }));
        assert_eq!((range(3, 5).len(), range(5, 3).len()), (2, 0));
        assert!(range(4, 4).is_empty() && !range(4, 5).is_empty());
    }

    #[test]
    fn neighbours_do_not_overlap() {
        assert!(!range(0, 3).overlaps(&range(3, 5)));
        assert!(range(0, 4).overlaps(&range(3, 5)) && range(3, 5).overlaps(&range(0, 4)));
        assert!(!range(3, 3).overlaps(&range(0, 9)));
        assert!(!range(0, 9).overlaps(&OffsetRange { partition: 1, ..range(0, 9) }));
        assert!(!range(0, 9).overlaps(&OffsetRange { epoch: 2, ..range(0, 9) }));
    }

    #[test]
    fn an_earlier_epoch_is_lower() {
        let early = Coordinates { epoch: 1, partition: 9, offset: 9 };
        assert!(early < Coordinates { epoch: 2, partition: 0, offset: 0 });
    }
}
