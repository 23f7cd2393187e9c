//! Power cuts: the database, its journal and the folder lie on a disk that forgets what was not synced.
//! The same history is played on a disk that never fails, and what a cut leaves is a state from there.

mod copies;
mod damage;
mod faults;
mod held;
mod history;
mod rollback;
mod start;
mod weak;

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use weir_catalog::CatalogError;
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions, Storage};
use weir_files::simulated::SimulatedDisk;
use weir_files::simulated::sqlite::SqliteVfs;

use crate::place::{CountingEntropy, FixedClock};

/// A machine with a disk. Its memory, and with it every lock, is gone after a cut.
pub(super) struct Machine {
    pub(super) disk: SimulatedDisk,
    vfs: SqliteVfs,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        Self::with(SimulatedDisk::new(seed))
    }

    fn with(disk: SimulatedDisk) -> Self {
        let vfs = SqliteVfs::new(disk.disk()).unwrap();
        Self { disk, vfs }
    }

    pub(super) fn reboot(&self, seed: u64) -> Self {
        Self::with(self.disk.reboot(seed))
    }

    /// After the process was killed: what it wrote can be read, synced or not.
    pub(super) fn restart(&self) -> Self {
        Self::with(self.disk.clone())
    }

    pub(super) fn path() -> &'static Path {
        Path::new("/catalog.db")
    }

    pub(super) fn storage(&self) -> Storage {
        Storage { disk: self.disk.disk(), vfs: Some(self.vfs.name().to_owned()) }
    }

    pub(super) async fn open(&self) -> Result<SqliteCatalog, CatalogError> {
        self.open_with(SqliteOptions::default()).await
    }

    pub(super) async fn open_with(&self, options: SqliteOptions) -> Result<SqliteCatalog, CatalogError> {
        let entropy = Arc::new(CountingEntropy::default());
        SqliteCatalog::open_on(self.storage(), Self::path(), options, Arc::new(FixedClock), entropy).await
    }

    pub(super) async fn raw(&self) -> Result<SqliteConnection, sqlx::Error> {
        let name = self.vfs.name().to_owned();
        SqliteConnectOptions::new().filename(Self::path()).vfs(name).connect().await
    }

    /// Every row of every table, as text in order.
    pub(super) async fn dump(&self) -> String {
        self.try_dump().await.unwrap()
    }

    pub(super) async fn try_dump(&self) -> Result<String, sqlx::Error> {
        let mut connection = self.raw().await?;
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT m.name, group_concat('quote(' || c.name || ')', '||'',''||') FROM sqlite_master m, \
             pragma_table_info(m.name) c WHERE m.type = 'table' GROUP BY m.name ORDER BY m.name",
        )
        .fetch_all(&mut connection)
        .await?;
        let tables: Vec<String> = columns
            .iter()
            .map(|(table, row)| format!("SELECT '{table}: ' || {row} AS row FROM {table}"))
            .collect();
        let all = format!(
            "SELECT group_concat(row, char(10)) FROM (SELECT row FROM ({}) ORDER BY row)",
            tables.join(" UNION ALL ")
        );
        let text = sqlx::query_scalar(sqlx::AssertSqlSafe(all)).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(text)
    }
}
