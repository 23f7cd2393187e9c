//! A data folder as commands see it that are no server: where its parts lie, and how to look at what is at
//! rest in them, beside a running server or without one. Nothing here writes.

mod lock;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, CatalogError, Frontier, Listing};
use weir_query::{LogEnds, QueryOptions, QueryParts, QueryService};
use weir_store::Store;
use weir_store::local::LocalStore;

use crate::environment::{OsEntropy, SystemClock};
use crate::output::Failure;
use crate::settings::{CatalogUrl, Layer, LogUrl, Origin, SettingFlags, Settings, StoreUrl};

pub use lock::{FolderLock, LockError};

/// Where the parts of one installation lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub data_dir: PathBuf,
    pub log: PathBuf,
    pub store: PathBuf,
    pub catalog: PathBuf,
}

impl Place {
    /// Everything under one folder, as a server with default settings lays it out.
    pub fn in_folder(data_dir: &Path) -> Result<Self, Failure> {
        Ok(Self::of(&Settings::in_folder(data_dir)?))
    }

    /// Where a server with this file, this environment and this flag keeps its data.
    pub fn of_server(config: Option<PathBuf>, data_dir: Option<&Path>) -> Result<Self, Failure> {
        let given = data_dir.map(|folder| ("data_dir", folder.display().to_string()));
        let flags = SettingFlags { config, layer: Layer::of(Origin::Flag, given) };
        Ok(Self::of(&flags.resolve()?))
    }

    fn of(settings: &Settings) -> Self {
        let LogUrl::File(log) = settings.log.clone();
        let StoreUrl::File(store) = settings.store.clone();
        let CatalogUrl::Sqlite(catalog) = settings.catalog.clone();
        Self { data_dir: settings.data_dir.clone(), log, store, catalog }
    }

    /// Refuses a folder without data before anything could make one there, and a copy that is not meant to
    /// be used as it lies.
    pub fn check_there(&self) -> Result<(), Failure> {
        if let Some(copy) = copy_in(&self.data_dir) {
            return Err(
                Failure::new(format!("{} {}", self.data_dir.display(), copy.what())).advice(copy.advice())
            );
        }
        if self.catalog.is_file() {
            return Ok(());
        }
        Err(Failure::new(format!("there is no Weir data in {}", self.data_dir.display()))
            .detail(format!("{} is missing", self.catalog.display()))
            .advice("name the folder of a server's data, as in --data-dir of `weir serve`"))
    }
}

/// A folder that looks like data and must not be taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    Backup,
    BrokenRestore,
}

/// Whether a folder is a backup, or what a restore that broke off has left.
pub fn copy_in(data_dir: &Path) -> Option<Copy> {
    if data_dir.join(crate::backup::MANIFEST).exists() {
        return Some(Copy::Backup);
    }
    data_dir.join(crate::backup::WAITING).exists().then_some(Copy::BrokenRestore)
}

impl Copy {
    pub fn what(self) -> &'static str {
        match self {
            Self::Backup => "is a backup: used as it lies, it would change and be none any more",
            Self::BrokenRestore => "holds a restore that broke off, or is still under way",
        }
    }

    pub fn advice(self) -> &'static str {
        match self {
            Self::Backup => "restore it into an empty folder with `weir restore`, and name that one",
            Self::BrokenRestore => "if no restore is under way, remove the folder and restore again",
        }
    }
}

/// What is at rest, as of the moment it was opened.
pub struct AtRest {
    pub catalog: Arc<SqliteCatalog>,
    pub store: Arc<LocalStore>,
    pub listing: Arc<Listing>,
}

impl std::fmt::Debug for AtRest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AtRest").finish_non_exhaustive()
    }
}

impl AtRest {
    /// Opens catalog and store of a place to read, also while a server has them open.
    pub async fn open(place: &Place) -> Result<Self, Failure> {
        place.check_there()?;
        let catalog = open_catalog(&place.catalog).await?;
        let installation = catalog.installation().id;
        if !place.store.is_dir() {
            return Err(Failure::new(format!("the store {} is missing", place.store.display()))
                .advice("name where it is, with a settings file in --config or with WEIR_STORE"));
        }
        let folder = place.store.clone();
        let opened =
            move || LocalStore::open_read_only(&folder, installation, Arc::new(OsEntropy::default()));
        let store = blocking(opened).await?.map_err(|error| Failure::new(error.to_string()))?;
        let listing = catalog.listing().await.map_err(unreadable(&place.catalog))?;
        Ok(Self { catalog: Arc::new(catalog), store: Arc::new(store), listing })
    }

    /// Answers questions from what is at rest.
    pub fn queries(&self, options: QueryOptions) -> QueryService {
        // Nothing beyond what is at rest is asked for, so nothing is waited for.
        let log_ends: Arc<LogEnds> = Arc::new(Vec::new);
        let parts = QueryParts {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            catalog: Arc::clone(&self.catalog) as Arc<dyn Catalog>,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy::default()),
            log_ends,
        };
        QueryService::new(options, parts)
    }
}

/// Opens a catalog to read.
pub async fn open_catalog(path: &Path) -> Result<SqliteCatalog, Failure> {
    SqliteCatalog::open_read_only(path, SqliteOptions::default()).await.map_err(unreadable(path))
}

pub(crate) fn unreadable(path: &Path) -> impl Fn(CatalogError) -> Failure {
    let path = path.display().to_string();
    move |error| {
        let reading_only =
            matches!(error, CatalogError::Database { .. }) && !may_write_beside(Path::new(&path));
        let failure = Failure::new(format!("cannot read the catalog {path}: {error}"));
        match reading_only {
            true => failure.advice(COPY_FIRST),
            false => failure.advice("`weir check` says what is wrong with a data folder"),
        }
    }
}

/// For a folder that cannot be written to.
pub(crate) const COPY_FIRST: &str = "the folder cannot be written to, and even to look into it a lock and SQLite's \
     own files are made there: copy all of it to where it can be, and name the copy";

/// Whether new files can be made in the folder in which a file lies.
pub(crate) fn may_write_beside(file: &Path) -> bool {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Runs what waits for the disk where it holds up nobody else.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::new(format!("the work broke off: {error}")))
}

/// Up to where each partition is at rest, for people.
pub fn up_to(frontiers: &[Frontier]) -> String {
    let places: Vec<String> = frontiers
        .iter()
        .map(|f| {
            format!(
                "epoch {} partition {} offset {}",
                f.epoch,
                f.partition,
                crate::output::grouped_digits(&f.next_offset.to_string())
            )
        })
        .collect();
    if places.is_empty() { "nothing, as nothing is at rest yet".to_owned() } else { places.join(", ") }
}
