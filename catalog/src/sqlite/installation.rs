//! The one row that says which system this is, and its keys.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Sqlite, Transaction};
use weir_meter::InstallationId;
use weir_meter::environment::Entropy;

use super::columns::{blob, bytes, damaged, get, id};
use super::connection::failed;
use crate::{CatalogError, Installation};

/// Reads the installation; makes it if the tables have just been made. A catalog that lost its row
/// has lost its keys, and new ones would give every event a new identity: that is refused.
pub(super) async fn ensure(
    tx: &mut Transaction<'_, Sqlite>,
    fresh: bool,
    entropy: &dyn Entropy,
    now_us: i64,
) -> Result<Installation, CatalogError> {
    if fresh {
        let mut position_key = blob(entropy.random_u128());
        position_key.extend(blob(entropy.random_u128()));
        sqlx::query(
            "INSERT INTO installation
                 (only_row, id, incarnation, created_at_us, hash_key, position_key, revision)
             VALUES (1, ?, ?, ?, ?, ?, 0)",
        )
        .bind(blob(entropy.random_u128()))
        .bind(blob(entropy.random_u128()))
        .bind(now_us)
        .bind(blob(entropy.random_u128()))
        .bind(position_key)
        .execute(&mut **tx)
        .await
        .map_err(failed("make the installation"))?;
    }
    read(tx).await
}

pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Installation, CatalogError> {
    let row = sqlx::query("SELECT id, incarnation, created_at_us, hash_key, position_key FROM installation")
        .fetch_optional(connection)
        .await
        .map_err(failed("read the installation"))?
        .ok_or_else(|| damaged("installation", "its row is missing, and with it every key"))?;
    Ok(Installation {
        id: InstallationId(id(&row, "id")?),
        incarnation: id(&row, "incarnation")?,
        created_at_us: get(&row, "created_at_us")?,
        hash_key: bytes(&row, "hash_key")?,
        position_key: bytes(&row, "position_key")?,
    })
}
