//! The query's time, cut into hours that stored hours can answer, other whole minutes that stored
//! minutes can answer, and edges that neither can.

use std::fmt;

use jiff::tz::TimeZone;
use weir_meter::time::format_utc;
use weir_meter::window::MINUTE_US;
use weir_meter::zone::{WindowSize, sub_minute_edges_until, whole_hours};

/// Below every event time and a whole hour.
const EARLIEST_US: i64 = -100_000_000_020 * MINUTE_US;
/// Above every event time and a whole hour.
const LATEST_US: i64 = 100_000_000_020 * MINUTE_US;

/// How many ranges of time are spelled out where people read them.
const RANGES_SHOWN: usize = 3;

/// A half-open range of microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeRange {
    pub from_us: i64,
    pub to_us: i64,
}

impl TimeRange {
    pub fn new(from_us: Option<i64>, to_us: Option<i64>) -> Self {
        Self { from_us: from_us.unwrap_or(EARLIEST_US), to_us: to_us.unwrap_or(LATEST_US) }
    }

    pub fn is_empty(&self) -> bool {
        self.to_us <= self.from_us
    }

    pub fn contains(&self, time_us: i64) -> bool {
        self.from_us <= time_us && time_us < self.to_us
    }

    pub fn pair(self) -> (i64, i64) {
        (self.from_us, self.to_us)
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from_us > EARLIEST_US {
            f.write_str(&format_utc(self.from_us))?;
        }
        f.write_str("..")?;
        if self.to_us < LATEST_US {
            f.write_str(&format_utc(self.to_us))?;
        }
        Ok(())
    }
}

/// A set of times: sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(Vec<TimeRange>);

impl Times {
    pub fn new(ranges: impl IntoIterator<Item = TimeRange>) -> Self {
        let mut sorted: Vec<TimeRange> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        sorted.sort_unstable();
        let mut set: Vec<TimeRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match set.last_mut() {
                Some(last) if range.from_us <= last.to_us => last.to_us = last.to_us.max(range.to_us),
                _ => set.push(range),
            }
        }
        Self(set)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, time_us: i64) -> bool {
        self.0.iter().any(|range| range.contains(time_us))
    }

    /// True if a time from `first_us` to `last_us`, both inside, is in the set.
    pub fn meet(&self, first_us: i64, last_us: i64) -> bool {
        self.0.iter().any(|range| range.from_us <= last_us && first_us < range.to_us)
    }

    pub fn union(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).copied())
    }

    /// What of the range is not in the set.
    fn left_of(&self, range: TimeRange) -> Self {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        let mut from_us = range.from_us;
        for cut in &self.0 {
            left.push(TimeRange { from_us, to_us: cut.from_us.min(range.to_us) });
            from_us = from_us.max(cut.to_us);
        }
        left.push(TimeRange { from_us, to_us: range.to_us });
        Self::new(left)
    }

    pub fn pairs(&self) -> Vec<(i64, i64)> {
        self.0.iter().map(|range| range.pair()).collect()
    }
}

/// The first few ranges, and how many more there are.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().take(RANGES_SHOWN).enumerate() {
            write!(f, "{}{range}", if at == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(RANGES_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A range of time as the planner wants it. The three are disjoint and make up the range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeSplit {
    /// Whole hours of UTC that no window of the query divides.
    pub hours: Times,
    /// Other whole minutes that no window of the query divides.
    pub minutes: Times,
    /// The rest.
    pub edges: Times,
}

impl TimeSplit {
    /// `windows`: the size of the query's windows and their zone; None asks for one total.
    pub fn new(range: TimeRange, windows: Option<(WindowSize, &TimeZone)>) -> Self {
        // Where a zone's offset had seconds, windows begin inside minutes.
        let odd_until_us = windows.and_then(|(_, zone)| sub_minute_edges_until(zone));
        let from_us = ceil_minute(range.from_us.max(odd_until_us.unwrap_or(range.from_us)));
        let to_us = range.to_us.saturating_sub(range.to_us.rem_euclid(MINUTE_US));
        let whole = TimeRange { from_us, to_us };
        if range.is_empty() || whole.is_empty() {
            return Self { edges: Times::new([range]), ..Self::default() };
        }
        let hours = match windows {
            None => whole_hours(&TimeZone::UTC, from_us, to_us),
            Some((WindowSize::Minute, _)) => Vec::new(),
            Some((WindowSize::Hour | WindowSize::Day | WindowSize::Month, zone)) => {
                whole_hours(zone, from_us, to_us)
            }
        };
        let hours = Times::new(hours.into_iter().map(|(from_us, to_us)| TimeRange { from_us, to_us }));
        Self { minutes: hours.left_of(whole), hours, edges: Times::new([whole]).left_of(range) }
    }
}

fn ceil_minute(time_us: i64) -> i64 {
    match time_us.rem_euclid(MINUTE_US) {
        0 => time_us,
        rest => time_us.saturating_add(MINUTE_US - rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_meter::zone::{Windows, zone};

    const S: i64 = 1_000_000;

    #[test]
    fn a_range_inside_one_minute_is_all_edge() {
        let range = TimeRange { from_us: 10 * S, to_us: 50 * S };
        let split = TimeSplit::new(range, None);
        assert_eq!(split, TimeSplit { edges: Times::new([range]), ..TimeSplit::default() });
        let none = TimeRange { from_us: 50 * S, to_us: 10 * S };
        assert_eq!(TimeSplit::new(none, None), TimeSplit::default());
    }

    #[test]
    fn whole_hours_have_no_edge() {
        let all = TimeRange::new(None, None);
        for windows in [None, Some((WindowSize::Day, &TimeZone::UTC))] {
            let hours = Times::new([all]);
            assert_eq!(TimeSplit::new(all, windows), TimeSplit { hours, ..TimeSplit::default() });
        }
        let minutes = Times::new([all]);
        let split = TimeSplit::new(all, Some((WindowSize::Minute, &TimeZone::UTC)));
        assert_eq!(split, TimeSplit { minutes, ..TimeSplit::default() });
    }

    #[test]
    fn times_are_told_shortly() {
        let range = |n: i64| TimeRange { from_us: n * 120 * S, to_us: n * 120 * S + 60 * S };
        assert_eq!(Times::new([range(0)]).to_string(), "1970-01-01T00:00:00Z..1970-01-01T00:01:00Z");
        assert!(Times::new((0..9).map(range)).to_string().ends_with("..1970-01-01T00:05:00Z and 6 more"));
        assert_eq!(Times::new([TimeRange::new(None, None)]).to_string(), "..");
    }

    /// Around hours of 1972, when Liberia's clocks were odd, and of a change in Lord Howe.
    fn a_split() -> impl Strategy<Value = (TimeRange, Option<(WindowSize, &'static str)>, i64)> {
        let base = prop_oneof![Just(63_590_400i64), Just(1_712_415_600)];
        let zones = ["UTC", "Asia/Kolkata", "Africa/Monrovia", "Australia/Lord_Howe", "Europe/Berlin"];
        let sizes = [WindowSize::Minute, WindowSize::Hour, WindowSize::Day, WindowSize::Month];
        let windows =
            prop::option::of((prop::sample::select(sizes.to_vec()), prop::sample::select(zones.to_vec())));
        (
            base,
            prop::option::of(-20_000i64..20_000),
            prop::option::of(1i64..30_000),
            windows,
            -25_000i64..45_000,
        )
            .prop_map(|(base, from, length, windows, time)| {
                let from_s = base + from.unwrap_or(-20_000);
                let range = TimeRange::new(from.map(|_| from_s * S), length.map(|l| (from_s + l) * S));
                (range, windows, (base + time) * S)
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn each_time_lies_in_one_part_that_no_window_divides((range, windows, time) in a_split()) {
            let windows = windows.map(|(size, name)| (size, zone(name).unwrap()));
            let split = TimeSplit::new(range, windows.as_ref().map(|(size, zone)| (*size, zone)));
            let parts = [&split.hours, &split.minutes, &split.edges];
            let found = parts.iter().filter(|part| part.contains(time)).count();
            prop_assert_eq!(found, usize::from(range.contains(time)));
            for (part, unit) in [(&split.hours, 60 * MINUTE_US), (&split.minutes, MINUTE_US)] {
                for (from, to) in part.pairs() {
                    prop_assert_eq!((from.rem_euclid(unit), to.rem_euclid(unit)), (0, 0));
                }
                if part.contains(time) && let Some((size, zone)) = &windows {
                    let start = time - time.rem_euclid(unit);
                    let mut bins = Windows::new(*size, zone.clone());
                    prop_assert_eq!(bins.window(start), bins.window(start + unit - 1));
                }
            }
        }
    }
}
