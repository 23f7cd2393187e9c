//! Windows in a time zone, from the zone's rules as another crate knows them. All times here are whole
//! seconds since 1970, UTC.

use chrono::{
    DateTime, Datelike as _, Days, Months, NaiveDate, NaiveDateTime, Offset as _, TimeZone as _,
    Timelike as _,
};
use chrono_tz::Tz;

use super::model::WindowSize;

/// The zone of an IANA name.
pub fn zone(name: &str) -> Tz {
    name.parse().unwrap_or_else(|_| panic!("no zone {name:?}"))
}

/// Start (inside) and end (outside) of the window around a second.
pub fn window(second: i64, size: WindowSize, zone: Tz) -> (i64, i64) {
    let local = local(second, zone);
    match size {
        WindowSize::Minute => clock_window(second, i64::from(local.second()), 60, zone),
        WindowSize::Hour => {
            clock_window(second, i64::from(local.minute() * 60 + local.second()), 3_600, zone)
        }
        WindowSize::Day => {
            let today = local.date();
            let tomorrow = today.checked_add_days(Days::new(1)).unwrap();
            (first_second(today, zone), first_second(tomorrow, zone))
        }
        WindowSize::Month => {
            let first = NaiveDate::from_ymd_opt(local.year(), local.month(), 1).unwrap();
            let next = first.checked_add_months(Months::new(1)).unwrap();
            (first_second(first, zone), first_second(next, zone))
        }
    }
}

/// Seconds that the zone's clocks are ahead of UTC.
pub fn offset(second: i64, zone: Tz) -> i64 {
    let utc = DateTime::from_timestamp(second, 0).unwrap().naive_utc();
    i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

fn local(second: i64, zone: Tz) -> NaiveDateTime {
    DateTime::from_timestamp(second + offset(second, zone), 0).unwrap().naive_utc()
}

/// An hour (or minute) as clocks show it: from one second that begins it to the next that begins another.
fn clock_window(second: i64, into: i64, size: i64, zone: Tz) -> (i64, i64) {
    let (mut start, mut end) = (second - into, second - into + size);
    if offset(start - 1, zone) == offset(end, zone) {
        return (start, end);
    }
    // Clocks are changed nearby: second by second, then.
    start = second;
    while !begins(start, size, zone) {
        start -= 1;
    }
    end = second + 1;
    while !begins(end, size, zone) {
        end += 1;
    }
    (start, end)
}

/// Whether clocks show another hour (or minute) than a second ago, or the beginning of one, were it the
/// same one a second time.
fn begins(second: i64, size: i64, zone: Tz) -> bool {
    let shown = |second: i64| second + offset(second, zone);
    shown(second).rem_euclid(size) == 0
        || shown(second).div_euclid(size) != shown(second - 1).div_euclid(size)
}

/// The first second at which clocks show this date; where midnight was skipped, the first after it.
fn first_second(date: NaiveDate, zone: Tz) -> i64 {
    let mut clock = date.and_hms_opt(0, 0, 0).unwrap();
    loop {
        if let Some(time) = zone.from_local_datetime(&clock).earliest() {
            return time.timestamp();
        }
        clock += chrono::Duration::seconds(1);
    }
}
