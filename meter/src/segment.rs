//! Segments: the immutable pieces that rows and windows come in, and what each of them covers.
//! A segment counts once the catalog lists it; nothing in the store alone makes it count.

use crate::coordinates::OffsetRange;
use crate::ids::{SegmentId, WriterId};
use crate::meter::{Generation, Meter};

/// What a segment holds. The names are in the database and in file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SegmentKind {
    Rows,
    Windows,
    Members,
}

impl SegmentKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Windows => "windows",
            Self::Members => "members",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "rows" => Some(Self::Rows),
            "windows" => Some(Self::Windows),
            "members" => Some(Self::Members),
            _ => None,
        }
    }
}

/// Which meter generations a windows or members segment folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generations {
    /// All that lived at the coverage's revision, but for these.
    AllBut(Vec<Generation>),
    /// These and no other.
    Only(Vec<Generation>),
}

/// What a segment folded. For rows: the offsets whose rows it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    pub ranges: Vec<OffsetRange>,
    pub revision: u64,
    pub fold_version: u32,
    /// Window size in seconds: 60 or 3,600; 0 for rows.
    pub window_size_s: u32,
    pub generations: Generations,
}

impl Coverage {
    /// True if the segment folded this generation, given when that generation lived.
    pub fn covers(&self, meter: &Meter) -> bool {
        match &self.generations {
            Generations::AllBut(except) => meter.lives_at(self.revision) && !except.contains(&meter.key()),
            Generations::Only(list) => list.contains(&meter.key()),
        }
    }
}

/// A segment that has been written and is not listed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegment {
    pub segment: SegmentId,
    pub kind: SegmentKind,
    pub level: u32,
    pub row_count: u64,
    /// Rows that retention took away; only rows segments have any. With `row_count` they make up the
    /// covered offsets.
    pub dropped_rows: u64,
    pub byte_count: u64,
    pub coverage: Coverage,
    /// Earliest and latest event time or window start inside (inclusive), if there is any.
    pub time_range_us: Option<(i64, i64)>,
    /// Path relative to the store's folder; empty where the store has no files.
    pub location: String,
    /// CRC32C of the whole file; 0 where the store has no files.
    pub checksum: u32,
}

/// A segment that is listed, and counts, or was listed and is kept for old positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub new: NewSegment,
    pub writer: WriterId,
    pub listed_at_us: i64,
    /// When others took its place; None while it is listed.
    pub delisted_at_us: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MeterId, Namespace};
    use crate::meter::Aggregation;

    fn meter(id: u128, created_revision: u64, deleted_revision: Option<u64>) -> Meter {
        Meter {
            id: MeterId(id),
            generation: 1,
            namespace: Namespace::default(),
            slug: String::new(),
            name: String::new(),
            description: None,
            metadata: None,
            event_type: String::new(),
            aggregation: Aggregation::Count,
            value_property: None,
            group_by: std::collections::BTreeMap::new(),
            event_from_us: None,
            created_revision,
            deleted_revision,
            created_at_us: 0,
            updated_at_us: 0,
            deleted_at_us: None,
        }
    }

    fn coverage(generations: Generations) -> Coverage {
        Coverage { ranges: Vec::new(), revision: 5, fold_version: 1, window_size_s: 60, generations }
    }

    #[test]
    fn what_lived_at_the_revision_is_covered() {
        let all = coverage(Generations::AllBut(Vec::new()));
        assert!(all.covers(&meter(1, 5, None)) && all.covers(&meter(1, 1, Some(6))));
        assert!(!all.covers(&meter(1, 6, None)) && !all.covers(&meter(1, 1, Some(5))));
    }

    #[test]
    fn exceptions_and_lists() {
        let (one, two) = (meter(1, 1, None), meter(2, 1, None));
        let all_but = coverage(Generations::AllBut(vec![one.key()]));
        assert!(!all_but.covers(&one) && all_but.covers(&two));
        // A named generation is covered whenever it lived: a refold brings meters newer than its rows.
        let only = coverage(Generations::Only(vec![one.key()]));
        assert!(only.covers(&one) && !only.covers(&two) && only.covers(&meter(1, 9, None)));
    }

    #[test]
    fn kinds_have_names() {
        for kind in [SegmentKind::Rows, SegmentKind::Windows, SegmentKind::Members] {
            assert_eq!(SegmentKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(SegmentKind::from_name("row"), None);
    }
}
