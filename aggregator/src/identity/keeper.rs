//! Keeps the index small while folding goes on: one table at a time becomes a run and one merge runs,
//! both where they may block. Folding waits only if a second table is full before the first is sealed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use weir_catalog::{Frontier, Listing};

use super::{IndexError, IndexFolder, Merged, Run, Sealed};
use crate::error::AggregatorError;
use crate::metrics::{count_index_wait, count_merge, count_seal};
use crate::take::PartitionState;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long one step of folding waits for room at the most: pieces come due meanwhile.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Seals and merges for all partitions.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: IndexFolder,
    stop: CancellationToken,
    done: Arc<Notify>,
    sealing: Option<(u32, JoinHandle<Result<Sealed, IndexError>>)>,
    merging: Option<(u32, JoinHandle<Result<Merged, IndexError>>)>,
    /// As the catalog listed them last.
    frontiers: Vec<Frontier>,
    /// Whether some run may be merged that could not be before.
    may_merge: bool,
    /// Partitions are looked at in turn, from this one on.
    turn: usize,
    deleting: JoinSet<()>,
    seal_again: Again,
    merge_again: Again,
}

/// A run that a job could not read.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) partition: u32,
    pub(crate) error: IndexError,
}

/// What a partition that wants to take records is told.
#[derive(Debug)]
pub(crate) enum Room {
    Enough,
    None,
    Fault(Fault),
}

/// When something that failed may be tried again.
#[derive(Debug, Default)]
struct Again {
    not_before: Option<Instant>,
    pause: Duration,
    error: Option<String>,
}

impl Again {
    fn is_due(&self) -> bool {
        self.not_before.is_none_or(|time| time <= Instant::now())
    }

    fn failed(&mut self, error: &IndexError) {
        self.pause = self.pause.saturating_mul(2).clamp(RETRY_FIRST, RETRY_MAX);
        self.not_before = Some(Instant::now() + self.pause);
        self.error = Some(error.to_string());
    }
}

impl Keeper {
    pub(crate) fn new(folder: IndexFolder) -> Self {
        Self {
            folder,
            stop: CancellationToken::new(),
            done: Arc::default(),
            sealing: None,
            merging: None,
            frontiers: Vec::new(),
            may_merge: false,
            turn: 0,
            deleting: JoinSet::new(),
            seal_again: Again::default(),
            merge_again: Again::default(),
        }
    }

    /// Why the index cannot be written, until it can.
    pub(crate) fn error(&self) -> Option<String> {
        self.seal_again.error.clone().or_else(|| self.merge_again.error.clone())
    }

    /// Returns when a job has ended.
    pub(crate) async fn changed(&self) {
        self.done.notified().await;
    }

    /// Takes what has been done, begins to seal what is full, and begins the next merge. A fault has to be
    /// mended by reading the run's offsets back.
    pub(crate) async fn tend(
        &mut self,
        states: &mut [PartitionState],
    ) -> Result<Option<Fault>, AggregatorError> {
        if let Some((partition, job)) = self.sealing.take_if(|(_, job)| job.is_finished()) {
            self.take_sealed(partition, ended(job).await?, states);
        }
        let mut fault = None;
        if let Some((partition, job)) = self.merging.take_if(|(_, job)| job.is_finished()) {
            fault = self.take_merged(partition, ended(job).await?, states);
            self.may_merge = true;
        }
        for state in states.iter_mut().filter(|state| state.index.is_full()) {
            state.index.begin_seal(state.next_offset, state.record_time_max_us);
        }
        if self.sealing.is_none()
            && self.seal_again.is_due()
            && let Some(state) = states.iter().find(|state| state.index.is_sealing())
            && let Some(seal) = state.index.seal_job()
        {
            let done = Arc::clone(&self.done);
            let job = spawn_blocking(move || {
                let sealed = seal.run();
                done.notify_one();
                sealed
            });
            self.sealing = Some((state.partition, job));
        }
        // A run that cannot be read would only be met again.
        if fault.is_none() {
            self.begin_merge(states);
        }
        while self.deleting.try_join_next().is_some() {}
        Ok(fault)
    }

    /// Remembers where the catalog's frontiers are, lets go of what has expired below them, and begins to
    /// merge what has come to rest.
    pub(crate) fn look(&mut self, states: &mut [PartitionState], listing: &Listing) {
        self.frontiers.clone_from(&listing.frontiers);
        self.may_merge = true;
        let mut expired = Vec::new();
        for state in states.iter_mut() {
            if let Some((offset, time_us)) = frontier_of(&self.frontiers, state) {
                expired.extend(state.index.expire(offset, time_us));
            }
        }
        self.delete(expired);
        self.begin_merge(states);
    }

    /// Begins a merge if none runs and one is worth it. One after the other, and each partition in turn: so
    /// no partition and no size waits for ever.
    fn begin_merge(&mut self, states: &[PartitionState]) {
        if !self.may_merge || self.merging.is_some() || !self.merge_again.is_due() {
            return;
        }
        let turn = self.turn.checked_rem(states.len()).unwrap_or(0);
        for at in (turn..states.len()).chain(0..turn) {
            let Some(state) = states.get(at) else { continue };
            let Some((offset, time_us)) = frontier_of(&self.frontiers, state) else { continue };
            let Some(merge) = state.index.begin_merge(offset, time_us) else { continue };
            let (done, stop) = (Arc::clone(&self.done), self.stop.clone());
            let job = spawn_blocking(move || {
                let entries = merge.entries();
                let merged = merge.run(&stop);
                if merged.is_ok() {
                    count_merge(entries);
                }
                done.notify_one();
                merged
            });
            self.merging = Some((state.partition, job));
            self.turn = at.saturating_add(1);
            return;
        }
        self.may_merge = false;
    }

    /// Whether a partition may take more: at most two tables are in memory. If not, waits a little first.
    pub(crate) async fn has_room(
        &mut self,
        partition: u32,
        states: &mut [PartitionState],
    ) -> Result<Room, AggregatorError> {
        let no_room =
            |s: &PartitionState| s.partition == partition && s.index.is_full() && s.index.is_sealing();
        for last in [false, true] {
            if let Some(fault) = self.tend(states).await? {
                return Ok(Room::Fault(fault));
            }
            if !states.iter().any(no_room) {
                return Ok(Room::Enough);
            }
            if !last {
                count_index_wait();
                let _ = timeout(WAIT_MAX, self.done.notified()).await;
            }
        }
        Ok(Room::None)
    }

    /// Stops merging and waits until nothing touches the folder any more.
    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        if let Some((_, job)) = self.sealing.take() {
            let _ = job.await;
        }
        if let Some((_, job)) = self.merging.take() {
            // A run that came out is as good as what it was merged from: the next start sees to that.
            let _ = job.await;
        }
        while self.deleting.join_next().await.is_some() {}
    }

    fn take_sealed(
        &mut self,
        partition: u32,
        sealed: Result<Sealed, IndexError>,
        states: &mut [PartitionState],
    ) {
        count_seal(sealed.is_ok());
        match sealed {
            Ok(sealed) => {
                self.seal_again = Again::default();
                if let Some(state) = states.iter_mut().find(|state| state.partition == partition) {
                    state.index.end_seal(sealed);
                }
            }
            Err(error) => {
                tracing::error!(%error, partition, "identities could not be sealed; they stay in memory");
                self.seal_again.failed(&error);
            }
        }
    }

    fn take_merged(
        &mut self,
        partition: u32,
        merged: Result<Merged, IndexError>,
        states: &mut [PartitionState],
    ) -> Option<Fault> {
        match merged {
            Ok(merged) => {
                self.merge_again = Again::default();
                if let Some(state) = states.iter_mut().find(|state| state.partition == partition) {
                    state.index.end_merge(&merged);
                    self.delete(merged.inputs);
                }
                None
            }
            Err(IndexError::Stopped) => None,
            Err(error @ IndexError::Unreadable { .. }) => Some(Fault { partition, error }),
            Err(error) => {
                tracing::error!(%error, partition, "runs of the identity index could not be merged");
                self.merge_again.failed(&error);
                None
            }
        }
    }

    /// Large files take long to delete, so nobody waits.
    pub(crate) fn delete(&mut self, runs: Vec<Arc<Run>>) {
        if runs.is_empty() {
            return;
        }
        let folder = self.folder.clone();
        self.deleting.spawn_blocking(move || runs.iter().for_each(|run| folder.remove(run)));
    }
}

impl Drop for Keeper {
    /// Also where folding was given up in the middle.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The catalog's frontier of a partition and the running maximum there.
fn frontier_of(frontiers: &[Frontier], state: &PartitionState) -> Option<(u64, i64)> {
    let known = frontiers.iter().find(|f| (f.epoch, f.partition) == (state.epoch, state.partition))?;
    Some((known.next_offset, known.record_time_max_us))
}

async fn ended<T>(job: JoinHandle<T>) -> Result<T, AggregatorError> {
    job.await.map_err(|error| AggregatorError::Task(error.to_string()))
}
