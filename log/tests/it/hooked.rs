//! A disk that asks a test before every operation that changes it: the test may let it through, make it
//! fail, wait, or have a sync say yes and do nothing. What a rule of the simulated disk cannot say, as it
//! depends on what happened before, is said here.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_files::simulated::{Operation, SimulatedDisk};
use weir_files::{Disk, Entry, FileHandle, FileSystem, Open};

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Go,
    Fail,
    /// For syncs: say yes and do nothing.
    Lie,
}

pub(crate) type Hook = Arc<dyn Fn(Operation, &Path) -> Answer + Send + Sync>;

struct Hooked {
    disk: SimulatedDisk,
    hook: Hook,
}

struct HookedFile {
    file: Box<dyn FileHandle>,
    path: PathBuf,
    hook: Hook,
}

pub(crate) fn hooked(disk: &SimulatedDisk, hook: Hook) -> Disk {
    Disk::new(Arc::new(Hooked { disk: disk.clone(), hook }))
}

/// True if the operation is to be done.
fn ask(hook: &Hook, operation: Operation, path: &Path) -> io::Result<bool> {
    match hook(operation, path) {
        Answer::Go => Ok(true),
        Answer::Lie => Ok(false),
        Answer::Fail => Err(io::Error::other("the test says no")),
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl FileSystem for Hooked {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn FileHandle>> {
        let operation =
            if matches!(how, Open::Read | Open::Write) { Operation::Open } else { Operation::Create };
        ask(&self.hook, operation, path)?;
        let (file, hook) = (self.disk.open(path, how)?, self.hook.clone());
        Ok(Box::new(HookedFile { file, path: path.to_path_buf(), hook }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        ask(&self.hook, Operation::Remove, path)?;
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        ask(&self.hook, Operation::Rename, to)?;
        self.disk.rename(from, to)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        ask(&self.hook, Operation::CreateFolder, path)?;
        self.disk.create_folder(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.disk.is_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        ask(&self.hook, Operation::List, folder)?;
        self.disk.list(folder)
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.disk.file_len(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if ask(&self.hook, Operation::SyncFolder, folder)? { self.disk.sync_folder(folder) } else { Ok(()) }
    }
}

impl HookedFile {
    fn sync(&self) -> io::Result<()> {
        if ask(&self.hook, Operation::SyncFile, &self.path)? { self.file.sync_data() } else { Ok(()) }
    }
}

impl FileHandle for HookedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        ask(&self.hook, Operation::Write, &self.path)?;
        self.file.write_at(bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        ask(&self.hook, Operation::SetLen, &self.path)?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn drop_cache(&self) {
        self.file.drop_cache();
    }
}
