//! Every touch of the disk by the local log goes through here, so that one small file says what it
//! asks of a file system, and a test can put a failing one in its place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[cfg(test)]
pub(super) use faults::Faults;

/// The disk that a log lies on.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<Faults>,
}

/// One file of the log. Reads and writes name their place: there is no cursor to share.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    #[cfg(test)]
    faults: std::sync::Arc<Faults>,
}

impl Disk {
    /// Creates a file that must not exist yet.
    pub(super) fn create(&self, path: &Path) -> io::Result<LogFile> {
        let file = File::options().create_new(true).read(true).write(true).open(path)?;
        Ok(self.file(file, path))
    }

    pub(super) fn open_to_write(&self, path: &Path) -> io::Result<LogFile> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(self.file(file, path))
    }

    pub(super) fn open_to_read(&self, path: &Path) -> io::Result<LogFile> {
        Ok(self.file(File::open(path)?, path))
    }

    fn file(&self, file: File, path: &Path) -> LogFile {
        LogFile {
            file,
            path: path.to_path_buf(),
            #[cfg(test)]
            faults: self.faults.clone(),
        }
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Names of everything in a folder; none if there is no such folder.
    pub(super) fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Creates a folder and what is missing above it, each one's name made durable in its parent.
    pub(super) fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut at = Some(folder);
        while let Some(path) = at.filter(|path| !path.as_os_str().is_empty() && !path.is_dir()) {
            missing.push(path);
            at = path.parent();
        }
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if let Some(parent) = path.parent() {
                self.sync_folder(parent)?;
            }
        }
        Ok(())
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // The parent of a relative path of one part is the empty path.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()
    }
}

impl LogFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Fills the buffer, or fails with `UnexpectedEof`.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, at)
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(taken) = self.faults.take_space(bytes.len()) {
            self.file.write_all_at(bytes.get(..taken).unwrap_or(bytes), at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all_at(bytes, at)
    }

    pub(super) fn truncate(&self, length: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.truncate()?;
        self.file.set_len(length)
    }

    /// The contents and the length are durable afterwards.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        self.file.sync_data()
    }

    /// As `sync_data`, and all else that the file system knows about the file.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        self.file.sync_all()
    }

    /// Forgets cached pages, so that what is read next is what the disk holds. After a failed sync
    /// pages count as clean though the disk never got them; only this tells.
    pub(super) fn drop_cache(&self) {
        #[cfg(target_os = "linux")]
        {
            // Advice only: a file system that cannot follow it has no cache to drop.
            let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}

#[cfg(test)]
mod faults {
    use std::io;

    use parking_lot::Mutex;

    /// What a test wants to go wrong.
    #[derive(Debug, Default)]
    pub(in super::super) struct Faults {
        /// Bytes that may still be written before the disk is full.
        pub(in super::super) space_left: Mutex<Option<usize>>,
        pub(in super::super) syncs_fail: Mutex<bool>,
        pub(in super::super) truncates_fail: Mutex<bool>,
        /// Syncs wait for as long as this is set.
        pub(in super::super) syncs_wait: Mutex<bool>,
    }

    impl Faults {
        /// How much of a write still fits, if not all of it does.
        pub(super) fn take_space(&self, bytes: usize) -> Option<usize> {
            let mut left = self.space_left.lock();
            let space = (*left)?;
            *left = Some(space.saturating_sub(bytes));
            (space < bytes).then_some(space)
        }

        pub(super) fn sync(&self) -> io::Result<()> {
            // Bounded, so that a test that fails meanwhile still ends.
            for _ in 0..5000 {
                if !*self.syncs_wait.lock() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            if *self.syncs_fail.lock() { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        }

        pub(super) fn truncate(&self) -> io::Result<()> {
            if *self.truncates_fail.lock() { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
        }
    }
}
