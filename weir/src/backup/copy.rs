//! Copying into a folder that is new: with length and CRC32C of every file, and everything synced.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const BUFFER_BYTES: usize = 1 << 20;

/// Why a copy cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error("{path} is gone")]
    Gone { path: String },
    #[error("{path} is not what it should be: {reason}")]
    Changed { path: String, reason: String },
    #[error("cannot {what} {path}: {source}")]
    Io { what: &'static str, path: String, source: io::Error },
}

/// A file of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Copied {
    /// Relative, with slashes.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// Eight hexadecimal digits.
    pub(super) crc32c: String,
}

/// A folder that is being filled.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    folders: BTreeSet<PathBuf>,
    pub(super) files: Vec<Copied>,
    /// How many of them are hard links.
    pub(super) linked: u64,
}

impl Tree {
    /// Makes the folder, for its owner only: a catalog holds keys.
    pub(super) fn make(root: &Path) -> Result<Self, CopyError> {
        fs::DirBuilder::new().mode(0o700).create(root).map_err(io_error("make", root))?;
        Ok(Self::in_folder(root))
    }

    /// A folder that is there.
    pub(super) fn in_folder(root: &Path) -> Self {
        let root = root.to_owned();
        Self { folders: BTreeSet::from([root.clone()]), root, files: Vec::new(), linked: 0 }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a folder that may stay empty.
    pub(super) fn make_folder(&mut self, name: &str) -> Result<(), CopyError> {
        let path = self.path(name);
        self.make_folder_of(&path.join("file"))
    }

    /// Notes and syncs a file that something else has written.
    pub(super) fn add_existing(&mut self, name: &str) -> Result<(), CopyError> {
        let path = self.path(name);
        let mut file = open(&path)?;
        let (bytes, crc) = pour(&mut file, &path, None)?;
        file.sync_all().map_err(io_error("sync", &path))?;
        self.note(name, bytes, crc);
        Ok(())
    }

    pub(super) fn copy(&mut self, from: &Path, name: &str) -> Result<(), CopyError> {
        self.copy_open(&mut open(from)?, from, name)
    }

    /// Copies what can be read of a file that is open already.
    pub(super) fn copy_open(&mut self, from: &mut File, shown: &Path, name: &str) -> Result<(), CopyError> {
        let (bytes, crc) = self.pour_into(from, shown, name)?;
        self.note(name, bytes, crc);
        Ok(())
    }

    /// Copies a file that must be as it was described.
    pub(super) fn copy_checked(&mut self, from: &Path, expected: Copied) -> Result<(), CopyError> {
        let (bytes, crc) = self.pour_into(&mut open(from)?, from, &expected.path)?;
        if bytes != expected.bytes {
            let reason = format!("it has {bytes} bytes and should have {}", expected.bytes);
            return Err(changed(from, reason));
        }
        let crc = format!("{crc:08x}");
        if crc != expected.crc32c {
            return Err(changed(from, format!("its CRC32C is {crc} and should be {}", expected.crc32c)));
        }
        self.files.push(expected);
        Ok(())
    }

    /// Links a file that never changes; copies it if it lies on another file system.
    pub(super) fn link_or_copy(&mut self, from: &Path, expected: Copied) -> Result<(), CopyError> {
        let to = self.path(&expected.path);
        self.make_folder_of(&to)?;
        match fs::hard_link(from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(CopyError::Gone { path: from.display().to_string() });
            }
            Err(_) => return self.copy_checked(from, expected),
        }
        let bytes = fs::metadata(&to).map_err(io_error("look at", &to))?.len();
        if bytes != expected.bytes {
            let reason = format!("it has {bytes} bytes and should have {}", expected.bytes);
            return Err(changed(from, reason));
        }
        self.linked = self.linked.saturating_add(1);
        self.files.push(expected);
        Ok(())
    }

    /// Makes all folders durable, then the last file, then its name.
    pub(super) fn write_last(&self, name: &str, bytes: &[u8]) -> Result<(), CopyError> {
        self.sync_folders()?;
        let path = self.path(name);
        let mut file = create(&path)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", &path))?;
        sync_folder(&self.root)
    }

    pub(super) fn sync_folders(&self) -> Result<(), CopyError> {
        self.folders.iter().rev().try_for_each(|folder| sync_folder(folder))
    }

    pub(super) fn make_folder_of(&mut self, path: &Path) -> Result<(), CopyError> {
        let Some(folder) = path.parent() else { return Ok(()) };
        if self.folders.contains(folder) {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error("make", folder))?;
        for above in folder.ancestors().take_while(|above| above.starts_with(&self.root)) {
            self.folders.insert(above.to_owned());
        }
        Ok(())
    }

    fn pour_into(&mut self, from: &mut File, shown: &Path, name: &str) -> Result<(u64, u32), CopyError> {
        let to = self.path(name);
        self.make_folder_of(&to)?;
        let mut file = create(&to)?;
        let poured = pour(from, shown, Some((&mut file, &to)))?;
        file.sync_all().map_err(io_error("sync", &to))?;
        Ok(poured)
    }

    fn note(&mut self, name: &str, bytes: u64, crc: u32) {
        self.files.push(Copied { path: name.to_owned(), bytes, crc32c: format!("{crc:08x}") });
    }
}

/// Gives a finished folder its name, durably.
pub(super) fn name(from: &Path, to: &Path) -> Result<(), CopyError> {
    fs::rename(from, to).map_err(io_error("rename to", to))?;
    match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), CopyError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
}

pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.display().to_string();
    move |source| CopyError::Io { what, path, source }
}

fn changed(path: &Path, reason: String) -> CopyError {
    CopyError::Changed { path: path.display().to_string(), reason }
}

fn open(path: &Path) -> Result<File, CopyError> {
    File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => CopyError::Gone { path: path.display().to_string() },
        _ => io_error("open", path)(error),
    })
}

fn create(path: &Path) -> Result<File, CopyError> {
    let file = File::options().create_new(true).write(true).mode(0o600).open(path);
    file.map_err(io_error("make", path))
}

/// Reads to the end, and writes what was read if there is somewhere to write it. Gives length and CRC32C.
fn pour(from: &mut File, shown: &Path, mut to: Option<(&mut File, &Path)>) -> Result<(u64, u32), CopyError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut bytes, mut crc) = (0_u64, 0_u32);
    loop {
        let length = from.read(&mut buffer).map_err(io_error("read", shown))?;
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else {
            return Ok((bytes, crc));
        };
        bytes = bytes.saturating_add(read.len() as u64);
        crc = crc32c::crc32c_append(crc, read);
        if let Some((file, path)) = &mut to {
            file.write_all(read).map_err(io_error("write", path))?;
        }
    }
}
