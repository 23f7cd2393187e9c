//! Where an export's batches go: a Parquet or a CSV file that has another name until it is whole.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;
use weir_meter::time::format_utc;
use weir_meter::zone::{format_zoned, zone};

use super::unwritable;
use crate::output::{Failure, csv_line};

/// Bytes of a row group in memory before it is written.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Rows of a row group.
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;

/// The form of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// Columns with their types; times are timestamps in UTC with microseconds.
    Parquet,
    /// Text; times are RFC 3339.
    Csv,
}

/// A file that is being written.
pub(super) struct Sink {
    path: PathBuf,
    force: bool,
    rows: u64,
    writer: Writer,
}

enum Writer {
    Parquet(Box<ArrowWriter<NamedTempFile>>),
    Csv { file: BufWriter<NamedTempFile>, line: String },
}

impl Sink {
    /// Begins a file beside the one that it will become.
    pub(super) fn create(
        path: &Path,
        force: bool,
        format: FileFormat,
        schema: SchemaRef,
    ) -> Result<Self, Failure> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut draft = tempfile::Builder::new();
        // As any file that a person makes: the umask takes away what it should.
        let draft = draft.prefix(".weir-export-").permissions(Permissions::from_mode(0o666));
        let draft = draft.tempfile_in(folder).map_err(|error| unwritable(path, error))?;
        let writer = match format {
            FileFormat::Parquet => {
                let zstd = ZstdLevel::try_new(3).map(Compression::ZSTD).unwrap_or(Compression::UNCOMPRESSED);
                let properties = WriterProperties::builder()
                    .set_compression(zstd)
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
                    .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned())
                    .build();
                let writer = ArrowWriter::try_new(draft, schema, Some(properties));
                Writer::Parquet(Box::new(writer.map_err(|error| unwritable(path, error))?))
            }
            FileFormat::Csv => {
                let mut file = BufWriter::new(draft);
                let mut line = String::new();
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                csv_line(&mut line, &names);
                file.write_all(line.as_bytes()).map_err(|error| unwritable(path, error))?;
                Writer::Csv { file, line }
            }
        };
        Ok(Self { path: path.to_owned(), force, rows: 0, writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.rows = self.rows.saturating_add(batch.num_rows() as u64);
        match &mut self.writer {
            Writer::Parquet(writer) => {
                writer.write(batch).map_err(|error| unwritable(&self.path, error))?;
                if writer.in_progress_size() > ROW_GROUP_BYTES_MAX {
                    writer.flush().map_err(|error| unwritable(&self.path, error))?;
                }
                Ok(())
            }
            Writer::Csv { file, line } => {
                let columns: Vec<Cells> = batch
                    .schema()
                    .fields()
                    .iter()
                    .zip(batch.columns())
                    .map(|(f, c)| Cells::new(f.data_type(), c))
                    .collect();
                for row in 0..batch.num_rows() {
                    line.clear();
                    let cells: Vec<String> = columns.iter().map(|cells| cells.text(row)).collect();
                    csv_line(line, &cells.iter().map(String::as_str).collect::<Vec<_>>());
                    file.write_all(line.as_bytes()).map_err(|error| unwritable(&self.path, error))?;
                }
                Ok(())
            }
        }
    }

    /// Ends the file and gives it its name, durably. Gives its rows and bytes.
    pub(super) fn finish(self) -> Result<(u64, u64), Failure> {
        let failed = |error: &dyn std::fmt::Display| unwritable(&self.path, error);
        let draft = match self.writer {
            Writer::Parquet(writer) => writer.into_inner().map_err(|error| failed(&error))?,
            Writer::Csv { file, .. } => file.into_inner().map_err(|error| failed(&error))?,
        };
        draft.as_file().sync_all().map_err(|error| failed(&error))?;
        let bytes = draft.as_file().metadata().map_err(|error| failed(&error))?.len();
        let named = if self.force { draft.persist(&self.path) } else { draft.persist_noclobber(&self.path) };
        named.map_err(|error| failed(&error.error))?;
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
        Ok((self.rows, bytes))
    }
}

/// A column of times in UTC, or as the clocks of a zone show them.
pub(super) fn timestamp(zone: Option<&str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from(zone.unwrap_or("UTC"))))
}

/// The schema of the fields, all of them.
pub(super) fn schema(fields: Vec<arrow::datatypes::Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// A column as texts.
struct Cells<'c> {
    column: &'c ArrayRef,
    zone: Option<TimeZone>,
}

impl<'c> Cells<'c> {
    fn new(data_type: &DataType, column: &'c ArrayRef) -> Self {
        let zone = match data_type {
            DataType::Timestamp(_, Some(name)) if name.as_ref() != "UTC" => zone(name),
            _ => None,
        };
        Self { column, zone }
    }

    fn text(&self, row: usize) -> String {
        if self.column.is_null(row) {
            return String::new();
        }
        if let Some(texts) = self.column.as_string_opt::<i32>() {
            return texts.value(row).to_owned();
        }
        if let Some(times) = self.column.as_primitive_opt::<TimestampMicrosecondType>() {
            let time_us = times.value(row);
            return match &self.zone {
                Some(zone) => format_zoned(time_us, zone),
                None => format_utc(time_us),
            };
        }
        if let Some(numbers) = self.column.as_primitive_opt::<UInt64Type>() {
            return numbers.value(row).to_string();
        }
        self.column
            .as_primitive_opt::<UInt32Type>()
            .map(|numbers| numbers.value(row).to_string())
            .unwrap_or_default()
    }
}
