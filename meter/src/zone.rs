//! Windows as queries ask for them: aligned in a time zone, with days of 23 and 25 hours.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use crate::time::{TIME_US_MAX, date_of_day, day_of_date, format_clock};

/// The windows of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowSize {
    Minute,
    Hour,
    Day,
    Month,
}

impl WindowSize {
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Month => "MONTH",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "MINUTE" => Self::Minute,
            "HOUR" => Self::Hour,
            "DAY" => Self::Day,
            "MONTH" => Self::Month,
            _ => return None,
        })
    }
}

/// A zone by its IANA name, from the copy of the database inside the binary. Names compare exactly.
pub fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    (zone.iana_name() == Some(name)).then_some(zone)
}

/// Finds the window a time falls into; remembers the last one, so sorted times cost little.
///
/// The windows of one size tile all time. A minute or an hour is a run of instants at which clocks in
/// the zone show the same one: an hour that clocks skip half of is half an hour long, and one they show
/// twice is two windows if the second begins at its beginning. A day or a month begins at the first
/// instant at which clocks show it, and ends where the next begins.
#[derive(Clone, Debug)]
pub struct Windows {
    size: WindowSize,
    zone: TimeZone,
    last: Option<(i64, i64)>,
    stretch: Option<Stretch>,
}

impl Windows {
    pub fn new(size: WindowSize, zone: TimeZone) -> Self {
        Self { size, zone, last: None, stretch: None }
    }

    /// Start (inside) and end (outside) of the window around `time_us`, microseconds since 1970, UTC.
    pub fn window(&mut self, time_us: i64) -> (i64, i64) {
        if let Some((start, end)) = self.last
            && (start..end).contains(&time_us)
        {
            return (start, end);
        }
        let time_s = time_us.div_euclid(SECOND_US);
        let (start_s, end_s) = match self.size {
            WindowSize::Minute => self.run(time_s, 60),
            WindowSize::Hour => self.run(time_s, 3_600),
            WindowSize::Day => self.calendar(time_s, |day| (day, day + 1)),
            WindowSize::Month => self.calendar(time_s, |day| {
                let (year, month, _) = date_of_day(day);
                let next =
                    if month == 12 { day_of_date(year + 1, 1, 1) } else { day_of_date(year, month + 1, 1) };
                (day_of_date(year, month, 1), next)
            }),
        };
        let window = (start_s.saturating_mul(SECOND_US), end_s.saturating_mul(SECOND_US));
        self.last = Some(window);
        window
    }

    /// The run of instants that show the same local multiple of `unit` seconds.
    fn run(&mut self, time_s: i64, unit: i64) -> (i64, i64) {
        let here = self.stretch_at(time_s);
        let shown = here.local(time_s).div_euclid(unit);
        // A start that clocks show, or the change of offset at which they began to show the unit.
        let mut first = here;
        while first.utc(shown * unit) < first.from_s {
            let before = self.stretch_at(first.from_s - 1);
            let shows_it = before.local(first.from_s - 1).div_euclid(unit) == shown;
            if !shows_it || before == first {
                break;
            }
            first = before;
        }
        let mut last = here;
        while last.utc((shown + 1) * unit) >= last.to_s {
            let after = self.stretch_at(last.to_s);
            let local = after.local(last.to_s);
            let goes_on = local.div_euclid(unit) == shown && local.rem_euclid(unit) != 0;
            if !goes_on || after == last {
                break;
            }
            last = after;
        }
        (first.utc(shown * unit).max(first.from_s), last.utc((shown + 1) * unit).min(last.to_s))
    }

    /// A window of whole local days: `bounds` gives the first day of the window that a day is in, and
    /// the first day of the next.
    fn calendar(&mut self, time_s: i64, bounds: impl Fn(i64) -> (i64, i64)) -> (i64, i64) {
        let (mut first, mut next) = bounds(self.stretch_at(time_s).local(time_s).div_euclid(DAY_S));
        let mut start_s = self.first_instant(first);
        let mut end_s = self.first_instant(next);
        // Where clocks go back over midnight, they show the old day again inside the new one.
        while time_s >= end_s && next > first {
            (first, next) = bounds(next);
            (start_s, end_s) = (end_s, self.first_instant(next));
        }
        (start_s, end_s)
    }

    /// The first instant at which clocks show midnight of `day` or a later time.
    fn first_instant(&mut self, day: i64) -> i64 {
        let midnight = day.saturating_mul(DAY_S);
        // No zone is further from UTC than a day and two hours.
        let mut stretch = self.stretch_at(midnight - 26 * 3_600);
        while stretch.utc(midnight) >= stretch.to_s {
            let after = self.stretch_at(stretch.to_s);
            if after == stretch {
                break;
            }
            stretch = after;
        }
        stretch.utc(midnight).max(stretch.from_s)
    }

    /// The stretch around an instant, kept for the next question.
    fn stretch_at(&mut self, time_s: i64) -> Stretch {
        match self.stretch {
            Some(stretch) if (stretch.from_s..stretch.to_s).contains(&time_s) => stretch,
            _ => {
                let stretch = Stretch::around(&self.zone, time_s);
                self.stretch = Some(stretch);
                stretch
            }
        }
    }
}

const SECOND_US: i64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// Times of day up to which zones are looked at; events end in 2100.
const LAST_CHANGE_S: i64 = 4_200_000_000;

/// A stretch of time during which a zone keeps one offset. All in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    from_s: i64,
    to_s: i64,
    offset_s: i64,
}

impl Stretch {
    /// Where an offset has been kept for longer, the stretch begins inside it. Far outside the years 1
    /// to 9999 there are no changes, and UTC everywhere.
    fn around(zone: &TimeZone, time_s: i64) -> Self {
        const FAR_S: i64 = i64::MAX / 4;
        const LOOK_BACK_S: i64 = 400 * DAY_S;
        let Ok(at) = Timestamp::from_second(time_s) else {
            return Self { from_s: -FAR_S, to_s: FAR_S, offset_s: 0 };
        };
        let mut stretch =
            Self { from_s: -FAR_S, to_s: FAR_S, offset_s: i64::from(zone.to_offset(at).seconds()) };
        // Changes are looked up forwards only: backwards, jiff 0.2.43 takes the zone's last rule to
        // reach back before the last change it lists (Ciudad Juárez in November 2022).
        let Ok(earlier) = Timestamp::from_second(time_s.saturating_sub(LOOK_BACK_S)) else { return stretch };
        stretch.from_s = earlier.as_second();
        for change in zone.following(earlier) {
            let change_s = change.timestamp().as_second();
            if change_s > time_s {
                stretch.to_s = change_s;
                break;
            }
            stretch.from_s = change_s;
        }
        stretch
    }

    /// What clocks show, in seconds since their 1970.
    fn local(&self, time_s: i64) -> i64 {
        time_s.saturating_add(self.offset_s)
    }

    /// When clocks would show `local_s`, did the stretch last long enough.
    fn utc(&self, local_s: i64) -> i64 {
        local_s.saturating_sub(self.offset_s)
    }
}

/// Times below this may have window edges inside a minute, because the zone's offset had seconds
/// then; None if the zone never had such an offset since 1970.
pub fn sub_minute_edges_until(zone: &TimeZone) -> Option<i64> {
    let mut until_s = None;
    let mut stretch = Stretch::around(zone, 0);
    loop {
        let end_s = stretch.to_s.min(LAST_CHANGE_S);
        if stretch.offset_s % 60 != 0 || end_s % 60 != 0 {
            // The edge at the end may itself lie inside a minute.
            until_s = Some((end_s + 59).div_euclid(60) * 60);
        }
        if end_s == LAST_CHANGE_S {
            return until_s.map(|until_s| until_s * SECOND_US);
        }
        stretch = Stretch::around(zone, end_s);
    }
}

/// The parts of a range of time, in microseconds, in which every edge of the zone's hours, days and months
/// lies on a whole hour of UTC: sorted, as long as they can be, beginning and ending on such hours. There
/// the zone keeps offsets of whole hours and changes between them on the hour. What holds when the first
/// event can be holds before it too, and the same after the last.
pub fn whole_hours(zone: &TimeZone, from_us: i64, to_us: i64) -> Vec<(i64, i64)> {
    let (from_us, to_us) = (ceil_hour(from_us), floor_hour(to_us));
    if from_us >= to_us {
        return Vec::new();
    }
    let (first_us, last_us) = (from_us.clamp(0, EVENTS_END_US), to_us.clamp(0, EVENTS_END_US));
    let Ok(first) = Timestamp::from_microsecond(first_us) else { return Vec::new() };
    let mut offset = zone.to_offset(first);
    let on_hours = |offset: Offset| offset.seconds() % 3_600 == 0;
    if first_us == last_us {
        return if on_hours(offset) { vec![(from_us, to_us)] } else { Vec::new() };
    }
    let mut parts: Vec<(i64, i64)> = Vec::new();
    let mut add = |offset: Offset, begin_us: i64, end_us: i64| {
        let (begin_us, end_us) = (ceil_hour(begin_us), floor_hour(end_us));
        match parts.last_mut() {
            _ if !on_hours(offset) || begin_us >= end_us => {}
            Some(last) if last.1 == begin_us => last.1 = end_us,
            _ => parts.push((begin_us, end_us)),
        }
    };
    let mut since_us = first_us;
    for change in zone.following(first) {
        let at_us = change.timestamp().as_microsecond();
        if at_us >= last_us {
            break;
        }
        // Some changes are only of the name.
        if change.offset() != offset {
            add(offset, since_us, at_us);
            (offset, since_us) = (change.offset(), at_us);
        }
    }
    add(offset, since_us, last_us);
    if let Some(part) = parts.first_mut().filter(|part| part.0 == first_us) {
        part.0 = from_us;
    }
    if let Some(part) = parts.last_mut().filter(|part| part.1 == last_us) {
        part.1 = to_us;
    }
    parts
}

const HOUR_US: i64 = 3_600 * SECOND_US;
/// No event is as late: a whole hour.
const EVENTS_END_US: i64 = TIME_US_MAX + 1;

fn floor_hour(time_us: i64) -> i64 {
    time_us.saturating_sub(time_us.rem_euclid(HOUR_US))
}

fn ceil_hour(time_us: i64) -> i64 {
    match time_us.rem_euclid(HOUR_US) {
        0 => time_us,
        rest => time_us.saturating_add(HOUR_US - rest),
    }
}

/// `2024-01-31T10:00:00-05:00`: the time as clocks in the zone show it; `Z` where they show UTC.
/// An offset with seconds is cut to minutes, so that the text names the same instant.
pub fn format_zoned(time_us: i64, zone: &TimeZone) -> String {
    let minutes =
        Timestamp::from_microsecond(time_us).map_or(0, |at| i64::from(zone.to_offset(at).seconds()) / 60);
    let local = format_clock(time_us.saturating_add(minutes * 60 * SECOND_US));
    if minutes == 0 {
        return format!("{local}Z");
    }
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{local}{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}
