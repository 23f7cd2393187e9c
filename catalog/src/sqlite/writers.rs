//! Writers: licences to commit. A row is never deleted, since every segment and every stretch of a
//! partition names the writer it came from.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Sqlite, Transaction};
use weir_meter::WriterId;

use super::columns::{blob, get, id};
use super::connection::{Database, failed};
use crate::{CatalogError, OpenWriter};

pub(super) async fn open(
    database: &Database,
    writer: WriterId,
    incarnation: u128,
    now_us: i64,
) -> Result<(), CatalogError> {
    let mut writing = database.writing().await?;
    let snapshot = writing.snapshot();
    let mut tx = writing.begin().await?;
    if find(&mut tx, writer).await?.is_some() {
        return Err(CatalogError::Conflict(format!(
            "writer {writer} has been opened before; take a new random one"
        )));
    }
    sqlx::query("INSERT INTO writers (writer, incarnation, opened_at_us) VALUES (?, ?, ?)")
        .bind(blob(writer.0))
        .bind(blob(incarnation))
        .bind(now_us)
        .execute(&mut *tx)
        .await
        .map_err(failed("open a writer"))?;
    let committed = tx.commit().await;
    writing.settle(committed, snapshot).await
}

pub(super) async fn close(database: &Database, writer: WriterId, now_us: i64) -> Result<(), CatalogError> {
    let mut writing = database.writing().await?;
    let snapshot = writing.snapshot();
    let mut tx = writing.begin().await?;
    match find(&mut tx, writer).await? {
        None => return Err(unknown(writer)),
        Some(found) if found.closed_at_us.is_some() => return Ok(()),
        Some(_) => {}
    }
    sqlx::query("UPDATE writers SET closed_at_us = ? WHERE writer = ? AND closed_at_us IS NULL")
        .bind(now_us)
        .bind(blob(writer.0))
        .execute(&mut *tx)
        .await
        .map_err(failed("close a writer"))?;
    let committed = tx.commit().await;
    writing.settle(committed, snapshot).await
}

pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<OpenWriter>, CatalogError> {
    let rows = sqlx::query("SELECT * FROM writers ORDER BY opened_at_us, writer")
        .fetch_all(connection)
        .await
        .map_err(failed("read the writers"))?;
    rows.iter().map(read).collect()
}

pub(super) async fn find(
    tx: &mut Transaction<'_, Sqlite>,
    writer: WriterId,
) -> Result<Option<OpenWriter>, CatalogError> {
    let row = sqlx::query("SELECT * FROM writers WHERE writer = ?")
        .bind(blob(writer.0))
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read a writer"))?;
    row.as_ref().map(read).transpose()
}

pub(super) fn unknown(writer: WriterId) -> CatalogError {
    CatalogError::NotFound(format!(
        "writer {writer} was never opened in this catalog; open a new one (was the catalog restored?)"
    ))
}

fn read(row: &SqliteRow) -> Result<OpenWriter, CatalogError> {
    Ok(OpenWriter {
        writer: WriterId(id(row, "writer")?),
        incarnation: id(row, "incarnation")?,
        opened_at_us: get(row, "opened_at_us")?,
        closed_at_us: get(row, "closed_at_us")?,
    })
}
