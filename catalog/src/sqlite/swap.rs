//! The compare-and-set of compaction, refold and retention: segments in the place of others, in one
//! transaction that requires every one of the others still listed. What was replaced is kept until it
//! is forgotten, because queries may still read it.

use std::collections::BTreeSet;

use sqlx::{Sqlite, Transaction};
use weir_meter::OffsetRange;
use weir_meter::segment::{NewSegment, Segment, SegmentKind};

use super::columns::damaged;
use super::connection::Database;
use super::overlap::Where;
use super::snapshot::{order, revision};
use super::{listing, segments};
use crate::check::check_swap;
use crate::{CatalogError, Listing, Swap, SwapOutcome};

/// All of a swap, or nothing of it.
pub(super) async fn swap(database: &Database, mut swap: Swap) -> Result<SwapOutcome, CatalogError> {
    check_swap(&swap)?;
    // As they will be read back after a restart.
    swap.add.iter_mut().for_each(|segment| segment.coverage.ranges.sort());

    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    // Every return before COMMIT drops the transaction, which rolls it back.
    if !listing::is_open(&mut tx, swap.writer).await? {
        return Ok(SwapOutcome::WriterClosed);
    }
    let mut removed = Vec::with_capacity(swap.remove.len());
    for segment in &swap.remove {
        match segments::find_listed(&mut tx, *segment).await? {
            Some(found) => removed.push(found),
            None => return Ok(SwapOutcome::NotListed { segment: *segment }),
        }
    }
    check_rows(&removed, &swap.add)?;
    check_at_rest(&before.listing, &swap.add)?;
    for segment in &swap.remove {
        segments::delist(&mut tx, *segment, swap.now_us).await?;
    }
    let revision = revision(&mut tx).await?;
    let overlap =
        listing::list_all(&mut tx, &swap.add, Where::Anywhere, revision, swap.writer, swap.now_us).await?;
    if let Some(listing::Overlap { segment, listed }) = overlap {
        return Ok(SwapOutcome::Overlap { segment, listed });
    }
    read_back(&mut tx, &swap).await?;
    let committed = tx.commit().await;
    let added = listing::as_listed(swap.add, swap.writer, swap.now_us);
    writing.settle(committed, before.with_swap(removed, swap.now_us, added)).await?;
    Ok(SwapOutcome::Swapped)
}

/// Forgets what was taken off the listing before this time.
pub(super) async fn forget(database: &Database, before_us: i64) -> Result<Vec<Segment>, CatalogError> {
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    let mut forgotten = segments::delisted(&mut tx, before_us).await?;
    if forgotten.is_empty() {
        return Ok(forgotten);
    }
    let deleted = segments::forget(&mut tx, before_us).await?;
    if usize::try_from(deleted) != Ok(forgotten.len()) {
        let text = format!("{} were to be forgotten and {deleted} are gone", forgotten.len());
        return Err(damaged("segments", &text));
    }
    let committed = tx.commit().await;
    let ids = forgotten.iter().map(|segment| segment.new.segment).collect();
    writing.settle(committed, before.with_forgotten(&ids)).await?;
    forgotten.sort_by(|a, b| order(a).cmp(&order(b)));
    Ok(forgotten)
}

/// Rows are the truth below the frontier: a swap brings exactly the offsets that it takes away, and no
/// row that retention took comes back.
fn check_rows(removed: &[Segment], add: &[NewSegment]) -> Result<(), CatalogError> {
    let is_rows = |new: &&NewSegment| new.kind == SegmentKind::Rows;
    let gone: Vec<_> = removed.iter().map(|segment| &segment.new).filter(is_rows).collect();
    let come: Vec<_> = add.iter().filter(is_rows).collect();
    let (before, after) = (union(&gone), union(&come));
    if let Some(range) = before.iter().find(|range| !after.contains(range)) {
        return Err(CatalogError::Conflict(format!(
            "the swap removes the rows of {range} and does not bring exactly them again"
        )));
    }
    if let Some(range) = after.iter().find(|range| !before.contains(range)) {
        return Err(CatalogError::Conflict(format!(
            "the swap brings rows of {range} and does not remove exactly them"
        )));
    }
    let dropped =
        |side: &[&NewSegment]| side.iter().fold(0_u64, |sum, new| sum.saturating_add(new.dropped_rows));
    let (was, is) = (dropped(&gone), dropped(&come));
    if is < was {
        return Err(CatalogError::Conflict(format!(
            "the swap brings rows again that retention took away: {was} are gone and it says {is}"
        )));
    }
    Ok(())
}

/// The ranges of all, in order, with neighbours put together.
fn union(segments: &[&NewSegment]) -> Vec<OffsetRange> {
    let sorted: BTreeSet<OffsetRange> =
        segments.iter().flat_map(|new| new.coverage.ranges.iter().copied()).collect();
    let mut union: Vec<OffsetRange> = Vec::new();
    for range in sorted {
        match union.last_mut() {
            Some(last)
                if (last.epoch, last.partition) == (range.epoch, range.partition)
                    && range.from <= last.to =>
            {
                last.to = last.to.max(range.to);
            }
            _ => union.push(range),
        }
    }
    union
}

/// Only rows at rest can be folded again: what lies above the frontier belongs to a flush.
fn check_at_rest(listing: &Listing, add: &[NewSegment]) -> Result<(), CatalogError> {
    for new in add {
        for range in &new.coverage.ranges {
            let frontier = listing.frontier(range.epoch, range.partition);
            if range.to > frontier {
                return Err(CatalogError::Conflict(format!(
                    "segment {} covers {range}, and the frontier stands at {frontier}",
                    new.segment
                )));
            }
        }
    }
    Ok(())
}

/// The other half of the checks before writing: what was to go is not listed, what was to come covers
/// what it should.
async fn read_back(tx: &mut Transaction<'_, Sqlite>, swap: &Swap) -> Result<(), CatalogError> {
    for segment in &swap.remove {
        if segments::find_listed(tx, *segment).await?.is_some() {
            return Err(damaged("segments", &format!("segment {segment} is listed after its removal")));
        }
    }
    listing::read_back(tx, &swap.add).await
}
