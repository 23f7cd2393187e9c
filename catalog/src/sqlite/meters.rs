//! Meters as rows, one for each generation. Rows are only added; the end of a generation is the one
//! thing that is written to it later, under a revision of its own.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, Transaction};
use weir_meter::{Aggregation, Meter, MeterId, Namespace};

use super::columns::{blob, damaged, get, id, number, signed};
use super::connection::failed;
use crate::{CatalogError, MeterOrder, MeterQuery};

/// Adds a generation.
pub(super) async fn insert(tx: &mut Transaction<'_, Sqlite>, meter: &Meter) -> Result<(), CatalogError> {
    let metadata = meter.metadata.as_ref().map(to_json).transpose()?;
    sqlx::query(
        "INSERT INTO meters (id, generation, namespace, slug, name, description, metadata, event_type,
             aggregation, value_property, group_by, event_from_us, created_revision, created_at_us,
             updated_at_us)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(blob(meter.id.0))
    .bind(meter.generation)
    .bind(meter.namespace.as_str())
    .bind(&meter.slug)
    .bind(&meter.name)
    .bind(&meter.description)
    .bind(metadata)
    .bind(&meter.event_type)
    .bind(meter.aggregation.name())
    .bind(&meter.value_property)
    .bind(to_json(&meter.group_by)?)
    .bind(meter.event_from_us)
    .bind(signed(meter.created_revision, "a revision")?)
    .bind(meter.created_at_us)
    .bind(meter.updated_at_us)
    .execute(&mut **tx)
    .await
    .map_err(failed("add a meter"))?;
    Ok(())
}

/// Ends the living generation of a meter.
pub(super) async fn end(
    tx: &mut Transaction<'_, Sqlite>,
    meter: MeterId,
    revision: u64,
    now_us: i64,
) -> Result<(), CatalogError> {
    let ended = sqlx::query(
        "UPDATE meters SET deleted_revision = ?, deleted_at_us = ?
         WHERE id = ? AND deleted_revision IS NULL",
    )
    .bind(signed(revision, "a revision")?)
    .bind(now_us)
    .bind(blob(meter.0))
    .execute(&mut **tx)
    .await
    .map_err(failed("end a meter"))?
    .rows_affected();
    if ended != 1 {
        return Err(damaged("meters", &format!("{ended} living generations of meter {meter}")));
    }
    Ok(())
}

/// The newest generation of a meter, ended or not.
pub(super) async fn by_id(
    connection: &mut SqliteConnection,
    namespace: &Namespace,
    meter: MeterId,
) -> Result<Option<Meter>, CatalogError> {
    let row =
        sqlx::query("SELECT * FROM meters WHERE id = ? AND namespace = ? ORDER BY generation DESC LIMIT 1")
            .bind(blob(meter.0))
            .bind(namespace.as_str())
            .fetch_optional(connection)
            .await
            .map_err(failed("read a meter"))?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn by_slug(
    connection: &mut SqliteConnection,
    namespace: &Namespace,
    slug: &str,
) -> Result<Option<Meter>, CatalogError> {
    let row =
        sqlx::query("SELECT * FROM meters WHERE namespace = ? AND slug = ? AND deleted_revision IS NULL")
            .bind(namespace.as_str())
            .bind(slug)
            .fetch_optional(connection)
            .await
            .map_err(failed("read a meter"))?;
    row.as_ref().map(read).transpose()
}

/// Living and all generations of a namespace.
pub(super) async fn count(
    tx: &mut Transaction<'_, Sqlite>,
    namespace: &Namespace,
) -> Result<(u64, u64), CatalogError> {
    let row = sqlx::query(
        "SELECT count(*) AS ever, count(*) FILTER (WHERE deleted_revision IS NULL) AS living
         FROM meters WHERE namespace = ?",
    )
    .bind(namespace.as_str())
    .fetch_one(&mut **tx)
    .await
    .map_err(failed("count the meters"))?;
    Ok((number(&row, "living")?, number(&row, "ever")?))
}

/// Every generation that lives, of all namespaces, sorted by id.
pub(super) async fn living(connection: &mut SqliteConnection) -> Result<Vec<Arc<Meter>>, CatalogError> {
    let rows = sqlx::query("SELECT * FROM meters WHERE deleted_revision IS NULL ORDER BY id")
        .fetch_all(connection)
        .await
        .map_err(failed("read the meters"))?;
    rows.iter().map(|row| read(row).map(Arc::new)).collect()
}

/// Every generation that ever was.
pub(super) async fn every_generation(connection: &mut SqliteConnection) -> Result<Vec<Meter>, CatalogError> {
    let rows =
        sqlx::query("SELECT * FROM meters").fetch_all(connection).await.map_err(failed("read the meters"))?;
    rows.iter().map(read).collect()
}

/// The newest generation of each meter that the query asks for; equals in the order of their ids.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    namespace: &Namespace,
    query: &MeterQuery,
) -> Result<Vec<Meter>, CatalogError> {
    let column = match query.order_by {
        MeterOrder::Key => "slug",
        MeterOrder::Name => "name",
        MeterOrder::Aggregation => "aggregation",
        MeterOrder::CreatedAt => "created_at_us",
        MeterOrder::UpdatedAt => "updated_at_us",
    };
    let direction = if query.descending { "DESC" } else { "ASC" };
    // Only the words above are put into the statement.
    let statement = AssertSqlSafe(format!(
        "SELECT * FROM meters AS newest
         WHERE namespace = ? AND (? OR deleted_at_us IS NULL)
             AND generation = (SELECT max(generation) FROM meters WHERE id = newest.id)
         ORDER BY {column} {direction}, id {direction} LIMIT ? OFFSET ?"
    ));
    let rows = sqlx::query(statement)
        .bind(namespace.as_str())
        .bind(query.include_deleted)
        .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
        .bind(i64::try_from(query.offset).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
        .map_err(failed("list the meters"))?;
    rows.iter().map(read).collect()
}

fn to_json(map: &impl serde::Serialize) -> Result<String, CatalogError> {
    serde_json::to_string(map)
        .map_err(|error| CatalogError::Conflict(format!("the meter cannot be written: {error}")))
}

fn from_json<T: serde::de::DeserializeOwned>(column: &str, text: &str) -> Result<T, CatalogError> {
    serde_json::from_str(text).map_err(|error| damaged(column, &error.to_string()))
}

fn read(row: &SqliteRow) -> Result<Meter, CatalogError> {
    let aggregation: &str = get(row, "aggregation")?;
    let metadata: Option<&str> = get(row, "metadata")?;
    let deleted_revision: Option<i64> = get(row, "deleted_revision")?;
    Ok(Meter {
        id: MeterId(id(row, "id")?),
        generation: number(row, "generation")?,
        namespace: Namespace::new(get(row, "namespace")?),
        slug: get(row, "slug")?,
        name: get(row, "name")?,
        description: get(row, "description")?,
        metadata: metadata.map(|text| from_json("metadata", text)).transpose()?,
        event_type: get(row, "event_type")?,
        aggregation: Aggregation::from_name(aggregation)
            .ok_or_else(|| damaged("meters", &format!("unknown aggregation `{aggregation}`")))?,
        value_property: get(row, "value_property")?,
        group_by: from_json("group_by", get(row, "group_by")?)?,
        event_from_us: get(row, "event_from_us")?,
        created_revision: number(row, "created_revision")?,
        deleted_revision: deleted_revision
            .map(|stored| u64::try_from(stored).map_err(|_| damaged("deleted_revision", "it is negative")))
            .transpose()?,
        created_at_us: get(row, "created_at_us")?,
        updated_at_us: get(row, "updated_at_us")?,
        deleted_at_us: get(row, "deleted_at_us")?,
    })
}
