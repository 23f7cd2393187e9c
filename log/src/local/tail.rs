//! The most recent frames in memory, already decoded. A reader that keeps up with the log, as the
//! aggregator in the same process does, is served from here and touches no file.

use std::collections::VecDeque;
use std::sync::Arc;

use super::payload::Frame;

/// Frames that follow each other, up to the durable end.
#[derive(Debug)]
pub(super) struct Tail {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the newest frame and lets go of the oldest ones. A frame larger than the whole tail
    /// leaves it empty: what lies in it must stay without gaps.
    pub(super) fn push(&mut self, frame: Arc<Frame>) {
        self.bytes = self.bytes.saturating_add(frame.bytes);
        self.frames.push_back(frame);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
    }

    /// The frames that hold about `bytes_max` bytes of records from `from` on; none if `from` is not
    /// in memory.
    pub(super) fn frames_from(&self, from: u64, bytes_max: usize) -> Option<Vec<Arc<Frame>>> {
        let first = self.frames.partition_point(|frame| frame.end_offset() <= from);
        if self.frames.get(first)?.base_offset > from {
            return None;
        }
        let mut found: Vec<Arc<Frame>> = Vec::new();
        let mut bytes = 0usize;
        for frame in self.frames.range(first..) {
            // The first frame may be needed only for its end, so it does not count.
            if !found.is_empty() {
                bytes = bytes.saturating_add(frame.bytes);
            }
            found.push(frame.clone());
            if bytes >= bytes_max {
                break;
            }
        }
        Some(found)
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}
