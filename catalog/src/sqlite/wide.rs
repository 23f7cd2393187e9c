//! Wide meters: generations with too many groups to keep windows of. The notes are hints to flushes and
//! refolds, and change no number.

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use weir_meter::{Generation, MeterId};

use super::columns::{blob, get, id, number, signed};
use super::connection::{Database, failed};
use super::meters;
use crate::{CatalogError, Wide};

/// Notes a generation once; what is noted already stays as it is.
pub(super) async fn note(
    database: &Database,
    generation: Generation,
    wide: Wide,
) -> Result<(), CatalogError> {
    let groups = signed(wide.groups, "a count of groups")?;
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    if before.listing.wide.contains_key(&generation) {
        return Ok(());
    }
    let mut tx = writing.begin().await?;
    if !meters::is_known(&mut tx, generation).await? {
        return Err(CatalogError::NotFound(format!(
            "generation {} of meter {} was never made in this catalog",
            generation.generation, generation.meter
        )));
    }
    sqlx::query(
        "INSERT INTO wide_meters (meter, generation, groups, noticed_at_us) VALUES (?, ?, ?, ?)
         ON CONFLICT (meter, generation) DO NOTHING",
    )
    .bind(blob(generation.meter.0))
    .bind(generation.generation)
    .bind(groups)
    .bind(wide.noticed_at_us)
    .execute(&mut *tx)
    .await
    .map_err(failed("note a wide meter"))?;
    let noted = all(&mut tx).await?;
    let committed = tx.commit().await;
    writing.settle(committed, before.with_wide(noted)).await
}

pub(super) async fn all(
    connection: &mut SqliteConnection,
) -> Result<BTreeMap<Generation, Wide>, CatalogError> {
    let rows = sqlx::query("SELECT * FROM wide_meters")
        .fetch_all(connection)
        .await
        .map_err(failed("read the wide meters"))?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<(Generation, Wide), CatalogError> {
    let generation = Generation { meter: MeterId(id(row, "meter")?), generation: number(row, "generation")? };
    Ok((generation, Wide { groups: number(row, "groups")?, noticed_at_us: get(row, "noticed_at_us")? }))
}
