//! One segment on its way to rest: flushes, refolds and merges all write through here. Its file is
//! synced with its folder before anybody hears of it, and gone again if nobody does.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute;
use arrow::datatypes::{Int64Type, SchemaRef};
use metrics::counter;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use weir_files::{Appender, Disk, Open};
use weir_meter::segment::{Coverage, NewSegment, SegmentKind};
use weir_meter::{SegmentId, WriterId};

use crate::local::Shared;
use crate::local::blocks::{BlockSums, NOTE_KEY, note};
use crate::local::files::{io as io_error, location};
use crate::local::properties::{ROW_GROUP_BYTES, properties};
use crate::metrics::{BYTES_WRITTEN, FILES_WRITTEN, ROWS_WRITTEN};
use crate::{ScanCounters, StoreError, schema};

/// Segments that are durable and that no caller has yet; unless they are kept, their files go again.
#[derive(Debug, Default)]
pub(in crate::local) struct Made {
    segments: Vec<NewSegment>,
    drafts: Vec<Draft>,
}

impl Made {
    pub(in crate::local) fn join(&mut self, other: Made) {
        self.segments.extend(other.segments);
        self.drafts.extend(other.drafts);
    }

    pub(in crate::local) fn segments(&self) -> &[NewSegment] {
        &self.segments
    }

    /// The caller has them now.
    pub(in crate::local) fn keep(self) -> Vec<NewSegment> {
        for mut draft in self.drafts {
            draft.path.take();
        }
        self.segments
    }
}

/// A file that goes when this value goes.
#[derive(Debug)]
struct Draft {
    disk: Disk,
    path: Option<PathBuf>,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = self.disk.remove(path)
        {
            tracing::warn!(path = %path.display(), %error, "a file that is no use could not be removed");
        }
    }
}

/// Takes batches in the order at rest. The file is made for the first row; without any there is none.
pub(in crate::local) struct SegmentWriter<'s> {
    shared: &'s Shared,
    schema: SchemaRef,
    path: PathBuf,
    /// Location, length and checksum are known at the end.
    new: NewSegment,
    location: String,
    open: Option<(ArrowWriter<Checksummed>, Draft)>,
    /// Of text, in the row group that is being made.
    group_bytes: usize,
    group_bytes_max: usize,
    failure: Failure,
}

impl<'s> SegmentWriter<'s> {
    pub(in crate::local) fn new(
        shared: &'s Shared,
        writer: WriterId,
        segment: SegmentId,
        kind: SegmentKind,
        coverage: Coverage,
    ) -> Self {
        let location = location(kind, writer, segment);
        let new = NewSegment {
            segment,
            kind,
            level: 0,
            row_count: 0,
            dropped_rows: 0,
            byte_count: 0,
            coverage,
            time_range_us: None,
            location: String::new(),
            checksum: 0,
        };
        let (schema, path) = (schema::of_kind(kind), shared.folders.path(&location));
        let (open, group_bytes, group_bytes_max) = (None, 0, ROW_GROUP_BYTES);
        let failure = Failure::default();
        Self { shared, schema, path, new, location, open, group_bytes, group_bytes_max, failure }
    }

    /// Makes row groups smaller where memory is short: a row group leaves at once.
    pub(in crate::local) fn set_group_bytes_max(&mut self, bytes: usize) {
        self.group_bytes_max = bytes.min(ROW_GROUP_BYTES);
    }

    pub(in crate::local) fn set_level(&mut self, level: u32) {
        self.new.level = level;
    }

    pub(in crate::local) fn set_dropped_rows(&mut self, dropped_rows: u64) {
        self.new.dropped_rows = dropped_rows;
    }

    pub(in crate::local) fn kind(&self) -> SegmentKind {
        self.new.kind
    }

    pub(in crate::local) fn row_count(&self) -> u64 {
        self.new.row_count
    }

    /// Adds a batch, given the bytes of text in it that nothing else bounds.
    pub(in crate::local) fn push(
        &mut self,
        batch: &RecordBatch,
        text_bytes: usize,
    ) -> Result<(), StoreError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (mut writer, draft) = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let with_batch = self.group_bytes.saturating_add(text_bytes);
        let full = with_batch > self.group_bytes_max || writer.memory_size() > self.group_bytes_max;
        let written = if self.group_bytes > 0 && full {
            self.group_bytes = text_bytes;
            writer.flush().and_then(|()| writer.write(batch))
        } else {
            self.group_bytes = with_batch;
            writer.write(batch)
        };
        written.map_err(|error| self.failed(&error))?;
        self.open = Some((writer, draft));
        self.new.row_count = self.new.row_count.saturating_add(batch.num_rows() as u64);
        self.widen_time_range(batch);
        Ok(())
    }

    fn begin(&self) -> Result<(ArrowWriter<Checksummed>, Draft), StoreError> {
        let disk = self.shared.folders.disk();
        let file = disk.open(&self.path, Open::CreateNew).map_err(io_error("making", &self.path))?;
        let draft = Draft { disk: disk.clone(), path: Some(self.path.clone()) };
        let failure = self.failure.clone();
        let sink = Checksummed { file: file.appender(0), sums: BlockSums::default(), failure };
        let properties = properties(self.new.kind, &self.schema).map_err(|error| self.failed(&error))?;
        let writer = ArrowWriter::try_new(sink, Arc::clone(&self.schema), Some(properties));
        Ok((writer.map_err(|error| self.failed(&error))?, draft))
    }

    /// Event times or window starts.
    fn widen_time_range(&mut self, batch: &RecordBatch) {
        let name = if self.new.kind == SegmentKind::Rows { "time" } else { "window_start" };
        let times = batch.column_by_name(name).and_then(|a| a.as_primitive_opt::<Int64Type>());
        let Some((least, greatest)) = times.and_then(|t| compute::min(t).zip(compute::max(t))) else {
            return;
        };
        self.new.time_range_us = Some(match self.new.time_range_us {
            None => (least, greatest),
            Some((known_least, known_greatest)) => (least.min(known_least), greatest.max(known_greatest)),
        });
    }

    /// Makes the file durable and reads its footer back.
    pub(in crate::local) fn finish(mut self) -> Result<Made, StoreError> {
        let Some((writer, draft)) = self.open.take() else {
            return Ok(Made { segments: vec![self.new], drafts: Vec::new() });
        };
        let sink = close(writer).map_err(|error| self.failed(&error))?;
        sink.file.file().sync_all().map_err(io_error("syncing", &self.path))?;
        let kind = self.new.kind;
        self.shared.folders.sync(kind)?;
        (self.new.byte_count, self.new.checksum) = (sink.sums.byte_count(), sink.sums.checksum());
        self.new.location = self.location;
        // Compares the number of rows; the footer stays at hand for the first query.
        let disk = self.shared.folders.disk();
        let counters = Arc::new(ScanCounters::default());
        self.shared.footers.open(disk, &self.path, &self.new, &self.schema, &counters)?;
        counter!(FILES_WRITTEN, "kind" => kind.name()).increment(1);
        counter!(BYTES_WRITTEN, "kind" => kind.name()).increment(self.new.byte_count);
        counter!(ROWS_WRITTEN, "kind" => kind.name()).increment(self.new.row_count);
        Ok(Made { segments: vec![self.new], drafts: vec![draft] })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> StoreError {
        if let Some(failure) = self.failure.get() {
            return io_error("writing", &self.path)(failure);
        }
        StoreError::Arrow { context: format!("writing {}", self.path.display()), reason: error.to_string() }
    }
}

/// Ends the file: the last row group, the checksums of what the file holds so far, indexes and footer.
fn close(mut writer: ArrowWriter<Checksummed>) -> Result<Checksummed, ParquetError> {
    writer.flush()?;
    writer.sync()?;
    writer.write_all(writer.inner().sums.padding())?;
    writer.sync()?;
    let sums = &writer.inner().sums;
    let (list, note) = (sums.list(), note(sums));
    writer.write_all(&list)?;
    writer.append_key_value_metadata(KeyValue::new(NOTE_KEY.to_owned(), note));
    writer.into_inner()
}

/// Takes checksums of all that goes through.
struct Checksummed {
    file: Appender,
    sums: BlockSums,
    failure: Failure,
}

/// What the disk said, in its own words: Parquet hands on no more than a text.
#[derive(Clone, Debug, Default)]
struct Failure(Arc<OnceLock<(io::ErrorKind, String)>>);

impl Failure {
    fn set(&self, error: &io::Error) {
        let _ = self.0.set((error.kind(), error.to_string()));
    }

    fn get(&self) -> Option<io::Error> {
        self.0.get().map(|(kind, text)| io::Error::new(*kind, text.clone()))
    }
}

impl Write for Checksummed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.file.write(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failure.set(error);
            }
        })?;
        self.sums.add(buffer.get(..length).unwrap_or(buffer));
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
