//! Settings that are fine each by itself and cannot work together. They are found before anything is
//! opened or made, and named, so that nobody has to guess which of them a part deeper down complains of.

use std::net::SocketAddr;

use super::{Settings, SettingsError};

/// What the log adds to each event: its hashes, its request and its namespace.
const RECORD_OVERHEAD_BYTES_MAX: usize = 512;

/// What a frame of the log holds at the most. A request's events lie in one frame.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 30;

/// A compressed request over gRPC is held as it comes, decompressed, and as JSON.
const FORMS_OF_A_BODY: usize = 3;

/// The few bytes around a body's three forms, and the blocks in which they are counted.
const AROUND_FORMS_BYTES: usize = 4 * 1024;

impl Settings {
    /// The largest request as the log takes it: its body, and what the log adds to each of its events.
    pub(crate) fn append_bytes_max(&self) -> usize {
        self.body_bytes_max.saturating_add(self.batch_events_max.saturating_mul(RECORD_OVERHEAD_BYTES_MAX))
    }

    /// The first contradiction, with the settings that make it and what to do.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.contradiction().map_or(Ok(()), |sentence| Err(SettingsError::Contradiction(sentence)))
    }

    fn contradiction(&self) -> Option<String> {
        self.of_addresses().or_else(|| self.of_requests()).or_else(|| self.of_queries())
    }

    /// Whether other machines can reach the API.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.listen.ip().to_canonical().is_loopback()
    }

    fn of_addresses(&self) -> Option<String> {
        let telemetry = self.telemetry_listen?;
        if !overlap(self.listen, telemetry) {
            return None;
        }
        Some(format!(
            "listen ({}) and telemetry_listen ({telemetry}) take the same port of the same address; give one of \
             them another port",
            self.listen
        ))
    }

    fn of_requests(&self) -> Option<String> {
        if self.event_bytes_max > self.body_bytes_max {
            return Some(format!(
                "event_bytes_max ({} bytes) is above body_bytes_max ({} bytes), so no such event could ever \
                 arrive; raise body_bytes_max or lower event_bytes_max",
                self.event_bytes_max, self.body_bytes_max
            ));
        }
        let append_bytes_max = self.append_bytes_max();
        let largest = format!(
            "body_bytes_max ({} bytes) and batch_events_max ({} events, {RECORD_OVERHEAD_BYTES_MAX} bytes around \
             each) let in requests of up to {append_bytes_max} bytes",
            self.body_bytes_max, self.batch_events_max
        );
        if append_bytes_max > FRAME_BYTES_MAX {
            return Some(format!(
                "{largest}, and the log takes at most {FRAME_BYTES_MAX} at once; lower body_bytes_max or \
                 batch_events_max"
            ));
        }
        if append_bytes_max > self.log_queue_bytes {
            return Some(format!(
                "{largest}, which log_queue_bytes ({} bytes) would never let into the log; raise log_queue_bytes \
                 to that, or lower body_bytes_max or batch_events_max",
                self.log_queue_bytes
            ));
        }
        let held_bytes_max = self.body_bytes_max.saturating_mul(FORMS_OF_A_BODY) + AROUND_FORMS_BYTES;
        if held_bytes_max > self.buffered_bytes_max {
            return Some(format!(
                "buffered_bytes_max ({} bytes) has no room for one request of body_bytes_max ({} bytes), which takes \
                 up to {held_bytes_max} as it comes, decompressed and as JSON, so it would be answered 503 for \
                 ever; raise buffered_bytes_max to that, or lower body_bytes_max",
                self.buffered_bytes_max, self.body_bytes_max
            ));
        }
        None
    }

    fn of_queries(&self) -> Option<String> {
        if self.segments_kept_for < self.query_deadline.saturating_mul(2) {
            return Some(format!(
                "segments_kept_for ({:?}) is less than twice query_deadline ({:?}), so a query could lose the \
                 files it reads; raise segments_kept_for or lower query_deadline",
                self.segments_kept_for, self.query_deadline
            ));
        }
        if self.query_memory_max > self.query_memory_total_max {
            return Some(format!(
                "query_memory_max ({} bytes) is above query_memory_total_max ({} bytes), so no query could ever \
                 have it; raise query_memory_total_max or lower query_memory_max",
                self.query_memory_max, self.query_memory_total_max
            ));
        }
        None
    }
}

/// Whether one of two listeners would take what the other one has. Port 0 is any free one.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let same_kind = one.is_ipv4() == other.is_ipv4();
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || (same_kind && everywhere))
}
