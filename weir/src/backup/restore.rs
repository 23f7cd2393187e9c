//! Restoring: every byte is compared with the manifest before anything can be served from it, and the
//! catalog takes a new incarnation, so that positions of the installation that went on are refused here.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use weir_catalog::Catalog;
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_meter::environment::Entropy;
use weir_meter::segment::SegmentKind;

use super::copy::{Tree, io_error, sync_folder};
use super::manifest::{MANIFEST, Manifest};
use super::{CATALOG, failure};
use crate::data::{FolderLock, LockError, blocking, unreadable};
use crate::environment::{OsEntropy, SystemClock};
use crate::output::{self, Failure, grouped_digits};
use crate::segments::counted;

/// Where files wait until all of them are there and good.
pub(crate) const WAITING: &str = "restoring";

pub async fn run_restore(backup: &Path, data_dir: &Path) -> Result<(), Failure> {
    let (files, bytes, made_at) = restore(backup, data_dir).await?;
    output::note(&format!(
        "restored {} ({} bytes, backed up at {made_at}) to {}; `weir serve --data-dir {}` goes on from there. \
         Positions from before are refused",
        counted(files, "file"),
        grouped_digits(&bytes.to_string()),
        data_dir.display(),
        data_dir.display()
    ));
    Ok(())
}

/// Restores a backup into an empty or new folder; gives files, bytes and the time of the backup.
pub async fn restore(backup: &Path, data_dir: &Path) -> Result<(u64, u64, String), Failure> {
    let manifest = Manifest::read(backup)?;
    refuse_filled(data_dir)?;
    fs::create_dir_all(data_dir).map_err(io_error("make", data_dir)).map_err(failure)?;
    let _alone = FolderLock::take([data_dir]).map_err(|error| match error {
        LockError::InUse { .. } => Failure::new(error.to_string()).advice("name another folder"),
        LockError::Io { .. } => Failure::new(error.to_string()),
    })?;
    let waiting = data_dir.join(WAITING);
    let outcome = async {
        fill(backup, &waiting, &manifest).await?;
        renew(&waiting.join(CATALOG)).await?;
        let (from, to) = (waiting.clone(), data_dir.to_owned());
        blocking(move || put_in_place(&from, &to)).await?
    };
    let outcome = outcome.await;
    if outcome.is_err() {
        let _ = fs::remove_dir_all(&waiting);
    }
    outcome?;
    let bytes = manifest.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
    Ok((manifest.files.len() as u64, bytes, manifest.made_at))
}

fn refuse_filled(data_dir: &Path) -> Result<(), Failure> {
    let Ok(entries) = fs::read_dir(data_dir) else {
        if data_dir.symlink_metadata().is_ok() {
            return Err(Failure::new(format!("{} is no folder", data_dir.display())));
        }
        return Ok(());
    };
    match entries.flatten().find(|entry| entry.file_name() != "lock") {
        None => Ok(()),
        Some(entry) => Err(Failure::new(format!(
            "{} is not empty: it holds {}",
            data_dir.display(),
            entry.file_name().to_string_lossy()
        ))
        .advice("name a new folder, or move away what is there: a restore never changes data")),
    }
}

/// Copies every file and compares it with the manifest; all that are not as they were are named.
async fn fill(backup: &Path, waiting: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let (from, to, files) = (backup.to_owned(), waiting.to_owned(), manifest.files.clone());
    let copied = blocking(move || {
        let mut tree = Tree::make(&to)?;
        let mut bad = Vec::new();
        for file in files {
            if let Err(error) = tree.copy_checked(&from.join(&file.path), file) {
                bad.push(error.to_string());
            }
        }
        // A store that has no file of a kind yet has its folder all the same.
        for kind in [SegmentKind::Rows, SegmentKind::Windows, SegmentKind::Members] {
            tree.make_folder(&format!("store/{}", kind.name()))?;
        }
        tree.sync_folders().map(|()| bad)
    });
    let bad = copied.await?.map_err(failure)?;
    if bad.is_empty() {
        return Ok(());
    }
    let mut refused = Failure::new(format!(
        "the backup {} is not as it was made: {}",
        backup.display(),
        counted(bad.len() as u64, "problem")
    ))
    .advice(format!(
        "take another backup, or another copy of this one; {MANIFEST} says what each file should be"
    ));
    for problem in bad {
        refused = refused.detail(problem);
    }
    Err(refused)
}

/// Makes the catalog one of its own: old positions are refused, and segments that only they need, whose
/// files are not in a backup, are forgotten.
async fn renew(path: &Path) -> Result<(), Failure> {
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::default());
    SqliteCatalog::renew_incarnation(path, Arc::clone(&entropy)).await.map_err(unreadable(path))?;
    let catalog = SqliteCatalog::open(path, SqliteOptions::default(), Arc::new(SystemClock), entropy)
        .await
        .map_err(unreadable(path))?;
    let forgotten = catalog.forget_segments(i64::MAX).await.map_err(unreadable(path));
    catalog.close().await;
    forgotten.map(drop)
}

/// The catalog goes last: a server refuses a log and a store without one, so it never starts on a half.
fn put_in_place(waiting: &Path, data_dir: &Path) -> Result<(), Failure> {
    let entries = fs::read_dir(waiting).map_err(io_error("list", waiting)).map_err(failure)?;
    let mut names: Vec<std::ffi::OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort_by_key(|name| name == CATALOG);
    for name in names {
        let to = data_dir.join(&name);
        fs::rename(waiting.join(&name), &to).map_err(io_error("rename to", &to)).map_err(failure)?;
        sync_folder(data_dir).map_err(failure)?;
    }
    fs::remove_dir(waiting).map_err(io_error("remove", waiting)).map_err(failure)?;
    sync_folder(data_dir).map_err(failure)?;
    match data_dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent).map_err(failure),
        _ => Ok(()),
    }
}
