//! Opening files, and remembering their footers. A footer tells where every column and page lies and
//! within which bounds; segments never change, so a footer once read stays true, and so do the checksums
//! of the file's blocks.

use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use hashbrown::HashMap;
use metrics::counter;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};
use weir_files::{Disk, File, Open};
use weir_meter::SegmentId;
use weir_meter::segment::NewSegment;

use super::blocks::{BLOCK_BYTES, Blocks, Unreadable};
use super::files::{damaged, io as io_error};
use super::verify::{check_length, missing};
use crate::metrics::BYTES_READ;
use crate::{ScanCounters, StoreError};

/// Footers kept at most: more than the segments that compaction leaves listed.
const FOOTERS_MAX: usize = 512;

/// The footers that were used last.
#[derive(Debug, Default)]
pub(super) struct Footers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    footers: HashMap<SegmentId, Footer>,
    uses: u64,
}

#[derive(Debug)]
struct Footer {
    metadata: ArrowReaderMetadata,
    blocks: Blocks,
    /// The number of the use that was its last.
    last_use: u64,
}

impl Footers {
    /// Opens a segment's file and checks that length, row count and columns are as listed.
    pub(super) fn open(
        &self,
        disk: &Disk,
        path: &Path,
        segment: &NewSegment,
        schema: &SchemaRef,
        counters: &Arc<ScanCounters>,
    ) -> Result<(CountedFile, ArrowReaderMetadata), StoreError> {
        let file = disk.open(path, Open::Read).map_err(|error| match error.kind() {
            ErrorKind::NotFound => missing(path),
            _ => io_error("opening", path)(error),
        })?;
        let length = file.len().map_err(io_error("looking at", path))?;
        check_length(path, length, segment.byte_count)?;
        let file = Arc::new(file);
        let known = self.kept.lock().get(segment.segment);
        if let Some((blocks, footer)) = known {
            let counters = Arc::clone(counters);
            return Ok((CountedFile { file, length, blocks, counters }, footer));
        }
        let blocks = Blocks::load(&file, length, segment.checksum).map_err(|error| damaged(path, &error))?;
        let file = CountedFile { file, length, blocks: blocks.clone(), counters: Arc::clone(counters) };
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let footer = ArrowReaderMetadata::load(&file, options).map_err(|error| damaged(path, &error))?;
        check_footer(path, &footer, segment, schema)?;
        self.kept.lock().put(segment.segment, blocks, footer.clone());
        Ok((file, footer))
    }

    /// Lets go of the footer of a file that is being deleted.
    pub(super) fn forget(&self, segment: SegmentId) {
        self.kept.lock().footers.remove(&segment);
    }
}

impl Kept {
    fn get(&mut self, segment: SegmentId) -> Option<(Blocks, ArrowReaderMetadata)> {
        self.uses = self.uses.wrapping_add(1);
        let footer = self.footers.get_mut(&segment)?;
        footer.last_use = self.uses;
        Some((footer.blocks.clone(), footer.metadata.clone()))
    }

    fn put(&mut self, segment: SegmentId, blocks: Blocks, metadata: ArrowReaderMetadata) {
        if self.footers.len() >= FOOTERS_MAX {
            let oldest = self.footers.iter().min_by_key(|(_, footer)| footer.last_use);
            if let Some(oldest) = oldest.map(|(segment, _)| *segment) {
                self.footers.remove(&oldest);
            }
        }
        self.footers.insert(segment, Footer { metadata, blocks, last_use: self.uses });
    }
}

fn check_footer(
    path: &Path,
    footer: &ArrowReaderMetadata,
    segment: &NewSegment,
    schema: &SchemaRef,
) -> Result<(), StoreError> {
    let rows = footer.metadata().file_metadata().num_rows();
    let in_groups: i64 = footer.metadata().row_groups().iter().map(|group| group.num_rows()).sum();
    if rows != in_groups || u64::try_from(rows) != Ok(segment.row_count) {
        return Err(damaged(
            path,
            &format!(
                "its footer tells of {rows} rows, {in_groups} of them in row groups; {} are listed",
                segment.row_count
            ),
        ));
    }
    let found = footer.schema().fields().iter().map(|field| (field.name(), field.data_type()));
    let expected = schema.fields().iter().map(|field| (field.name(), field.data_type()));
    if !found.eq(expected) {
        return Err(damaged(path, &format!("its columns are not those of {}", segment.kind.name())));
    }
    Ok(())
}

/// A file that several readers share. It counts what they read, and gives nothing that was not compared
/// with its checksum.
#[derive(Clone, Debug)]
pub(super) struct CountedFile {
    file: Arc<File>,
    length: u64,
    blocks: Blocks,
    counters: Arc<ScanCounters>,
}

impl CountedFile {
    fn read(&self, start: u64, length: usize) -> Result<Bytes, Unreadable> {
        let bytes = self.blocks.read(&self.file, start, length)?;
        ScanCounters::add(&self.counters.bytes, length as u64);
        counter!(BYTES_READ).increment(length as u64);
        Ok(bytes)
    }
}

impl Length for CountedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for CountedFile {
    type T = BufReader<FileFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        // A block at a time: what is read this way are headers of pages.
        Ok(BufReader::with_capacity(BLOCK_BYTES, FileFrom { file: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.read(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads on from a place of its own.
#[derive(Debug)]
pub(super) struct FileFrom {
    file: CountedFile,
    at: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.file.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        // No further than the block's end, so that the next read begins with one.
        let to_end = BLOCK_BYTES as u64 - self.at % BLOCK_BYTES as u64;
        let length = buffer.len().min(rest).min(usize::try_from(to_end).unwrap_or(BLOCK_BYTES));
        let bytes = self.file.read(self.at, length).map_err(io::Error::other)?;
        for (to, from) in buffer.iter_mut().zip(&bytes) {
            *to = *from;
        }
        self.at = self.at.saturating_add(length as u64);
        Ok(length)
    }
}
