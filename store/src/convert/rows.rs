//! Rows at rest as Arrow, and back for readers that need whole rows.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Int8Array, Int64Array, RecordBatch, StringArray,
    StringBuilder, UInt32Array, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use weir_meter::{ContentHash, Coordinates, IdentityHash, Namespace, RequestId, WriterId};

use super::columns::{hash_at, hash_column, i64s, texts, typed, u32s, u64s};
use super::{build, failed, hashes, unknown_column};
use crate::StoreError;
use crate::row::{Fate, Row, RowEvent};

/// What `identities` reads.
pub const IDENTITY_COLUMNS: [&str; 6] =
    ["epoch", "partition", "offset", "record_time", "identity", "content"];

/// What the identity index is rebuilt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub at: Coordinates,
    /// Running maximum of the log's timestamps in the partition.
    pub record_time_us: i64,
    pub identity: IdentityHash,
    pub content: ContentHash,
}

/// The columns of `schema` (all of `schema::rows`, or some) for `rows`, in their order. Rows that
/// are not at rest yet have no writer: they show 0.
pub fn rows_to_batch(rows: &[&Row], writer: WriterId, schema: &SchemaRef) -> Result<RecordBatch, StoreError> {
    build(schema, rows.len(), |name| {
        let event_text = |pick: fn(&RowEvent) -> &str| -> ArrayRef {
            let values = rows.iter().map(|row| row.event.as_ref().map(pick));
            Arc::new(StringArray::from_iter(values))
        };
        Ok(match name {
            "epoch" => Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.at.epoch))),
            "partition" => Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.at.partition))),
            "offset" => Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.at.offset))),
            "record_time" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.record_time_us))),
            "record_time_raw" => {
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.record_time_raw_us)))
            }
            "namespace" => Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.namespace.as_str()))),
            "kind" => Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "event"))),
            "fate" => Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.fate.name()))),
            "sign" => {
                Arc::new(Int8Array::from_iter_values(rows.iter().map(|r| i8::from(r.fate == Fate::Counted))))
            }
            // Corrections will fill these; events have no target.
            "target_epoch" | "target_partition" => new_null_array(&DataType::UInt32, rows.len()),
            "target_offset" => new_null_array(&DataType::UInt64, rows.len()),
            "identity" => hashes(rows.iter().map(|r| r.identity.0))?,
            "content" => hashes(rows.iter().map(|r| r.content.0))?,
            "request" => hashes(rows.iter().map(|r| r.request.0))?,
            "source" => event_text(|e| &e.source),
            "id" => event_text(|e| &e.id),
            "type" => event_text(|e| &e.event_type),
            "subject" => event_text(|e| &e.subject),
            "time" => {
                Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.event.as_ref().map(|e| e.time_us))))
            }
            "time_given" => Arc::new(
                rows.iter().map(|r| r.event.as_ref().map(|e| e.time_given)).collect::<BooleanArray>(),
            ),
            "data" => json_texts(rows, |e| e.data.as_ref()),
            "attributes" => json_texts(rows, |e| e.attributes.as_ref()),
            "writer" => hashes(rows.iter().map(|_| writer.0))?,
            "stored_at" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.stored_at_us))),
            other => return Err(unknown_column(other)),
        })
    })
}

/// JSON is UTF-8 and was checked when it came in. Were it ever not, the flush must not fail for it:
/// the bad bytes are replaced, and the log says so.
fn json_texts(rows: &[&Row], pick: fn(&RowEvent) -> Option<&Bytes>) -> ArrayRef {
    // The room is known beforehand: to grow into it would take twice as much.
    let length = |row: &&Row| row.event.as_ref().and_then(pick).map_or(0, Bytes::len);
    let bytes = rows.iter().fold(0_usize, |sum, row| sum.saturating_add(length(row)));
    let mut texts = StringBuilder::with_capacity(rows.len(), bytes);
    for row in rows {
        let Some(bytes) = row.event.as_ref().and_then(pick) else {
            texts.append_null();
            continue;
        };
        // Much faster than to look for bad bytes one by one.
        let text = std::str::from_utf8(bytes).map_or_else(
            |_| {
                tracing::error!(at = %row.at, "JSON that is not UTF-8 reached the store; bad bytes were replaced");
                String::from_utf8_lossy(bytes)
            },
            Cow::Borrowed,
        );
        texts.append_value(text);
    }
    Arc::new(texts.finish())
}

/// Rows from a batch with every column of `schema::rows`.
pub fn batch_to_rows(batch: &RecordBatch) -> Result<Vec<Row>, StoreError> {
    let (epochs, partitions) = (u32s(batch, "epoch")?, u32s(batch, "partition")?);
    let offsets = u64s(batch, "offset")?;
    let (record_times, raw_times) = (i64s(batch, "record_time")?, i64s(batch, "record_time_raw")?);
    let (namespaces, fates) = (texts(batch, "namespace")?, texts(batch, "fate")?);
    let (sources, ids) = (texts(batch, "source")?, texts(batch, "id")?);
    let (types, subjects) = (texts(batch, "type")?, texts(batch, "subject")?);
    let (times, stored) = (i64s(batch, "time")?, i64s(batch, "stored_at")?);
    let given = typed(batch, "time_given", |a| a.as_boolean_opt())?;
    let (data, attributes) = (texts(batch, "data")?, texts(batch, "attributes")?);
    let (identities, contents) = (hash_values(batch, "identity")?, hash_values(batch, "content")?);
    let requests = hash_values(batch, "request")?;
    let json = |texts: &StringArray, at: usize| {
        texts.is_valid(at).then(|| Bytes::copy_from_slice(texts.value(at).as_bytes()))
    };

    let mut rows = Vec::with_capacity(batch.num_rows());
    for (at, ((identity, content), request)) in identities.into_iter().zip(contents).zip(requests).enumerate()
    {
        let fate = Fate::from_name(fates.value(at))
            .ok_or_else(|| failed("reading rows", &format!("no fate is called {:?}", fates.value(at))))?;
        let event = types.is_valid(at).then(|| RowEvent {
            source: sources.value(at).into(),
            id: ids.value(at).into(),
            event_type: types.value(at).into(),
            subject: subjects.value(at).into(),
            time_us: times.value(at),
            time_given: given.value(at),
            data: json(data, at),
            attributes: json(attributes, at),
        });
        rows.push(Row {
            at: Coordinates {
                epoch: epochs.value(at),
                partition: partitions.value(at),
                offset: offsets.value(at),
            },
            record_time_us: record_times.value(at),
            record_time_raw_us: raw_times.value(at),
            namespace: Namespace::new(namespaces.value(at)),
            fate,
            identity: IdentityHash(identity),
            content: ContentHash(content),
            request: RequestId(request),
            event,
            stored_at_us: stored.value(at),
        });
    }
    Ok(rows)
}

/// Identities from a batch with `IDENTITY_COLUMNS`.
pub fn identities(batch: &RecordBatch) -> Result<Vec<Identity>, StoreError> {
    let (epochs, partitions) = (u32s(batch, "epoch")?, u32s(batch, "partition")?);
    let offsets = u64s(batch, "offset")?;
    let times = i64s(batch, "record_time")?;
    let hashes = hash_values(batch, "identity")?.into_iter().zip(hash_values(batch, "content")?);
    let at = epochs.values().iter().zip(partitions.values()).zip(offsets.values());
    Ok(at
        .zip(times.values())
        .zip(hashes)
        .map(|((((epoch, partition), offset), time), (identity, content))| Identity {
            at: Coordinates { epoch: *epoch, partition: *partition, offset: *offset },
            record_time_us: *time,
            identity: IdentityHash(identity),
            content: ContentHash(content),
        })
        .collect())
}

fn hash_values(batch: &RecordBatch, name: &str) -> Result<Vec<u128>, StoreError> {
    let array = hash_column(batch, name)?;
    Ok((0..array.len()).map(|row| hash_at(array, row)).collect())
}
