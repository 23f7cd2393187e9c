//! Rows at rest as folding takes them. The columns and their meaning are those that queries read when they
//! fold rows themselves: both make the same numbers of the same rows.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use weir_meter::fold::FoldEvent;
use weir_meter::{Coordinates, Meter, Namespace};
use weir_store::StoreError;

/// The columns that folding for these meters needs.
pub(super) fn columns<'m>(meters: impl IntoIterator<Item = &'m Meter>) -> Vec<&'static str> {
    let mut columns = vec!["epoch", "partition", "offset", "record_time", "subject", "time"];
    if meters.into_iter().any(|meter| meter.value_property.is_some() || !meter.group_by.is_empty()) {
        columns.push("data");
    }
    columns
}

/// Hands every row of a batch to `fold`, in order, until it fails. All rows are of one namespace and type.
pub(super) fn each_event<E: From<StoreError>>(
    batch: &RecordBatch,
    namespace: &Namespace,
    event_type: &str,
    mut fold: impl FnMut(&FoldEvent<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let missing = |name: &'static str| damaged(&format!("the column {name} is missing or of another type"));
    let column = |name: &'static str| batch.column_by_name(name).ok_or_else(|| missing(name));
    let epochs = column("epoch")?.as_primitive_opt::<UInt32Type>().ok_or_else(|| missing("epoch"))?;
    let partitions =
        column("partition")?.as_primitive_opt::<UInt32Type>().ok_or_else(|| missing("partition"))?;
    let offsets = column("offset")?.as_primitive_opt::<UInt64Type>().ok_or_else(|| missing("offset"))?;
    let record_times =
        column("record_time")?.as_primitive_opt::<Int64Type>().ok_or_else(|| missing("record_time"))?;
    let subjects = column("subject")?.as_string_opt::<i32>().ok_or_else(|| missing("subject"))?;
    let times = column("time")?.as_primitive_opt::<Int64Type>().ok_or_else(|| missing("time"))?;
    let data = batch.column_by_name("data").and_then(|data| data.as_string_opt::<i32>());
    for row in 0..batch.num_rows() {
        let at = Coordinates {
            epoch: epochs.value(row),
            partition: partitions.value(row),
            offset: offsets.value(row),
        };
        if subjects.is_null(row) || times.is_null(row) {
            return Err(damaged(&format!("the counted row at {at} has no subject or no time")).into());
        }
        fold(&FoldEvent {
            namespace,
            event_type,
            subject: subjects.value(row),
            time_us: times.value(row),
            record_time_us: record_times.value(row),
            at,
            data: data.filter(|data| data.is_valid(row)).map(|data| data.value(row).as_bytes()),
        })?;
    }
    Ok(())
}

pub(super) fn damaged(reason: &str) -> StoreError {
    StoreError::Damaged { path: "rows at rest".to_owned(), reason: reason.to_owned() }
}
