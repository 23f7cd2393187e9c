//! Opens the log, the store and the catalog that the settings name, in the order in which each can
//! check that it belongs to the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_aggregator::{AggregatorError, IndexFolder};
use weir_catalog::sqlite::{PARTITIONS_MAX, SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, CatalogError, EpochRow, Listing};
use weir_files::Disk;
use weir_log::local::{LocalLog, LocalLogOptions};
use weir_log::{Log, LogError};
use weir_meter::environment::{Clock, Entropy};
use weir_store::Store;
use weir_store::local::LocalStore;

use super::ServeError;
use super::access::Openness;
use crate::backup::STORE_MARKER;
use crate::data::{FolderLock, LockError, copy_in, may_write_beside};
use crate::settings::{CatalogUrl, LogUrl, Settings, StoreUrl};

/// For how long after an accepted event its identity is remembered: belongs to the epoch for ever.
const IDENTITY_WINDOW_S: u64 = 35 * 24 * 60 * 60;

/// Runs of the identity index: a cache, which may be deleted while the server is stopped.
const INDEX_FOLDER: &str = "index";

/// Everything at rest, opened.
pub(super) struct Parts {
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) log: Arc<dyn Log>,
    pub(super) store: Arc<dyn Store>,
    pub(super) epoch: EpochRow,
    pub(super) index: IndexFolder,
    pub(super) lock: FolderLock,
}

pub(super) async fn open(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Parts, ServeError> {
    let (catalog, lock) =
        open_catalog(settings, clock, entropy, KeysNeeded::Unless(Openness::of(settings))).await?;
    let opened = open_beside(settings, clock, entropy, Arc::clone(&catalog), lock).await;
    if opened.is_err() {
        catalog.close().await;
    }
    opened
}

/// Whether a catalog without keys will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeysNeeded {
    /// It is being opened to make them.
    No,
    Unless(Openness),
}

/// Opens the catalog that the settings name, and makes it if there is nothing yet; with the lock on the folders
/// of all parts.
pub(crate) async fn open_catalog(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    needed: KeysNeeded,
) -> Result<(Arc<SqliteCatalog>, FolderLock), ServeError> {
    let LogUrl::File(log_dir) = settings.log.clone();
    let StoreUrl::File(store_dir) = settings.store.clone();
    let CatalogUrl::Sqlite(catalog_file) = settings.catalog.clone();
    if let Some(copy) = copy_in(&settings.data_dir) {
        let path = settings.data_dir.display().to_string();
        return Err(ServeError::Copy { path, what: copy.what(), advice: copy.advice() });
    }
    let catalog_dir = folder_of(&catalog_file);
    let folders = [settings.data_dir.as_path(), catalog_dir, log_dir.as_path(), store_dir.as_path()];
    let mut lock = FolderLock::take(folders)?;
    refuse_lost_catalog(&catalog_file, &log_dir, &store_dir)?;
    if is_missing(&catalog_file) {
        // Before anything is made.
        refuse_keyless(settings, needed, false)?;
    }
    lock.make_and_add([settings.data_dir.as_path(), catalog_dir])?;

    let options = SqliteOptions {
        living_meters_max: settings.meters_max as u64,
        meters_ever_max: settings.meters_ever_max as u64,
        keys_max: settings.keys_max as u64,
        keys_total_max: settings.keys_total_max as u64,
        ..SqliteOptions::default()
    };
    let opened = SqliteCatalog::open(&catalog_file, options, Arc::clone(clock), Arc::clone(entropy)).await;
    let catalog = Arc::new(opened.map_err(|error| cannot_open(&catalog_file, error))?);
    let checked = match catalog.keys().table(None).await {
        Ok(table) => refuse_keyless(settings, needed, table.is_some_and(|table| table.any)),
        Err(error) => Err(error.into()),
    };
    if checked.is_err() {
        catalog.close().await;
    }
    checked.map(|()| (catalog, lock))
}

/// A server that others can reach does not come up open by mistake, and one that is told to be open does not
/// come up with keys that somebody relies on.
fn refuse_keyless(settings: &Settings, needed: KeysNeeded, any: bool) -> Result<(), ServeError> {
    match needed {
        KeysNeeded::Unless(Openness::Never) if !any => Err(ServeError::NoKeys {
            address: settings.listen,
            data_dir: settings.data_dir.display().to_string(),
        }),
        KeysNeeded::Unless(Openness::Everywhere) if any => Err(ServeError::OpenWithKeys),
        _ => Ok(()),
    }
}

/// What the catalog tells the place and the state of. It is looked at before anything of it is made or mended:
/// what is refused stays as it is.
async fn open_beside(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    catalog: Arc<SqliteCatalog>,
    mut lock: FolderLock,
) -> Result<Parts, ServeError> {
    let LogUrl::File(log_dir) = settings.log.clone();
    let StoreUrl::File(store_dir) = settings.store.clone();
    let installation = catalog.installation().id;
    let partitions = settings.partitions.unwrap_or_else(cores);
    let epoch = catalog
        .ensure_epoch(&log_dir.display().to_string(), partitions, IDENTITY_WINDOW_S, clock.now_us())
        .await?;
    if let Some(asked) = settings.partitions.filter(|asked| *asked != epoch.partitions) {
        return Err(ServeError::Partitions { stored: epoch.partitions, asked });
    }
    let listing = catalog.listing().await?;
    let frontiers = frontiers(&listing, &epoch);
    refuse_lost_log(&log_dir, &frontiers)?;
    refuse_lost_store(&store_dir, &listing)?;
    lock.make_and_add([log_dir.as_path(), store_dir.as_path()])?;

    let mut options = LocalLogOptions::new(log_dir, installation, epoch.epoch, epoch.partitions)
        .with_queue_bytes_max(settings.log_queue_bytes);
    options.frontiers = frontiers;
    options.segment_bytes_max = settings.log_segment_bytes;
    options.append_bytes_max = settings.append_bytes_max();
    let clock_of_log = Arc::clone(clock);
    let log = blocking(move || LocalLog::open(options, clock_of_log)).await?.map_err(refused_log)?;
    let entropy_of_store = Arc::clone(entropy);
    let store = blocking(move || LocalStore::open(&store_dir, installation, entropy_of_store)).await??;
    let store = store.with_maintenance_memory_max(settings.maintenance_memory_max);
    let index_dir = settings.data_dir.join(INDEX_FOLDER);
    let (incarnation, of_epoch) = (catalog.installation().incarnation, epoch.epoch);
    let index = move || IndexFolder::open(Disk::default(), &index_dir, installation, incarnation, of_epoch);
    let index = blocking(index).await?.map_err(AggregatorError::from)?;
    Ok(Parts { catalog, log: Arc::new(log), store: Arc::new(store), epoch, index, lock })
}

/// Up to where each partition of the epoch is at rest.
fn frontiers(listing: &Listing, epoch: &EpochRow) -> BTreeMap<u32, u64> {
    let mut frontiers: BTreeMap<u32, u64> = (0..epoch.partitions).map(|partition| (partition, 0)).collect();
    let of_epoch = listing.frontiers.iter().filter(|frontier| frontier.epoch == epoch.epoch);
    frontiers.extend(of_epoch.map(|frontier| (frontier.partition, frontier.next_offset)));
    frontiers
}

/// The folder that a file lies in.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// As many partitions as work at the same time.
pub(super) fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(PARTITIONS_MAX).min(PARTITIONS_MAX)
}

/// A new catalog beside an old log would be a new installation that refuses them with a riddle: say
/// what is missing instead.
fn refuse_lost_catalog(catalog: &Path, log_dir: &Path, store_dir: &Path) -> Result<(), ServeError> {
    // A copy that broke off may have left an empty file, which SQLite takes for a new catalog.
    if catalog.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let holds_something = |dir: &PathBuf| {
        std::fs::read_dir(dir).is_ok_and(|entries| entries.flatten().any(|e| e.file_name() != "lock"))
    };
    match [log_dir.to_path_buf(), store_dir.to_path_buf()].iter().find(|dir| holds_something(dir)) {
        Some(dir) => Err(ServeError::LostCatalog {
            catalog: catalog.display().to_string(),
            data: dir.display().to_string(),
        }),
        None => Ok(()),
    }
}

/// A folder that cannot be looked for is not taken for a missing one.
fn is_missing(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}

/// Before its folder is made: half a log is for the log itself to tell from a whole one.
fn refuse_lost_log(log_dir: &Path, frontiers: &BTreeMap<u32, u64>) -> Result<(), ServeError> {
    let counted = frontiers.values().any(|frontier| *frontier > 0);
    if !counted || !is_missing(log_dir) {
        return Ok(());
    }
    Err(ServeError::LostLog { log: log_dir.display().to_string() })
}

/// Before a new marker could make an empty folder look like the store that the catalog speaks of.
fn refuse_lost_store(store_dir: &Path, listing: &Listing) -> Result<(), ServeError> {
    let segments = listing.segments.iter().filter(|segment| !segment.new.location.is_empty()).count();
    if segments == 0 || !is_missing(&store_dir.join(STORE_MARKER)) {
        return Ok(());
    }
    Err(ServeError::LostStore { store: store_dir.display().to_string(), marker: STORE_MARKER, segments })
}

/// The log says what it lacks, the aggregator's sentences say what that means.
fn refused_log(error: LogError) -> ServeError {
    match error {
        LogError::Short { partition, end, frontier } => {
            AggregatorError::LogBehind { partition, frontier, end }.into()
        }
        LogError::BelowStart { partition, asked: frontier, start } => {
            AggregatorError::Gap { partition, frontier, start }.into()
        }
        error => error.into(),
    }
}

/// The database itself names neither its file nor what a person can do.
fn cannot_open(path: &Path, error: CatalogError) -> ServeError {
    let CatalogError::Database { context, reason } = error else { return error.into() };
    let advice = if reason.contains("disk is full") {
        "make room on its disk and start again"
    } else if !may_write_beside(path) {
        "the server must be able to write to its folder"
    } else {
        "see that its disk has room and is sound, and start again; `weir check` looks into the folder"
    };
    ServeError::CatalogOpen { path: path.display().to_string(), context, reason, advice }
}

impl From<LockError> for ServeError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::InUse { path } => Self::InUse { path },
            LockError::Io { path, source } => Self::Folder { path, source },
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServeError::Task(error.to_string()))
}

#[cfg(test)]
mod tests;
