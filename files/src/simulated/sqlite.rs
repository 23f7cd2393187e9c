//! SQLite on a simulated disk: a VFS, through which SQLite opens, reads, writes, syncs and removes its
//! files there and not on the machine's own file system, so that a power cut tears them like all others.
//! It keeps to what SQLite's own VFS for Unix does, above all in what it syncs and when.
#![allow(unsafe_code, reason = "SQLite calls its VFS through pointers to functions and to their data")]

mod file_calls;
mod locks;
mod memory;
mod opened;
#[cfg(test)]
mod tests;
mod vfs_calls;

use std::collections::BTreeMap;
use std::ffi::{CString, c_int};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use libsqlite3_sys as ffi;
use parking_lot::Mutex;

use crate::Disk;
use locks::FileLocks;
use memory::SharedMemory;

/// A registered VFS. Connections that name it have their files on its disk. Locks and shared memory lie
/// in this value: register another one for a disk after a reboot, and no connection of before is in its way.
/// Keep it for as long as connections are to be used.
pub struct SqliteVfs {
    name: String,
    /// Never freed: SQLite may hold it for as long as a connection is open.
    registered: AtomicPtr<ffi::sqlite3_vfs>,
    root: &'static Root,
}

/// What SQLite's calls find behind the pointer of a VFS.
struct Root(Mutex<Option<Arc<Machine>>>);

/// A disk, and what processes on the same machine share about the databases on it.
struct Machine {
    disk: Disk,
    databases: Mutex<BTreeMap<PathBuf, Weak<Database>>>,
}

/// A database file that somebody has open.
#[derive(Default)]
struct Database {
    locks: Mutex<FileLocks>,
    memory: Mutex<SharedMemory>,
}

impl SqliteVfs {
    /// Registers a VFS of a name of its own for this disk.
    pub fn new(disk: Disk) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("simulated-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let machine = Arc::new(Machine { disk, databases: Mutex::default() });
        let root: &'static Root = Box::leak(Box::new(Root(Mutex::new(Some(machine)))));
        let c_name = CString::new(name.clone())?.into_raw();
        let vfs = Box::into_raw(Box::new(vfs_calls::table(c_name, ptr::from_ref(root).cast_mut().cast())));
        // SAFETY: the table, its name and its data are never freed, and the functions in it keep to the
        // contract of `sqlite3_vfs`.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        if code != ffi::SQLITE_OK {
            return Err(io::Error::other(format!("SQLite takes no VFS: {code}")));
        }
        Ok(Self { name, registered: AtomicPtr::new(vfs), root })
    }

    /// What a connection has to be opened with.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for SqliteVfs {
    fn drop(&mut self) {
        // SAFETY: the table was registered by `new`, and stays in memory for connections that are open.
        unsafe { ffi::sqlite3_vfs_unregister(self.registered.load(Ordering::Relaxed)) };
        // The disk itself may be large.
        self.root.0.lock().take();
    }
}

impl fmt::Debug for SqliteVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteVfs").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Machine {
    fn database(&self, path: &Path) -> Arc<Database> {
        let mut databases = self.databases.lock();
        databases.retain(|_, database| database.strong_count() > 0);
        if let Some(database) = databases.get(path).and_then(Weak::upgrade) {
            return database;
        }
        let database = Arc::new(Database::default());
        databases.insert(path.to_path_buf(), Arc::downgrade(&database));
        database
    }

    /// As for Unix: an empty file counts as none.
    fn exists(&self, path: &Path) -> bool {
        self.disk.is_folder(path) || self.disk.file_len(path).is_ok_and(|length| length > 0)
    }

    fn remove(&self, path: &Path, sync_folder: bool) -> Result<(), c_int> {
        self.disk.remove(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ffi::SQLITE_IOERR_DELETE_NOENT,
            _ => ffi::SQLITE_IOERR_DELETE,
        })?;
        if sync_folder {
            self.disk.sync_name(path).map_err(|_| ffi::SQLITE_IOERR_DIR_FSYNC)?;
        }
        Ok(())
    }
}
