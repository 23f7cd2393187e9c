//! What can stop the aggregator. Each names what was found and what a person can do about it.

use weir_catalog::CatalogError;
use weir_log::LogError;
use weir_meter::OffsetRange;
use weir_meter::path::PathError;
use weir_store::StoreError;
use weir_store::head::HeadError;

use crate::identity::IndexError;

#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// Records between the frontier and the start of the log are gone for ever.
    #[error(
        "gap in the log: partition {partition} is folded up to offset {frontier}, but the log starts at \
         {start}; restore the missing log files, nothing is folded until then"
    )]
    Gap { partition: u32, frontier: u64, start: u64 },
    /// The log is older than the catalog: records that were counted are not in it.
    #[error(
        "the log of partition {partition} ends at offset {end}, but it is folded up to {frontier}: the log \
         was replaced by an older copy; restore the right one"
    )]
    LogBehind { partition: u32, frontier: u64, end: u64 },
    /// The record below the frontier is not the one that was folded.
    #[error(
        "the record at offset {offset} of partition {partition} is not the one that was folded: this log \
         does not belong to this catalog"
    )]
    OtherLog { partition: u32, offset: u64 },
    /// Somebody else moved the frontier.
    #[error("{range} is not ours to commit: the frontier stands at {frontier}")]
    NotOwner { range: OffsetRange, frontier: u64 },
    /// A bug or a foreign hand: what a flush brings is listed already.
    #[error("segment {segment} covers what the listed segment {listed} covers; nothing was committed")]
    Overlap { segment: String, listed: String },
    /// What maintenance wrote takes nobody's place. It is chosen anew from the listing.
    #[error("maintenance wrote something that was not let in: {0}")]
    Refused(String),
    #[error("a stored meter cannot be folded: {0}")]
    Meter(#[from] PathError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("the folding task stopped: {0}")]
    Task(String),
}
