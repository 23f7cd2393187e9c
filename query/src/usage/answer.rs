//! The rows of an answer: OpenMeter's contract 4.5, 14.7 and 14.8.

use jiff::tz::TimeZone;
use weir_meter::Aggregation;
use weir_meter::time::format_utc;
use weir_meter::window::MINUTE_US;
use weir_meter::zone::{WindowSize, Windows, format_zoned};
use weir_proto::Position;

use super::{Planned, ReadCounts};
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
            rows.push(UsageRow {
                value: "0".to_owned(),
                window_start_us: request.from_us.unwrap_or(0),
                window_end_us: request.to_us.unwrap_or(MINUTE_US),
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
