//! What a window remembers of its events, and sets of windows while they are being folded.
//! States merge: folding events in two heaps and adding the heaps gives the same state as folding
//! them in one, in any order. That is what lets a window be a sum over any ranges of offsets.

mod members;
mod symbols;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;

use crate::coordinates::Coordinates;
use crate::decimal::Decimal;
use crate::meter::Generation;

pub use members::MeterWindows;
pub use table::{WindowPlace, WindowTable};

/// The version of the folding code; it is part of coverage, so that a window folded by other
/// rules is never taken for one of these.
pub const FOLD_VERSION: u32 = 1;

/// The size of stored windows in microseconds: minutes, and hours from compaction on.
pub const MINUTE_US: i64 = 60_000_000;

/// Names one window of one meter generation. What owns its texts is `WindowKey`; this one borrows them, so that
/// look-ups allocate nothing. Group values stand in the order of the meter's group-by keys.
#[derive(Debug)]
pub struct WindowKeyRef<'a, S = Box<str>> {
    pub subject: &'a str,
    /// Start in microseconds since 1970, UTC.
    pub start_us: i64,
    pub groups: &'a [S],
}

/// A window's name with its own texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowKey {
    pub subject: Box<str>,
    /// Start in microseconds since 1970, UTC.
    pub start_us: i64,
    pub groups: Box<[Box<str>]>,
}

impl WindowKey {
    pub fn borrowed(&self) -> WindowKeyRef<'_> {
        WindowKeyRef { subject: &self.subject, start_us: self.start_us, groups: &self.groups }
    }
}

impl<S: AsRef<str>> WindowKeyRef<'_, S> {
    pub fn to_key(self) -> WindowKey {
        WindowKey {
            subject: self.subject.into(),
            start_us: self.start_us,
            groups: self.groups.iter().map(|group| group.as_ref().into()).collect(),
        }
    }

    /// Bytes of its texts, which only the size of an event bounds.
    pub fn text_bytes(self) -> usize {
        self.groups.iter().fold(self.subject.len(), |sum, group| sum.saturating_add(group.as_ref().len()))
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
    /// Earliest and latest event time, floored to the minute.
    pub first_minute_us: i64,
    pub last_minute_us: i64,
    /// Of meters that read numbers, once there was one. Apart, since most of a window's memory would be this.
    pub values: Option<Box<Values>>,
}

/// What a window remembers of the numbers of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    pub sum: Decimal,
    pub min: Decimal,
    pub max: Decimal,
    pub latest: (LatestKey, Decimal),
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
        let one = Values { sum: value, min: value, max: value, latest: (key, value) };
        match &mut self.values {
            Some(values) => values.merge(&one)?,
            None => self.values = Some(Box::new(one)),
        }
        self.counted = self.counted.saturating_add(1);
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
        match (&mut self.values, &other.values) {
            (Some(values), Some(others)) => values.merge(others)?,
            (None, Some(others)) => self.values = Some(others.clone()),
            (_, None) => {}
        }
        self.events = self.events.saturating_add(other.events);
        self.counted = self.counted.saturating_add(other.counted);
        self.first_minute_us = self.first_minute_us.min(other.first_minute_us);
        self.last_minute_us = self.last_minute_us.max(other.last_minute_us);
        Ok(())
    }

    /// 0 without values.
    pub fn sum(&self) -> Decimal {
        self.values.as_ref().map_or_else(Decimal::default, |values| values.sum)
    }
}

impl Values {
    /// On overflow nothing is changed.
    fn merge(&mut self, other: &Values) -> Result<(), SumOverflow> {
        self.sum = self.sum.checked_add(other.sum).ok_or(SumOverflow)?;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if self.latest.0 < other.latest.0 {
            self.latest = other.latest;
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
