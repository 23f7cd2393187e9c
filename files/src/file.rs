//! An open file as its users hold it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::FileHandle;

/// One open file. Reads and writes name their place, so that it can be shared.
#[derive(Debug)]
pub struct File {
    handle: Box<dyn FileHandle>,
    path: PathBuf,
}

/// Writes to a file's end, one piece after the other.
#[derive(Debug)]
pub struct Appender {
    file: File,
    at: u64,
}

impl File {
    pub(crate) fn new(handle: Box<dyn FileHandle>, path: &Path) -> Self {
        Self { handle, path: path.to_path_buf() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    #[expect(clippy::len_without_is_empty, reason = "asking can fail, and nobody asks for emptiness")]
    pub fn len(&self) -> io::Result<u64> {
        self.handle.len()
    }

    /// How many bytes were read; fewer than asked for at the end of the file, or at any time.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.handle.read_at(buffer, at)
    }

    /// Fills the buffer, or fails with `UnexpectedEof`.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.handle.read_at(buffer, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    buffer = buffer.get_mut(read..).unwrap_or_default();
                    at = at.saturating_add(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn write_all_at(&self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.handle.write_at(bytes, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    at = at.saturating_add(written as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn set_len(&self, length: u64) -> io::Result<()> {
        self.handle.set_len(length)
    }

    /// The contents and the length are durable afterwards.
    pub fn sync_data(&self) -> io::Result<()> {
        self.handle.sync_data()
    }

    /// As `sync_data`, and all else that the file system knows about the file.
    pub fn sync_all(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Forgets cached pages, so that what is read next is what the disk holds.
    pub fn drop_cache(&self) {
        self.handle.drop_cache();
    }

    /// Goes on writing at a place.
    pub fn appender(self, at: u64) -> Appender {
        Appender { file: self, at }
    }
}

impl Appender {
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.handle.write_at(bytes, self.at)?;
        self.at = self.at.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
