//! Changes to numbers: a meter comes or goes under the next revision, in one order for the whole
//! installation. What a query at an older revision sees never changes.

use sqlx::{Sqlite, Transaction};
use weir_meter::{Meter, MeterId, Namespace};

use super::columns::{damaged, number, signed};
use super::connection::{Database, failed};
use super::meters;
use crate::{CatalogError, MeterDraft};

/// Adds a meter, if its slug is free and the namespace has room.
pub(super) async fn create_meter(
    database: &Database,
    namespace: &Namespace,
    draft: MeterDraft,
    meter: MeterId,
    now_us: i64,
) -> Result<Meter, CatalogError> {
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    check_room(&mut tx, database, namespace).await?;
    if let Some(taken) = meters::by_slug(&mut tx, namespace, &draft.slug).await? {
        return Err(CatalogError::Conflict(format!(
            "meter with slug `{}` exists already, as {}; choose another slug or delete that meter first",
            draft.slug, taken.id
        )));
    }
    if meters::by_id(&mut tx, namespace, meter).await?.is_some() {
        return Err(CatalogError::Conflict(format!("meter id {meter} has been used before; take a new one")));
    }
    let revision = next_revision(&mut tx, namespace, &format!("meter {meter} created"), now_us).await?;
    let created = Meter {
        id: meter,
        generation: 1,
        namespace: namespace.clone(),
        name: draft.name.unwrap_or_else(|| draft.slug.clone()),
        slug: draft.slug,
        description: draft.description,
        metadata: draft.metadata,
        event_type: draft.event_type,
        aggregation: draft.aggregation,
        value_property: draft.value_property,
        group_by: draft.group_by,
        event_from_us: draft.event_from_us,
        created_revision: revision,
        deleted_revision: None,
        created_at_us: now_us,
        updated_at_us: now_us,
        deleted_at_us: None,
    };
    meters::insert(&mut tx, &created).await?;
    let living = meters::living(&mut tx).await?;
    if !living.iter().any(|stored| **stored == created) {
        return Err(damaged("meters", &format!("meter {meter} reads back otherwise than it was written")));
    }
    let committed = tx.commit().await;
    writing.settle(committed, before.with_meters(revision, living))?;
    Ok(created)
}

/// Ends a meter. False if there is none of that name.
pub(super) async fn delete_meter(
    database: &Database,
    namespace: &Namespace,
    id_or_slug: &str,
    now_us: i64,
) -> Result<bool, CatalogError> {
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    let found = match id_or_slug.parse() {
        Ok(id) => meters::by_id(&mut tx, namespace, id).await?,
        Err(_) => None,
    };
    let found = match found {
        Some(meter) => Some(meter),
        None => meters::by_slug(&mut tx, namespace, id_or_slug).await?,
    };
    let Some(meter) = found else { return Ok(false) };
    if meter.deleted_revision.is_some() {
        return Ok(true);
    }
    let what = format!("meter {} deleted", meter.id);
    let revision = next_revision(&mut tx, namespace, &what, now_us).await?;
    meters::end(&mut tx, meter.id, revision, now_us).await?;
    let living = meters::living(&mut tx).await?;
    if living.iter().any(|stored| stored.id == meter.id) {
        return Err(damaged("meters", &format!("meter {} lives on after its end", meter.id)));
    }
    let committed = tx.commit().await;
    writing.settle(committed, before.with_meters(revision, living))?;
    Ok(true)
}

async fn check_room(
    tx: &mut Transaction<'_, Sqlite>,
    database: &Database,
    namespace: &Namespace,
) -> Result<(), CatalogError> {
    let (living, ever) = meters::count(tx, namespace).await?;
    let living_max = database.options.living_meters_max;
    if living >= living_max {
        return Err(CatalogError::Conflict(format!(
            "namespace `{namespace}` has {living} meters, and {living_max} is the most; delete one first"
        )));
    }
    let ever_max = database.options.meters_ever_max;
    if ever >= ever_max {
        return Err(CatalogError::Conflict(format!(
            "namespace `{namespace}` has had {ever} meters, deleted ones included, and {ever_max} is the \
             most; ask the operator to raise `meters_ever_max`"
        )));
    }
    Ok(())
}

/// Takes the next revision. The update locks the one row that holds the counter, so revisions are
/// taken one after the other, and become visible in their order.
async fn next_revision(
    tx: &mut Transaction<'_, Sqlite>,
    namespace: &Namespace,
    what: &str,
    now_us: i64,
) -> Result<u64, CatalogError> {
    let row = sqlx::query("UPDATE installation SET revision = revision + 1 RETURNING revision")
        .fetch_one(&mut **tx)
        .await
        .map_err(failed("take a revision"))?;
    let revision: u64 = number(&row, "revision")?;
    sqlx::query("INSERT INTO revisions (revision, namespace, at_us, what) VALUES (?, ?, ?, ?)")
        .bind(signed(revision, "a revision")?)
        .bind(namespace.as_str())
        .bind(now_us)
        .bind(what)
        .execute(&mut **tx)
        .await
        .map_err(failed("record a revision"))?;
    Ok(revision)
}
