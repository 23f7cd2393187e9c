//! Epochs: how identities map to partitions. Opening one is rare; after it only reads.

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::columns::{get, number, signed};
use super::connection::{Database, failed};
use crate::{CatalogError, EpochRow};

/// Partition numbers are part of every key; more would make every listing longer for nothing.
pub const PARTITIONS_MAX: u32 = 256;

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<EpochRow>, CatalogError> {
    let rows = sqlx::query("SELECT * FROM epochs ORDER BY epoch")
        .fetch_all(connection)
        .await
        .map_err(failed("read the epochs"))?;
    rows.iter().map(read).collect()
}

/// The newest epoch; the first one is opened as asked. What an existing one says is never changed.
pub(super) async fn ensure(
    database: &Database,
    place: &str,
    partitions: u32,
    identity_window_s: u64,
    now_us: i64,
) -> Result<EpochRow, CatalogError> {
    if partitions == 0 || partitions > PARTITIONS_MAX {
        return Err(CatalogError::Conflict(format!(
            "{partitions} partitions were asked for; choose from 1 to {PARTITIONS_MAX}"
        )));
    }
    if identity_window_s == 0 {
        return Err(CatalogError::Conflict(
            "an identity window of 0 seconds would count every event sent twice twice; choose at least 1"
                .to_owned(),
        ));
    }
    let identity_window = signed(identity_window_s, "the identity window")?;
    let mut writing = database.writing().await?;
    let snapshot = writing.snapshot();
    let mut tx = writing.begin().await?;
    if let Some(newest) = all(&mut tx).await?.pop() {
        return Ok(newest);
    }
    sqlx::query(
        "INSERT INTO epochs (epoch, place, partitions, identity_window_s, opened_at_us)
         VALUES (0, ?, ?, ?, ?)",
    )
    .bind(place)
    .bind(partitions)
    .bind(identity_window)
    .bind(now_us)
    .execute(&mut *tx)
    .await
    .map_err(failed("open the first epoch"))?;
    let opened = all(&mut tx).await?;
    let committed = tx.commit().await;
    writing.settle(committed, snapshot).await?;
    opened.into_iter().next_back().ok_or_else(|| CatalogError::Database {
        context: "open the first epoch",
        reason: "the row is not there after its insert".to_owned(),
    })
}

fn read(row: &SqliteRow) -> Result<EpochRow, CatalogError> {
    Ok(EpochRow {
        epoch: number(row, "epoch")?,
        place: get(row, "place")?,
        partitions: number(row, "partitions")?,
        identity_window_s: number(row, "identity_window_s")?,
        opened_at_us: get(row, "opened_at_us")?,
        sealed_at_us: get(row, "sealed_at_us")?,
    })
}
