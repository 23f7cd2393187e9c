//! Every bound on what a client of ingest can make grow, with its default.

use std::time::Duration;

use weir_meter::event::EventLimits;

/// Bounds of the ingest service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestOptions {
    /// Bounds inside a body: events, their bytes, attributes and depth.
    pub events: EventLimits,
    /// The longest body as it comes over the wire, compressed or not.
    pub wire_bytes_max: usize,
    /// The longest body once it is decompressed. Decompression stops there.
    pub decoded_bytes_max: usize,
    /// All bodies that are held at one time, in any form; requests beyond it are answered 503.
    pub buffered_bytes_max: usize,
    /// How long a client may take to send its body.
    pub body_timeout: Duration,
    /// Bodies longer than this are read on a thread of their own, so that they do not hold up others.
    pub inline_bytes_max: usize,
    /// What `Retry-After` says when it is this service that is full or going away.
    pub retry_after_seconds: u32,
}

const MIB: usize = 1024 * 1024;

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            events: EventLimits::default(),
            wire_bytes_max: 16 * MIB,
            decoded_bytes_max: 16 * MIB,
            buffered_bytes_max: 512 * MIB,
            body_timeout: Duration::from_secs(30),
            inline_bytes_max: MIB / 4,
            retry_after_seconds: 1,
        }
    }
}
