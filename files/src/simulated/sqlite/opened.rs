//! One file that SQLite has open: a database, a journal, a write-ahead log, or something passing.

use std::ffi::{c_int, c_void};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libsqlite3_sys as ffi;

use super::locks::Level;
use super::memory::Holding;
use super::{Database, Machine};
use crate::{File, Open};

pub(super) struct Opened {
    machine: Arc<Machine>,
    bytes: Bytes,
    /// The name of a new journal becomes durable with its first sync.
    name_to_sync: Option<PathBuf>,
    /// Of a main database alone.
    database: Option<Arc<Database>>,
    writable: bool,
    level: Level,
    holding: Option<Holding>,
}

enum Bytes {
    OnDisk(File),
    /// Of files without a name, which no cut can leave.
    Passing(Vec<u8>),
}

impl Opened {
    /// The file, and the flags it was opened with.
    pub(super) fn open(
        machine: Arc<Machine>,
        path: Option<&Path>,
        flags: c_int,
    ) -> Result<(Self, c_int), c_int> {
        let opened = |machine, bytes| Self {
            machine,
            bytes,
            name_to_sync: None,
            database: None,
            writable: true,
            level: Level::None,
            holding: None,
        };
        let path = match path {
            Some(path) if flags & ffi::SQLITE_OPEN_DELETEONCLOSE == 0 => path,
            _ => return Ok((opened(machine, Bytes::Passing(Vec::new())), flags)),
        };
        let (file, flags) = open_file(&machine, path, flags)?;
        let mut opened = opened(Arc::clone(&machine), Bytes::OnDisk(file));
        opened.writable = flags & ffi::SQLITE_OPEN_READWRITE != 0;
        let journal = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
        if flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & journal != 0 {
            opened.name_to_sync = Some(path.to_path_buf());
        }
        if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            opened.database = Some(machine.database(path));
        }
        Ok((opened, flags))
    }

    /// Fills the buffer, beyond the end with zeros, and then says so.
    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), c_int> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let from = at.saturating_add(filled as u64);
            match self.read_some(rest, from) {
                Ok(0) => {
                    rest.fill(0);
                    return Err(ffi::SQLITE_IOERR_SHORT_READ);
                }
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(ffi::SQLITE_IOERR_READ),
            }
        }
        Ok(())
    }

    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match &self.bytes {
            Bytes::OnDisk(file) => file.read_at(buffer, at),
            Bytes::Passing(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                Ok(rest.len().min(buffer.len()))
            }
        }
    }

    pub(super) fn write(&mut self, new: &[u8], at: u64) -> Result<(), c_int> {
        match &mut self.bytes {
            Bytes::OnDisk(file) => file.write_all_at(new, at).map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::WriteZero => ffi::SQLITE_FULL,
                _ => ffi::SQLITE_IOERR_WRITE,
            }),
            Bytes::Passing(bytes) => {
                let from = usize::try_from(at).map_err(|_| ffi::SQLITE_FULL)?;
                let to = from.saturating_add(new.len());
                if bytes.len() < to {
                    bytes.resize(to, 0);
                }
                bytes.get_mut(from..to).ok_or(ffi::SQLITE_FULL)?.copy_from_slice(new);
                Ok(())
            }
        }
    }

    pub(super) fn truncate(&mut self, length: u64) -> Result<(), c_int> {
        match &mut self.bytes {
            Bytes::OnDisk(file) => file.set_len(length).map_err(|_| ffi::SQLITE_IOERR_TRUNCATE),
            Bytes::Passing(bytes) => {
                bytes.resize(usize::try_from(length).map_err(|_| ffi::SQLITE_FULL)?, 0);
                Ok(())
            }
        }
    }

    /// As for Unix, a folder that cannot be synced is no error, unless the power is gone: then nobody is
    /// there any more who could be told that all is well.
    pub(super) fn sync(&mut self, data_only: bool) -> Result<(), c_int> {
        let Bytes::OnDisk(file) = &self.bytes else { return Ok(()) };
        let synced = if data_only { file.sync_data() } else { file.sync_all() };
        synced.map_err(|_| ffi::SQLITE_IOERR_FSYNC)?;
        if let Some(path) = self.name_to_sync.take()
            && self.machine.disk.sync_name(&path).is_err()
        {
            file.len().map_err(|_| ffi::SQLITE_IOERR_FSYNC)?;
        }
        Ok(())
    }

    pub(super) fn len(&self) -> Result<u64, c_int> {
        match &self.bytes {
            Bytes::OnDisk(file) => file.len().map_err(|_| ffi::SQLITE_IOERR_FSTAT),
            Bytes::Passing(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// As for Unix, a file that is open for reading only cannot be locked for more.
    pub(super) fn lock(&mut self, wanted: Level) -> Result<(), c_int> {
        if wanted > Level::Shared && !self.writable {
            return Err(ffi::SQLITE_IOERR_LOCK);
        }
        match &self.database {
            Some(database) => {
                database.locks.lock().raise(&mut self.level, wanted).map_err(|_| ffi::SQLITE_BUSY)
            }
            None => Ok(()),
        }
    }

    pub(super) fn unlock(&mut self, wanted: Level) {
        if let Some(database) = &self.database {
            database.locks.lock().lower(&mut self.level, wanted);
        }
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.database.as_ref().is_some_and(|database| database.locks.lock().is_reserved())
    }

    pub(super) fn region(
        &mut self,
        index: usize,
        bytes: usize,
        make: bool,
    ) -> Result<Option<*mut c_void>, c_int> {
        let database = self.database.as_ref().ok_or(ffi::SQLITE_IOERR_SHMMAP)?;
        let mut memory = database.memory.lock();
        self.holding.get_or_insert_with(|| memory.join());
        Ok(memory.region(index, bytes, make))
    }

    pub(super) fn lock_memory(&mut self, from: usize, count: usize, flags: c_int) -> Result<(), c_int> {
        let (Some(database), Some(holding)) = (&self.database, &mut self.holding) else {
            return Err(ffi::SQLITE_IOERR_SHMLOCK);
        };
        let mut memory = database.memory.lock();
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            memory.unlock(holding, from, count);
            Ok(())
        } else if flags & ffi::SQLITE_SHM_SHARED != 0 {
            memory.lock_shared(holding, from).map_err(|_| ffi::SQLITE_BUSY)
        } else {
            memory.lock_exclusive(holding, from, count).map_err(|_| ffi::SQLITE_BUSY)
        }
    }

    pub(super) fn leave_memory(&mut self) {
        if let (Some(database), Some(holding)) = (&self.database, self.holding.take()) {
            database.memory.lock().leave(holding);
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.leave_memory();
        self.unlock(Level::None);
    }
}

/// As for Unix: what cannot be opened for writing is opened for reading.
fn open_file(machine: &Machine, path: &Path, flags: c_int) -> Result<(File, c_int), c_int> {
    let disk = &machine.disk;
    let opened = if flags & ffi::SQLITE_OPEN_READWRITE == 0 {
        disk.open(path, Open::Read)
    } else if flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0 {
        disk.open(path, Open::CreateNewPrivate)
    } else {
        match disk.open(path, Open::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && flags & ffi::SQLITE_OPEN_CREATE != 0 => {
                disk.open(path, Open::CreateNewPrivate)
            }
            other => other,
        }
    };
    match opened {
        Ok(file) => Ok((file, flags)),
        Err(_) if flags & ffi::SQLITE_OPEN_READWRITE != 0 => {
            let writing = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE;
            let file = disk.open(path, Open::Read).map_err(|_| ffi::SQLITE_CANTOPEN)?;
            Ok((file, flags & !writing | ffi::SQLITE_OPEN_READONLY))
        }
        Err(_) => Err(ffi::SQLITE_CANTOPEN),
    }
}
