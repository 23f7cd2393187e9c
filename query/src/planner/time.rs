//! The query's time, cut into whole minutes that windows can answer and edges that they cannot.

use std::fmt;

use weir_meter::time::format_utc;
use weir_meter::window::MINUTE_US;

/// Below every event time and a whole minute.
const EARLIEST_US: i64 = -100_000_000_000 * MINUTE_US;
/// Above every event time and a whole minute.
const LATEST_US: i64 = 100_000_000_000 * MINUTE_US;

/// A half-open range of microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A range of time as the planner wants it. Interior and edges are disjoint and make up the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSplit {
    /// Whole minutes.
    pub interior: Option<TimeRange>,
    /// The rest, in order.
    pub edges: Vec<TimeRange>,
}

impl TimeSplit {
    /// `rows_below_us`: earlier times are edges too, because the query's windows may begin inside
    /// a minute there.
    pub fn new(range: TimeRange, rows_below_us: Option<i64>) -> Self {
        if range.is_empty() {
            return Self { interior: None, edges: Vec::new() };
        }
        let from = ceil_minute(range.from_us.max(rows_below_us.unwrap_or(range.from_us)));
        let to = range.to_us.saturating_sub(range.to_us.rem_euclid(MINUTE_US));
        if from >= to {
            return Self { interior: None, edges: vec![range] };
        }
        let edges = [
            TimeRange { from_us: range.from_us, to_us: from },
            TimeRange { from_us: to, to_us: range.to_us },
        ];
        Self {
            interior: Some(TimeRange { from_us: from, to_us: to }),
            edges: edges.into_iter().filter(|e| !e.is_empty()).collect(),
        }
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

    const S: i64 = 1_000_000;

    #[test]
    fn a_range_inside_one_minute_is_all_edge() {
        let range = TimeRange { from_us: 10 * S, to_us: 50 * S };
        assert_eq!(TimeSplit::new(range, None), TimeSplit { interior: None, edges: vec![range] });
    }

    #[test]
    fn whole_minutes_have_no_edge() {
        let range = TimeRange::new(Some(0), Some(600 * S));
        assert_eq!(TimeSplit::new(range, None), TimeSplit { interior: Some(range), edges: vec![] });
        let all = TimeRange::new(None, None);
        assert_eq!(TimeSplit::new(all, None), TimeSplit { interior: Some(all), edges: vec![] });
    }

    proptest! {
        #[test]
        fn each_time_lies_in_one_part(
            from in prop::option::of(-200i64..400), length in 1i64..400, below in prop::option::of(-300i64..500),
            time in -400i64..900,
        ) {
            let range = TimeRange::new(from.map(|f| f * S), from.map(|f| (f + length) * S));
            let split = TimeSplit::new(range, below.map(|b| b * S));
            let time = time * S;
            let parts = split.interior.iter().chain(&split.edges).filter(|p| p.contains(time)).count();
            prop_assert_eq!(parts, usize::from(range.contains(time)));
            if let Some(interior) = split.interior {
                prop_assert_eq!(interior.from_us.rem_euclid(MINUTE_US), 0);
                prop_assert_eq!(interior.to_us.rem_euclid(MINUTE_US), 0);
                prop_assert!(below.is_none_or(|b| interior.from_us >= b * S));
            }
        }
    }
}
