//! Who is connected, and who has to go when one more comes: the connection that has been without a
//! request for the longest time. So nobody keeps others out by opening connections and doing nothing.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::serve::metrics;

/// Requests that a client may take back on one connection beyond those that it let finish. Each makes
/// the server work for nothing, and HTTP/2 lets a client do it as fast as it can write.
pub(super) const CANCELLED_REQUESTS_MAX: u64 = 1_000;

/// All places for connections.
#[derive(Debug)]
pub(super) struct Places {
    places_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    connections: HashMap<u64, Arc<Activity>>,
}

/// One connection's place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    places: Arc<Places>,
    pub(super) activity: Arc<Activity>,
}

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Ends the connection at once.
    pub(super) ended: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct State {
    under_way: usize,
    finished: u64,
    cancelled: u64,
    http2: bool,
    idle_since: Instant,
}

/// A request, from its headers to the end of its answer.
#[derive(Debug)]
pub(super) struct UnderWay {
    activity: Arc<Activity>,
    answered: bool,
}

impl Places {
    pub(super) fn new(places_max: usize) -> Self {
        Self { places_max, taken: Mutex::default() }
    }

    /// A place, if need be that of the connection that is idle for longest; None if all are busy.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.connections.len() >= self.places_max {
            let idle = taken
                .connections
                .iter()
                .filter_map(|(number, connection)| connection.idle_since().map(|since| (since, *number)));
            let (_, number) = idle.min()?;
            if let Some(evicted) = taken.connections.remove(&number) {
                metrics::connection_refused("connections_max");
                evicted.ended.cancel();
            }
        }
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        let activity = Arc::new(Activity::new());
        taken.connections.insert(number, Arc::clone(&activity));
        metrics::connection_opened();
        Some(Place { number, places: Arc::clone(self), activity })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().connections.remove(&self.number);
        metrics::connection_closed();
    }
}

impl Activity {
    fn new() -> Self {
        let state =
            State { under_way: 0, finished: 0, cancelled: 0, http2: false, idle_since: Instant::now() };
        Self { state: Mutex::new(state), ended: CancellationToken::new() }
    }

    /// Since when no request is under way; None if one is.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        (state.under_way == 0).then_some(state.idle_since)
    }

    /// Whether any request has come.
    pub(super) fn has_asked(&self) -> bool {
        let state = self.state.lock();
        state.under_way > 0 || state.finished > 0 || state.cancelled > 0
    }

    /// Whether its requests come over HTTP/2; unknown before the first one.
    pub(super) fn speaks_http2(&self) -> bool {
        self.state.lock().http2
    }

    pub(super) fn begin(self: &Arc<Self>, http2: bool) -> UnderWay {
        let mut state = self.state.lock();
        state.http2 = http2;
        state.under_way = state.under_way.saturating_add(1);
        UnderWay { activity: Arc::clone(self), answered: false }
    }
}

impl UnderWay {
    /// The handler has answered; what is left is to send it.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.activity.state.lock();
        state.under_way = state.under_way.saturating_sub(1);
        state.idle_since = Instant::now();
        match self.answered {
            true => state.finished = state.finished.saturating_add(1),
            false => state.cancelled = state.cancelled.saturating_add(1),
        }
        if state.cancelled > state.finished.saturating_add(CANCELLED_REQUESTS_MAX) {
            metrics::connection_refused("cancelled_requests");
            self.activity.ended.cancel();
        }
    }
}
