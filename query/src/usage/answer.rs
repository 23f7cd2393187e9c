//! The rows of an answer: OpenMeter's contract 4.5, 14.7 and 14.8.

use jiff::tz::TimeZone;
use weir_meter::Aggregation;
use weir_meter::time::format_utc;
use weir_meter::window::MINUTE_US;
use weir_meter::zone::{WindowSize, Windows, format_zoned};
use weir_proto::Position;

use super::ReadCounts;
use super::plan::Planned;
use crate::aggregate::Group;

/// An answer to a usage question.
#[derive(Clone, Debug)]
pub struct UsageAnswer {
    /// What the answer is as of; asked for exactly this, it is given again.
    pub position: Position,
    /// Set if the answer begins at the floor because the question did not say where.
    pub floor_us: Option<i64>,
    /// The meter's.
    pub slug: String,
    pub from_us: Option<i64>,
    pub to_us: Option<i64>,
    pub window_size: Option<WindowSize>,
    /// None shows times with `Z`.
    pub zone: Option<TimeZone>,
    pub by_subject: bool,
    /// Group-by keys in the order asked for.
    pub group_by: Vec<String>,
    /// By window start, then subject, then group values.
    pub rows: Vec<UsageRow>,
    pub read: ReadCounts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Plain decimal notation, exact.
    pub value: String,
    pub window_start_us: i64,
    pub window_end_us: i64,
    /// Present when grouped by subject.
    pub subject: Option<String>,
    /// One value per group-by key.
    pub groups: Vec<String>,
}

impl UsageAnswer {
    pub(super) fn new(groups: Vec<Group>, planned: Planned, read: ReadCounts) -> Self {
        let Planned { request, aggregation, .. } = planned;
        let zone = request.zone.clone().unwrap_or(TimeZone::UTC);
        let mut windows = request.window_size.map(|size| Windows::new(size, zone));
        let mut rows: Vec<UsageRow> = groups
            .into_iter()
            .map(|group| {
                let (start, end) = match (&mut windows, group.window_start_us) {
                    // Windows are whole, whatever part of them was asked for.
                    (Some(windows), Some(start)) => windows.window(start),
                    _ => (
                        request.from_us.unwrap_or(group.first_minute_us),
                        request.to_us.unwrap_or(group.last_minute_us.saturating_add(MINUTE_US)),
                    ),
                };
                UsageRow {
                    value: group.value,
                    window_start_us: start,
                    window_end_us: end,
                    subject: group.subject,
                    groups: group.groups,
                }
            })
            .collect();
        let counts = matches!(aggregation, Aggregation::Count | Aggregation::UniqueCount);
        if rows.is_empty() && counts && request.is_total() {
            // Nothing was counted, and that is a number too.
            let (start, end) = window_of_nothing(request.from_us, request.to_us);
            rows.push(UsageRow {
                value: "0".to_owned(),
                window_start_us: start,
                window_end_us: end,
                subject: None,
                groups: Vec::new(),
            });
        }
        Self {
            position: planned.position,
            floor_us: planned.floor_us,
            slug: planned.slug,
            from_us: request.from_us,
            to_us: request.to_us,
            window_size: request.window_size,
            zone: request.zone,
            by_subject: request.by_subject,
            group_by: request.group_by.into_iter().map(|(key, _)| key).collect(),
            rows,
            read,
        }
    }

    /// A time as this answer shows it.
    pub fn show(&self, time_us: i64) -> String {
        match &self.zone {
            Some(zone) => format_zoned(time_us, zone),
            None => format_utc(time_us),
        }
    }
}

/// The window of a total over nothing: the first minute of 1970, or the bounds that were given; a bound
/// that was not given is the minute beside the other, so that no window ends before it begins.
fn window_of_nothing(from_us: Option<i64>, to_us: Option<i64>) -> (i64, i64) {
    match (from_us, to_us) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => {
            (from, from.saturating_sub(from.rem_euclid(MINUTE_US)).saturating_add(MINUTE_US))
        }
        (None, Some(to)) if to > 0 => (0, to),
        (None, Some(to)) => (to.saturating_sub(MINUTE_US), to),
        (None, None) => (0, MINUTE_US),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_nothing_is_never_inverted() {
        let s = 1_000_000;
        for (from, to, window) in [
            (None, None, (0, 60)),
            (Some(7), Some(9), (7, 9)),
            (Some(7), None, (7, 60)),
            (Some(120), None, (120, 180)),
            (Some(1_767_225_630), None, (1_767_225_630, 1_767_225_660)),
            (None, Some(30), (0, 30)),
            (None, Some(0), (-60, 0)),
        ] {
            let got = window_of_nothing(from.map(|at| at * s), to.map(|at| at * s));
            assert_eq!(got, (window.0 * s, window.1 * s), "{from:?} {to:?}");
        }
    }
}
