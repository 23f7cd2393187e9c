//! One process per data folder. The lock belongs to the open file, so it goes with the process however
//! that ends; nothing is left behind for a person to clean up.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::ServeError;

/// Held as long as the server runs.
#[derive(Debug)]
pub(super) struct FolderLock {
    _files: Vec<File>,
}

impl FolderLock {
    /// Makes the folders if they are missing and locks each of them.
    pub(super) fn take<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Result<Self, ServeError> {
        let mut files = Vec::new();
        let mut locked: Vec<&Path> = Vec::new();
        for folder in folders {
            if locked.contains(&folder) {
                continue;
            }
            make_durable(folder)
                .map_err(|source| ServeError::Folder { path: folder.display().to_string(), source })?;
            let path = folder.join("lock");
            let open = File::options().create(true).truncate(false).write(true).open(&path);
            let file =
                open.map_err(|source| ServeError::Folder { path: path.display().to_string(), source })?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(ServeError::InUse { path: folder.display().to_string() });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(ServeError::Folder { path: path.display().to_string(), source });
                }
            }
            files.push(file);
            locked.push(folder);
        }
        Ok(Self { _files: files })
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
