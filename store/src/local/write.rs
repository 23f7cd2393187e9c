//! Writing a flush: sorted rows, windows and members, each into a file of its own, synced with its
//! folder before anybody hears of it. Counts are checked before writing and read back after.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use metrics::{counter, histogram};
use parquet::arrow::ArrowWriter;
use tokio::time::Instant;
use weir_meter::segment::{Coverage, Generations, NewSegment, SegmentKind};
use weir_meter::window::FOLD_VERSION;
use weir_meter::{SegmentId, WriterId};

mod contents;

use self::contents::Contents;
pub(super) use self::contents::chunks_by_text;
use super::Shared;
use super::files::{io as io_error, location, sync_folder};
use super::properties::{ROW_GROUP_TEXT_BYTES, properties};
use crate::metrics::{BYTES_WRITTEN, FILES_WRITTEN, ROWS_WRITTEN, WRITE_SECONDS};
use crate::{FlushPiece, ScanCounters, StoreError, schema};

/// Size of the windows that a flush brings.
pub(super) const WINDOW_SIZE_S: u32 = 60;

/// One segment of each kind. A piece whose meters met no event brings windows and members without a
/// row and without a file: what it folded has to be covered all the same.
pub(super) fn write(
    shared: &Shared,
    writer: WriterId,
    piece: &FlushPiece,
    ids: [(SegmentKind, SegmentId); 3],
) -> Result<Vec<NewSegment>, StoreError> {
    if piece.ranges.is_empty() {
        return Ok(Vec::new());
    }
    let began = Instant::now();
    contents::check(piece)?;
    let mut segments = Vec::new();
    for (kind, id) in ids {
        // No meter lives at this revision, so there is nothing that windows could cover.
        if kind != SegmentKind::Rows && piece.generations.is_empty() {
            continue;
        }
        let written = write_segment(shared, writer, piece, kind, id);
        match written {
            Ok(segment) => segments.push(segment),
            Err(error) => {
                // The caller gets none of them, so nothing can ever list them; and if the disk is
                // full, the next attempt needs the room.
                for (kind, id) in ids {
                    let _ = fs::remove_file(shared.folders.path(&location(kind, writer, id)));
                }
                return Err(error);
            }
        }
    }
    histogram!(WRITE_SECONDS).record(began.elapsed().as_secs_f64());
    Ok(segments)
}

fn write_segment(
    shared: &Shared,
    writer: WriterId,
    piece: &FlushPiece,
    kind: SegmentKind,
    segment: SegmentId,
) -> Result<NewSegment, StoreError> {
    let contents = Contents::of(piece, kind)?;
    let coverage = Coverage {
        ranges: piece.ranges.clone(),
        revision: piece.revision,
        fold_version: FOLD_VERSION,
        window_size_s: if kind == SegmentKind::Rows { 0 } else { WINDOW_SIZE_S },
        generations: Generations::AllBut(piece.left_out.clone()),
    };
    let mut new = NewSegment {
        segment,
        kind,
        level: 0,
        row_count: contents.len() as u64,
        dropped_rows: 0,
        byte_count: 0,
        coverage,
        time_range_us: contents.time_range_us(),
        location: String::new(),
        checksum: 0,
    };
    if new.row_count == 0 {
        return Ok(new);
    }
    new.location = location(kind, writer, segment);
    let path = shared.folders.path(&new.location);
    let schema = schema::of_kind(kind);
    let (byte_count, checksum) = write_file(&path, kind, &schema, contents.batches(writer, &schema))?;
    (new.byte_count, new.checksum) = (byte_count, checksum);
    sync_folder(&shared.folders.folder(kind))?;
    // Reads the footer back and compares the number of rows; it stays at hand for the first query.
    shared.footers.open(&path, &new, &schema, &Arc::new(ScanCounters::default()))?;
    counter!(FILES_WRITTEN, "kind" => kind.name()).increment(1);
    counter!(BYTES_WRITTEN, "kind" => kind.name()).increment(new.byte_count);
    counter!(ROWS_WRITTEN, "kind" => kind.name()).increment(new.row_count);
    Ok(new)
}

/// Length and CRC32C of the file that was written and synced.
fn write_file(
    path: &Path,
    kind: SegmentKind,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<(RecordBatch, usize), StoreError>>,
) -> Result<(u64, u32), StoreError> {
    let failed = |error: &dyn std::fmt::Display| StoreError::Arrow {
        context: format!("writing {}", path.display()),
        reason: error.to_string(),
    };
    let file = File::create_new(path).map_err(io_error("making", path))?;
    let sink = Checksummed { file, byte_count: 0, checksum: 0 };
    let properties = properties(kind, schema).map_err(|error| failed(&error))?;
    let mut writer =
        ArrowWriter::try_new(sink, Arc::clone(schema), Some(properties)).map_err(|error| failed(&error))?;
    let mut group_bytes: usize = 0;
    for batch in batches {
        let (batch, text_bytes) = batch?;
        if group_bytes > 0 && group_bytes.saturating_add(text_bytes) > ROW_GROUP_TEXT_BYTES {
            writer.flush().map_err(|error| failed(&error))?;
            group_bytes = 0;
        }
        writer.write(&batch).map_err(|error| failed(&error))?;
        group_bytes = group_bytes.saturating_add(text_bytes);
    }
    let sink = writer.into_inner().map_err(|error| failed(&error))?;
    sink.file.sync_all().map_err(io_error("syncing", path))?;
    Ok((sink.byte_count, sink.checksum))
}

/// Knows length and checksum of all that went through.
struct Checksummed {
    file: File,
    byte_count: u64,
    checksum: u32,
}

impl Write for Checksummed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.file.write(buffer)?;
        let written = buffer.get(..length).unwrap_or(buffer);
        self.byte_count = self.byte_count.saturating_add(length as u64);
        self.checksum = crc32c::crc32c_append(self.checksum, written);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
