//! The way to the database file. One connection writes, behind a lock, in transactions that take the
//! database's write lock at once; another one reads. What flushes and queries need all the time is
//! kept as one immutable value, exchanged after each commit before the write lock is released.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard};
use tracing::Instrument as _;

use super::snapshot::{self, Snapshot};
use super::tally::{self, Tally};
use super::{SqliteOptions, Storage};
use super::{file, installation, migrations};
use crate::CatalogError;

/// What may be done with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    ReadWrite,
    /// Somebody else may be writing: nothing is kept in memory.
    ReadOnly,
}

/// What all methods share.
pub(super) struct Database {
    pub(super) storage: Storage,
    pub(super) path: PathBuf,
    pub(super) options: SqliteOptions,
    access: Access,
    write: Mutex<Side>,
    read: Mutex<Side>,
    /// None from a failed COMMIT, whose outcome is unknown, until the truth has been read again.
    published: ArcSwapOption<Snapshot>,
    pub(super) tally: Arc<Tally>,
}

/// A connection, made when it is first needed and again after a failure.
#[derive(Default)]
struct Side {
    connection: Option<SqliteConnection>,
    /// The last transaction could not even begin, whatever the reason is.
    refused: bool,
    /// The number that the transaction under way gives the database.
    counted: u64,
    closed: bool,
    journal: Journal,
}

/// What is known of the journal's contents. A sync that failed may leave a transaction in it that can be
/// read and will never be on the disk; what is appended to that would be lost with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Journal {
    /// Another process has written it, or the disk has failed since.
    #[default]
    Doubtful,
    /// Every commit in it is durable.
    Sound,
}

/// Why the journal cannot be begun anew, and what helps.
const HELD: &str = "another program is reading the file, and what its journal holds may not be on the disk; end that \
                    program (a backup, a check, `sqlite3`)";

/// The turn to write. While it is held nobody else changes anything.
pub(super) struct Writing<'a> {
    database: &'a Database,
    side: MutexGuard<'a, Side>,
    snapshot: Arc<Snapshot>,
}

impl Database {
    pub(super) fn new(storage: Storage, path: PathBuf, options: SqliteOptions, access: Access) -> Self {
        Self {
            tally: Arc::new(Tally::new(storage.disk.clone(), &path)),
            storage,
            path,
            options,
            access,
            write: Mutex::default(),
            read: Mutex::default(),
            published: ArcSwapOption::empty(),
        }
    }

    /// Refuses what is another program's or a newer one's, before any setting of ours is written to it. A
    /// journal that was left there is only read: a newer program's is for that one to move into the file.
    pub(super) async fn probe(&self) -> Result<(), CatalogError> {
        let left = file::has_beside(&self.storage.disk, &self.path, "-wal");
        let plain = self.plain().read_only(left);
        let mut connection = plain.connect().await.map_err(failed("open"))?;
        let startable = migrations::check_startable(&mut connection, &self.path.display().to_string()).await;
        let checked = match startable {
            Ok(()) => self.check_tally(&mut connection).await,
            refused => refused,
        };
        connection.close().await.map_err(failed("close"))?;
        checked
    }

    /// Refuses a database that lacks commits which were acknowledged.
    pub(super) async fn check_tally(&self, connection: &mut SqliteConnection) -> Result<(), CatalogError> {
        // The file first: it never says more than the database of the same moment.
        let Some(noted) = tally::read(&self.storage.disk, &self.path)? else { return Ok(()) };
        let mut committed = 0;
        if migrations::is_catalog(connection, &self.path.display().to_string()).await? {
            if installation::read(connection).await?.id != noted.installation {
                return Ok(());
            }
            committed = user_version(connection).await?;
        }
        if committed < noted.committed {
            return Err(tally::lost(&self.path, noted.committed, committed));
        }
        Ok(())
    }

    /// Refuses what cannot be written to, before any setting of ours is.
    pub(super) async fn probe_usable(&self) -> Result<(), CatalogError> {
        let mut connection = self.plain().read_only(true).connect().await.map_err(failed("open"))?;
        let checked = migrations::check_usable(&mut connection, &self.path.display().to_string()).await;
        connection.close().await.map_err(failed("close"))?;
        checked.map(drop)
    }

    fn plain(&self) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(self.options.busy_timeout)
            .disable_statement_logging();
        match &self.storage.vfs {
            Some(name) => options.vfs(name.clone()),
            None => options,
        }
    }

    /// A connection; one that may write has the settings that durability asks for, checked to be in
    /// force.
    pub(super) async fn connect(&self) -> Result<SqliteConnection, CatalogError> {
        if self.access == Access::ReadOnly {
            return self.plain().read_only(true).connect().await.map_err(failed("open"));
        }
        let options = self
            .plain()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let mut connection = options.connect().await.map_err(failed("open"))?;
        let journal: String = scalar(&mut connection, "PRAGMA journal_mode").await?;
        let synchronous: i64 = scalar(&mut connection, "PRAGMA synchronous").await?;
        let foreign_keys: i64 = scalar(&mut connection, "PRAGMA foreign_keys").await?;
        if journal != "wal" || synchronous != 2 || foreign_keys != 1 {
            return Err(CatalogError::Unusable(format!(
                "the catalog {} cannot be opened safely: its journal is `{journal}`, synchronous \
                 {synchronous}, foreign keys {foreign_keys}, where `wal`, 2 and 1 are needed; \
                 is it on a file system without shared memory?",
                self.path.display()
            )));
        }
        // The journal has just been made. SQLite syncs its name too, but takes no notice if that fails.
        self.storage.disk.sync_name(&self.path).map_err(|error| CatalogError::Database {
            context: "sync the folder",
            reason: error.to_string(),
        })?;
        Ok(connection)
    }

    /// Waits for the turn to write.
    pub(super) async fn writing(&self) -> Result<Writing<'_>, CatalogError> {
        if self.access == Access::ReadOnly {
            return Err(CatalogError::Unusable(format!(
                "the catalog {} is open for reading only; changes go through the server",
                self.path.display()
            )));
        }
        let mut writing = self.turn().await?;
        if !writing.side.begin_journal().await? {
            let reason = format!("{HELD} and try again");
            return Err(CatalogError::Database { context: "begin the journal anew", reason });
        }
        Ok(writing)
    }

    /// A connection for the first write of a process, on a journal that has been begun anew.
    pub(super) async fn take_over(&self) -> Result<SqliteConnection, CatalogError> {
        let mut side = self.write.lock().await;
        side.connection = Some(self.connect().await?);
        if !side.begin_journal().await? {
            return Err(CatalogError::Unusable(format!(
                "the catalog {} cannot be written to: {HELD} and start again",
                self.path.display()
            )));
        }
        side.connection.take().ok_or_else(unconnected)
    }

    async fn turn(&self) -> Result<Writing<'_>, CatalogError> {
        let mut side = self.write.lock().await;
        side.check_open()?;
        side.give_up_stuck().await;
        if side.connection.is_none() {
            side.connection = Some(self.connect().await?);
        }
        let snapshot = match self.published.load_full() {
            Some(snapshot) => snapshot,
            None => {
                let loaded = Arc::new(snapshot::load(side.connection()?).await?);
                self.published.store(Some(Arc::clone(&loaded)));
                loaded
            }
        };
        Ok(Writing { database: self, side, snapshot })
    }

    /// The newest committed state.
    pub(super) async fn snapshot(&self) -> Result<Arc<Snapshot>, CatalogError> {
        match self.published.load_full() {
            Some(snapshot) => Ok(snapshot),
            None if self.access == Access::ReadOnly => {
                self.read(async |connection| snapshot::load(connection).await.map(Arc::new)).await
            }
            None => Ok(self.turn().await?.snapshot),
        }
    }

    /// Runs one reading statement.
    pub(super) async fn read<T>(
        &self,
        statement: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let mut side = self.read.lock().await;
        side.check_open()?;
        if side.connection.is_none() {
            side.connection = Some(self.connect().await?);
        }
        let result = statement(side.connection()?).await;
        if matches!(result, Err(CatalogError::Database { .. })) {
            side.connection = None;
        }
        result
    }

    /// Moves what the journal holds into the file, and closes it.
    pub(super) async fn close(&self) {
        let mut read = self.read.lock().await;
        read.closed = true;
        if let Some(connection) = read.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "could not close the catalog's reading connection");
        }
        let mut write = self.write.lock().await;
        write.closed = true;
        let Some(mut connection) = write.connection.take() else { return };
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
        if let Err(error) = checkpoint.map(drop).and(connection.close().await) {
            tracing::warn!(%error, "the catalog's journal stays beside its file; the next start reads it");
        }
    }
}

impl Side {
    fn check_open(&self) -> Result<(), CatalogError> {
        if self.closed {
            return Err(CatalogError::Unusable("the catalog is closed: the process is stopping".to_owned()));
        }
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, CatalogError> {
        self.connection.as_mut().ok_or_else(unconnected)
    }

    /// Drops a connection that no transaction can begin on. One that is dropped without COMMIT is rolled back,
    /// and the connection is as good as before. But when the disk fails or is full, SQLite has rolled back by
    /// itself: doing it again is an error, and the connection would take itself to be inside a transaction for
    /// ever. What is published stays: it was committed before.
    async fn give_up_stuck(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        // It answers once the rollback that the dropped transaction asked for is over.
        let alive = connection.ping().await.is_ok();
        let stuck = !alive || connection.is_in_transaction();
        if stuck {
            tracing::warn!("an error has ended the catalog's last transaction; a new connection is made");
            // It may have been the error of a sync.
            self.journal = Journal::Doubtful;
        }
        if !stuck && !self.refused {
            return;
        }
        self.refused = false;
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "could not close the catalog's writing connection");
        }
    }

    /// Before the first write, and after a failed one: moves what the journal holds into the file, syncs
    /// that, and begins the journal anew, so that every later commit stands on durable ground. False if
    /// another program goes on reading the journal for longer than the busy timeout.
    async fn begin_journal(&mut self) -> Result<bool, CatalogError> {
        if self.journal == Journal::Sound {
            return Ok(true);
        }
        let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(self.connection()?)
            .await
            .map_err(failed("begin the journal anew"))?;
        if busy != 0 {
            return Ok(false);
        }
        self.journal = Journal::Sound;
        Ok(true)
    }
}

/// The number of transactions that were committed.
async fn user_version(connection: &mut SqliteConnection) -> Result<u64, CatalogError> {
    let version: i64 = scalar(connection, "PRAGMA user_version").await?;
    Ok(u64::try_from(version).unwrap_or(0))
}

fn unconnected() -> CatalogError {
    CatalogError::Database { context: "connect", reason: "there is no connection to the database".to_owned() }
}

impl Writing<'_> {
    /// The state that the next transaction starts from.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// A transaction that is dropped without a commit is rolled back before the next one begins, or its
    /// connection is given up.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, CatalogError> {
        let Side { connection, refused, counted, .. } = &mut *self.side;
        let begun = connection.as_mut().ok_or_else(unconnected)?.begin_with("BEGIN IMMEDIATE").await;
        *refused = begun.is_err();
        let mut tx = begun.map_err(failed("begin"))?;
        // SQLite keeps 32 bits of it; whoever comes to the end of them is no longer warned.
        *counted = user_version(&mut tx).await?.saturating_add(1).min(i32::MAX as u64);
        let count = format!("PRAGMA user_version = {counted}");
        sqlx::query(sqlx::AssertSqlSafe(count))
            .execute(&mut *tx)
            .await
            .map_err(failed("count a transaction"))?;
        Ok(tx)
    }

    /// Makes a committed transaction visible. After a COMMIT that failed nobody knows what the file
    /// holds, so the connection and the kept state are dropped and read again by who comes next.
    pub(super) async fn settle(
        mut self,
        committed: Result<(), sqlx::Error>,
        next: impl Into<Arc<Snapshot>>,
    ) -> Result<(), CatalogError> {
        match committed {
            Ok(()) => {
                let next = next.into();
                next.measure();
                self.database.published.store(Some(next));
                let (tally, counted) = (Arc::clone(&self.database.tally), self.side.counted);
                let noted = tokio::task::spawn_blocking(move || tally.note(counted)).await;
                noted.map_err(|error| CatalogError::Database {
                    context: "note a commit",
                    reason: error.to_string(),
                })
            }
            Err(error) => {
                self.side.connection = None;
                self.side.journal = Journal::Doubtful;
                self.database.published.store(None);
                Err(failed("commit")(error))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn raw(&mut self) -> &mut SqliteConnection {
        self.side.connection().unwrap()
    }
}

/// Runs a write to its end even if the caller stops waiting: a request that is given up between
/// COMMIT and the exchange of the kept state must not leave the two apart.
pub(super) async fn uninterrupted<T: Send + 'static>(
    work: impl Future<Output = Result<T, CatalogError>> + Send + 'static,
) -> Result<T, CatalogError> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| {
        Err(CatalogError::Database { context: "write", reason: format!("the write did not end: {error}") })
    })
}

/// Turns the database's error into ours, with what was being done.
pub(super) fn failed(context: &'static str) -> impl Fn(sqlx::Error) -> CatalogError {
    move |error| {
        let code = match &error {
            sqlx::Error::Database(inner) => inner.code().map(|code| code.into_owned()),
            _ => None,
        };
        // SQLITE_CORRUPT and SQLITE_NOTADB: trying again cannot help.
        match code.as_deref() {
            Some("11" | "26") => CatalogError::Unusable(format!(
                "the catalog is damaged ({context}: {error}); stop, keep the file, and restore a copy of it"
            )),
            _ => CatalogError::Database { context, reason: error.to_string() },
        }
    }
}

pub(super) async fn scalar<T>(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<T, CatalogError>
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    sqlx::query_scalar(statement).fetch_one(connection).await.map_err(failed("read a setting"))
}
