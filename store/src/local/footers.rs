//! Opening files, and remembering their footers. A footer tells where every column and page lies and
//! within which bounds; segments never change, so a footer once read stays true.

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
    /// With the number of the use that was its last.
    footers: HashMap<SegmentId, (ArrowReaderMetadata, u64)>,
    uses: u64,
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
        let file = CountedFile { file: Arc::new(file), length, counters: Arc::clone(counters) };
        if let Some(footer) = self.kept.lock().get(segment.segment) {
            return Ok((file, footer));
        }
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let footer = ArrowReaderMetadata::load(&file, options).map_err(|error| damaged(path, &error))?;
        check_footer(path, &footer, segment, schema)?;
        self.kept.lock().put(segment.segment, footer.clone());
        Ok((file, footer))
    }

    /// Lets go of the footer of a file that is being deleted.
    pub(super) fn forget(&self, segment: SegmentId) {
        self.kept.lock().footers.remove(&segment);
    }
}

impl Kept {
    fn get(&mut self, segment: SegmentId) -> Option<ArrowReaderMetadata> {
        self.uses = self.uses.wrapping_add(1);
        let (footer, last_use) = self.footers.get_mut(&segment)?;
        *last_use = self.uses;
        Some(footer.clone())
    }

    fn put(&mut self, segment: SegmentId, footer: ArrowReaderMetadata) {
        if self.footers.len() >= FOOTERS_MAX {
            let oldest = self.footers.iter().min_by_key(|(_, (_, last_use))| *last_use);
            if let Some(oldest) = oldest.map(|(segment, _)| *segment) {
                self.footers.remove(&oldest);
            }
        }
        self.footers.insert(segment, (footer, self.uses));
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

/// A file that several readers share, and that counts what they read.
#[derive(Clone, Debug)]
pub(super) struct CountedFile {
    file: Arc<File>,
    length: u64,
    counters: Arc<ScanCounters>,
}

impl CountedFile {
    fn count(&self, bytes: usize) {
        ScanCounters::add(&self.counters.bytes, bytes as u64);
        counter!(BYTES_READ).increment(bytes as u64);
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
        Ok(BufReader::new(FileFrom { file: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A damaged footer may ask for anything; nothing is allocated that the file cannot fill.
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            let text = format!("bytes {start} and {length} on are asked for, the file has {}", self.length);
            return Err(ParquetError::EOF(text));
        }
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, start)?;
        self.count(length);
        Ok(buffer.into())
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
        let length = self.file.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(length as u64);
        self.file.count(length);
        Ok(length)
    }
}
