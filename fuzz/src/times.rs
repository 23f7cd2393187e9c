//! Times and time zones against jiff. The input is a time in RFC 3339, and on further lines a zone's name and a
//! window's size. Of the zones only jiff's database is shared: windows are held against what jiff's
//! calendar says of their ends and of instants between them.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use weir_meter::time::{TIME_US_MAX, floor_to_second, format_utc, parse_rfc3339};
use weir_meter::zone::{WindowSize, Windows, format_zoned, whole_hours, zone};

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;
const DAY_US: i64 = 24 * HOUR_US;

static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut names: Vec<String> =
        TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect();
    names.sort();
    names
});

pub(crate) fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let time = lines.next().unwrap_or_default();
    let read = parse_rfc3339(time).ok();
    assert_eq!(read, by_library(time), "{time:?}");
    let name = lines.next().unwrap_or("UTC");
    let known = name == "UTC" || NAMES.iter().any(|n| n == name);
    assert_eq!(zone(name).is_some(), known, "{name:?}");
    let Some(time_us) = read else { return };
    assert_eq!(parse_rfc3339(&format_utc(time_us)), Ok(time_us));
    assert_eq!(format_utc(time_us), Timestamp::from_microsecond(time_us).unwrap().to_string());
    // A name that is none stands for some zone or other: mutations seldom hit a name.
    let pick = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let name = if known { name } else { &NAMES[pick % NAMES.len()] };
    let zone = zone(name).unwrap_or_else(|| panic!("{name} is listed and not found"));
    shows(time_us, &zone);
    let size = lines.next().and_then(WindowSize::from_name);
    for size in size.map_or(vec![WindowSize::Hour, WindowSize::Day, WindowSize::Month], |size| vec![size]) {
        windows(time_us, &zone, size, name);
    }
}

/// The accepted shape by counting, the value by jiff.
fn by_library(text: &str) -> Option<i64> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let rest = shape.strip_prefix("0000-00-00T00:00:00")?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches('0');
            // jiff takes nine digits of a fraction.
            (zone.len() < fraction.len()).then_some(zone)?
        }
        None => rest,
    };
    if !["Z", "+00:00", "-00:00"].contains(&zone) || &text[17..19] > "59" {
        return None;
    }
    let (clock, offset) = text.split_at(text.len() - zone.len());
    if !offset.starts_with('Z') && (&offset[1..3] > "23" || &offset[4..6] > "59") {
        return None;
    }
    let clock = clock.get(..29).unwrap_or(clock);
    let time: Timestamp = format!("{clock}{offset}").parse().ok()?;
    let time_us = i64::try_from(time.as_nanosecond().div_euclid(1_000)).ok()?;
    (0..=TIME_US_MAX).contains(&time_us).then_some(time_us)
}

/// A time as a zone's clocks show it names the same instant.
fn shows(time_us: i64, zone: &TimeZone) {
    let text = format_zoned(time_us, zone);
    assert_eq!(text.parse::<Timestamp>().unwrap().as_microsecond(), time_us, "{text}");
    let offset = zone.to_offset(Timestamp::from_microsecond(time_us).unwrap());
    if offset.seconds() % 60 == 0 {
        let shown = parse_rfc3339(&format!("{}Z", &text[..19])).ok();
        let local_us = floor_to_second(time_us) + i64::from(offset.seconds()) * SECOND_US;
        assert!(shown.is_none_or(|shown| shown == local_us), "{text}");
    }
}

/// The window around a time, found anew each time, so that nothing is remembered between two answers.
fn window(time_us: i64, zone: &TimeZone, size: WindowSize) -> (i64, i64) {
    Windows::new(size, zone.clone()).window(time_us)
}

fn windows(time_us: i64, zone: &TimeZone, size: WindowSize, name: &str) {
    let (start, end) = window(time_us, zone, size);
    assert!(start <= time_us && time_us < end, "{name} {size:?} {time_us}");
    // Windows tile: every instant inside finds the same one, and its neighbours touch it.
    let mut remembering = Windows::new(size, zone.clone());
    for inside in [start, end - 1, start + (end - start) / 2, time_us] {
        assert_eq!(window(inside, zone, size), (start, end), "{name} {size:?} {inside}");
        assert_eq!(remembering.window(inside), (start, end), "{name} {size:?} {inside}");
    }
    assert_eq!(window(end, zone, size).0, end, "{name} {size:?} {time_us}");
    assert_eq!(window(start - 1, zone, size).1, start, "{name} {size:?} {time_us}");
    assert_eq!(remembering.window(end).0, end);
    let longest = match size {
        WindowSize::Minute => 60 * SECOND_US,
        WindowSize::Hour => 2 * HOUR_US,
        WindowSize::Day => 2 * DAY_US,
        WindowSize::Month => 33 * DAY_US,
    };
    assert!(end - start <= longest, "{name} {size:?} {time_us}");

    let zoned = |time_us: i64| Timestamp::from_microsecond(time_us).unwrap().to_zoned(zone.clone());
    match size {
        WindowSize::Minute | WindowSize::Hour => {
            let shown = |time_us: i64| {
                let local = zoned(time_us);
                (local.date(), local.hour(), if size == WindowSize::Minute { local.minute() } else { 0 })
            };
            for inside in [start, end - 1, time_us] {
                assert_eq!(shown(inside), shown(start), "{name} {size:?} {inside}");
            }
        }
        WindowSize::Day | WindowSize::Month => {
            let shown = |time_us: i64| {
                let date = zoned(time_us).date();
                if size == WindowSize::Day { date } else { date.first_of_month() }
            };
            // A window begins where clocks first show its day; where they go back over midnight they show
            // the day before once more inside it, and never a later one.
            assert!(shown(start - 1) < shown(start), "{name} {size:?} {time_us}");
            assert!(shown(end) > shown(start), "{name} {size:?} {time_us}");
            for inside in [end - 1, time_us] {
                assert!(shown(inside) <= shown(start), "{name} {size:?} {inside}");
            }
        }
    }

    // Where edges are said to lie on whole hours of UTC, they do.
    for (from, to) in whole_hours(zone, time_us - 40 * DAY_US, time_us + 40 * DAY_US) {
        assert!(from < to && from % HOUR_US == 0 && to % HOUR_US == 0, "{name} {time_us}");
        if from <= start && end <= to && size != WindowSize::Minute {
            assert!(start % HOUR_US == 0 && end % HOUR_US == 0, "{name} {size:?} {time_us}");
        }
    }
}
