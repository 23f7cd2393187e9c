//! API keys as rows. A key is added once; later it only ends: it is given an expiry, or is revoked. Ended
//! ones stay to be looked up, as many as there may be usable ones, and then the oldest are forgotten. Keys
//! change no number, so they take no revision.

use std::num::NonZeroU32;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Sqlite, Transaction};
use weir_meter::Namespace;

use super::columns::{bytes, damaged, get, number};
use super::connection::{Database, failed};
use super::migrations;
use crate::{
    ApiKey, CatalogError, Grant, KeyId, KeyLimits, KeyQuery, KeyTable, KeysOf, NewKey, Roll, Scope, Scopes,
    SecretHash,
};

/// Tables of an older version have no keys in them. Only who looks into a file may find one: a server that
/// finds no table of keys must not take it for one without keys.
pub(super) const SINCE_VERSION: usize = 3;

/// The number of changes, and every key that was not revoked; None if nothing has changed since `known`.
pub(super) async fn table(
    connection: &mut SqliteConnection,
    known: Option<u64>,
) -> Result<Option<KeyTable>, CatalogError> {
    let mut tx = connection.begin().await.map_err(failed("begin"))?;
    let row = sqlx::query("SELECT number, EXISTS (SELECT 1 FROM api_keys) AS any_key FROM api_key_changes")
        .fetch_optional(&mut *tx)
        .await
        .map_err(failed("read the number of key changes"))?
        .ok_or_else(|| damaged("api_key_changes", "its row is missing"))?;
    let (changes, any) = (number(&row, "number")?, get::<i64>(&row, "any_key")? != 0);
    if known == Some(changes) {
        tx.rollback().await.map_err(failed("end a look"))?;
        return Ok(None);
    }
    let rows = sqlx::query("SELECT * FROM api_keys WHERE revoked_at_us IS NULL")
        .fetch_all(&mut *tx)
        .await
        .map_err(failed("read the keys"))?;
    tx.rollback().await.map_err(failed("end a look"))?;
    let keys = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Some(KeyTable { number: changes, any, keys }))
}

pub(super) async fn page(
    connection: &mut SqliteConnection,
    query: &KeyQuery,
) -> Result<Vec<ApiKey>, CatalogError> {
    if migrations::version(connection).await? < SINCE_VERSION {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT * FROM api_keys
         WHERE (?1 OR namespace = ?2)
             AND (?3 OR (revoked_at_us IS NULL AND (expires_at_us IS NULL OR expires_at_us > ?4)))
         ORDER BY created_at_us DESC, id LIMIT ?5 OFFSET ?6",
    )
    .bind(query.of == KeysOf::Everyone)
    .bind(namespace_of(&query.of))
    .bind(query.ended)
    .bind(query.now_us)
    .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
    .bind(i64::try_from(query.offset).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
    .map_err(failed("list the keys"))?;
    rows.iter().map(read).collect()
}

/// Every key, for a look at all that the file says.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<ApiKey>, CatalogError> {
    let rows =
        sqlx::query("SELECT * FROM api_keys").fetch_all(connection).await.map_err(failed("read the keys"))?;
    rows.iter().map(read).collect()
}

/// Adds a key, if there is room for it.
pub(super) async fn create(database: &Database, new: NewKey, now_us: i64) -> Result<ApiKey, CatalogError> {
    new.check(now_us).map_err(CatalogError::Conflict)?;
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    let made = ApiKey {
        id: new.id,
        grant: new.grant,
        name: new.name,
        secret_hash: new.secret_hash,
        limits: new.limits,
        created_us: now_us,
        expires_us: new.expires_us,
        revoked_us: None,
        rolled_to: None,
    };
    add(&mut tx, database, &made, now_us).await?;
    let committed = finish(tx).await?;
    writing.settle(committed, before).await?;
    Ok(made)
}

/// Makes a key like an old one, and gives that one its end. None if there is no such key.
pub(super) async fn roll(
    database: &Database,
    of: &KeysOf,
    id: &KeyId,
    roll: Roll,
    now_us: i64,
) -> Result<Option<ApiKey>, CatalogError> {
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    let Some(old) = find(&mut tx, of, id).await? else { return Ok(None) };
    if let Some(next) = &old.rolled_to {
        return Err(CatalogError::Conflict(format!("key {id} was rolled to {next} before; roll that one")));
    }
    if !old.is_usable(now_us) {
        return Err(CatalogError::Conflict(format!("key {id} has ended; make a new one")));
    }
    // The same life from now on as the old one had from its making.
    let life_us = old.expires_us.map(|expires_us| expires_us.saturating_sub(old.created_us));
    let new = ApiKey {
        id: roll.new_id,
        secret_hash: roll.new_secret_hash,
        created_us: now_us,
        expires_us: life_us.map(|life_us| now_us.saturating_add(life_us)),
        ..old.clone()
    };
    let old_expires_us = old.expires_us.map_or(roll.old_expires_us, |sooner| sooner.min(roll.old_expires_us));
    sqlx::query("UPDATE api_keys SET expires_at_us = ?, rolled_to = ? WHERE id = ?")
        .bind(old_expires_us)
        .bind(new.id.as_str())
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .map_err(failed("end a key"))?;
    add(&mut tx, database, &new, now_us).await?;
    let committed = finish(tx).await?;
    writing.settle(committed, before).await?;
    Ok(Some(new))
}

/// Ends a key for good. False if there is none of that id; ending an ended one is true and changes nothing.
pub(super) async fn revoke(
    database: &Database,
    of: &KeysOf,
    id: &KeyId,
    now_us: i64,
) -> Result<bool, CatalogError> {
    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    let Some(key) = find(&mut tx, of, id).await? else { return Ok(false) };
    if key.revoked_us.is_some() {
        return Ok(true);
    }
    sqlx::query("UPDATE api_keys SET revoked_at_us = ? WHERE id = ?")
        .bind(now_us)
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .map_err(failed("revoke a key"))?;
    let committed = finish(tx).await?;
    writing.settle(committed, before).await?;
    Ok(true)
}

/// Counts the change and commits.
async fn finish(mut tx: Transaction<'_, Sqlite>) -> Result<Result<(), sqlx::Error>, CatalogError> {
    let counted = sqlx::query("UPDATE api_key_changes SET number = number + 1")
        .execute(&mut *tx)
        .await
        .map_err(failed("count a change of a key"))?;
    if counted.rows_affected() != 1 {
        return Err(damaged("api_key_changes", "its row is missing"));
    }
    Ok(tx.commit().await)
}

async fn add(
    tx: &mut Transaction<'_, Sqlite>,
    database: &Database,
    key: &ApiKey,
    now_us: i64,
) -> Result<(), CatalogError> {
    let (namespace, scopes) = match &key.grant {
        Grant::Operator => (None, String::new()),
        Grant::Tenant { namespace, scopes } => (Some(namespace.as_str()), scopes.to_string()),
    };
    forget_ended(tx, database, namespace, now_us).await?;
    check_room(tx, database, &key.grant, now_us).await?;
    if find(tx, &KeysOf::Everyone, &key.id).await?.is_some() {
        return Err(CatalogError::Conflict(format!(
            "key id {} has been used before; take a new one",
            key.id
        )));
    }
    sqlx::query(
        "INSERT INTO api_keys (id, namespace, scopes, name, secret_hash, requests_per_s, events_per_s,
             created_at_us, expires_at_us)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key.id.as_str())
    .bind(namespace)
    .bind(scopes)
    .bind(&key.name)
    .bind(key.secret_hash.to_bytes().to_vec())
    .bind(key.limits.requests_per_s.map(NonZeroU32::get))
    .bind(key.limits.events_per_s.map(NonZeroU32::get))
    .bind(key.created_us)
    .bind(key.expires_us)
    .execute(&mut **tx)
    .await
    .map_err(failed("add a key"))?;
    match find(tx, &KeysOf::Everyone, &key.id).await? {
        Some(stored) if stored == *key => Ok(()),
        _ => Err(damaged("api_keys", &format!("key {} reads back otherwise than it was written", key.id))),
    }
}

async fn find(
    connection: &mut SqliteConnection,
    of: &KeysOf,
    id: &KeyId,
) -> Result<Option<ApiKey>, CatalogError> {
    let row = sqlx::query("SELECT * FROM api_keys WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(connection)
        .await
        .map_err(failed("read a key"))?;
    let key = row.as_ref().map(read).transpose()?;
    Ok(key.filter(|key| of.covers(&key.grant)))
}

/// Of what has ended, as many stay as there may be usable keys.
async fn forget_ended(
    tx: &mut Transaction<'_, Sqlite>,
    database: &Database,
    namespace: Option<&str>,
    now_us: i64,
) -> Result<(), CatalogError> {
    sqlx::query(
        "DELETE FROM api_keys WHERE id IN (
             SELECT id FROM api_keys
             WHERE namespace IS ?1 AND (revoked_at_us IS NOT NULL OR expires_at_us <= ?2)
             ORDER BY min(coalesce(revoked_at_us, expires_at_us), coalesce(expires_at_us, revoked_at_us)) DESC, id
             LIMIT -1 OFFSET ?3)",
    )
    .bind(namespace)
    .bind(now_us)
    .bind(i64::try_from(database.options.keys_max).unwrap_or(i64::MAX))
    .execute(&mut **tx)
    .await
    .map_err(failed("forget keys"))?;
    Ok(())
}

async fn check_room(
    tx: &mut Transaction<'_, Sqlite>,
    database: &Database,
    grant: &Grant,
    now_us: i64,
) -> Result<(), CatalogError> {
    let row = sqlx::query(
        "SELECT count(*) AS total, count(*) FILTER (WHERE namespace IS ?1 AND revoked_at_us IS NULL
             AND (expires_at_us IS NULL OR expires_at_us > ?2)) AS usable
         FROM api_keys",
    )
    .bind(grant.namespace().map(Namespace::as_str))
    .bind(now_us)
    .fetch_one(&mut **tx)
    .await
    .map_err(failed("count the keys"))?;
    let (usable, total): (u64, u64) = (number(&row, "usable")?, number(&row, "total")?);
    let (most, most_in_total) = (database.options.keys_max, database.options.keys_total_max);
    if usable >= most {
        let whose = match grant.namespace() {
            Some(namespace) => format!("namespace `{namespace}` has"),
            None => "operators have".to_owned(),
        };
        let detail =
            format!("{whose} {usable} keys, and {most} is the most; revoke one that is not used any more");
        return Err(CatalogError::Full { setting: "keys_max", detail });
    }
    if total >= most_in_total {
        let detail = format!(
            "there are {total} keys of all namespaces, ended ones included, and {most_in_total} is the most; ask \
             the operator to raise `keys_total_max`"
        );
        return Err(CatalogError::Full { setting: "keys_total_max", detail });
    }
    Ok(())
}

fn namespace_of(of: &KeysOf) -> Option<&str> {
    match of {
        KeysOf::Everyone => None,
        KeysOf::Namespace(namespace) => Some(namespace.as_str()),
    }
}

fn read(row: &SqliteRow) -> Result<ApiKey, CatalogError> {
    let rolled_to: Option<&str> = get(row, "rolled_to")?;
    Ok(ApiKey {
        id: key_id(get(row, "id")?)?,
        grant: grant(get(row, "namespace")?, get(row, "scopes")?)?,
        name: get(row, "name")?,
        secret_hash: SecretHash::new(bytes(row, "secret_hash")?),
        limits: KeyLimits {
            requests_per_s: limit(row, "requests_per_s")?,
            events_per_s: limit(row, "events_per_s")?,
        },
        created_us: get(row, "created_at_us")?,
        expires_us: get(row, "expires_at_us")?,
        revoked_us: get(row, "revoked_at_us")?,
        rolled_to: rolled_to.map(key_id).transpose()?,
    })
}

fn key_id(text: &str) -> Result<KeyId, CatalogError> {
    text.parse().map_err(|error: crate::NotAKeyId| damaged("api_keys", &error.to_string()))
}

/// A scope of a newer program is a reason to let nobody in, not to leave it out.
fn grant(namespace: Option<&str>, scopes: &str) -> Result<Grant, CatalogError> {
    let Some(namespace) = namespace else { return Ok(Grant::Operator) };
    let known = |name: &str| {
        Scope::from_name(name).ok_or_else(|| damaged("api_keys", &format!("unknown scope `{name}`")))
    };
    let scopes = scopes.split(' ').map(known).collect::<Result<Scopes, _>>()?;
    Ok(Grant::Tenant { namespace: Namespace::new(namespace), scopes })
}

fn limit(row: &SqliteRow, column: &str) -> Result<Option<NonZeroU32>, CatalogError> {
    let stored: Option<i64> = get(row, column)?;
    stored
        .map(|stored| {
            u32::try_from(stored)
                .ok()
                .and_then(NonZeroU32::new)
                .ok_or_else(|| damaged(column, &format!("{stored} is out of range")))
        })
        .transpose()
}
