//! Events at rest, segment by segment and batch by batch, so that a store of any size can be exported.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use futures::StreamExt as _;
use weir_meter::Namespace;
use weir_meter::segment::SegmentKind;
use weir_store::{RowScan, RowSource, ScanCounters, Store};

use super::sink::{FileFormat, Sink, schema, timestamp};
use super::{Output, Written};
use crate::data::AtRest;
use crate::output::Failure;

/// Columns at rest that a person wants, in the order of the file.
const COLUMNS: [&str; 11] = [
    "time",
    "subject",
    "type",
    "source",
    "id",
    "data",
    "attributes",
    "record_time",
    "epoch",
    "partition",
    "offset",
];

/// Which events to export.
#[derive(Clone, Debug)]
pub struct Events {
    pub namespace: Namespace,
    pub event_type: Option<String>,
    pub subjects: Vec<String>,
    /// Inside.
    pub from_us: Option<i64>,
    /// Outside.
    pub to_us: Option<i64>,
}

pub(super) async fn export(
    at_rest: &AtRest,
    wanted: &Events,
    output: &Output,
    format: FileFormat,
) -> Result<Written, Failure> {
    let floor_us = at_rest.listing.floors.get(&wanted.namespace).map(|floor| floor.floor_us);
    // What lies below the floor may be half deleted, so it is left out whole.
    let from_us = wanted.from_us.unwrap_or(i64::MIN).max(floor_us.unwrap_or(i64::MIN));
    let to_us = wanted.to_us.unwrap_or(i64::MAX);
    let schema = columns();
    let mut sink = Sink::create(&output.file, output.force, format, Arc::clone(&schema))?;
    let rows = at_rest.listing.segments.iter().filter(|segment| segment.new.kind == SegmentKind::Rows);
    for segment in rows {
        let mut batches = at_rest.store.scan_rows(RowScan {
            sources: vec![RowSource::Segment(Arc::clone(segment))],
            offsets: None,
            namespace: Some(wanted.namespace.clone()),
            event_type: wanted.event_type.clone(),
            subjects: (!wanted.subjects.is_empty()).then(|| wanted.subjects.clone()),
            times_us: Some(vec![(from_us, to_us)]),
            counted_only: true,
            recorded_after_us: None,
            columns: COLUMNS.to_vec(),
            counters: Arc::new(ScanCounters::default()),
        });
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| {
                Failure::new(error.to_string()).advice("`weir check` says what is wrong with a data folder")
            })?;
            sink.write(&shaped(&batch, &schema)?)?;
        }
    }
    let (rows, bytes) = sink.finish()?;
    Ok(Written {
        rows,
        bytes,
        floor_us: floor_us.filter(|floor| wanted.from_us.is_none_or(|from| from < *floor)),
    })
}

fn columns() -> SchemaRef {
    let fields = COLUMNS.map(|name| match name {
        "time" | "record_time" => Field::new(name, timestamp(None), false),
        "epoch" | "partition" => Field::new(name, DataType::UInt32, false),
        "offset" => Field::new(name, DataType::UInt64, false),
        name => Field::new(name, DataType::Utf8, matches!(name, "data" | "attributes")),
    });
    schema(fields.to_vec())
}

/// A batch at rest with the file's columns; times become timestamps.
fn shaped(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Failure> {
    let columns: Option<Vec<ArrayRef>> = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch.column_by_name(field.name())?;
            if !matches!(field.data_type(), DataType::Timestamp(_, _)) {
                return Some(Arc::clone(column));
            }
            let times = column.as_primitive_opt::<Int64Type>()?;
            let times = TimestampMicrosecondArray::new(times.values().clone(), times.nulls().cloned());
            Some(Arc::new(times.with_timezone("UTC")) as ArrayRef)
        })
        .collect();
    let batch = columns.map(|columns| RecordBatch::try_new(Arc::clone(schema), columns));
    match batch {
        Some(Ok(batch)) => Ok(batch),
        Some(Err(error)) => Err(Failure::new(format!("rows at rest are not as they should be: {error}"))),
        None => Err(Failure::new("rows at rest lack a column that every row has")),
    }
}
