//! Matching rows of one file: bounds rule out row groups and pages, the deciding columns of the rest
//! are decoded and asked, and only for rows that match the wanted columns are decoded too.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use metrics::counter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowFilter,
};
use weir_meter::segment::{NewSegment, Segment, SegmentKind};

use super::{Batches, Wanted, count_rows};
use crate::convert::{BATCH_ROWS, BATCH_TEXT_BYTES};
use crate::local::Shared;
use crate::local::condition::Condition;
use crate::local::files::damaged;
use crate::local::footers::CountedFile;
use crate::local::prune::{Remaining, prune};
use crate::metrics::FILES_OPENED;
use crate::{ScanCounters, StoreError, schema};

/// Columns without a bound of their own on the length of a value.
const WIDE: [&str; 3] = ["data", "attributes", "groups"];

pub(in crate::local) fn open(
    shared: &Shared,
    wanted: &Wanted,
    segment: &Segment,
    counters: &Arc<ScanCounters>,
) -> Result<Batches, StoreError> {
    if !wanted.may_hold(segment) {
        return Ok(Box::new(std::iter::empty()));
    }
    let Some(path) = shared.folders.file_of(segment)? else { return Ok(Box::new(std::iter::empty())) };
    let kind = wanted.kind();
    let (file, footer) =
        shared.footers.open(shared.folders.disk(), &path, &segment.new, &schema::of_kind(kind), counters)?;
    ScanCounters::add(&counters.segments, 1);
    counter!(FILES_OPENED, "kind" => kind.name()).increment(1);
    let conditions = wanted.conditions(&segment.new.coverage.ranges);
    let remaining = prune(&footer, &conditions).map_err(|error| damaged(&path, &error))?;
    if remaining.row_groups.is_empty() {
        return Ok(Box::new(std::iter::empty()));
    }
    let schema = wanted.schema();
    let asked = !conditions.is_empty();
    let reader = reader(kind, file, footer, &schema, conditions, remaining, counters)
        .map_err(|error| damaged(&path, &error))?;
    Ok(Box::new(FileBatches { reader, path, schema, kind, asked, counters: Arc::clone(counters) }))
}

fn reader(
    kind: SegmentKind,
    file: CountedFile,
    footer: ArrowReaderMetadata,
    schema: &SchemaRef,
    conditions: Vec<Condition>,
    remaining: Remaining,
    counters: &Arc<ScanCounters>,
) -> Result<ParquetRecordBatchReader, ArrowError> {
    let columns = |names: &[&str]| {
        let roots = names.iter().filter_map(|name| footer.schema().index_of(name).ok());
        ProjectionMask::roots(footer.parquet_schema(), roots)
    };
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let batch_rows = batch_rows(&footer, &names, &remaining.row_groups, BATCH_TEXT_BYTES);
    let deciding: Vec<&str> = conditions.iter().flat_map(Condition::columns).collect();
    let (shown, deciding) = (columns(&names), columns(&deciding));
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
        .with_batch_size(batch_rows)
        .with_row_groups(remaining.row_groups)
        .with_projection(shown);
    if let Some(selection) = remaining.selection {
        builder = builder.with_row_selection(selection);
    }
    if !conditions.is_empty() {
        let counters = Arc::clone(counters);
        let predicate = ArrowPredicateFn::new(deciding, move |batch: RecordBatch| {
            count_rows(kind, &counters, batch.num_rows());
            matching(&batch, &conditions)
        });
        builder = builder.with_row_filter(RowFilter::new(vec![Box::new(predicate)]));
    }
    Ok(builder.build()?)
}

fn matching(batch: &RecordBatch, conditions: &[Condition]) -> Result<BooleanArray, ArrowError> {
    let mut selected = BooleanArray::from(vec![true; batch.num_rows()]).values().clone();
    for condition in conditions {
        if selected.count_set_bits() == 0 {
            break;
        }
        selected = &selected & &condition.select(batch)?;
    }
    Ok(BooleanArray::new(selected, None))
}

/// Every row of a segment in the order at rest, with all columns; batches have about so much text at most.
/// Not counted as scanned.
pub(in crate::local) fn open_whole(
    shared: &Shared,
    segment: &NewSegment,
    path: PathBuf,
    text_bytes: usize,
) -> Result<Batches, StoreError> {
    let (kind, counters) = (segment.kind, Arc::default());
    let schema = schema::of_kind(kind);
    let (file, footer) = shared.footers.open(shared.folders.disk(), &path, segment, &schema, &counters)?;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let row_groups: Vec<usize> = (0..footer.metadata().num_row_groups()).collect();
    let batch_rows = batch_rows(&footer, &names, &row_groups, text_bytes);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer);
    let reader = builder.with_batch_size(batch_rows).build().map_err(|error| damaged(&path, &error))?;
    Ok(Box::new(FileBatches { reader, path, schema, kind, asked: true, counters }))
}

/// Fewer rows at a time where values are long, by the widest of the row groups.
fn batch_rows(
    footer: &ArrowReaderMetadata,
    names: &[&str],
    row_groups: &[usize],
    text_bytes: usize,
) -> usize {
    let mut rows = BATCH_ROWS as u64;
    for group in row_groups.iter().filter_map(|group| footer.metadata().row_groups().get(*group)) {
        for (column, leaf) in group.columns().iter().zip(footer.parquet_schema().columns()) {
            // The leaf of a list has a name of its own.
            let name = leaf.path().parts().first().map_or("", String::as_str);
            if WIDE.contains(&name) && names.contains(&name) {
                let bytes = u64::try_from(column.uncompressed_size()).unwrap_or(0);
                let mean = bytes / u64::try_from(group.num_rows()).unwrap_or(1).max(1);
                rows = rows.min(text_bytes as u64 / mean.max(1));
            }
        }
    }
    usize::try_from(rows).unwrap_or(BATCH_ROWS).max(1)
}

struct FileBatches {
    reader: ParquetRecordBatchReader,
    path: PathBuf,
    schema: SchemaRef,
    kind: SegmentKind,
    /// True if rows are counted elsewhere: where the conditions are asked.
    asked: bool,
    counters: Arc<ScanCounters>,
}

impl Iterator for FileBatches {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?.and_then(|batch| {
            if !self.asked {
                count_rows(self.kind, &self.counters, batch.num_rows());
            }
            // The file's own notes on its schema stay behind.
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)
        });
        Some(batch.map_err(|error| damaged(&self.path, &error)))
    }
}
