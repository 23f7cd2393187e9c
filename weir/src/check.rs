//! `weir check`: proves that a data folder is whole, or names everything that is wrong with it. It reads
//! every byte at rest, alone with the folder, and changes nothing.

mod log;
mod report;
mod rows;
mod store;
mod windows;

use std::path::Path;
use std::sync::Arc;

use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, CatalogError, EpochRow, Listing};
use weir_meter::InstallationId;
use weir_meter::hash::HashKey;
use weir_store::local::LocalStore;

use crate::data::{AtRest, COPY_FIRST, FolderLock, LockError, Place, blocking, may_write_beside};
use crate::environment::OsEntropy;
use crate::output::{self, EXIT_UNFINISHED, Failure};

pub use report::Report;

/// Problems that are printed at most; a folder with more of them needs no longer list.
const PROBLEMS_SHOWN_MAX: usize = 1_000;

/// Checks a folder and prints what was found. Problems are a failure with code 1; a check that could not
/// be made is one with code 2.
pub async fn run(place: &Place, windows: bool) -> Result<(), Failure> {
    let report = check(place, windows).await.map_err(|failure| failure.with_code(EXIT_UNFINISHED))?;
    output::data(&report.render(PROBLEMS_SHOWN_MAX))?;
    match report.problems.len() {
        0 => Ok(()),
        count => Err(Failure::new(format!(
            "{} in {}",
            crate::segments::counted(count as u64, "problem"),
            place.data_dir.display()
        ))
        .advice(
            "keep the folder as it is, restore the files that are named (or all of them, with `weir restore`) from \
             a copy, and check again",
        )),
    }
}

/// Checks a folder. An error says why there was nothing to check.
pub async fn check(place: &Place, windows: bool) -> Result<Report, Failure> {
    place.check_there()?;
    let _alone = FolderLock::take([place.data_dir.as_path(), place.log.as_path(), place.store.as_path()])
        .map_err(|error| match error {
            LockError::InUse { .. } => Failure::new(error.to_string()).advice(
                "stop the server and check again, or make a copy beside it with `weir backup`, restore it into an \
                 empty folder and check that",
            ),
            LockError::Io { .. } if may_write_beside(&place.catalog) => Failure::new(error.to_string()),
            LockError::Io { .. } => Failure::new(error.to_string()).advice(COPY_FIRST),
        })?;
    let mut report = Report::default();
    let Some((catalog, facts)) = catalog(&place.catalog, &mut report).await? else {
        return Ok(report);
    };
    log::check(&place.log, &facts, &mut report).await?;
    let store = open_store(&place.store, facts.installation, &mut report).await?;
    if let Some(store) = store {
        let at_rest = AtRest {
            catalog: Arc::new(catalog),
            store: Arc::new(store),
            listing: Arc::clone(&facts.listing),
        };
        let bad = store::check(&place.store, &at_rest, &facts, &mut report).await?;
        rows::check(&at_rest, &bad, &mut report).await;
        if windows {
            windows::check(&at_rest, &mut report).await?;
        }
        at_rest.catalog.close().await;
    } else {
        catalog.close().await;
    }
    Ok(report)
}

/// What the catalog says that log and store are held to.
struct Facts {
    installation: InstallationId,
    hash_key: HashKey,
    epochs: Vec<EpochRow>,
    listing: Arc<Listing>,
}

/// Opens the catalog and looks at it. None if it cannot be used; then that is the problem.
async fn catalog(path: &Path, report: &mut Report) -> Result<Option<(SqliteCatalog, Facts)>, Failure> {
    let opened = SqliteCatalog::open_read_only(path, SqliteOptions::default()).await;
    let Some(catalog) = usable(path, opened, report)? else { return Ok(None) };
    for problem in catalog.integrity().await {
        report.problem(format!("{}: {problem}", path.display()));
    }
    let Some(epochs) = usable(path, catalog.epochs().await, report)? else { return Ok(None) };
    let Some(listing) = usable(path, catalog.listing().await, report)? else { return Ok(None) };
    let installation = catalog.installation();
    let facts = Facts {
        installation: installation.id,
        hash_key: HashKey::new(installation.hash_key),
        epochs,
        listing,
    };
    Ok(Some((catalog, facts)))
}

/// A catalog that cannot be used is a problem; a database that fails is the end of the check.
fn usable<T>(
    path: &Path,
    result: Result<T, CatalogError>,
    report: &mut Report,
) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CatalogError::Database { context, reason }) => {
            Err(Failure::new(format!("cannot read the catalog {}: {context}: {reason}", path.display())))
        }
        Err(error) => {
            report.problem(error.to_string());
            report.note("log and store were not looked at, as only the catalog says what they should hold");
            Ok(None)
        }
    }
}

async fn open_store(
    folder: &Path,
    installation: InstallationId,
    report: &mut Report,
) -> Result<Option<LocalStore>, Failure> {
    if !folder.is_dir() {
        report.problem(format!("{}: the store's folder is missing", folder.display()));
        return Ok(None);
    }
    let path = folder.to_owned();
    let opened =
        blocking(move || LocalStore::open_read_only(&path, installation, Arc::new(OsEntropy::default())))
            .await?;
    match opened {
        Ok(store) => Ok(Some(store)),
        Err(error) => {
            report.problem(error.to_string());
            report.note("the segments' files were not looked at");
            Ok(None)
        }
    }
}
