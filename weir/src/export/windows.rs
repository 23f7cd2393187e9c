//! A meter's windows, one row for each window, subject and group, by the same planner that answers queries.
//! Values are texts with every digit: no common type of column holds 63 of them.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field};
use weir_catalog::Catalog;
use weir_meter::Namespace;
use weir_query::{Ask, QueryError, QueryOptions, UsageAnswer, UsageParams};

use super::sink::{FileFormat, Sink, schema, timestamp};
use super::{Output, Written};
use crate::data::AtRest;
use crate::output::Failure;

/// Rows of an export: they are in memory together.
const ROWS_MAX: usize = 5_000_000;
const FOLDED_BYTES_MAX: usize = 1 << 30;
const MEMORY_BYTES_MAX: usize = 2 << 30;
const DEADLINE: Duration = Duration::from_secs(6 * 60 * 60);
/// Rows that become one batch.
const BATCH_ROWS: usize = 65_536;

/// Names that a group-by key must not take away.
const OWN_COLUMNS: [&str; 4] = ["window_start", "window_end", "subject", "value"];

/// Which windows to export.
#[derive(Clone, Debug)]
pub struct WindowsOf {
    pub namespace: Namespace,
    /// Slug or id.
    pub meter: String,
    /// As on the wire, such as `DAY`; without it, one row for all time.
    pub window_size: Option<&'static str>,
    /// IANA name.
    pub zone: Option<String>,
    /// RFC 3339.
    pub from: Option<String>,
    pub to: Option<String>,
    /// Keys of the meter and `subject`; none means all of them.
    pub group_by: Vec<String>,
}

pub(super) async fn export(
    at_rest: &AtRest,
    wanted: &WindowsOf,
    output: &Output,
    format: FileFormat,
) -> Result<Written, Failure> {
    let service = at_rest.queries(QueryOptions {
        deadline: DEADLINE,
        rows_folded_max: u64::MAX,
        windows_folded_max: ROWS_MAX,
        folded_bytes_max: FOLDED_BYTES_MAX,
        result_rows_max: ROWS_MAX,
        memory_bytes_max: MEMORY_BYTES_MAX,
        ..QueryOptions::default()
    });
    let mut group_by = wanted.group_by.clone();
    if group_by.is_empty() {
        let found = at_rest.catalog.meter(&wanted.namespace, &wanted.meter).await;
        let meter = found.map_err(|error| Failure::new(error.to_string()))?;
        let keys = meter.into_iter().flat_map(|meter| meter.group_by.into_keys());
        group_by = std::iter::once("subject".to_owned()).chain(keys).collect();
    }
    let params = UsageParams {
        from: wanted.from.clone(),
        to: wanted.to.clone(),
        window_size: wanted.window_size.map(str::to_owned),
        window_time_zone: wanted.zone.clone(),
        group_by: Some(group_by),
        ..UsageParams::default()
    };
    // Boxed: a query's state is large.
    let asked = Box::pin(service.usage(&wanted.namespace, &wanted.meter, params, Ask::default()));
    let answer = asked.await;
    let answer = answer.map_err(|error| refused(error, &wanted.meter))?;
    write(&answer, wanted.zone.as_deref(), output, format)
}

fn refused(error: QueryError, meter: &str) -> Failure {
    match error {
        QueryError::NotFound(_) => Failure::new(format!("there is no meter `{meter}` in this folder"))
            .advice("`weir meters list` shows the meters of a running server"),
        QueryError::Invalid { detail, .. } => Failure::new(detail),
        error => Failure::new(error.to_string()).advice("`weir check` says what is wrong with a data folder"),
    }
}

fn write(
    answer: &UsageAnswer,
    zone: Option<&str>,
    output: &Output,
    format: FileFormat,
) -> Result<Written, Failure> {
    let times = timestamp(zone);
    let mut fields =
        vec![Field::new("window_start", times.clone(), false), Field::new("window_end", times, false)];
    if answer.by_subject {
        fields.push(Field::new("subject", DataType::Utf8, true));
    }
    fields.extend(answer.group_by.iter().map(|key| {
        let taken = OWN_COLUMNS.contains(&key.as_str());
        Field::new(if taken { format!("group_{key}") } else { key.clone() }, DataType::Utf8, false)
    }));
    fields.push(Field::new("value", DataType::Utf8, false));
    let schema = schema(fields);
    let mut sink = Sink::create(&output.file, output.force, format, Arc::clone(&schema))?;
    for rows in answer.rows.chunks(BATCH_ROWS) {
        let times = |of: fn(&weir_query::UsageRow) -> i64| -> ArrayRef {
            let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(of));
            Arc::new(times.with_timezone(zone.unwrap_or("UTC")))
        };
        let mut columns = vec![times(|row| row.window_start_us), times(|row| row.window_end_us)];
        if answer.by_subject {
            let subjects = rows.iter().map(|row| row.subject.as_deref());
            columns.push(Arc::new(StringArray::from_iter(subjects)));
        }
        for at in 0..answer.group_by.len() {
            let values = rows.iter().map(|row| row.groups.get(at).map_or("", String::as_str));
            columns.push(Arc::new(StringArray::from_iter_values(values)));
        }
        columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.value.as_str()))));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|error| Failure::new(format!("the answer does not fit its columns: {error}")))?;
        sink.write(&batch)?;
    }
    let (rows, bytes) = sink.finish()?;
    Ok(Written { rows, bytes, floor_us: answer.floor_us })
}
