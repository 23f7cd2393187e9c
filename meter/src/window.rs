//! What a window remembers of its events, and sets of windows while they are being folded.
//! States merge: folding events in two heaps and adding the heaps gives the same state as folding
//! them in one, in any order. That is what lets a window be a sum over any ranges of offsets.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, Equivalent, HashMap, HashTable};

use crate::coordinates::Coordinates;
use crate::decimal::Decimal;
use crate::meter::Generation;

/// The version of the folding code; it is part of coverage, so that a window folded by other
/// rules is never taken for one of these.
pub const FOLD_VERSION: u32 = 1;

/// The size of stored windows in microseconds: minutes, and hours from compaction on.
pub const MINUTE_US: i64 = 60_000_000;

/// Names one window of one meter generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowKey {
    pub subject: Box<str>,
    /// Start in microseconds since 1970, UTC.
    pub start_us: i64,
    /// Group values in the order of the meter's group-by keys.
    pub groups: Box<[Box<str>]>,
}

impl WindowKey {
    /// Bytes of its texts, which only the size of an event bounds.
    pub fn text_bytes(&self) -> usize {
        self.groups.iter().fold(self.subject.len(), |sum, group| sum.saturating_add(group.len()))
    }
}

/// A window key whose parts are borrowed, for look-ups that allocate nothing.
#[derive(Debug)]
pub struct WindowKeyRef<'a, S> {
    pub subject: &'a str,
    pub start_us: i64,
    pub groups: &'a [S],
}

impl<S: AsRef<str>> Hash for WindowKeyRef<'_, S> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // The same calls as the derived Hash of WindowKey makes; a test holds the two together.
        self.subject.hash(state);
        self.start_us.hash(state);
        state.write_usize(self.groups.len());
        for group in self.groups {
            group.as_ref().hash(state);
        }
    }
}

impl<S: AsRef<str>> Equivalent<Arc<WindowKey>> for WindowKeyRef<'_, S> {
    fn equivalent(&self, key: &Arc<WindowKey>) -> bool {
        self.start_us == key.start_us
            && self.subject == &*key.subject
            && self.groups.len() == key.groups.len()
            && self.groups.iter().zip(key.groups.iter()).all(|(a, b)| a.as_ref() == &**b)
    }
}

impl<S: AsRef<str>> WindowKeyRef<'_, S> {
    /// The owned key that equals this one.
    pub fn to_key(&self) -> Arc<WindowKey> {
        Arc::new(WindowKey {
            subject: self.subject.into(),
            start_us: self.start_us,
            groups: self.groups.iter().map(|g| g.as_ref().into()).collect(),
        })
    }
}

impl<S> Clone for WindowKeyRef<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for WindowKeyRef<'_, S> {}

/// Decides which value is the LATEST: the greatest time, then the greatest record time, then the
/// last in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LatestKey {
    pub time_us: i64,
    pub record_time_us: i64,
    pub at: Coordinates,
}

/// Everything a window remembers of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowState {
    /// Events of the meter's type, also those whose value is ignored.
    pub events: i64,
    /// Events whose value counted.
    pub counted: i64,
    pub sum: Decimal,
    pub min: Option<Decimal>,
    pub max: Option<Decimal>,
    pub latest: Option<(LatestKey, Decimal)>,
    /// Earliest and latest event time, floored to the minute.
    pub first_minute_us: i64,
    pub last_minute_us: i64,
}

/// A sum left the range of Decimal(76, 30).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sum left the range of Decimal(76, 30)")]
pub struct SumOverflow;

impl WindowState {
    /// Counts an event at `time_us`, whatever its value.
    pub fn add_event(&mut self, time_us: i64) {
        let minute = time_us.saturating_sub(time_us.rem_euclid(MINUTE_US));
        if self.events == 0 {
            self.first_minute_us = minute;
            self.last_minute_us = minute;
        } else {
            self.first_minute_us = self.first_minute_us.min(minute);
            self.last_minute_us = self.last_minute_us.max(minute);
        }
        self.events = self.events.saturating_add(1);
    }

    /// Counts a value. On overflow the state is unchanged.
    pub fn add_value(&mut self, value: Decimal, key: LatestKey) -> Result<(), SumOverflow> {
        self.sum = self.sum.checked_add(value).ok_or(SumOverflow)?;
        self.counted = self.counted.saturating_add(1);
        self.min = Some(self.min.map_or(value, |m| m.min(value)));
        self.max = Some(self.max.map_or(value, |m| m.max(value)));
        if self.latest.is_none_or(|(k, _)| k < key) {
            self.latest = Some((key, value));
        }
        Ok(())
    }

    /// Adds the events of another heap. On overflow the state is unchanged.
    pub fn merge(&mut self, other: &WindowState) -> Result<(), SumOverflow> {
        if other.events == 0 {
            return Ok(());
        }
        if self.events == 0 {
            *self = other.clone();
            return Ok(());
        }
        self.sum = self.sum.checked_add(other.sum).ok_or(SumOverflow)?;
        self.events = self.events.saturating_add(other.events);
        self.counted = self.counted.saturating_add(other.counted);
        self.min = match (self.min, other.min) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.max = match (self.max, other.max) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        self.latest = match (self.latest, other.latest) {
            (Some(a), Some(b)) => Some(if a.0 < b.0 { b } else { a }),
            (a, b) => a.or(b),
        };
        self.first_minute_us = self.first_minute_us.min(other.first_minute_us);
        self.last_minute_us = self.last_minute_us.max(other.last_minute_us);
        Ok(())
    }
}

/// A map by window key whose look-ups take borrowed keys and allocate only to insert.
#[derive(Clone, Debug)]
pub struct WindowTable<V> {
    entries: HashTable<(Arc<WindowKey>, V)>,
    hashes: DefaultHashBuilder,
}

impl<V> Default for WindowTable<V> {
    fn default() -> Self {
        Self { entries: HashTable::new(), hashes: DefaultHashBuilder::default() }
    }
}

impl<V: Default> WindowTable<V> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every window, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<WindowKey>, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub fn get<S: AsRef<str>>(&self, key: WindowKeyRef<'_, S>) -> Option<&V> {
        let hash = self.hashes.hash_one(key);
        self.entries.find(hash, |(k, _)| key.equivalent(k)).map(|(_, value)| value)
    }

    /// The value of a window, made when it is not there.
    pub fn entry<S: AsRef<str>>(&mut self, key: WindowKeyRef<'_, S>) -> &mut V {
        let hash = self.hashes.hash_one(key);
        let hashes = &self.hashes;
        match self.entries.entry(hash, |(k, _)| key.equivalent(k), |(k, _)| hashes.hash_one(k)) {
            Entry::Occupied(entry) => &mut entry.into_mut().1,
            Entry::Vacant(entry) => &mut entry.insert((key.to_key(), V::default())).into_mut().1,
        }
    }

    /// The same for a key that is owned already.
    pub fn entry_shared(&mut self, key: &Arc<WindowKey>) -> &mut V {
        let hash = self.hashes.hash_one(key);
        let hashes = &self.hashes;
        match self.entries.entry(hash, |(k, _)| k == key, |(k, _)| hashes.hash_one(k)) {
            Entry::Occupied(entry) => &mut entry.into_mut().1,
            Entry::Vacant(entry) => &mut entry.insert((Arc::clone(key), V::default())).into_mut().1,
        }
    }
}

/// The windows of one meter generation.
#[derive(Clone, Debug, Default)]
pub struct MeterWindows {
    pub windows: WindowTable<WindowState>,
    /// UNIQUE_COUNT only: per window, hash of the value's text to the number of its holders.
    pub members: WindowTable<HashMap<u128, i64>>,
}

impl MeterWindows {
    /// Counts a holder of a member value in a window. True if it is the first there.
    pub fn add_member<S: AsRef<str>>(&mut self, key: WindowKeyRef<'_, S>, member: u128) -> bool {
        let holders = self.members.entry(key).entry(member).or_insert(0);
        *holders = holders.saturating_add(1);
        *holders == 1
    }

    /// Adds the windows and members of another heap of the same generation.
    pub fn merge(&mut self, other: &MeterWindows) -> Result<(), SumOverflow> {
        for (key, state) in other.windows.iter() {
            self.windows.entry_shared(key).merge(state)?;
        }
        for (key, members) in other.members.iter() {
            let mine = self.members.entry_shared(key);
            for (member, holders) in members {
                let sum = mine.entry(*member).or_insert(0);
                *sum = sum.saturating_add(*holders);
            }
        }
        Ok(())
    }
}

/// Windows of many meter generations. Cloning is cheap: a clone shares every meter's windows until
/// one side changes them.
#[derive(Clone, Debug, Default)]
pub struct WindowSet {
    pub meters: HashMap<Generation, Arc<MeterWindows>>,
}
