//! Beginning again from what is durable: the catalog's frontier is held against the log, the identity
//! index is read back from the rows at rest, and only then may anything be swept or folded.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt as _;
use weir_catalog::{Listing, Swap, SwapOutcome};
use weir_meter::segment::{Segment, SegmentKind};
use weir_store::{RowScan, RowSource, StoreError, convert};

use crate::error::AggregatorError;
use crate::identity::IdentityIndex;
use crate::service::Parts;
use crate::take::PartitionState;
use crate::writer::{self, Writer};

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
    let sources: Vec<RowSource> =
        rows_segments(listing).map(|segment| RowSource::Segment(Arc::clone(segment))).collect();
    let oldest = |state: &PartitionState| state.record_time_max_us.saturating_sub(state.index.window_us());
    let known = states.iter().filter(|state| state.next_offset > 0);
    let Some(oldest_us) = known.map(oldest).min().filter(|_| !sources.is_empty()) else { return Ok(()) };
    // One look for all partitions: merged segments hold rows of each of them.
    let mut batches = parts.store.scan_rows(RowScan {
        sources,
        offsets: None,
        namespace: None,
        event_type: None,
        subjects: None,
        times_us: None,
        counted_only: true,
        recorded_after_us: Some(oldest_us),
        columns: convert::IDENTITY_COLUMNS.to_vec(),
        counters: Arc::default(),
    });
    while let Some(batch) = batches.next().await {
        for accepted in convert::identities(&batch?)? {
            let at = accepted.at;
            let of_partition = |state: &&mut PartitionState| {
                (state.epoch, state.partition) == (at.epoch, at.partition) && at.offset < state.next_offset
            };
            if let Some(state) = states.iter_mut().find(of_partition)
                && accepted.record_time_us > oldest(state)
            {
                state.index.accept(accepted.identity, accepted.content, accepted.record_time_us);
            }
        }
    }
    for state in states.iter_mut() {
        state.index.forget(state.record_time_max_us);
        let (partition, identities) = (state.partition, state.index.len());
        tracing::info!(partition, identities, "identity index read back");
    }
    Ok(())
}

/// Looks whether what is listed is there, before anything is deleted that a wrong catalog does not know.
/// Rows are the truth, so without them nothing starts. Windows and members are a cache: those that are
/// gone are taken off the listing, and folded again from rows.
pub(crate) async fn verify(parts: &Parts, listing: &Listing) -> Result<(), AggregatorError> {
    let rows: Vec<Arc<Segment>> = rows_segments(listing).cloned().collect();
    parts.store.verify(&rows, false).await?;
    let cached = || listing.segments.iter().filter(|segment| segment.new.kind != SegmentKind::Rows);
    // Windows and members of one size and the same offsets belong together.
    let pair = |segment: &Segment| {
        let coverage = &segment.new.coverage;
        (coverage.window_size_s, coverage.ranges.clone())
    };
    let mut damaged = HashSet::new();
    for segment in cached() {
        match parts.store.verify(std::slice::from_ref(segment), false).await {
            Err(StoreError::Damaged { path, reason }) => {
                tracing::error!(%path, %reason, "stored windows are gone; they are folded again from rows");
                damaged.insert(pair(segment));
            }
            looked => looked?,
        }
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let remove = cached().filter(|segment| damaged.contains(&pair(segment))).map(|s| s.new.segment).collect();
    let now_us = parts.clock.now_us();
    let writer = Writer::open(&parts.store, &parts.catalog, &parts.clock, &parts.entropy).await?.id();
    let swapped = parts.catalog.swap(Swap { writer, remove, add: Vec::new(), now_us }).await?;
    parts.catalog.close_writer(writer, now_us).await?;
    match swapped {
        SwapOutcome::Swapped => Ok(()),
        other => Err(AggregatorError::Refused(format!("damaged windows stay listed: {other:?}"))),
    }
}

pub(crate) fn rows_segments(listing: &Listing) -> impl Iterator<Item = &Arc<Segment>> {
    listing.segments.iter().filter(|segment| segment.new.kind == SegmentKind::Rows)
}
