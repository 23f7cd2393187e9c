//! Changes to the listing: what a flush's commit and a swap have in common. A writer must be open, what
//! it brings must be new and overlap nothing, and what was written is read back before COMMIT.

use sqlx::{Sqlite, Transaction};
use weir_meter::segment::{NewSegment, Segment};
use weir_meter::{SegmentId, WriterId};

use super::columns::damaged;
use super::overlap::{OverlapCheck, Where};
use super::{segments, writers};
use crate::CatalogError;
use crate::check::covered_offsets;

/// False if the writer has been closed.
pub(super) async fn is_open(
    tx: &mut Transaction<'_, Sqlite>,
    writer: WriterId,
) -> Result<bool, CatalogError> {
    match writers::find(tx, writer).await? {
        None => Err(writers::unknown(writer)),
        Some(found) => Ok(found.closed_at_us.is_none()),
    }
}

/// A new segment, and a listed one that covers something of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    pub(super) segment: SegmentId,
    pub(super) listed: SegmentId,
}

/// Lists the segments one after the other, unless one of them overlaps what is listed by then.
pub(super) async fn list_all(
    tx: &mut Transaction<'_, Sqlite>,
    new: &[NewSegment],
    place: Where,
    revision: u64,
    writer: WriterId,
    now_us: i64,
) -> Result<Option<Overlap>, CatalogError> {
    let mut overlaps = OverlapCheck::new(place);
    for new in new {
        check_new(tx, new, revision).await?;
        if let Some(listed) = overlaps.find(tx, new).await? {
            return Ok(Some(Overlap { segment: new.segment, listed }));
        }
        segments::list(tx, new, writer, now_us).await?;
    }
    Ok(None)
}

async fn check_new(
    tx: &mut Transaction<'_, Sqlite>,
    new: &NewSegment,
    revision: u64,
) -> Result<(), CatalogError> {
    if new.coverage.revision > revision {
        return Err(CatalogError::Conflict(format!(
            "segment {} was folded at revision {}, and the newest is {revision}",
            new.segment, new.coverage.revision
        )));
    }
    if segments::is_known(tx, new.segment).await? {
        return Err(CatalogError::Conflict(format!("segment {} has been listed before", new.segment)));
    }
    Ok(())
}

/// The other half of the checks before writing: the tables cover what the new segments cover.
pub(super) async fn read_back(
    tx: &mut Transaction<'_, Sqlite>,
    new: &[NewSegment],
) -> Result<(), CatalogError> {
    for new in new {
        let (asked, stored) = (covered_offsets(new), segments::covered_offsets(tx, new.segment).await?);
        if stored != asked {
            let text = format!("segment {} should cover {asked} offsets and covers {stored}", new.segment);
            return Err(damaged("coverage", &text));
        }
    }
    Ok(())
}

/// New segments as the listing shows them.
pub(super) fn as_listed(new: Vec<NewSegment>, writer: WriterId, now_us: i64) -> Vec<Segment> {
    new.into_iter().map(|new| Segment { new, writer, listed_at_us: now_us, delisted_at_us: None }).collect()
}
