//! The second pass of the event list: the few rows that made it, whole.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use futures::StreamExt as _;
use weir_meter::{Coordinates, Namespace, OffsetRange};
use weir_store::{RowScan, RowSource, ScanCounters};

use super::ListedEvent;
use super::newest::Newest;
use crate::budget::Share;
use crate::error::QueryError;
use crate::service::QueryService;

const COLUMNS: [&str; 10] =
    ["epoch", "partition", "offset", "record_time", "source", "id", "type", "subject", "time", "data"];
const STORED_AT: &str = "stored_at";

impl QueryService {
    pub(super) async fn fetch(
        &self,
        namespace: &Namespace,
        newest: Newest,
        counters: &Arc<ScanCounters>,
        share: &Share,
    ) -> Result<Vec<ListedEvent>, QueryError> {
        let (wanted, sources) = newest.into_sorted();
        let (Some((last, _, _)), Some((first, _, _))) = (wanted.first(), wanted.last()) else {
            return Ok(Vec::new());
        };
        let holds = |number: usize| wanted.iter().any(|(_, _, source)| *source == number);
        let sources: Vec<RowSource> =
            sources.into_iter().enumerate().filter(|(number, _)| holds(*number)).map(|(_, s)| s).collect();
        let mut offsets: Vec<OffsetRange> = wanted.iter().map(|(_, at, _)| single(*at)).collect();
        offsets.sort_unstable();
        let mut columns = COLUMNS.to_vec();
        columns.push(STORED_AT);
        let mut stream = self.parts.store.scan_rows(RowScan {
            sources,
            offsets: Some(offsets),
            namespace: Some(namespace.clone()),
            event_type: None,
            subjects: None,
            times_us: Some(vec![(*first, last.saturating_add(1))]),
            counted_only: true,
            recorded_after_us: None,
            columns,
            counters: Arc::clone(counters),
        });
        let mut found = HashMap::with_capacity(wanted.len());
        let (mut bytes, bytes_max) = (0_usize, self.options.result_bytes_max);
        while let Some(batch) = stream.next().await {
            for event in read(&batch?)? {
                // Most of an event is its data.
                let held = event.data.as_ref().map_or(0, String::len);
                bytes = bytes.saturating_add(held);
                if bytes > bytes_max {
                    return Err(QueryError::over(
                        "query_result_bytes_max",
                        "result-too-large",
                        format!("these events have more than {bytes_max} bytes; ask with a smaller limit"),
                    ));
                }
                share.grow(held)?;
                found.insert(event.at, event);
            }
        }
        wanted
            .iter()
            .map(|(_, at, _)| {
                found.remove(at).ok_or_else(|| QueryError::internal("a row at rest was not found again", at))
            })
            .collect()
    }
}

fn single(at: Coordinates) -> OffsetRange {
    let to = at.offset.saturating_add(1);
    OffsetRange { epoch: at.epoch, partition: at.partition, from: at.offset, to }
}

fn read(batch: &RecordBatch) -> Result<Vec<ListedEvent>, QueryError> {
    let missing = |name: &'static str| QueryError::internal("rows at rest lack a column", name);
    let column = |name: &'static str| batch.column_by_name(name).ok_or_else(|| missing(name));
    let epochs = column("epoch")?.as_primitive_opt::<UInt32Type>().ok_or_else(|| missing("epoch"))?;
    let partitions =
        column("partition")?.as_primitive_opt::<UInt32Type>().ok_or_else(|| missing("partition"))?;
    let offsets = column("offset")?.as_primitive_opt::<UInt64Type>().ok_or_else(|| missing("offset"))?;
    let integer = |name: &'static str, row: usize| {
        let column = column(name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| missing(name))?;
        if column.is_null(row) { Err(missing(name)) } else { Ok(column.value(row)) }
    };
    let text =
        |name: &'static str, row: usize| optional_text(column(name)?, row).ok_or_else(|| missing(name));
    (0..batch.num_rows())
        .map(|row| {
            Ok(ListedEvent {
                at: Coordinates {
                    epoch: epochs.value(row),
                    partition: partitions.value(row),
                    offset: offsets.value(row),
                },
                source: text("source", row)?,
                id: text("id", row)?,
                event_type: text("type", row)?,
                subject: text("subject", row)?,
                time_us: integer("time", row)?,
                data: optional_text(column("data")?, row),
                ingested_at_us: integer("record_time", row)?,
                stored_at_us: integer(STORED_AT, row)?,
                validation_error: None,
            })
        })
        .collect()
}

fn optional_text(column: &ArrayRef, row: usize) -> Option<String> {
    let texts = column.as_string_opt::<i32>()?;
    texts.is_valid(row).then(|| texts.value(row).to_owned())
}
