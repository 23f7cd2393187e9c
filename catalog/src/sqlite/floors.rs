//! Floors: before which time the events of a namespace are gone for every query. A floor is in force
//! from its revision on, and is recorded before anything below it is deleted.

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use weir_meter::Namespace;

use super::columns::{damaged, get, number, signed};
use super::connection::{Database, failed};
use super::revisions::next_revision;
use crate::{CatalogError, Floor};

const HOUR_US: i64 = 3_600_000_000;

/// Raises the floor of a namespace, and returns the one in force: this one, or a higher one.
pub(super) async fn raise(
    database: &Database,
    namespace: &Namespace,
    floor_us: i64,
    now_us: i64,
) -> Result<Floor, CatalogError> {
    if floor_us.rem_euclid(HOUR_US) != 0 {
        return Err(CatalogError::Conflict(format!(
            "a floor of {floor_us} us is no whole hour: windows of an hour could not be told apart by it"
        )));
    }
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    if let Some(floor) = all(&mut tx).await?.remove(namespace)
        && floor.floor_us >= floor_us
    {
        return Ok(floor);
    }
    let what = format!("floor raised to {floor_us}");
    let revision = next_revision(&mut tx, namespace, &what, now_us).await?;
    sqlx::query(
        "INSERT INTO floors (namespace, floor_us, revision) VALUES (?, ?, ?)
         ON CONFLICT (namespace) DO UPDATE SET floor_us = excluded.floor_us, revision = excluded.revision",
    )
    .bind(namespace.as_str())
    .bind(floor_us)
    .bind(signed(revision, "a revision")?)
    .execute(&mut *tx)
    .await
    .map_err(failed("raise a floor"))?;
    let (asked, floors) = (Floor { floor_us, revision }, all(&mut tx).await?);
    if floors.get(namespace) != Some(&asked) {
        return Err(damaged("floors", &format!("the floor of `{namespace}` reads back otherwise")));
    }
    let committed = tx.commit().await;
    writing.settle(committed, before.with_floors(revision, floors)).await?;
    Ok(asked)
}

pub(super) async fn all(
    connection: &mut SqliteConnection,
) -> Result<BTreeMap<Namespace, Floor>, CatalogError> {
    let rows =
        sqlx::query("SELECT * FROM floors").fetch_all(connection).await.map_err(failed("read the floors"))?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<(Namespace, Floor), CatalogError> {
    let floor = Floor { floor_us: get(row, "floor_us")?, revision: number(row, "revision")? };
    Ok((Namespace::new(get(row, "namespace")?), floor))
}
