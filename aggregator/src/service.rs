//! The aggregator's loop: read durable records, decide, fold, and cut the head into pieces that the
//! flusher brings to rest. Folding goes on while a piece is written; at most `FROZEN_PIECES_MAX`
//! pieces wait beside the one that folding adds to, then folding waits too, so that memory stays bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use metrics::{counter, gauge};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_catalog::{Catalog, FrontierMove, Wide};
use weir_log::Log;
use weir_meter::environment::{Clock, Entropy};
use weir_meter::fold::{FoldScratch, Folder};
use weir_meter::hash::HashKey;
use weir_meter::{Generation, Meter, OffsetRange};
use weir_store::{Fate, Store};

use crate::commit::{FlushJob, Flusher};
use crate::error::AggregatorError;
use crate::identity::keeper::{Keeper, Room};
use crate::identity::{IndexError, IndexFolder};
use crate::metrics::{
    LAG_RECORDS, PIECE_RECORDS, RECORDS, VALUES_IGNORED, VALUES_OVERFLOWED, VALUES_ROUNDED, measure_index,
    warn_wide,
};
use crate::recover;
use crate::take::{self, PartitionState};
use crate::wide::GroupsPerHour;

/// Pieces that are not at rest yet, the one that is being written among them, before folding waits for one.
const FROZEN_PIECES_MAX: usize = 2;
/// A new or deleted meter ends a piece, but pieces are not cut more often than this for it.
const REVISION_CUT_INTERVAL: Duration = Duration::from_secs(1);

/// When the head is cut into a piece and flushed. Whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub flush_interval: Duration,
    pub flush_records: usize,
    /// Bytes of records as sent, and of the windows that they made.
    pub flush_bytes: usize,
    /// Bytes of records that are taken and folded at a time; readers wait for one such step at most.
    pub step_bytes: usize,
    /// For how long after an accepted event its identity is remembered.
    pub identity_window_us: i64,
    /// Identities of all partitions that are kept in memory before they are sealed in runs.
    pub identities_in_memory: usize,
    /// Groups of one hour (subject and group values) beyond which a meter gets no windows.
    pub wide_groups_max: u64,
}

/// What the aggregator works on.
#[derive(Clone)]
pub struct Parts {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub catalog: Arc<dyn Catalog>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub hash_key: HashKey,
    /// Runs of the identity index: a cache of this machine.
    pub index: IndexFolder,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// How the aggregator is doing, for probes and for a draining server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Everything that was durable at start has been folded once.
    pub caught_up: bool,
    /// Why the last flush failed, until one succeeds.
    pub flush_error: Option<String>,
    /// Why the identity index cannot be written, until it can. Folding waits once memory is full.
    pub index_error: Option<String>,
}

#[derive(Debug)]
pub(crate) struct StatusCell(watch::Sender<Status>);

impl StatusCell {
    pub(crate) fn set_flush_error(&self, error: Option<String>) {
        self.0.send_if_modified(|status| {
            let changed = status.flush_error != error;
            status.flush_error = error;
            changed
        });
    }

    fn set_index_error(&self, error: Option<String>) {
        self.0.send_if_modified(|status| {
            let changed = status.index_error != error;
            status.index_error = error;
            changed
        });
    }
}

/// Looks at a running aggregator.
#[derive(Clone, Debug)]
pub struct Handle {
    status: watch::Receiver<Status>,
}

impl Handle {
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Returns when everything that was durable at start is visible.
    pub async fn caught_up(&mut self) -> bool {
        self.status.wait_for(|status| status.caught_up).await.is_ok()
    }
}

/// Stands at the frontier, ready to run.
#[derive(Debug)]
pub struct Service {
    parts: Parts,
    options: Options,
    states: Vec<PartitionState>,
    flusher: Flusher,
    status: Arc<StatusCell>,
}

/// The piece that folding adds to, beside what the head keeps of it.
struct ActivePiece {
    folder: Arc<Folder>,
    meters: Vec<Arc<Meter>>,
    /// From how many windows on a generation's groups are counted again.
    count_from: HashMap<Generation, u64>,
    revision: u64,
    begun: Instant,
    records: usize,
    bytes: usize,
    /// Where each partition stood when the piece was begun.
    from: Vec<u64>,
}

impl Service {
    /// Recovers: checks the log against the frontier, sweeps what was never committed, reads the
    /// identity index back. Only for the one process that holds the data folder.
    pub async fn start(parts: Parts, options: Options) -> Result<(Self, Handle), AggregatorError> {
        let listing = parts.catalog.listing().await?;
        let (window_us, in_memory) = (options.identity_window_us, options.identities_in_memory);
        let mut states = recover::partitions(&parts, &listing, window_us, in_memory).await?;
        // First: a catalog that does not belong to this store must not sweep it.
        recover::verify(&parts, &listing).await?;
        recover::close_and_sweep(&parts).await?;
        recover::rebuild_indexes(&parts, &listing, &mut states).await?;
        let visible = states.iter().map(|state| state.range_from(0)).collect();
        parts.store.head().set_visible(visible);
        let (sender, receiver) = watch::channel(Status::default());
        let status = Arc::new(StatusCell(sender));
        let flusher = Flusher::new(parts.clone(), Arc::clone(&status)).await?;
        Ok((Self { parts, options, states, flusher, status }, Handle { status: receiver }))
    }

    /// Runs until `stop`; then folds what is durable, flushes it all and returns.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AggregatorError> {
        let Self { parts, options, states, mut flusher, status } = self;
        let stop = stop.child_token();
        // The flusher has taken one of them out.
        let (jobs, mut queue) = mpsc::channel::<FlushJob>(FROZEN_PIECES_MAX - 1);
        let flushing = async move {
            while let Some(job) = queue.recv().await {
                flusher.flush(&job).await?;
            }
            Ok::<_, AggregatorError>(())
        };
        let keeper = Keeper::new(parts.index.clone());
        let folding = Folding { parts, options, states, status, jobs, keeper, given_up: false };
        let folding = async {
            let mut folding = folding;
            let folded = folding.run(&stop).await;
            // Before anybody else may open the folder, nothing of this one works on it any more.
            folding.keeper.finish().await;
            folded
        };
        // Boxed: their states are large and live as long as the process.
        let (mut folding, mut flushing) = (Box::pin(folding), Box::pin(flushing));
        tokio::select! {
            // The flusher ends before folding does only if it cannot go on.
            flushed = &mut flushing => match flushed {
                Ok(()) => folding.await,
                Err(error) => {
                    // Folding finds out by itself; what it says then is only that.
                    stop.cancel();
                    let _ = folding.await;
                    Err(error)
                }
            },
            // After an error nothing more may be committed; else what waits is brought to rest.
            folded = &mut folding => {
                folded?;
                flushing.await
            }
        }
    }
}

struct Folding {
    parts: Parts,
    options: Options,
    states: Vec<PartitionState>,
    status: Arc<StatusCell>,
    jobs: mpsc::Sender<FlushJob>,
    keeper: Keeper,
    /// It was time to stop while a run was read back: without it nothing can be decided.
    given_up: bool,
}

impl Folding {
    async fn run(&mut self, stop: &CancellationToken) -> Result<(), AggregatorError> {
        let mut ends: Vec<watch::Receiver<u64>> =
            self.states.iter().map(|state| self.parts.log.durable_end(state.partition)).collect();
        let start_ends: Vec<u64> = ends.iter().map(|end| *end.borrow()).collect();
        let mut piece: Option<ActivePiece> = None;
        loop {
            if self.jobs.is_closed() {
                return Err(AggregatorError::Task("the flusher has stopped".to_owned()));
            }
            let stopping = stop.is_cancelled();
            let mut progressed = false;
            for index in 0..self.states.len() {
                // Asked between any two steps: a round over many partitions may take much.
                if let Some(active) = &piece
                    && self.is_due(active).await?
                {
                    self.cut(&mut piece).await?;
                }
                progressed |= self.step(index, &mut piece, stop).await?;
            }
            self.report(piece.as_ref(), &ends, &start_ends);
            if progressed {
                continue;
            }
            if stopping {
                return self.cut(&mut piece).await;
            }
            self.wait(&mut ends, piece.as_ref(), stop).await;
        }
    }

    /// Takes and folds one step of one partition. False if there was nothing to take.
    async fn step(
        &mut self,
        index: usize,
        piece: &mut Option<ActivePiece>,
        stop: &CancellationToken,
    ) -> Result<bool, AggregatorError> {
        if self.given_up {
            return Ok(false);
        }
        let Some(partition) = self.states.get(index).map(|state| state.partition) else { return Ok(false) };
        match self.keeper.has_room(partition, &mut self.states).await? {
            Room::Enough => {}
            Room::Fault(fault) => {
                self.replace_run(fault.partition, fault.error, stop).await?;
                return Ok(true);
            }
            // Tried again, but not for ever by a process that is to end: the log keeps the records.
            Room::None => return Ok(!(stop.is_cancelled() && self.keeper.error().is_some())),
        }
        let Some(state) = self.states.get(index) else { return Ok(false) };
        let from = state.next_offset;
        let records = self.parts.log.read(state.partition, from, self.options.step_bytes).await?;
        if records.is_empty() {
            return Ok(false);
        }
        if piece.is_none() {
            *piece = Some(self.begin().await?);
        }
        let Some(active) = piece else { return Ok(false) };
        let count = records.len();
        let bytes = records.iter().fold(0, |sum: usize, r| sum.saturating_add(r.record.value.len()));

        let mut state = self.states.swap_remove(index);
        let (store, folder) = (Arc::clone(&self.parts.store), Arc::clone(&active.folder));
        let now_us = self.parts.clock.now_us();
        let work = tokio::task::spawn_blocking(move || {
            let rows = match state.take(&records, now_us) {
                Ok(rows) => rows,
                Err(error) => return (state, Err(error)),
            };
            state.last_value = records.into_iter().next_back().map(|logged| logged.record.value);
            count_fates(&rows);
            let range = state.range_from(from);
            let counts = store.head().add(range, rows, |rows, windows| {
                take::fold_rows(&folder, rows, &mut FoldScratch::default(), windows)
            });
            (state, Ok(counts))
        });
        let (state, taken) = work.await.map_err(|error| AggregatorError::Task(error.to_string()))?;
        self.states.push(state);
        let last = self.states.len() - 1;
        self.states.swap(index, last);
        let counts = match taken {
            Ok(counts) => counts.map_err(|error| AggregatorError::Task(error.to_string()))?,
            // Nothing was taken: the same records are read again.
            Err(error) => {
                self.replace_run(partition, error, stop).await?;
                return Ok(true);
            }
        };
        active.records = active.records.saturating_add(count);
        active.bytes = active.bytes.saturating_add(bytes);
        // A small event can make many large windows: the head is bounded by both.
        active.bytes = active.bytes.saturating_add(counts.window_bytes);
        counter!(VALUES_IGNORED).increment(counts.ignored_values);
        counter!(VALUES_ROUNDED).increment(counts.rounded_values);
        counter!(VALUES_OVERFLOWED).increment(counts.overflowed_values);
        self.leave_out_wide(active).await?;
        Ok(true)
    }

    async fn replace_run(
        &mut self,
        partition: u32,
        error: IndexError,
        stop: &CancellationToken,
    ) -> Result<(), AggregatorError> {
        let Some(state) = self.states.iter_mut().find(|state| state.partition == partition) else {
            return Err(error.into());
        };
        match recover::replace_run(&self.parts, state, error, stop).await {
            Err(AggregatorError::Index(IndexError::Stopped)) => {
                tracing::warn!(
                    partition,
                    "stopped while identities were read back; the log keeps what is left"
                );
                self.given_up = true;
                Ok(())
            }
            replaced => replaced,
        }
    }

    /// Lets go of generations that make too many windows, and folds on without them.
    async fn leave_out_wide(&self, active: &mut ActivePiece) -> Result<(), AggregatorError> {
        let most = self.options.wide_groups_max;
        for (generation, windows) in self.parts.store.head().window_counts() {
            let windows = windows as u64;
            let count_from = active.count_from.entry(generation).or_insert(most);
            if windows <= *count_from {
                continue;
            }
            // There are as many groups in an hour as there are windows at the most.
            *count_from = windows.saturating_add(most);
            let store = Arc::clone(&self.parts.store);
            let counting = tokio::task::spawn_blocking(move || groups_in_head(store.as_ref(), generation));
            let groups = counting.await.map_err(|error| AggregatorError::Task(error.to_string()))?;
            if groups <= most {
                continue;
            }
            warn_wide(generation, groups, most);
            let wide = Wide { groups, noticed_at_us: self.parts.clock.now_us() };
            if let Err(error) = self.parts.catalog.note_wide(generation, wide).await {
                // It is left out of this piece all the same; the next one, or its refold, notes it again.
                tracing::warn!(%error, "a wide meter could not be noted");
            }
            self.parts.store.head().leave_out(generation);
            active.meters.retain(|meter| meter.key() != generation);
            let folder = Folder::new(active.meters.iter().map(AsRef::as_ref), self.parts.hash_key)?;
            active.folder = Arc::new(folder);
        }
        Ok(())
    }

    /// Begins a piece that folds every meter that lives now and is not too wide.
    async fn begin(&mut self) -> Result<ActivePiece, AggregatorError> {
        let (revision, living) = self.parts.catalog.live_meters().await?;
        let listing = self.parts.catalog.listing().await?;
        self.keeper.look(&mut self.states, &listing);
        let wide = Arc::clone(&listing.wide);
        let (left_out, meters): (Vec<_>, Vec<_>) =
            living.iter().cloned().partition(|meter| wide.contains_key(&meter.key()));
        let left_out = left_out.iter().map(|meter| meter.key()).collect();
        let generations = meters.iter().map(|meter| (meter.key(), meter.namespace.clone())).collect();
        let folder = Folder::new(meters.iter().map(AsRef::as_ref), self.parts.hash_key)?;
        let begun = self.parts.store.head().begin(revision, Arc::new(generations), left_out);
        begun.map_err(|error| AggregatorError::Task(error.to_string()))?;
        Ok(ActivePiece {
            folder: Arc::new(folder),
            meters,
            count_from: HashMap::new(),
            revision,
            begun: Instant::now(),
            records: 0,
            bytes: 0,
            from: self.states.iter().map(|state| state.next_offset).collect(),
        })
    }

    async fn is_due(&self, piece: &ActivePiece) -> Result<bool, AggregatorError> {
        let age = piece.begun.elapsed();
        if age >= self.options.flush_interval
            || piece.records >= self.options.flush_records
            || piece.bytes >= self.options.flush_bytes
        {
            return Ok(true);
        }
        Ok(age >= REVISION_CUT_INTERVAL && self.parts.catalog.live_meters().await?.0 != piece.revision)
    }

    /// Freezes the piece and hands it to the flusher; waits while the flusher is too far behind.
    async fn cut(&mut self, piece: &mut Option<ActivePiece>) -> Result<(), AggregatorError> {
        let Some(active) = piece.take() else { return Ok(()) };
        let moves: Vec<FrontierMove> = self
            .states
            .iter_mut()
            .zip(&active.from)
            .filter(|(state, from)| state.next_offset > **from)
            .map(|(state, from)| {
                if let Some(value) = state.last_value.take() {
                    state.last_record_hash = self.parts.hash_key.record(&value);
                }
                FrontierMove {
                    range: state.range_from(*from),
                    record_time_max_us: state.record_time_max_us,
                    last_record_hash: state.last_record_hash,
                }
            })
            .collect();
        for state in &mut self.states {
            state.index.forget(state.record_time_max_us);
        }
        let Some(frozen) = self.parts.store.head().freeze() else { return Ok(()) };
        same_ranges(&frozen.ranges, &moves)?;
        let closed = || AggregatorError::Task("the flusher has stopped".to_owned());
        self.jobs.send(FlushJob { piece: frozen, moves }).await.map_err(|_| closed())
    }

    fn report(&mut self, piece: Option<&ActivePiece>, ends: &[watch::Receiver<u64>], start_ends: &[u64]) {
        let lag = self.states.iter().zip(ends).fold(0, |lag: u64, (state, end)| {
            lag.saturating_add(end.borrow().saturating_sub(state.next_offset))
        });
        gauge!(LAG_RECORDS).set(lag as f64);
        measure_index(self.states.iter_mut().map(|state| state.index.counts()));
        self.status.set_index_error(self.keeper.error());
        gauge!(PIECE_RECORDS).set(piece.map_or(0, |piece| piece.records) as f64);
        if self.states.iter().zip(start_ends).all(|(state, end)| state.next_offset >= *end) {
            self.status.0.send_if_modified(|status| !std::mem::replace(&mut status.caught_up, true));
        }
    }

    /// Until there is something to do: records, a piece that comes due, or the end.
    async fn wait(
        &self,
        ends: &mut [watch::Receiver<u64>],
        piece: Option<&ActivePiece>,
        stop: &CancellationToken,
    ) {
        let behind = self
            .states
            .iter()
            .zip(ends.iter_mut())
            .any(|(state, end)| *end.borrow_and_update() > state.next_offset);
        if behind {
            return;
        }
        let due = piece.map(|piece| piece.begun + self.options.flush_interval);
        let records = select_all(ends.iter_mut().map(|end| Box::pin(end.changed())));
        tokio::select! {
            _ = records => {}
            () = stop.cancelled() => {}
            () = self.jobs.closed() => {}
            () = self.keeper.changed() => {}
            () = sleep_until(due) => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The groups of the hour that has most, in the piece that is being folded.
fn groups_in_head(store: &dyn Store, generation: Generation) -> u64 {
    let snapshot = store.head().snapshot_of(&[generation]);
    let mut groups = GroupsPerHour::default();
    if let Some(windows) = snapshot.pieces.last().and_then(|piece| piece.windows_of(generation)) {
        groups.add(windows);
    }
    groups.max()
}

fn count_fates(rows: &[weir_store::Row]) {
    for fate in [Fate::Counted, Fate::Duplicate, Fate::Conflict, Fate::Unreadable] {
        let number = rows.iter().filter(|row| row.fate == fate).count();
        counter!(RECORDS, "fate" => fate.name()).increment(number as u64);
    }
}

/// The frontier moves exactly over what the head holds: checked here, before anything is written.
fn same_ranges(held: &[OffsetRange], moves: &[FrontierMove]) -> Result<(), AggregatorError> {
    let mut held = held.to_vec();
    let mut moved: Vec<OffsetRange> = moves.iter().map(|step| step.range).collect();
    held.sort_unstable();
    moved.sort_unstable();
    if held == moved {
        return Ok(());
    }
    Err(AggregatorError::Task(format!("the head holds {held:?}, the frontiers would move over {moved:?}")))
}
