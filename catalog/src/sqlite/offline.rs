//! What operators do with the file: look into it beside a running server, copy it whole, and give a
//! restored copy a new incarnation.

use std::io;
use std::path::Path;
use std::sync::Arc;

use sqlx::Connection as _;
use weir_files::{Disk, Open};
use weir_meter::environment::Entropy;

use super::columns::{blob, damaged, id};
use super::connection::{Access, Database, failed, scalar, uninterrupted};
use super::{SqliteCatalog, SqliteOptions, Storage, file, installation, integrity, migrations};
use crate::CatalogError;

impl SqliteCatalog {
    /// Opens an existing catalog for reading, also beside the server that writes to it. Nothing is made
    /// and nothing is migrated; every method that would write is refused. Each call reads the file anew.
    pub async fn open_read_only(path: &Path, options: SqliteOptions) -> Result<Self, CatalogError> {
        Self::open_read_only_on(Storage::default(), path, options).await
    }

    /// As [`Self::open_read_only`], on this storage.
    pub async fn open_read_only_on(
        storage: Storage,
        path: &Path,
        options: SqliteOptions,
    ) -> Result<Self, CatalogError> {
        file::check(&storage.disk, path, migrations::APPLICATION_ID)?;
        let database = Database::new(storage, path.to_owned(), options, Access::ReadOnly);
        let shown = path.display().to_string();
        let installation = database
            .read(async |connection| {
                migrations::check_readable(connection, &shown).await?;
                database.check_tally(connection).await?;
                installation::read(connection).await
            })
            .await?;
        database.snapshot().await?;
        Ok(Self { database: Arc::new(database), installation })
    }

    /// Copies the whole catalog, as of one moment, into a new file that only its owner can read. Works
    /// beside a server that goes on writing. Once it has returned, the copy is durable and has been
    /// read through.
    pub async fn copy_to(&self, target: &Path) -> Result<(), CatalogError> {
        let (database, target) = (Arc::clone(&self.database), target.to_owned());
        uninterrupted(async move { copy(&database, &target).await }).await
    }

    /// Every contradiction in the file, as sentences; none if all is well. Looks at one state of it.
    pub async fn integrity(&self) -> Vec<String> {
        match self.database.read(async |connection| integrity::problems(connection).await).await {
            Ok(problems) => problems,
            Err(error) => vec![format!("the catalog could not be read through: {error}")],
        }
    }

    /// Gives a catalog that was restored from a copy a new incarnation, and returns it: positions and
    /// writers of the lost one mean nothing here. Call before anything opens the file.
    pub async fn renew_incarnation(path: &Path, entropy: Arc<dyn Entropy>) -> Result<u128, CatalogError> {
        Self::renew_incarnation_on(Storage::default(), path, entropy).await
    }

    /// As [`Self::renew_incarnation`], on this storage.
    pub async fn renew_incarnation_on(
        storage: Storage,
        path: &Path,
        entropy: Arc<dyn Entropy>,
    ) -> Result<u128, CatalogError> {
        file::check(&storage.disk, path, migrations::APPLICATION_ID)?;
        let options = SqliteOptions::default();
        let database = Database::new(storage, path.to_owned(), options, Access::ReadWrite);
        uninterrupted(async move { renew(&database, entropy.as_ref()).await }).await
    }
}

async fn renew(database: &Database, entropy: &dyn Entropy) -> Result<u128, CatalogError> {
    database.probe_usable().await?;
    let mut connection = database.take_over().await?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed("begin"))?;
    let before = installation::read(&mut tx).await?.incarnation;
    let renewed = entropy.random_u128();
    if renewed == before {
        return Err(CatalogError::Unusable(
            "the new incarnation is the old one: the source of randomness is broken".to_owned(),
        ));
    }
    let row = sqlx::query("UPDATE installation SET incarnation = ? RETURNING incarnation")
        .bind(blob(renewed))
        .fetch_one(&mut *tx)
        .await
        .map_err(failed("renew the incarnation"))?;
    if id(&row, "incarnation")? != renewed {
        return Err(damaged("installation", "the new incarnation reads back otherwise"));
    }
    tx.commit().await.map_err(failed("commit"))?;
    connection.close().await.map_err(failed("close"))?;
    Ok(renewed)
}

/// The copy gets its name once it is whole: a file of that name is never half a catalog.
async fn copy(database: &Database, target: &Path) -> Result<(), CatalogError> {
    let cannot = |error: io::Error| {
        CatalogError::Unusable(format!("the catalog cannot be copied to {}: {error}", target.display()))
    };
    // Absolute, so that no name is taken for the address that SQLite also understands.
    let target = std::path::absolute(target).map_err(cannot)?;
    let part = target.with_added_extension("part");
    let disk = &database.storage.disk;
    refuse_existing(disk, &target)?;
    disk.open(&part, Open::CreateNewPrivate).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CatalogError::Conflict(format!(
            "{} is left of a copy that did not end, or of one that is being made; remove it and copy again",
            part.display()
        )),
        _ => cannot(error),
    })?;
    let copied = copy_into(database, &part).await.and_then(|()| {
        refuse_existing(disk, &target)?;
        disk.rename(&part, &target).and_then(|()| disk.sync_name(&target)).map_err(cannot)
    });
    if copied.is_err() {
        // The reason counts more than whether this succeeds; what stays is named by the next copy.
        let _ = disk.remove(&part);
    }
    copied
}

/// Looks for the name itself: a link to nowhere is somebody's too.
fn refuse_existing(disk: &Disk, target: &Path) -> Result<(), CatalogError> {
    let name = target.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let names = target.parent().map_or(Ok(Vec::new()), |folder| disk.list(folder)).map_err(|error| {
        CatalogError::Unusable(format!("the catalog cannot be copied to {}: {error}", target.display()))
    })?;
    if names.iter().any(|entry| entry.name == name) {
        return Err(CatalogError::Conflict(format!(
            "{} exists already; name a new file for the copy",
            target.display()
        )));
    }
    Ok(())
}

async fn copy_into(database: &Database, part: &Path) -> Result<(), CatalogError> {
    let name = part.to_str().ok_or_else(|| {
        CatalogError::Unusable(format!("{} is not a name in UTF-8; choose another", part.display()))
    })?;
    let mut connection = database.connect().await?;
    sqlx::query("VACUUM INTO ?")
        .bind(name)
        .execute(&mut connection)
        .await
        .map_err(failed("copy the catalog"))?;
    connection.close().await.map_err(failed("close"))?;
    database.storage.disk.open(part, Open::Read).and_then(|file| file.sync_all()).map_err(|error| {
        CatalogError::Unusable(format!("the copy {} cannot be made durable: {error}", part.display()))
    })?;
    let copy =
        Database::new(database.storage.clone(), part.to_owned(), database.options.clone(), Access::ReadOnly);
    let found: String = copy
        .read(async |connection| {
            migrations::check_readable(connection, name).await?;
            scalar(connection, "PRAGMA quick_check(1)").await
        })
        .await?;
    copy.close().await;
    if found != "ok" {
        return Err(CatalogError::Unusable(format!("the copy is damaged: {found}; is the catalog itself?")));
    }
    Ok(())
}
