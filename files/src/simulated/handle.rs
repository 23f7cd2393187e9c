//! An open file of the simulated disk. It goes on seeing its file after the name is gone, and nothing any
//! more once the power is off.

use std::io;
use std::path::{Path, PathBuf};

use super::faults::{Operation, Outcome};
use super::{NodeId, SimulatedDisk};
use crate::FileHandle;

#[derive(Debug)]
pub(super) struct Handle {
    disk: SimulatedDisk,
    node: NodeId,
    path: PathBuf,
    writable: bool,
}

impl Handle {
    pub(super) fn new(disk: SimulatedDisk, node: NodeId, path: &Path, writable: bool) -> Self {
        Self { disk, node, path: path.to_path_buf(), writable }
    }

    fn writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    fn sync(&self) -> io::Result<()> {
        match self.disk.meet_open(Operation::SyncFile, &self.path, self.node)? {
            Outcome::Lie => {}
            _ => self.disk.0.lock().file_mut(self.node)?.sync(),
        }
        Ok(())
    }
}

impl FileHandle for Handle {
    fn len(&self) -> io::Result<u64> {
        self.disk.meet_open(Operation::Read, &self.path, self.node)?;
        Ok(self.disk.0.lock().file(self.node)?.seen().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let outcome = self.disk.meet_open(Operation::Read, &self.path, self.node)?;
        let mut world = self.disk.0.lock();
        let seen = world.file(self.node)?.seen();
        let rest = usize::try_from(at).ok().and_then(|at| seen.get(at..)).unwrap_or_default();
        let mut length = rest.len().min(buffer.len());
        let bytes = rest.get(..length).unwrap_or_default().to_vec();
        if matches!(outcome, Outcome::Short) {
            length = world.part_of(length);
        }
        for (to, from) in buffer.iter_mut().zip(bytes.iter().take(length)) {
            *to = *from;
        }
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.writable()?;
        let outcome = self.disk.meet_open(Operation::Write, &self.path, self.node)?;
        let mut world = self.disk.0.lock();
        let wanted = if matches!(outcome, Outcome::Short) { world.part_of(bytes.len()) } else { bytes.len() };
        let length = world.take_space(wanted);
        if length == 0 && wanted > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let at = usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
        world.file_mut(self.node)?.write(at, bytes.get(..length).unwrap_or(bytes));
        Ok(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.writable()?;
        self.disk.meet_open(Operation::SetLen, &self.path, self.node)?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.disk.0.lock().file_mut(self.node)?.set_len(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn drop_cache(&self) {
        let mut world = self.disk.0.lock();
        if let Ok(file) = world.file_mut(self.node) {
            file.drop_cache();
        }
    }
}
