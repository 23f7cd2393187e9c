//! The catalog in one SQLite file, for the process that holds the data folder. Every method is one
//! transaction; what flushes and queries ask for all the time is answered from memory.

mod columns;
mod commit;
mod connection;
mod epochs;
mod file;
mod floors;
mod installation;
mod integrity;
mod keys;
mod listing;
mod meters;
mod migrations;
mod offline;
mod overlap;
mod revisions;
mod segments;
mod snapshot;
mod swap;
mod tally;
#[cfg(test)]
mod tests;
mod times;
mod wide;
mod writers;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::{counter, histogram};
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;
use weir_files::Disk;
use weir_meter::environment::{Clock, Entropy};
use weir_meter::segment::Segment;
use weir_meter::{Generation, Meter, MeterId, Namespace, SegmentId, WriterId};

use self::connection::{Access, Database, failed, uninterrupted};
use self::snapshot::Known;
use crate::metrics::{COMMIT_SECONDS, COMMITS, SWAP_SECONDS, SWAPS};
use crate::{
    ApiKey, Catalog, CatalogError, Commit, CommitOutcome, EpochRow, Floor, Installation, KeyId, KeyQuery,
    KeyTable, Keys, KeysOf, Listing, MeterDraft, MeterQuery, MeterUpdate, NewKey, OpenWriter, Roll, Swap,
    SwapOutcome, Wide,
};

pub use self::epochs::PARTITIONS_MAX;

/// Meters of a namespace that may live at once, unless set otherwise.
pub const LIVING_METERS_MAX: u64 = 1_000;
/// Meters a namespace may ever have, deleted ones included, unless set otherwise.
pub const METERS_EVER_MAX: u64 = 100_000;

/// Keys of a namespace that may be usable at once, and ended ones that are kept beside them, unless set otherwise.
pub const KEYS_MAX: u64 = 100;
/// Keys of all namespaces, ended ones included, unless set otherwise.
pub const KEYS_TOTAL_MAX: u64 = 100_000;

/// How to open the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long to wait for a lock that a tool which looks into the file may hold.
    pub busy_timeout: Duration,
    pub living_meters_max: u64,
    pub meters_ever_max: u64,
    pub keys_max: u64,
    pub keys_total_max: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            living_meters_max: LIVING_METERS_MAX,
            meters_ever_max: METERS_EVER_MAX,
            keys_max: KEYS_MAX,
            keys_total_max: KEYS_TOTAL_MAX,
        }
    }
}

/// What the file lies on. The default is the machine's own file system.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    pub disk: Disk,
    /// Name of the VFS by which SQLite itself reaches the same disk; SQLite's own if none is named.
    pub vfs: Option<String>,
}

/// An open catalog.
pub struct SqliteCatalog {
    database: Arc<Database>,
    installation: Installation,
}

impl fmt::Debug for SqliteCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteCatalog")
            .field("path", &self.database.path)
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

impl SqliteCatalog {
    /// Opens the file, makes it if there is none, and brings its tables up to date. Its folder must
    /// be there. A file of another program or of a newer version is refused and left as it is.
    pub async fn open(
        path: &Path,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, CatalogError> {
        Self::open_on(Storage::default(), path, options, clock, entropy).await
    }

    /// As [`Self::open`], on this storage.
    pub async fn open_on(
        storage: Storage,
        path: &Path,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, CatalogError> {
        let path = path.to_owned();
        uninterrupted(async move {
            file::prepare(&storage.disk, &path, migrations::APPLICATION_ID)?;
            let database = Database::new(storage, path, options, Access::ReadWrite);
            database.probe().await?;
            let installation = prepare_tables(&database, clock.now_us(), entropy.as_ref()).await?;
            database.tally.belongs_to(installation.id);
            // Reads the listing, so that a damaged one is found at start and not by the first query.
            database.snapshot().await?;
            Ok(Self { database: Arc::new(database), installation })
        })
        .await
    }
}

async fn prepare_tables(
    database: &Database,
    now_us: i64,
    entropy: &dyn Entropy,
) -> Result<Installation, CatalogError> {
    use sqlx::Connection as _;

    let path = database.path.display().to_string();
    let mut connection = database.take_over().await?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed("begin"))?;
    let fresh = migrations::migrate(&mut tx, migrations::MIGRATIONS, &path, now_us).await?;
    let installation = installation::ensure(&mut tx, fresh, entropy, now_us).await?;
    tx.commit().await.map_err(failed("commit"))?;
    connection.close().await.map_err(failed("close"))?;
    Ok(installation)
}

#[async_trait]
impl Catalog for SqliteCatalog {
    fn installation(&self) -> &Installation {
        &self.installation
    }

    async fn epochs(&self) -> Result<Vec<EpochRow>, CatalogError> {
        self.database.read(async |connection| epochs::all(connection).await).await
    }

    async fn ensure_epoch(
        &self,
        place: &str,
        partitions: u32,
        identity_window_s: u64,
        now_us: i64,
    ) -> Result<EpochRow, CatalogError> {
        let (database, place) = (Arc::clone(&self.database), place.to_owned());
        uninterrupted(async move {
            epochs::ensure(&database, &place, partitions, identity_window_s, now_us).await
        })
        .await
    }

    async fn open_writer(&self, writer: WriterId, now_us: i64) -> Result<(), CatalogError> {
        let (database, incarnation) = (Arc::clone(&self.database), self.installation.incarnation);
        uninterrupted(async move { writers::open(&database, writer, incarnation, now_us).await }).await
    }

    async fn close_writer(&self, writer: WriterId, now_us: i64) -> Result<(), CatalogError> {
        let database = Arc::clone(&self.database);
        uninterrupted(async move { writers::close(&database, writer, now_us).await }).await
    }

    async fn writers(&self) -> Result<Vec<OpenWriter>, CatalogError> {
        self.database.read(async |connection| writers::all(connection).await).await
    }

    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, CatalogError> {
        let begun = Instant::now();
        let database = Arc::clone(&self.database);
        let outcome = uninterrupted(async move { commit::commit(&database, commit).await }).await;
        let label = match &outcome {
            Ok(CommitOutcome::Committed) => "committed",
            Ok(CommitOutcome::NotOwner { .. }) => "not_owner",
            Ok(CommitOutcome::WriterClosed) => "writer_closed",
            Ok(CommitOutcome::Overlap { .. }) => "overlap",
            Err(_) => "failed",
        };
        counter!(COMMITS, "outcome" => label).increment(1);
        histogram!(COMMIT_SECONDS).record(begun.elapsed().as_secs_f64());
        outcome
    }

    async fn swap(&self, swap: Swap) -> Result<SwapOutcome, CatalogError> {
        let begun = Instant::now();
        let database = Arc::clone(&self.database);
        let outcome = uninterrupted(async move { swap::swap(&database, swap).await }).await;
        let label = match &outcome {
            Ok(SwapOutcome::Swapped) => "swapped",
            Ok(SwapOutcome::WriterClosed) => "writer_closed",
            Ok(SwapOutcome::NotListed { .. }) => "not_listed",
            Ok(SwapOutcome::Overlap { .. }) => "overlap",
            Err(_) => "failed",
        };
        counter!(SWAPS, "outcome" => label).increment(1);
        histogram!(SWAP_SECONDS).record(begun.elapsed().as_secs_f64());
        outcome
    }

    async fn forget_segments(&self, delisted_before_us: i64) -> Result<Vec<Segment>, CatalogError> {
        let database = Arc::clone(&self.database);
        uninterrupted(async move { swap::forget(&database, delisted_before_us).await }).await
    }

    async fn listing(&self) -> Result<Arc<Listing>, CatalogError> {
        Ok(Arc::clone(&self.database.snapshot().await?.listing))
    }

    async fn kept_segments(&self) -> Result<Vec<SegmentId>, CatalogError> {
        self.database.read(async |connection| segments::kept(connection).await).await
    }

    async fn create_meter(
        &self,
        namespace: &Namespace,
        draft: MeterDraft,
        id: MeterId,
        now_us: i64,
    ) -> Result<Meter, CatalogError> {
        let (database, namespace) = (Arc::clone(&self.database), namespace.clone());
        uninterrupted(async move { revisions::create_meter(&database, &namespace, draft, id, now_us).await })
            .await
    }

    async fn meter(&self, namespace: &Namespace, id_or_slug: &str) -> Result<Option<Meter>, CatalogError> {
        self.meter_at(namespace, id_or_slug, u64::MAX).await
    }

    async fn meter_at(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        revision: u64,
    ) -> Result<Option<Meter>, CatalogError> {
        let snapshot = self.database.snapshot().await?;
        match snapshot.meter_at(namespace, id_or_slug, revision) {
            Known::Answer(meter) => Ok(meter.map(|meter| Meter::clone(&meter))),
            Known::LookUp { revision } => {
                let find = async |connection: &mut SqliteConnection| {
                    meters::find(connection, namespace, id_or_slug, revision).await
                };
                self.database.read(find).await
            }
        }
    }

    async fn meters(&self, namespace: &Namespace, query: &MeterQuery) -> Result<Vec<Meter>, CatalogError> {
        self.database.read(async |connection| meters::page(connection, namespace, query).await).await
    }

    async fn update_meter(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        update: MeterUpdate,
        now_us: i64,
    ) -> Result<Option<Meter>, CatalogError> {
        let (database, namespace) = (Arc::clone(&self.database), namespace.clone());
        let name = id_or_slug.to_owned();
        uninterrupted(
            async move { revisions::update_meter(&database, &namespace, &name, update, now_us).await },
        )
        .await
    }

    async fn note_wide(&self, generation: Generation, wide: Wide) -> Result<(), CatalogError> {
        let database = Arc::clone(&self.database);
        uninterrupted(async move { wide::note(&database, generation, wide).await }).await
    }

    async fn raise_floor(
        &self,
        namespace: &Namespace,
        floor_us: i64,
        now_us: i64,
    ) -> Result<Floor, CatalogError> {
        let (database, namespace) = (Arc::clone(&self.database), namespace.clone());
        uninterrupted(async move { floors::raise(&database, &namespace, floor_us, now_us).await }).await
    }

    async fn delete_meter(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        now_us: i64,
    ) -> Result<bool, CatalogError> {
        let (database, namespace) = (Arc::clone(&self.database), namespace.clone());
        let name = id_or_slug.to_owned();
        uninterrupted(async move { revisions::delete_meter(&database, &namespace, &name, now_us).await })
            .await
    }

    async fn live_meters(&self) -> Result<(u64, Arc<Vec<Arc<Meter>>>), CatalogError> {
        let snapshot = self.database.snapshot().await?;
        Ok((snapshot.listing.revision, Arc::clone(&snapshot.meters)))
    }

    fn keys(&self) -> &dyn Keys {
        self
    }

    async fn close(&self) {
        self.database.close().await;
    }
}

#[async_trait]
impl Keys for SqliteCatalog {
    async fn table(&self, known: Option<u64>) -> Result<Option<KeyTable>, CatalogError> {
        self.database.read(async |connection| keys::table(connection, known).await).await
    }

    async fn create(&self, key: NewKey, now_us: i64) -> Result<ApiKey, CatalogError> {
        let database = Arc::clone(&self.database);
        uninterrupted(async move { keys::create(&database, key, now_us).await }).await
    }

    async fn page(&self, query: &KeyQuery) -> Result<Vec<ApiKey>, CatalogError> {
        self.database.read(async |connection| keys::page(connection, query).await).await
    }

    async fn roll(
        &self,
        of: &KeysOf,
        id: &KeyId,
        roll: Roll,
        now_us: i64,
    ) -> Result<Option<ApiKey>, CatalogError> {
        let (database, of, id) = (Arc::clone(&self.database), of.clone(), id.clone());
        uninterrupted(async move { keys::roll(&database, &of, &id, roll, now_us).await }).await
    }

    async fn revoke(&self, of: &KeysOf, id: &KeyId, now_us: i64) -> Result<bool, CatalogError> {
        let (database, of, id) = (Arc::clone(&self.database), of.clone(), id.clone());
        uninterrupted(async move { keys::revoke(&database, &of, &id, now_us).await }).await
    }
}
