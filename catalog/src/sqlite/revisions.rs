//! Changes to numbers: a meter comes, changes or goes under the next revision, in one order for the whole
//! installation. What a query at an older revision sees never changes.

use std::sync::Arc;

use sqlx::{Sqlite, Transaction};
use weir_meter::{Meter, MeterId, Namespace};

use super::columns::{damaged, number, signed};
use super::connection::{Database, failed};
use super::meters;
use crate::{CatalogError, MeterDraft, MeterUpdate};

/// For looking at meters as they are now.
const NEWEST: u64 = u64::MAX;

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
    check_room(&mut tx, database, namespace, Room::Meter).await?;
    if let Some(taken) = meters::by_slug(&mut tx, namespace, &draft.slug, NEWEST).await? {
        return Err(CatalogError::Conflict(format!(
            "meter with slug `{}` exists already, as {}; choose another slug or delete that meter first",
            draft.slug, taken.id
        )));
    }
    if meters::by_id(&mut tx, namespace, meter, NEWEST).await?.is_some() {
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
    check_living(&living, &created)?;
    let committed = tx.commit().await;
    writing.settle(committed, before.with_meters(revision, living)).await?;
    Ok(created)
}

/// Changes a living meter. Only a changed group-by changes numbers: it ends the generation and begins the
/// next, under a new revision. Name, description and metadata change in place. None if no such meter
/// lives.
pub(super) async fn update_meter(
    database: &Database,
    namespace: &Namespace,
    id_or_slug: &str,
    update: MeterUpdate,
    now_us: i64,
) -> Result<Option<Meter>, CatalogError> {
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    let found = meters::find(&mut tx, namespace, id_or_slug, NEWEST).await?;
    let Some(old) = found.filter(|meter| meter.deleted_revision.is_none()) else { return Ok(None) };
    let regrouped = old.group_by != update.group_by;
    let mut changed = Meter {
        name: update.name.unwrap_or_else(|| old.slug.clone()),
        description: update.description.or_else(|| old.description.clone()),
        metadata: update.metadata,
        group_by: update.group_by,
        updated_at_us: now_us,
        ..old
    };
    let mut revision = before.listing.revision;
    if regrouped {
        check_room(&mut tx, database, namespace, Room::Generation).await?;
        changed.generation = changed.generation.checked_add(1).ok_or_else(|| {
            CatalogError::Conflict(format!("meter {} has had every generation there can be", changed.id))
        })?;
        let what = format!("meter {} grouped anew", changed.id);
        revision = next_revision(&mut tx, namespace, &what, now_us).await?;
        changed.created_revision = revision;
        meters::end(&mut tx, changed.id, revision, None).await?;
        meters::insert(&mut tx, &changed).await?;
    } else {
        meters::describe(&mut tx, &changed).await?;
    }
    let living = meters::living(&mut tx).await?;
    check_living(&living, &changed)?;
    let committed = tx.commit().await;
    writing.settle(committed, before.with_meters(revision, living)).await?;
    Ok(Some(changed))
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
    let Some(meter) = meters::find(&mut tx, namespace, id_or_slug, NEWEST).await? else {
        return Ok(false);
    };
    if meter.deleted_revision.is_some() {
        return Ok(true);
    }
    let what = format!("meter {} deleted", meter.id);
    let revision = next_revision(&mut tx, namespace, &what, now_us).await?;
    meters::end(&mut tx, meter.id, revision, Some(now_us)).await?;
    let living = meters::living(&mut tx).await?;
    if living.iter().any(|stored| stored.id == meter.id) {
        return Err(damaged("meters", &format!("meter {} lives on after its end", meter.id)));
    }
    let committed = tx.commit().await;
    writing.settle(committed, before.with_meters(revision, living)).await?;
    Ok(true)
}

/// What was written is what is read, and the only generation of its meter that lives.
fn check_living(living: &[Arc<Meter>], written: &Meter) -> Result<(), CatalogError> {
    if living.iter().map(|stored| &**stored).filter(|stored| stored.id == written.id).ne([written]) {
        let text = format!("meter {} reads back otherwise than it was written", written.id);
        return Err(damaged("meters", &text));
    }
    Ok(())
}

/// What is asked for: one more meter, or the next generation of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Meter,
    Generation,
}

async fn check_room(
    tx: &mut Transaction<'_, Sqlite>,
    database: &Database,
    namespace: &Namespace,
    wanted: Room,
) -> Result<(), CatalogError> {
    let (living, ever) = meters::count(tx, namespace).await?;
    let living_max = database.options.living_meters_max;
    if wanted == Room::Meter && living >= living_max {
        let detail = format!(
            "namespace `{namespace}` has {living} meters, and {living_max} is the most; delete one that is not \
             needed any more"
        );
        return Err(CatalogError::Full { setting: "meters_max", detail });
    }
    let ever_max = database.options.meters_ever_max;
    if ever >= ever_max {
        let detail = format!(
            "namespace `{namespace}` has had {ever} meters, deleted ones included and each change of a \
             group-by counted as one, and {ever_max} is the most; ask the operator to raise `meters_ever_max`"
        );
        return Err(CatalogError::Full { setting: "meters_ever_max", detail });
    }
    Ok(())
}

/// Takes the next revision. The update locks the one row that holds the counter, so revisions are
/// taken one after the other, and become visible in their order.
pub(super) async fn next_revision(
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
