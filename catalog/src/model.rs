//! The rows of the catalog, as values. Times are microseconds since 1970, UTC.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use weir_meter::segment::{NewSegment, Segment};
use weir_meter::{Aggregation, Generation, InstallationId, Namespace, OffsetRange, SegmentId, WriterId};

/// The system that log, store and catalog belong to. Its keys stay out of `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Installation {
    pub id: InstallationId,
    /// Random; a catalog restored from a copy takes a new one.
    pub incarnation: u128,
    pub created_at_us: i64,
    /// Key of every identity, content and member hash.
    pub hash_key: [u8; 16],
    /// Key that encrypts position tokens.
    pub position_key: [u8; 32],
}

/// By hand, so that no log line ever holds a key.
impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation")
            .field("id", &self.id)
            .field("incarnation", &format_args!("{:032x}", self.incarnation))
            .field("created_at_us", &self.created_at_us)
            .finish_non_exhaustive()
    }
}

/// How identities map to partitions, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRow {
    pub epoch: u32,
    /// Topic, or folder of the local log.
    pub place: String,
    pub partitions: u32,
    /// For how long after an accepted event its identity is remembered, by record time.
    pub identity_window_s: u64,
    pub opened_at_us: i64,
    pub sealed_at_us: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenWriter {
    pub writer: WriterId,
    /// The incarnation it was opened under. What a writer of another one left behind is not swept.
    pub incarnation: u128,
    pub opened_at_us: i64,
    pub closed_at_us: Option<i64>,
}

/// One partition's step of a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontierMove {
    pub range: OffsetRange,
    /// Running maximum of the record time at the end of the range.
    pub record_time_max_us: i64,
    /// Keyed hash of the last record in the range.
    pub last_record_hash: u128,
}

/// A flush: all of it takes effect, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub writer: WriterId,
    pub moves: Vec<FrontierMove>,
    pub segments: Vec<NewSegment>,
    pub now_us: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    Committed,
    /// A frontier does not stand where the flush began: somebody else owns the partition.
    NotOwner {
        range: OffsetRange,
        frontier: u64,
    },
    /// The writer was closed: nothing of it may ever count.
    WriterClosed,
    /// Some generation and offset is covered already.
    Overlap {
        segment: SegmentId,
        listed: SegmentId,
    },
}

/// Segments in the place of others: all of it takes effect, or nothing. Rows may only be replaced by
/// rows of the same offsets; windows and members are a cache, so a swap may also only add or only
/// remove some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    pub writer: WriterId,
    pub remove: Vec<SegmentId>,
    pub add: Vec<NewSegment>,
    pub now_us: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapOutcome {
    Swapped,
    /// The writer was closed: nothing of it may ever count.
    WriterClosed,
    /// One that was to go is not listed any more: somebody else has replaced it.
    NotListed {
        segment: SegmentId,
    },
    /// Some generation and offset is covered by a segment that stays.
    Overlap {
        segment: SegmentId,
        listed: SegmentId,
    },
}

/// Before which time the events of a namespace have been, or may be, deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// A whole hour.
    pub floor_us: i64,
    /// The revision from which on queries leave out what lies below.
    pub revision: u64,
}

/// A meter generation with too many groups to keep windows of: it is answered from rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wide {
    /// Groups of one hour (subject and group values) when it was noticed.
    pub groups: u64,
    pub noticed_at_us: i64,
}

/// Where folding stands in a partition. A partition that never committed stands at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    pub epoch: u32,
    pub partition: u32,
    pub next_offset: u64,
    pub record_time_max_us: i64,
    pub last_record_hash: u128,
}

/// One consistent look at the commit records.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub revision: u64,
    pub frontiers: Vec<Frontier>,
    pub segments: Vec<Arc<Segment>>,
    /// Windows and members segments that others have replaced, kept for old positions for a while.
    pub retired: Vec<Arc<Segment>>,
    pub floors: Arc<BTreeMap<Namespace, Floor>>,
    pub wide: Arc<BTreeMap<Generation, Wide>>,
}

impl Listing {
    /// The first offset that is not at rest yet.
    pub fn frontier(&self, epoch: u32, partition: u32) -> u64 {
        self.frontiers
            .iter()
            .find(|f| f.epoch == epoch && f.partition == partition)
            .map_or(0, |f| f.next_offset)
    }
}

/// A meter as a client asks for it, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterDraft {
    pub slug: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub event_type: String,
    pub aggregation: Aggregation,
    pub value_property: Option<String>,
    pub group_by: BTreeMap<String, String>,
    pub event_from_us: Option<i64>,
}

/// What may change about a meter (OpenMeter's contract 14.5): a changed group-by is a new generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeterUpdate {
    /// None goes back to the slug.
    pub name: Option<String>,
    /// None keeps the one it has.
    pub description: Option<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub group_by: BTreeMap<String, String>,
}

/// How to list meters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterQuery {
    pub include_deleted: bool,
    /// One of `key`, `name`, `aggregation`, `createdAt`, `updatedAt`.
    pub order_by: MeterOrder,
    pub descending: bool,
    pub offset: u64,
    pub limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterOrder {
    Key,
    Name,
    Aggregation,
    CreatedAt,
    UpdatedAt,
}
