//! Beginning again from what is durable: the catalog's frontier is held against the log, the identity
//! index is read back from the rows at rest, and only then may anything be swept or folded.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array as _, FixedSizeBinaryArray, Int64Array, RecordBatch};
use futures::StreamExt as _;
use weir_catalog::Listing;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::{ContentHash, IdentityHash, OffsetRange};
use weir_store::{RowScan, RowSource, StoreError};

use crate::error::AggregatorError;
use crate::identity::IdentityIndex;
use crate::service::Parts;
use crate::take::PartitionState;
use crate::writer;

/// Closes every writer that earlier processes left open and deletes what they wrote and never
/// committed. Only for a process that holds the data folder's lock: nobody else can be writing.
/// What a writer of another incarnation wrote may have been committed after the copy was made that
/// this catalog was restored from, so it stays.
pub(crate) async fn close_and_sweep(parts: &Parts) -> Result<(), AggregatorError> {
    let incarnation = parts.catalog.installation().incarnation;
    let mut closed = HashSet::new();
    for writer in parts.catalog.writers().await? {
        if writer.closed_at_us.is_none() {
            parts.catalog.close_writer(writer.writer, parts.clock.now_us()).await?;
        }
        if writer.incarnation == incarnation {
            closed.insert(writer.writer);
        }
    }
    let report = writer::sweep(parts.store.as_ref(), parts.catalog.as_ref(), &closed).await?;
    for path in &report.unknown {
        tracing::warn!(%path, "the catalog knows nothing of this file; it is left alone");
    }
    Ok(())
}

/// One state per partition, standing at the frontier.
pub(crate) async fn partitions(
    parts: &Parts,
    listing: &Listing,
    identity_window_us: i64,
) -> Result<Vec<PartitionState>, AggregatorError> {
    let epoch = parts.log.epoch();
    let mut states = Vec::new();
    for partition in 0..parts.log.partitions() {
        let frontier = listing.frontiers.iter().find(|f| f.epoch == epoch && f.partition == partition);
        let next_offset = frontier.map_or(0, |f| f.next_offset);
        let last_record_hash = frontier.map_or(0, |f| f.last_record_hash);
        check_log(parts, partition, next_offset, last_record_hash).await?;
        states.push(PartitionState {
            epoch,
            partition,
            next_offset,
            record_time_max_us: frontier.map_or(i64::MIN, |f| f.record_time_max_us),
            last_record_hash,
            last_value: None,
            index: IdentityIndex::new(identity_window_us),
        });
    }
    Ok(states)
}

/// The log must hold everything from the frontier on, and be the log that was folded.
async fn check_log(parts: &Parts, partition: u32, frontier: u64, hash: u128) -> Result<(), AggregatorError> {
    let start = parts.log.start(partition).await?;
    if start > frontier {
        return Err(AggregatorError::Gap { partition, frontier, start });
    }
    let end = *parts.log.durable_end(partition).borrow();
    if end < frontier {
        return Err(AggregatorError::LogBehind { partition, frontier, end });
    }
    // A log cut right up to the frontier no longer holds the last record; there is nothing to compare.
    let Some(offset) = frontier.checked_sub(1).filter(|last| start <= *last) else { return Ok(()) };
    let last = parts.log.read(partition, offset, 1).await?;
    let same = last
        .first()
        .is_some_and(|logged| logged.offset == offset && parts.hash_key.record(&logged.record.value) == hash);
    if same { Ok(()) } else { Err(AggregatorError::OtherLog { partition, offset }) }
}

/// Reads the accepted identities that a later record can still meet back from the rows at rest.
pub(crate) async fn rebuild_indexes(
    parts: &Parts,
    listing: &Listing,
    states: &mut [PartitionState],
) -> Result<(), AggregatorError> {
    for state in states.iter_mut() {
        let sources: Vec<RowSource> =
            rows_segments(listing).map(|segment| RowSource::Segment(Arc::clone(segment))).collect();
        if state.next_offset == 0 || sources.is_empty() {
            continue;
        }
        let oldest_us = state.record_time_max_us.saturating_sub(state.index.window_us());
        let mut batches = parts.store.scan_rows(RowScan {
            sources,
            offsets: Some(vec![OffsetRange {
                epoch: state.epoch,
                partition: state.partition,
                from: 0,
                to: state.next_offset,
            }]),
            namespace: None,
            event_type: None,
            subjects: None,
            times_us: None,
            counted_only: true,
            columns: vec!["record_time", "identity", "content"],
            counters: Arc::default(),
        });
        while let Some(batch) = batches.next().await {
            read_identities(&batch?, oldest_us, &mut state.index)?;
        }
        state.index.forget(state.record_time_max_us);
        tracing::info!(
            partition = state.partition,
            identities = state.index.len(),
            "identity index read back"
        );
    }
    Ok(())
}

pub(crate) fn rows_segments(listing: &Listing) -> impl Iterator<Item = &Arc<Segment>> {
    listing.segments.iter().filter(|segment| segment.new.kind == SegmentKind::Rows)
}

fn read_identities(
    batch: &RecordBatch,
    oldest_us: i64,
    index: &mut IdentityIndex,
) -> Result<(), AggregatorError> {
    let times: &Int64Array = column(batch, "record_time")?;
    let identities: &FixedSizeBinaryArray = column(batch, "identity")?;
    let contents: &FixedSizeBinaryArray = column(batch, "content")?;
    for row in 0..batch.num_rows() {
        let time_us = times.value(row);
        if time_us > oldest_us {
            index.accept(
                IdentityHash(hash_at(identities, row)?),
                ContentHash(hash_at(contents, row)?),
                time_us,
            );
        }
    }
    Ok(())
}

fn column<'b, A: 'static>(batch: &'b RecordBatch, name: &str) -> Result<&'b A, AggregatorError> {
    batch
        .column_by_name(name)
        .and_then(|array| array.as_any().downcast_ref::<A>())
        .ok_or_else(|| damaged(&format!("the column {name} is missing or of another type")))
}

fn hash_at(array: &FixedSizeBinaryArray, row: usize) -> Result<u128, AggregatorError> {
    let bytes = array.value(row).try_into().map_err(|_| damaged("a hash is not 16 bytes long"))?;
    Ok(u128::from_be_bytes(bytes))
}

fn damaged(reason: &str) -> AggregatorError {
    StoreError::Damaged { path: "rows at rest".to_owned(), reason: reason.to_owned() }.into()
}
