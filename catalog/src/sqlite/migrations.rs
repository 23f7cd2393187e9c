//! Brings the tables to the version that this code knows, in one transaction at open. A migration
//! that has run is recorded with its checksum and never runs again, and a file that a newer version
//! has written is left alone.

use ring::digest;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Sqlite, Transaction};

use super::columns::{get, number};
use super::connection::{failed, scalar};
use crate::CatalogError;

/// "WEIR" in the header of the file, so that no other program's database is taken for a catalog.
pub(super) const APPLICATION_ID: i64 = 0x5745_4952;

/// Steps that have been released are never edited: a change is a new step at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// The first has version 1.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "commit records and meters",
        sql: include_str!("migrations/0001_commit_records_and_meters.sql"),
    },
    Migration {
        name: "swaps, floors and wide meters",
        sql: include_str!("migrations/0002_swaps_floors_and_wide_meters.sql"),
    },
    Migration { name: "api keys", sql: include_str!("migrations/0003_api_keys.sql") },
];

/// Runs what has not run yet. Returns true if the database was empty.
pub(super) async fn migrate(
    tx: &mut Transaction<'_, Sqlite>,
    migrations: &[Migration],
    path: &str,
    now_us: i64,
) -> Result<bool, CatalogError> {
    claim(tx, path).await?;
    let applied = applied(tx).await?;
    check_known(&applied, migrations, path)?;
    for (index, migration) in migrations.iter().enumerate().skip(applied.len()) {
        tracing::info!(name = migration.name, path, "bringing the catalog's tables up to date");
        sqlx::raw_sql(migration.sql).execute(&mut **tx).await.map_err(failed("migrate"))?;
        sqlx::query("INSERT INTO migrations (version, name, checksum, applied_at_us) VALUES (?, ?, ?, ?)")
            .bind(version_of(index))
            .bind(migration.name)
            .bind(checksum(migration.sql))
            .bind(now_us)
            .execute(&mut **tx)
            .await
            .map_err(failed("record a migration"))?;
    }
    Ok(applied.is_empty())
}

struct Applied {
    version: i64,
    name: String,
    checksum: Vec<u8>,
}

/// True if the database is a catalog, false if it is empty; another program's is refused.
pub(super) async fn is_catalog(connection: &mut SqliteConnection, path: &str) -> Result<bool, CatalogError> {
    let application: i64 = scalar(connection, "PRAGMA application_id").await?;
    if application == APPLICATION_ID {
        return Ok(true);
    }
    let tables: i64 = scalar(connection, "SELECT count(*) FROM sqlite_master").await?;
    if application != 0 || tables != 0 {
        return Err(CatalogError::Unusable(format!(
            "{path} is a database of another program, not a catalog; name another file"
        )));
    }
    Ok(false)
}

/// The oldest version whose tables say the same as the newest ones, as far as those who only read ask: later ones
/// have only added some.
const OLDEST_READABLE: usize = 2;

/// For those who only read: a catalog whose tables this code can read as they are. Returns their version.
pub(super) async fn check_readable(
    connection: &mut SqliteConnection,
    path: &str,
) -> Result<usize, CatalogError> {
    let version = check_usable(connection, path).await?;
    if version < OLDEST_READABLE {
        return Err(CatalogError::Unusable(format!(
            "{path} has tables of version {version} and this program reads {OLDEST_READABLE} to {}; start the server \
             once with `weir serve`, which brings them up to date",
            MIGRATIONS.len()
        )));
    }
    Ok(version)
}

/// The version that the file notes of itself.
pub(super) async fn version(connection: &mut SqliteConnection) -> Result<usize, CatalogError> {
    Ok(applied(connection).await?.len())
}

/// A catalog of this version or an older one, which is returned.
pub(super) async fn check_usable(
    connection: &mut SqliteConnection,
    path: &str,
) -> Result<usize, CatalogError> {
    if !is_catalog(connection, path).await? {
        return Err(CatalogError::Unusable(format!(
            "{path} is empty; start the server once with `weir serve`, which makes the tables"
        )));
    }
    let applied = applied(connection).await?;
    check_known(&applied, MIGRATIONS, path)?;
    Ok(applied.len())
}

/// A catalog of this version or an older one, or an empty database.
pub(super) async fn check_startable(
    connection: &mut SqliteConnection,
    path: &str,
) -> Result<(), CatalogError> {
    if is_catalog(connection, path).await? {
        check_known(&applied(connection).await?, MIGRATIONS, path)?;
    }
    Ok(())
}

/// Makes an empty database a catalog; refuses another program's.
async fn claim(tx: &mut Transaction<'_, Sqlite>, path: &str) -> Result<(), CatalogError> {
    if is_catalog(tx, path).await? {
        return Ok(());
    }
    sqlx::raw_sql(
        "PRAGMA application_id = 0x57454952;
         CREATE TABLE migrations (
             version INTEGER PRIMARY KEY CHECK (version > 0),
             name TEXT NOT NULL,
             checksum BLOB NOT NULL CHECK (length(checksum) = 32),
             applied_at_us INTEGER NOT NULL
         ) STRICT",
    )
    .execute(&mut **tx)
    .await
    .map_err(failed("begin the tables"))?;
    Ok(())
}

/// Migrations that have run, oldest first.
async fn applied(connection: &mut SqliteConnection) -> Result<Vec<Applied>, CatalogError> {
    let rows = sqlx::query("SELECT version, name, checksum FROM migrations ORDER BY version")
        .fetch_all(connection)
        .await
        .map_err(failed("read the migrations"))?;
    rows.iter().map(read_applied).collect()
}

fn read_applied(row: &SqliteRow) -> Result<Applied, CatalogError> {
    Ok(Applied { version: number(row, "version")?, name: get(row, "name")?, checksum: get(row, "checksum")? })
}

fn check_known(applied: &[Applied], migrations: &[Migration], path: &str) -> Result<(), CatalogError> {
    let newest = applied.last().map_or(0, |last| last.version);
    let known = version_of(migrations.len().saturating_sub(1));
    if newest > known {
        return Err(CatalogError::Unusable(format!(
            "{path} has tables of version {newest} and this program knows {known}: a newer one has \
             written it; start that one again, or restore the copy made before the upgrade"
        )));
    }
    for (index, (applied, migration)) in applied.iter().zip(migrations).enumerate() {
        if applied.version != version_of(index) || applied.checksum != checksum(migration.sql) {
            return Err(CatalogError::Unusable(format!(
                "{path} was made by other steps than this program knows: its step {} (`{}`) differs \
                 from step {} (`{}`); start the program that made it, or restore a copy of the file",
                applied.version,
                applied.name,
                version_of(index),
                migration.name
            )));
        }
    }
    Ok(())
}

fn version_of(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1)
}

pub(super) fn checksum(sql: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, sql.as_bytes()).as_ref().to_vec()
}
