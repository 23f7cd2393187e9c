//! A disk as its users hold it: cheap to clone, and with the few steps that several of them need.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::real::Real;
use crate::{Entry, File, FileSystem, Open};

/// The disk that log, store, catalog and index lie on. The default is the machine's own.
#[derive(Clone, Debug)]
pub struct Disk(Arc<dyn FileSystem>);

impl Default for Disk {
    fn default() -> Self {
        Self(Arc::new(Real))
    }
}

impl Disk {
    pub fn new(file_system: Arc<dyn FileSystem>) -> Self {
        Self(file_system)
    }

    pub fn open(&self, path: &Path, how: Open) -> io::Result<File> {
        Ok(File::new(self.0.open(path, how)?, path))
    }

    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    /// Takes the place of what has the new name, in the same folder. The names are not durable before
    /// `sync_folder`.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    pub fn is_folder(&self, path: &Path) -> bool {
        self.0.is_folder(path)
    }

    /// What is in a folder, in no particular order.
    pub fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(folder)
    }

    pub fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.0.file_len(path)
    }

    /// Makes the names in a folder durable: those that were added, and that others are gone.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // The parent of a relative path of one part is the empty path.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        self.0.sync_folder(folder)
    }

    /// Makes the name of a file durable.
    pub fn sync_name(&self, path: &Path) -> io::Result<()> {
        self.sync_folder(path.parent().unwrap_or(Path::new("")))
    }

    /// Makes a folder and what is missing above it, the name of each durable in its parent. The deepest one
    /// that is there already may have been made just before a crash, so its name is synced all the same.
    pub fn create_folders(&self, folder: &Path) -> io::Result<()> {
        let mut missing: Vec<PathBuf> = Vec::new();
        let mut at = Some(folder);
        while let Some(path) = at.filter(|path| !path.as_os_str().is_empty() && !self.is_folder(path)) {
            missing.push(path.to_path_buf());
            at = path.parent();
        }
        if let Some(there) = at.filter(|path| path.parent().is_some()) {
            match self.sync_name(there) {
                // A folder that is not ours to open is not ours to make either.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        for path in missing.iter().rev() {
            match self.0.create_folder(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.sync_name(path)?,
            }
        }
        Ok(())
    }

    /// The whole of a file, which must not have more bytes than this.
    pub fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let length = file.len()?;
        if length > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it has {length} bytes, and more than {bytes_max} cannot be right"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Writes a small file under a draft name, and gives it its own once its bytes are durable: after a
    /// crash there is the old one or the new one, never half of one.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let draft = path.with_added_extension("new");
        let file = self.open(&draft, Open::CreateOrEmpty)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        drop(file);
        self.rename(&draft, path)?;
        self.sync_name(path)
    }
}
