//! Which identities were accepted, when and with what content: the memory behind "counts once". It is
//! a cache of the rows at rest and of the log above the frontier, built again at every start.

use hashbrown::HashMap;
use weir_meter::{ContentHash, IdentityHash};

use crate::fate::Accepted;

/// The accepted identities of one partition within the identity window.
#[derive(Debug)]
pub struct IdentityIndex {
    window_us: i64,
    entries: HashMap<u128, Entry>,
    /// Entries at or below this time were let go of.
    forgotten_until_us: i64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    content: u128,
    record_time_us: i64,
}

impl IdentityIndex {
    /// `window_us`: for how long an accepted identity is remembered, by record time.
    pub fn new(window_us: i64) -> Self {
        Self { window_us, entries: HashMap::new(), forgotten_until_us: i64::MIN }
    }

    pub fn window_us(&self) -> i64 {
        self.window_us
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, identity: IdentityHash) -> Option<Accepted> {
        self.entries
            .get(&identity.0)
            .map(|e| Accepted { content: ContentHash(e.content), record_time_us: e.record_time_us })
    }

    /// Remembers an accepted record; a later one of the same identity takes its place, whatever
    /// order they are told in.
    pub fn accept(&mut self, identity: IdentityHash, content: ContentHash, record_time_us: i64) {
        let entry = self.entries.entry(identity.0).or_insert(Entry { content: content.0, record_time_us });
        if record_time_us >= entry.record_time_us {
            *entry = Entry { content: content.0, record_time_us };
        }
    }

    /// Lets go of what no record at or after `now_us` (a running maximum) can meet any more. Walks the
    /// whole map, so it acts only once a twentieth of the window has passed since the last time.
    pub fn forget(&mut self, now_us: i64) {
        let until = now_us.saturating_sub(self.window_us);
        if until.saturating_sub(self.forgotten_until_us) < self.window_us / 20 {
            return;
        }
        self.entries.retain(|_, entry| entry.record_time_us > until);
        self.forgotten_until_us = until;
    }
}
