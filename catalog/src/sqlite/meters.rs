//! Meters as rows, one for each generation. Rows are only added; the end of a generation is written to
//! it later, under a revision of its own, and so are words about it that change no number.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, Transaction};
use weir_meter::{Aggregation, Generation, Meter, MeterId, Namespace};

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

/// Ends the living generation of a meter: at a time if the meter is deleted, without one if a newer
/// generation takes its place.
pub(super) async fn end(
    tx: &mut Transaction<'_, Sqlite>,
    meter: MeterId,
    revision: u64,
    deleted_at_us: Option<i64>,
) -> Result<(), CatalogError> {
    let ended = sqlx::query(
        "UPDATE meters SET deleted_revision = ?, deleted_at_us = ?
         WHERE id = ? AND deleted_revision IS NULL",
    )
    .bind(signed(revision, "a revision")?)
    .bind(deleted_at_us)
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

/// Changes what is said about the living generation of a meter, and nothing that is counted by.
pub(super) async fn describe(tx: &mut Transaction<'_, Sqlite>, meter: &Meter) -> Result<(), CatalogError> {
    let described = sqlx::query(
        "UPDATE meters SET name = ?, description = ?, metadata = ?, updated_at_us = ?
         WHERE id = ? AND generation = ? AND deleted_revision IS NULL",
    )
    .bind(&meter.name)
    .bind(&meter.description)
    .bind(meter.metadata.as_ref().map(to_json).transpose()?)
    .bind(meter.updated_at_us)
    .bind(blob(meter.id.0))
    .bind(meter.generation)
    .execute(&mut **tx)
    .await
    .map_err(failed("change a meter"))?
    .rows_affected();
    if described != 1 {
        return Err(damaged("meters", &format!("{described} living generations of meter {}", meter.id)));
    }
    Ok(())
}

/// The newest generation of a meter that was made by this revision, ended or not.
pub(super) async fn by_id(
    connection: &mut SqliteConnection,
    namespace: &Namespace,
    meter: MeterId,
    revision: u64,
) -> Result<Option<Meter>, CatalogError> {
    let row = sqlx::query(
        "SELECT * FROM meters WHERE id = ? AND namespace = ? AND created_revision <= ?
         ORDER BY generation DESC LIMIT 1",
    )
    .bind(blob(meter.0))
    .bind(namespace.as_str())
    .bind(bounded(revision))
    .fetch_optional(connection)
    .await
    .map_err(failed("read a meter"))?;
    row.as_ref().map(read).transpose()
}

/// The generation that had this slug and lived at this revision.
pub(super) async fn by_slug(
    connection: &mut SqliteConnection,
    namespace: &Namespace,
    slug: &str,
    revision: u64,
) -> Result<Option<Meter>, CatalogError> {
    let row = sqlx::query(
        "SELECT * FROM meters WHERE namespace = ?1 AND slug = ?2 AND created_revision <= ?3
             AND (deleted_revision IS NULL OR deleted_revision > ?3)",
    )
    .bind(namespace.as_str())
    .bind(slug)
    .bind(bounded(revision))
    .fetch_optional(connection)
    .await
    .map_err(failed("read a meter"))?;
    row.as_ref().map(read).transpose()
}

/// What the id or slug stands for at a revision: an id comes first, also an ended one.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    namespace: &Namespace,
    id_or_slug: &str,
    revision: u64,
) -> Result<Option<Meter>, CatalogError> {
    if let Ok(id) = id_or_slug.parse::<MeterId>()
        && let Some(found) = by_id(connection, namespace, id, revision).await?
    {
        return Ok(Some(found));
    }
    by_slug(connection, namespace, id_or_slug, revision).await
}

/// True if the generation was ever made, in whatever namespace.
pub(super) async fn is_known(
    tx: &mut Transaction<'_, Sqlite>,
    generation: Generation,
) -> Result<bool, CatalogError> {
    let row = sqlx::query("SELECT 1 FROM meters WHERE id = ? AND generation = ?")
        .bind(blob(generation.meter.0))
        .bind(generation.generation)
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("look for a meter"))?;
    Ok(row.is_some())
}

/// A revision beyond what can be stored is later than all.
fn bounded(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
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
