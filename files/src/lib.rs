//! Everything that log, store, catalog and identity index ask of a file system, in one small place. What
//! survives a power cut is decided here and nowhere else: bytes by `sync_data` or `sync_all` of their
//! file, names by `sync_folder` of their folder. Tests put a disk underneath that forgets all the rest.

mod disk;
mod file;
mod real;
#[cfg(feature = "simulated")]
pub mod simulated;

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub use disk::Disk;
pub use file::{Appender, File};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist; it is not written to.
    Read,
    /// It must exist.
    Write,
    /// It must not exist yet.
    CreateNew,
    /// It must not exist yet, and only its owner may read it.
    CreateNewPrivate,
    /// It becomes empty if it exists.
    CreateOrEmpty,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub is_file: bool,
}

/// What a disk can do. Implementations are the machine's own file system and the simulated one; users
/// hold a [`Disk`].
pub trait FileSystem: Debug + Send + Sync {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn FileHandle>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Takes the place of what has the new name, in the same folder. The names are not durable yet.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes one folder in a folder that exists. Its name is not durable yet.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    fn is_folder(&self, path: &Path) -> bool;
    /// In no particular order.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;
    fn file_len(&self, path: &Path) -> io::Result<u64>;
    /// Makes the names in a folder durable: those that were added, and that others are gone.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// What an open file can do. Reads and writes name their place: there is no cursor to share.
#[expect(clippy::len_without_is_empty, reason = "asking can fail, and nobody asks for emptiness")]
pub trait FileHandle: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// The contents and the length are durable afterwards.
    fn sync_data(&self) -> io::Result<()>;
    /// As `sync_data`, and all else that the file system knows about the file.
    fn sync_all(&self) -> io::Result<()>;
    /// Forgets cached pages, so that what is read next is what the disk holds. After a failed sync
    /// pages count as clean though the disk never got them; only this tells.
    fn drop_cache(&self);
}
