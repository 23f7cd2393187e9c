//! Where events are read from: a file, a pipe, or bytes at hand; compressed with gzip or not, which
//! the first two bytes tell.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

use super::batch::{Batch, BatchBuilder, BatchLimits, ReadError};
use super::splitter::Splitter;
use crate::output::Failure;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 128 << 10;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Something that can be read once, from its beginning.
pub struct Source {
    name: String,
    /// As stored, so before decompression; unknown for a pipe.
    bytes: Option<u64>,
    reader: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a file, or stdin for `-`.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self { name: "stdin".to_owned(), bytes: None, reader: Box::new(io::stdin()) });
        }
        let name = path.display().to_string();
        let unreadable = |reason: io::Error| {
            Failure::new(format!("cannot read {name}: {reason}"))
                .advice("name a file of events, one JSON object a line, or - for stdin")
        };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        // A named pipe says that it has no bytes.
        let bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self { name, bytes, reader: Box::new(file) })
    }

    /// Bytes that the program carries with it.
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Self {
        Self { name: name.to_owned(), bytes: Some(bytes.len() as u64), reader: Box::new(Cursor::new(bytes)) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Reads to the end and sends what it finds: batches, or at the last the reason why there are
    /// no more. Blocks; belongs on a thread of its own.
    pub fn read(
        self,
        limits: BatchLimits,
        bytes_read: &AtomicU64,
        batches: &mpsc::Sender<Result<Batch, ReadError>>,
    ) {
        let mut builder = BatchBuilder::new(limits);
        let outcome = self.read_into(&mut builder, bytes_read, batches);
        // What was whole before a mistake is sent all the same; sending the file again is harmless.
        if let Some(batch) = builder.take() {
            let _ = batches.blocking_send(Ok(batch));
        }
        if let Err(error) = outcome {
            let _ = batches.blocking_send(Err(error));
        }
    }

    fn read_into(
        self,
        builder: &mut BatchBuilder,
        bytes_read: &AtomicU64,
        batches: &mpsc::Sender<Result<Batch, ReadError>>,
    ) -> Result<(), ReadError> {
        let failed = |builder: &BatchBuilder, reason: io::Error| ReadError::Io {
            line: builder.last_line(),
            reason: reason.to_string(),
        };
        let live = self.bytes.is_none();
        let counted = Counted { reader: self.reader, bytes_read };
        let mut reader = decompressed(counted).map_err(|reason| failed(builder, reason))?;
        let mut splitter = Splitter::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = match reader.read(&mut chunk) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(builder, error)),
            };
            let mut take = |line: u64, event: &[u8]| match builder.add(line, event)? {
                Some(batch) => batches.blocking_send(Ok(batch)).map_err(|_| ReadError::Gone),
                None => Ok(()),
            };
            match chunk.get(..count) {
                None | Some([]) => return splitter.finish(&mut take),
                Some(bytes) => splitter.push(bytes, &mut take)?,
            }
            // Whoever writes into a pipe may pause, and what came before should not wait for it. If
            // batches pile up, the network is the slower part, and larger batches serve it better.
            if live
                && batches.capacity() == batches.max_capacity()
                && let Some(batch) = builder.take()
            {
                batches.blocking_send(Ok(batch)).map_err(|_| ReadError::Gone)?;
            }
        }
    }
}

/// Counts what goes through, for the progress bar.
struct Counted<'a> {
    reader: Box<dyn Read + Send>,
    bytes_read: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Undoes gzip if the first two bytes say so.
fn decompressed<'a>(mut reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = Vec::with_capacity(GZIP_MAGIC.len());
    reader.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut head)?;
    let compressed = head == GZIP_MAGIC;
    let whole = Cursor::new(head).chain(reader);
    Ok(if compressed { Box::new(MultiGzDecoder::new(io::BufReader::new(whole))) } else { Box::new(whole) })
}
