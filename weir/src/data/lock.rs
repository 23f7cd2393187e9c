//! The lock of a data folder, taken by a command that must be alone with it. The same file and the same
//! kind of lock as a server's, but nothing is made: a folder that is not there is not locked.

use std::fs::{File, TryLockError};
use std::path::Path;

/// Why the folder cannot be had alone.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{path} is in use by a Weir server")]
    InUse { path: String },
    #[error("cannot lock {path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// Held as long as the command runs.
#[derive(Debug)]
pub struct FolderLock {
    _files: Vec<File>,
}

impl FolderLock {
    /// Locks each of the folders that is there.
    pub fn take<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Result<Self, LockError> {
        let mut files = Vec::new();
        let mut locked: Vec<&Path> = Vec::new();
        for folder in folders {
            if locked.contains(&folder) || !folder.is_dir() {
                continue;
            }
            let path = folder.join("lock");
            let failed = |source| LockError::Io { path: path.display().to_string(), source };
            let file =
                File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::InUse { path: folder.display().to_string() });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(LockError::Io { path: path.display().to_string(), source });
                }
            }
            files.push(file);
            locked.push(folder);
        }
        Ok(Self { _files: files })
    }
}
