//! One process per data folder. The lock belongs to the open file, so it goes with the process however
//! that ends; nothing is left behind for a person to clean up.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Why the folder cannot be had alone.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{path} is in use by a Weir server")]
    InUse { path: String },
    #[error("cannot lock {path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// Held as long as the process needs the folders for itself.
#[derive(Debug, Default)]
pub struct FolderLock {
    files: Vec<(PathBuf, File)>,
}

impl FolderLock {
    /// Locks each of the folders that is there, and makes none: for a command that must be alone, and for a
    /// server that has yet to see whether these are its folders.
    pub fn take<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Result<Self, LockError> {
        let mut taken = Self::default();
        for folder in folders.into_iter().filter(|folder| folder.is_dir()) {
            taken.add(folder)?;
        }
        Ok(taken)
    }

    /// For a server: makes those of the folders that are missing, durably, and locks them too.
    pub fn make_and_add<'p>(&mut self, folders: impl IntoIterator<Item = &'p Path>) -> Result<(), LockError> {
        for folder in folders {
            let failed = |source| LockError::Io { path: folder.display().to_string(), source };
            make_durable(folder).map_err(failed)?;
            self.add(folder)?;
        }
        Ok(())
    }

    fn add(&mut self, folder: &Path) -> Result<(), LockError> {
        let path = folder.join("lock");
        let failed = |source| LockError::Io { path: path.display().to_string(), source };
        // The same folder may be named in more than one way.
        let place = folder.canonicalize().map_err(failed)?;
        if self.files.iter().any(|(locked, _)| *locked == place) {
            return Ok(());
        }
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::InUse { path: folder.display().to_string() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        self.files.push((place, file));
        Ok(())
    }
}

/// Makes the folder and those above it, and syncs the name of each in its parent: without that, a power cut
/// could take the whole folder away, with everything in it that was synced and acknowledged. Also a folder
/// that was there before is synced into its parent, as whoever made it may not have.
fn make_durable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    for parent in folder.ancestors().skip(1) {
        match File::open(parent).and_then(|parent| parent.sync_all()) {
            // Folders far above are not ours to open, and were not made just now.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => break,
            synced => synced?,
        }
    }
    Ok(())
}
