//! Counting twice, refused: no two listed segments of a kind and window size cover the same
//! generation at the same offset. For rows it is the offset alone.

use sqlx::{Sqlite, Transaction};
use weir_meter::segment::{Coverage, Generations, NewSegment, SegmentKind};
use weir_meter::{Meter, SegmentId};

use super::columns::{blob, id, range, signed};
use super::connection::failed;
use super::meters;
use super::segments::read_coverage;
use crate::CatalogError;

/// Where in their partitions new segments lie; decides which way to listed ones is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// At their ends, where hardly anything lies yet.
    AtTheEnd,
    /// Far below too, under a day's worth of segments that were replaced: far more than are listed.
    Anywhere,
}

/// Both find the same. CROSS JOIN keeps the database from changing the order.
const BY_OFFSET: &str = "SELECT coverage.* FROM coverage CROSS JOIN segments USING (segment)
     WHERE epoch = ? AND partition = ? AND to_offset > ? AND from_offset < ?
         AND window_size_s = ? AND kind = ? AND delisted_at_us IS NULL AND segment <> ?
     ORDER BY from_offset, segment";
const BY_LISTING: &str = "SELECT coverage.* FROM segments CROSS JOIN coverage USING (segment)
     WHERE epoch = ? AND partition = ? AND to_offset > ? AND from_offset < ?
         AND window_size_s = ? AND kind = ? AND delisted_at_us IS NULL AND segment <> ?
     ORDER BY from_offset, segment";

/// Looks for overlaps within one transaction. Generations are read when offsets first meet, which
/// they hardly ever do.
pub(super) struct OverlapCheck {
    statement: &'static str,
    generations: Option<Vec<Meter>>,
}

impl OverlapCheck {
    pub(super) fn new(place: Where) -> Self {
        let statement = match place {
            Where::AtTheEnd => BY_OFFSET,
            Where::Anywhere => BY_LISTING,
        };
        Self { statement, generations: None }
    }

    /// A listed segment that covers something of the new one.
    pub(super) async fn find(
        &mut self,
        tx: &mut Transaction<'_, Sqlite>,
        new: &NewSegment,
    ) -> Result<Option<SegmentId>, CatalogError> {
        for asked in &new.coverage.ranges {
            let rows = sqlx::query(self.statement)
                .bind(asked.epoch)
                .bind(asked.partition)
                .bind(signed(asked.from, "an offset")?)
                .bind(signed(asked.to, "an offset")?)
                .bind(new.coverage.window_size_s)
                .bind(new.kind.name())
                .bind(blob(new.segment.0))
                .fetch_all(&mut **tx)
                .await
                .map_err(failed("look for overlaps"))?;
            for row in &rows {
                let listed = read_coverage(row, range(row)?)?;
                if new.kind == SegmentKind::Rows || self.share(tx, &new.coverage, &listed).await? {
                    return id(row, "segment").map(|id| Some(SegmentId(id)));
                }
            }
        }
        Ok(None)
    }

    async fn share(
        &mut self,
        tx: &mut Transaction<'_, Sqlite>,
        a: &Coverage,
        b: &Coverage,
    ) -> Result<bool, CatalogError> {
        let known = match &self.generations {
            Some(known) => known,
            None => self.generations.insert(meters::every_generation(tx).await?),
        };
        Ok(share(a, b, known))
    }
}

/// True if both cover a common generation, of all that ever were.
pub(super) fn share(a: &Coverage, b: &Coverage, known: &[Meter]) -> bool {
    match (&a.generations, &b.generations) {
        (Generations::Only(a), Generations::Only(b)) => a.iter().any(|generation| b.contains(generation)),
        _ => known.iter().any(|meter| a.covers(meter) && b.covers(meter)),
    }
}
