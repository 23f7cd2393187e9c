//! Beginning again from what is durable: the catalog's frontier is held against the log, the identity
//! index is put together from its runs and the rows at rest, and only then may anything be folded.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;
use weir_catalog::{Listing, Swap, SwapOutcome};
use weir_meter::OffsetRange;
use weir_meter::segment::{Segment, SegmentKind};
use weir_store::convert::Identity;
use weir_store::head::HeadSnapshot;
use weir_store::{Fate, Row, RowScan, RowSource, StoreError, convert};

use crate::error::AggregatorError;
use crate::identity::{IdentityIndex, IndexError, Standing};
use crate::maintain::ranges;
use crate::metrics::{count_read_back, count_unreadable};
use crate::service::Parts;
use crate::take::PartitionState;
use crate::writer::{self, Writer};

/// Rows that are read back even if it is time to stop.
const STOP_AFTER_ROWS: usize = 65_536;

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
    identities_in_memory: usize,
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
            index: IdentityIndex::sealed_in(
                identity_window_us,
                &parts.index,
                partition,
                next_offset,
                identities_in_memory / (parts.log.partitions().max(1) as usize),
            ),
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

/// Takes the runs that lie on the disk, and reads all else that a later record can still meet back from
/// the rows at rest.
pub(crate) async fn rebuild_indexes(
    parts: &Parts,
    listing: &Listing,
    states: &mut [PartitionState],
) -> Result<(), AggregatorError> {
    let standings: Vec<Standing> = states
        .iter()
        .map(|state| Standing {
            partition: state.partition,
            frontier: state.next_offset,
            horizon_us: state.index.horizon_us(state.record_time_max_us),
        })
        .collect();
    let folder = parts.index.clone();
    let loaded = blocking(move || folder.load(&standings)).await??;
    for (state, runs) in states.iter_mut().zip(loaded) {
        state.index.adopt(runs);
    }
    read_back(parts, listing, &HeadSnapshot::default(), states, &CancellationToken::new()).await?;
    for state in states.iter_mut() {
        let (partition, counts) = (state.partition, state.index.counts());
        tracing::info!(partition, identities = counts.identities, runs = counts.runs, "identity index ready");
    }
    Ok(())
}

/// Reads the identities of a run back that cannot be read any more, and deletes it. The head is looked at
/// before the listing, so that whatever a flush commits meanwhile is in one of them. If it is stopped on the
/// way the partition can take no records any more.
pub(crate) async fn replace_run(
    parts: &Parts,
    state: &mut PartitionState,
    error: IndexError,
    stop: &CancellationToken,
) -> Result<(), AggregatorError> {
    let IndexError::Unreadable { serial, .. } = &error else { return Err(error.into()) };
    let partition = state.partition;
    // A merge and a look-up may have met the same one.
    let Some(run) = state.index.give_up(*serial) else { return Ok(()) };
    tracing::error!(%error, partition, "a run of the identity index is read back from rows at rest");
    count_unreadable();
    let head = parts.store.head().snapshot_of(&[]);
    let listing = parts.catalog.listing().await?;
    read_back(parts, &listing, &head, std::slice::from_mut(state), stop).await?;
    let folder = parts.index.clone();
    blocking(move || folder.remove(&run)).await
}

/// Reads back what the indexes do not cover. More than a table has room for becomes runs on the way.
async fn read_back(
    parts: &Parts,
    listing: &Listing,
    head: &HeadSnapshot,
    states: &mut [PartitionState],
    stop: &CancellationToken,
) -> Result<(), AggregatorError> {
    let mut rows: usize = 0;
    let mut claims: Vec<Vec<OffsetRange>> = states
        .iter()
        .map(|state| state.index.uncovered(state.epoch, state.partition, state.next_offset))
        .collect();
    let missing = ranges::union(claims.iter().flatten().copied());
    let holds_missing = |segment: &&Arc<Segment>| {
        segment.new.coverage.ranges.iter().any(|range| missing.iter().any(|m| m.overlaps(range)))
    };
    let sources: Vec<RowSource> = rows_segments(listing)
        .filter(holds_missing)
        .map(|segment| RowSource::Segment(Arc::clone(segment)))
        .collect();
    let oldest = |state: &PartitionState| state.index.horizon_us(state.record_time_max_us);
    let oldest_us = states.iter().filter(|state| state.next_offset > 0).map(oldest).min();
    if let Some(oldest_us) = oldest_us.filter(|_| !sources.is_empty()) {
        // One look for all partitions: merged segments hold rows of each of them.
        let mut batches = parts.store.scan_rows(RowScan {
            sources,
            offsets: Some(missing.clone()),
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
            let batch = batch?;
            rows = rows.saturating_add(batch.num_rows());
            // A little is read to the end: a process that is to stop would else never get past it.
            if rows >= STOP_AFTER_ROWS && stop.is_cancelled() {
                return Err(IndexError::Stopped.into());
            }
            take_back(states, convert::identities(&batch)?);
            spill_full(states, &mut claims, stop).await?;
        }
    }
    for piece in &head.pieces {
        for batch in &piece.rows {
            let of_run =
                |row: &&Row| row.fate == Fate::Counted && missing.iter().any(|range| range.contains(row.at));
            let identity = |row: &Row| Identity {
                at: row.at,
                record_time_us: row.record_time_us,
                identity: row.identity,
                content: row.content,
            };
            take_back(states, batch.iter().filter(of_run).map(identity));
            spill_full(states, &mut claims, stop).await?;
        }
    }
    for (state, claims) in states.iter_mut().zip(claims) {
        let (at, now_us) = (state.next_offset, state.record_time_max_us);
        let stop = stop.clone();
        let merged = on_index(state, move |index| {
            let Some(merge) = index.claim(at, now_us, claims, &stop)? else { return Ok(None) };
            let merged = merge.run(&stop)?;
            index.end_merge(&merged);
            Ok::<_, IndexError>(Some(merged))
        });
        if let Some(merged) = merged.await?? {
            let folder = parts.index.clone();
            blocking(move || merged.inputs.iter().for_each(|run| folder.remove(run))).await?;
        }
    }
    Ok(())
}

fn take_back(states: &mut [PartitionState], identities: impl IntoIterator<Item = Identity>) {
    let mut taken: u64 = 0;
    for accepted in identities {
        let at = accepted.at;
        let of_partition = |state: &&mut PartitionState| {
            (state.epoch, state.partition) == (at.epoch, at.partition) && at.offset < state.next_offset
        };
        if let Some(state) = states.iter_mut().find(of_partition)
            && accepted.record_time_us > state.index.horizon_us(state.record_time_max_us)
        {
            state.index.accept(accepted.identity, accepted.content, accepted.record_time_us);
            taken = taken.saturating_add(1);
        }
    }
    count_read_back(taken);
}

async fn spill_full(
    states: &mut [PartitionState],
    claims: &mut [Vec<OffsetRange>],
    stop: &CancellationToken,
) -> Result<(), AggregatorError> {
    for (state, claims) in states.iter_mut().zip(claims) {
        if state.index.is_full() {
            let (at, now_us) = (state.next_offset, state.record_time_max_us);
            let stop = stop.clone();
            let spilled = on_index(state, move |index| {
                let mut claims = Vec::new();
                index.spill(at, now_us, &mut claims, &stop).map(|()| claims)
            });
            claims.extend(spilled.await??);
        }
    }
    Ok(())
}

/// Works on an index where it may block.
async fn on_index<T: Send + 'static>(
    state: &mut PartitionState,
    work: impl FnOnce(&mut IdentityIndex) -> T + Send + 'static,
) -> Result<T, AggregatorError> {
    let window_us = state.index.window_us();
    let mut index = std::mem::replace(&mut state.index, IdentityIndex::new(window_us));
    let (index, done) = blocking(move || {
        let done = work(&mut index);
        (index, done)
    })
    .await?;
    state.index = index;
    Ok(done)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AggregatorError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| AggregatorError::Task(error.to_string()))
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
