//! How files are laid out inside. All of it serves one kind of reader: one namespace, one type or
//! meter, few subjects, a span of time. Rows come sorted by just that, and small pages with known
//! bounds let such a reader skip nearly everything.

use arrow::datatypes::SchemaRef;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use weir_meter::segment::SegmentKind;

/// Rows of a row group at most. Tests make everything small, to see it with few rows.
const ROW_GROUP_ROWS: usize = if cfg!(test) { 64 } else { 131_072 };

/// Uncompressed text of a row group at most, and bytes of memory that its pages may take before they are
/// written: a reader whose batches are cut by the mean of a row group may meet so much text at once.
pub(super) const ROW_GROUP_BYTES: usize = 32 << 20;

/// Rows of a page at most: the least that a scan decodes.
const PAGE_ROWS: usize = if cfg!(test) { 16 } else { 8_192 };

/// The writer looks at a page's limits once in so many rows.
const LOOK_ROWS: usize = if cfg!(test) { 8 } else { 1_024 };

const ZSTD_LEVEL: i32 = 1;

/// Columns whose bounds a scan looks at.
const BOUNDED: [&str; 13] = [
    "epoch",
    "partition",
    "offset",
    "record_time",
    "namespace",
    "fate",
    "type",
    "subject",
    "time",
    "meter",
    "generation",
    "window_size",
    "window_start",
];

/// Columns in which hardly any value comes twice: a dictionary would only be given up later.
const DISTINCT: [&str; 7] = ["offset", "identity", "content", "id", "data", "attributes", "member"];

/// The order of the rows, as far as Parquet can tell it (it cannot for lists).
pub(super) fn order(kind: SegmentKind) -> &'static [&'static str] {
    match kind {
        SegmentKind::Rows => &["namespace", "type", "subject", "time", "epoch", "partition", "offset"],
        SegmentKind::Windows | SegmentKind::Members => {
            &["namespace", "meter", "generation", "window_size", "subject", "window_start"]
        }
    }
}

pub(super) fn properties(kind: SegmentKind, schema: &SchemaRef) -> Result<WriterProperties, ParquetError> {
    let sorting = order(kind)
        .iter()
        .filter_map(|name| schema.index_of(name).ok())
        .filter_map(|index| i32::try_from(index).ok())
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true })
        .collect();
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(LOOK_ROWS)
        .set_sorting_columns(Some(sorting));
    for field in schema.fields() {
        let name = field.name().as_str();
        let column = ColumnPath::from(name);
        if DISTINCT.contains(&name) {
            builder = builder.set_column_dictionary_enabled(column.clone(), false);
        }
        if !BOUNDED.contains(&name) {
            builder = builder.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    Ok(builder.build())
}
