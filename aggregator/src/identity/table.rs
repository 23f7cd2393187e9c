//! Identities in memory: one flat hash table without a second hash, since identities are keyed hashes
//! already. It is what folding adds to, until its entries are sealed in a run.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

/// An accepted record as the index remembers it. Halves instead of a `u128`, which would be padded
/// from 40 bytes to 48. The derived order is by identity first, as runs are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) identity: [u64; 2],
    pub(super) content: [u64; 2],
    pub(super) record_time_us: i64,
}

/// The entries of one partition that are in no run yet.
#[derive(Debug, Default)]
pub(super) struct Table(HashTable<Entry>);

/// The upper half first, so that the order is that of the number.
pub(super) fn halves(value: u128) -> [u64; 2] {
    [(value >> 64) as u64, value as u64]
}

pub(super) fn whole([high, low]: [u64; 2]) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

/// The lower half: runs are sorted and filtered by the upper one.
fn hash(entry: &Entry) -> u64 {
    let [_, low] = entry.identity;
    low
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, identity: [u64; 2]) -> Option<&Entry> {
        let [_, low] = identity;
        self.0.find(low, |entry| entry.identity == identity)
    }

    /// The later one of an identity stays, whatever order they are told in.
    pub(super) fn accept(&mut self, new: Entry) {
        match self.0.entry(hash(&new), |entry| entry.identity == new.identity, hash) {
            Slot::Occupied(mut known) => {
                if new.record_time_us >= known.get().record_time_us {
                    *known.get_mut() = new;
                }
            }
            Slot::Vacant(vacant) => {
                vacant.insert(new);
            }
        }
    }

    /// Lets go of what was accepted at or before a time.
    pub(super) fn forget(&mut self, until_us: i64) {
        self.0.retain(|entry| entry.record_time_us > until_us);
    }

    /// What was accepted after a time, as a run wants it.
    pub(super) fn sorted(&self, after_us: i64) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.0.len());
        entries.extend(self.0.iter().filter(|entry| entry.record_time_us > after_us).copied());
        entries.sort_unstable();
        entries
    }
}
