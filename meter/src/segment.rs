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
    pub byte_count: u64,
    pub coverage: Coverage,
    /// Earliest and latest event time or window start inside (inclusive), if there is any.
    pub time_range_us: Option<(i64, i64)>,
    /// Path relative to the store's folder; empty where the store has no files.
    pub location: String,
    /// CRC32C of the whole file; 0 where the store has no files.
    pub checksum: u32,
}

/// A listed segment: it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub new: NewSegment,
    pub writer: WriterId,
    pub listed_at_us: i64,
}
