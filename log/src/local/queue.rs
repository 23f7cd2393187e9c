//! Where appends wait for the log thread. The budget bounds what waits in all partitions together;
//! each partition's thread takes everything that has gathered while it was syncing.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use weir_meter::OffsetRange;

use super::refusal::Refusal;
use super::sync::atomic::{AtomicUsize, Ordering};
use super::sync::{Condvar, Mutex, mpsc};
use crate::metrics;
use crate::record::Record;

/// What one request brings to one partition. It comes to lie in one frame.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) records: Vec<Record>,
    /// Encoded bytes of the records.
    pub(super) bytes: usize,
    pub(super) permit: Permit,
    pub(super) answer: oneshot::Sender<Result<OffsetRange, Refusal>>,
}

/// What the log thread does next.
#[derive(Debug)]
pub(super) enum Work {
    Write(Vec<Pending>),
    Retire(Retire),
}

/// A cut has come to the file that is written to: go on in a new one if everything in this one lies
/// below and is old enough. Dropping it tells the cut to go on, whatever became of it.
#[derive(Debug)]
pub(super) struct Retire {
    pub(super) below: u64,
    _cut_waits: mpsc::Sender<()>,
}

/// How many bytes may wait.
#[derive(Debug)]
pub(super) struct Budget {
    queued: AtomicUsize,
    bytes_max: usize,
}

/// Room for one request's bytes in one partition, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

/// The requests that wait in one partition.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Pending>,
    /// One at most: cuts of a partition wait for each other.
    retire: Option<Retire>,
    closed: bool,
}

impl Pending {
    /// Gives the room back first: a client that sends its next request at once finds it free.
    pub(super) fn answer(self, result: Result<OffsetRange, Refusal>) {
        drop(self.permit);
        // Nobody listens if the request was given up; its records count all the same.
        let _ = self.answer.send(result);
    }
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { queued: AtomicUsize::new(0), bytes_max })
    }

    /// Takes room for one request, a permit for each of its parts; none if it does not fit now.
    pub(super) fn admit(self: &Arc<Self>, parts: &[usize]) -> Option<Vec<Permit>> {
        let total = parts.iter().try_fold(0usize, |sum, bytes| sum.checked_add(*bytes))?;
        let admitted = self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, |queued| {
            queued.checked_add(total).filter(|sum| *sum <= self.bytes_max)
        });
        metrics::queue_holds(admitted.ok()?.saturating_add(total));
        Some(parts.iter().map(|bytes| Permit { budget: self.clone(), bytes: *bytes }).collect())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.budget.queued.fetch_sub(self.bytes, Ordering::AcqRel);
        metrics::queue_holds(before.saturating_sub(self.bytes));
    }
}

impl Queue {
    /// Hands the request back if the queue is closed.
    pub(super) fn push(&self, pending: Pending) -> Result<(), Pending> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(pending);
        }
        state.waiting.push_back(pending);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Asks the log thread for a new file and waits until it has decided. Comes back at once if the
    /// thread takes nothing any more.
    pub(super) fn retire(&self, below: u64) {
        let (cut_waits, decided) = mpsc::channel();
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.retire = Some(Retire { below, _cut_waits: cut_waits });
        drop(state);
        self.wake.notify_one();
        // Nothing is ever sent: this ends when the other side is dropped.
        let _ = decided.recv();
    }

    /// Waits for requests, then takes as many as fit `group_bytes_max`, and one at least. None once
    /// the queue is closed and everything in it was taken.
    pub(super) fn take(&self, group_bytes_max: usize) -> Option<Work> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && state.retire.is_none() {
            if state.closed {
                return None;
            }
            state = self.wake.wait(state);
        }
        if let Some(retire) = state.retire.take() {
            return Some(Work::Retire(retire));
        }
        let mut group = Vec::new();
        let mut bytes = 0usize;
        while let Some(next) = state.waiting.front() {
            bytes = bytes.saturating_add(next.bytes);
            if !group.is_empty() && bytes > group_bytes_max {
                break;
            }
            group.extend(state.waiting.pop_front());
        }
        Some(Work::Write(group))
    }

    /// Takes no more requests; those that wait are still taken out.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_all();
    }

    /// Closes, and empties the queue for a thread that will not come back for it.
    pub(super) fn abandon(&self) -> Vec<Pending> {
        let mut state = self.state.lock();
        state.closed = true;
        state.retire = None;
        state.waiting.drain(..).collect()
    }
}
