//! Rows at rest as folding takes them: read here once for refolds and for queries that fold rows
//! themselves, so that both make the same numbers of the same rows.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use weir_meter::fold::FoldEvent;
use weir_meter::{Coordinates, Meter, Namespace};

use super::columns::{i64s, texts, u32s, u64s};
use crate::StoreError;

/// The columns that folding for these meters needs.
pub fn foldable_columns<'m>(meters: impl IntoIterator<Item = &'m Meter>) -> Vec<&'static str> {
    let mut columns = vec!["epoch", "partition", "offset", "record_time", "subject", "time"];
    if meters.into_iter().any(|meter| meter.value_property.is_some() || !meter.group_by.is_empty()) {
        columns.push("data");
    }
    columns
}

/// Hands every row of a batch to `fold`, in order, until it fails. All rows are of one namespace and type.
pub fn each_event<E: From<StoreError>>(
    batch: &RecordBatch,
    namespace: &Namespace,
    event_type: &str,
    mut fold: impl FnMut(&FoldEvent<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (epochs, partitions) = (u32s(batch, "epoch")?, u32s(batch, "partition")?);
    let (offsets, record_times) = (u64s(batch, "offset")?, i64s(batch, "record_time")?);
    let (subjects, times) = (texts(batch, "subject")?, i64s(batch, "time")?);
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

fn damaged(reason: &str) -> StoreError {
    StoreError::Damaged { path: "rows at rest".to_owned(), reason: reason.to_owned() }
}
