//! Which position was a time: where a partition stood at the end of each second in which it moved, and
//! of what is older than two days, at the end of each hour. So the table grows by the hour, not by the
//! second.

use sqlx::{Sqlite, Transaction};
use weir_meter::OffsetRange;

use super::columns::signed;
use super::connection::failed;
use crate::CatalogError;

const SECOND_US: i64 = 1_000_000;
const HOUR_S: i64 = 3_600;
/// For how long every second is kept.
const SECONDS_KEPT_S: i64 = 2 * 24 * HOUR_S;

/// Records where the partition stands at the end of this second. The clock may go back, offsets do not:
/// who looks a time up takes the greatest offset of all seconds up to it.
pub(super) async fn record(
    tx: &mut Transaction<'_, Sqlite>,
    range: OffsetRange,
    revision: u64,
    now_us: i64,
) -> Result<(), CatalogError> {
    let second = now_us.div_euclid(SECOND_US);
    let hour = second.div_euclid(HOUR_S).saturating_mul(HOUR_S);
    if is_first(tx, range, hour).await? {
        thin(tx, range, hour.saturating_sub(SECONDS_KEPT_S)).await?;
    }
    sqlx::query(
        "INSERT INTO frontier_times (epoch, partition, second, next_offset, revision)
         VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (epoch, partition, second)
         DO UPDATE SET next_offset = excluded.next_offset, revision = excluded.revision",
    )
    .bind(range.epoch)
    .bind(range.partition)
    .bind(second)
    .bind(signed(range.to, "an offset")?)
    .bind(signed(revision, "a revision")?)
    .execute(&mut **tx)
    .await
    .map_err(failed("record a time"))?;
    Ok(())
}

/// True if nothing has been recorded in this hour yet.
async fn is_first(
    tx: &mut Transaction<'_, Sqlite>,
    range: OffsetRange,
    hour: i64,
) -> Result<bool, CatalogError> {
    let row = sqlx::query(
        "SELECT 1 FROM frontier_times
         WHERE epoch = ? AND partition = ? AND second >= ? AND second < ? LIMIT 1",
    )
    .bind(range.epoch)
    .bind(range.partition)
    .bind(hour)
    .bind(hour.saturating_add(HOUR_S))
    .fetch_optional(&mut **tx)
    .await
    .map_err(failed("look for an hour"))?;
    Ok(row.is_none())
}

/// Keeps one row of each hour before this second: the one that got furthest, which is the last unless the
/// clock was set back. With `max`, SQLite takes the other columns from the row that has the greatest.
async fn thin(tx: &mut Transaction<'_, Sqlite>, range: OffsetRange, before: i64) -> Result<(), CatalogError> {
    sqlx::query(
        "DELETE FROM frontier_times
         WHERE epoch = ?1 AND partition = ?2 AND second < ?3 AND second NOT IN (
             SELECT furthest FROM (
                 SELECT second AS furthest, max(next_offset) FROM frontier_times
                 WHERE epoch = ?1 AND partition = ?2 AND second < ?3 GROUP BY second / 3600))",
    )
    .bind(range.epoch)
    .bind(range.partition)
    .bind(before)
    .execute(&mut **tx)
    .await
    .map_err(failed("thin the times"))?;
    Ok(())
}
