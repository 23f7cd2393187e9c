//! Windows tile time, and hold what a civil calendar says they hold.

use jiff::ToSpan as _;
use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;
use crate::time::parse_rfc3339;

const ZONES: [&str; 28] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Africa/Monrovia",
    "America/St_Johns",
    "America/Havana",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Asia/Amman",
    "Africa/Cairo",
    "Asia/Gaza",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Pacific/Kiritimati",
    "Antarctica/Troll",
    "Antarctica/Casey",
    "Asia/Pyongyang",
    "America/Caracas",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Pacific/Chatham",
    "America/Godthab",
    "Asia/Tehran",
    "Europe/Volgograd",
    "Atlantic/Azores",
];

const SIZES: [WindowSize; 4] = [WindowSize::Minute, WindowSize::Hour, WindowSize::Day, WindowSize::Month];

fn us(text: &str) -> i64 {
    parse_rfc3339(text).unwrap()
}

fn named(name: &str) -> TimeZone {
    zone(name).unwrap_or_else(|| panic!("{name}"))
}

fn shown(time_us: i64, zone: &TimeZone) -> DateTime {
    zone.to_datetime(Timestamp::from_microsecond(time_us).unwrap())
}

/// What a window of the size is called on the zone's clocks.
fn label(size: WindowSize, time: DateTime) -> (i16, i8, i8, i8, i8) {
    let (y, m, d, h, min) = (time.year(), time.month(), time.day(), time.hour(), time.minute());
    match size {
        WindowSize::Minute => (y, m, d, h, min),
        WindowSize::Hour => (y, m, d, h, 0),
        WindowSize::Day => (y, m, d, 0, 0),
        WindowSize::Month => (y, m, 0, 0, 0),
    }
}

fn check_window(size: WindowSize, zone: &TimeZone, time_us: i64) -> Result<(), TestCaseError> {
    let mut windows = Windows::new(size, zone.clone());
    let (start, end) = windows.window(time_us);
    let place = format!("{size:?} {zone:?} {time_us} {start} {end}");
    prop_assert!(start <= time_us && time_us < end, "{place}");
    for inside in [start, end - 1, time_us] {
        prop_assert_eq!(Windows::new(size, zone.clone()).window(inside), (start, end), "{}", place);
        prop_assert_eq!(windows.window(inside), (start, end), "{}", place);
    }
    prop_assert_eq!(windows.window(start - 1).1, start, "{}", place);
    prop_assert_eq!(windows.window(end).0, end, "{}", place);
    prop_assert_eq!(windows.window(time_us), (start, end), "{}", place);

    // The reference: what clocks show around the edges.
    let (first, last, before, after) =
        (shown(start, zone), shown(end - 1, zone), shown(start - 1, zone), shown(end, zone));
    let own = label(size, first);
    match size {
        WindowSize::Minute | WindowSize::Hour => {
            prop_assert_eq!(own, label(size, last), "{}", place);
            prop_assert_eq!(own, label(size, shown(time_us, zone)), "{}", place);
            for (edge, outside) in [(first, before), (after, last)] {
                let begins =
                    if size == WindowSize::Hour { edge.minute() == 0 } else { true } && edge.second() == 0;
                prop_assert!(
                    begins || label(size, edge) != label(size, outside),
                    "{} {} {}",
                    place,
                    edge,
                    outside
                );
            }
        }
        WindowSize::Day | WindowSize::Month => {
            // Before the start clocks have never shown this day, from the end on they have shown the next.
            prop_assert!(label(size, before) < own && own < label(size, after), "{place}");
            prop_assert!(label(size, shown(time_us, zone)) <= own, "{place}");
            prop_assert!(first.date().day() == 1 || size == WindowSize::Day, "{place}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn windows_tile_all_time(
        size in prop::sample::select(SIZES.to_vec()), name in prop::sample::select(ZONES.to_vec()), time_us in 200_000_000_000..TIME_US_MAX,
    ) {
        check_window(size, &named(name), time_us)?;
    }

    /// Around every kind of change of offset.
    #[test]
    fn windows_tile_around_changes(
        size in prop::sample::select(SIZES.to_vec()), name in prop::sample::select(ZONES.to_vec()),
        near in 0..TIME_US_MAX, delta_s in -10_000_i64..10_000, delta_us in 0..1_000_000_i64,
    ) {
        let zone = named(name);
        let Some(change) = zone.following(Timestamp::from_microsecond(near).unwrap()).next() else { return Ok(()) };
        check_window(size, &zone, (change.timestamp().as_second() + delta_s) * 1_000_000 + delta_us)?;
    }

    #[test]
    fn any_time_at_all_has_a_window(size in prop::sample::select(SIZES.to_vec()), time_us: i64, name in prop::sample::select(ZONES.to_vec())) {
        let (start, end) = Windows::new(size, named(name)).window(time_us);
        prop_assert!(start <= end);
    }

    #[test]
    fn zoned_texts_name_the_instant(name in prop::sample::select(ZONES.to_vec()), time_us in 90_000_000_000..TIME_US_MAX - 90_000_000_000) {
        let text = format_zoned(time_us, &named(name));
        prop_assert_eq!(parse_rfc3339(&text), Ok(time_us), "{}", text);
    }
}

/// Every change of every zone in the database, at the instants around it.
#[test]
fn every_change_of_every_zone_tiles() {
    let database = TimeZoneDatabase::bundled();
    let mut zones = 0;
    for name in database.available() {
        let zone = named(name.as_str());
        zones += 1;
        let begin = Timestamp::from_second(0).unwrap();
        for change in
            zone.following(begin).take_while(|change| change.timestamp().as_second() < 2_300_000_000)
        {
            let at = change.timestamp().as_microsecond();
            for size in [WindowSize::Hour, WindowSize::Day] {
                let mut windows = Windows::new(size, zone.clone());
                let (start, end) = windows.window(at);
                assert!(start <= at && at < end, "{} {size:?} {at}", name.as_str());
                assert_eq!(windows.window(start - 1).1, start, "{} {size:?} {at}", name.as_str());
                assert_eq!(windows.window(end).0, end, "{} {size:?} {at}", name.as_str());
                assert_eq!(
                    Windows::new(size, zone.clone()).window(start),
                    (start, end),
                    "{} {size:?} {at}",
                    name.as_str()
                );
            }
        }
    }
    assert!(zones > 500, "{zones}");
}

fn window(size: WindowSize, name: &str, at: &str) -> [String; 2] {
    let (start, end) = Windows::new(size, named(name)).window(us(at));
    [start, end].map(|edge| format_zoned(edge, &named(name)))
}

#[test]
fn hours() {
    assert_eq!(
        window(WindowSize::Hour, "Asia/Kolkata", "2024-01-01T10:15:00Z"),
        ["2024-01-01T15:00:00+05:30", "2024-01-01T16:00:00+05:30"]
    );
    // Clocks go back a whole hour: the hour is there twice.
    assert_eq!(
        window(WindowSize::Hour, "America/New_York", "2013-11-03T05:30:00Z"),
        ["2013-11-03T01:00:00-04:00", "2013-11-03T01:00:00-05:00"]
    );
    assert_eq!(
        window(WindowSize::Hour, "America/New_York", "2013-11-03T06:30:00Z"),
        ["2013-11-03T01:00:00-05:00", "2013-11-03T02:00:00-05:00"]
    );
    // Clocks go forward: the hour before the change is followed by the hour after it.
    assert_eq!(
        window(WindowSize::Hour, "America/New_York", "2013-03-10T06:30:00Z"),
        ["2013-03-10T01:00:00-05:00", "2013-03-10T03:00:00-04:00"]
    );
    // Half an hour forward: clocks show only the second half of the hour.
    assert_eq!(
        window(WindowSize::Hour, "Australia/Lord_Howe", "2024-10-05T15:40:00Z"),
        ["2024-10-06T02:30:00+11:00", "2024-10-06T03:00:00+11:00"]
    );
    // Half an hour back: the hour lasts half an hour longer.
    assert_eq!(
        window(WindowSize::Hour, "Australia/Lord_Howe", "2024-04-06T14:10:00Z"),
        ["2024-04-07T01:00:00+11:00", "2024-04-07T02:00:00+10:30"]
    );
}

#[test]
fn days_and_months() {
    let hours = |name: &str, at: &str| {
        let (start, end) = Windows::new(WindowSize::Day, named(name)).window(us(at));
        (end - start) / 3_600_000_000
    };
    assert_eq!(hours("America/New_York", "2013-03-10T17:00:00Z"), 23);
    assert_eq!(hours("America/New_York", "2013-11-03T17:00:00Z"), 25);
    assert_eq!(hours("America/New_York", "2013-11-04T17:00:00Z"), 24);
    // No midnight: the day begins at one.
    assert_eq!(
        window(WindowSize::Day, "America/Sao_Paulo", "2018-11-04T12:00:00Z"),
        ["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"]
    );
    // A day that did not happen.
    assert_eq!(
        window(WindowSize::Day, "Pacific/Apia", "2011-12-30T05:00:00Z"),
        ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"]
    );
    // Clocks went back over midnight; the new day had begun.
    assert_eq!(
        window(WindowSize::Day, "America/St_Johns", "2009-11-01T02:31:00Z"),
        ["2009-11-01T00:00:00-02:30", "2009-11-02T00:00:00-03:30"]
    );
    assert_eq!(
        window(WindowSize::Month, "Europe/Berlin", "2024-03-31T22:30:00Z"),
        ["2024-04-01T00:00:00+02:00", "2024-05-01T00:00:00+02:00"]
    );
    assert_eq!(
        window(WindowSize::Month, "UTC", "2024-12-31T23:59:59.999999Z"),
        ["2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"]
    );
}

#[test]
fn names_compare_exactly() {
    for name in ["UTC", "Europe/Berlin", "Etc/UTC", "GMT", "Asia/Calcutta"] {
        assert_eq!(named(name).iana_name(), Some(name));
    }
    for name in [
        "",
        "utc",
        "europe/berlin",
        "Europe/Atlantis",
        "EUROPE/BERLIN",
        "+02:00",
        "local",
        "Etc/Unknown",
        "../etc/passwd",
    ] {
        assert!(zone(name).is_none(), "{name}");
    }
}

#[test]
fn few_zones_have_edges_inside_minutes() {
    let odd: Vec<String> = TimeZoneDatabase::bundled()
        .available()
        .filter_map(|name| {
            Some(format!(
                "{} {}",
                name.as_str(),
                format_zoned(sub_minute_edges_until(&named(name.as_str()))?, &TimeZone::UTC)
            ))
        })
        .collect();
    assert_eq!(odd, ["Africa/Monrovia 1972-01-07T00:45:00Z"]);
    let monrovia = named("Africa/Monrovia");
    let mut minutes = Windows::new(WindowSize::Minute, monrovia.clone());
    assert_eq!(minutes.window(45_000_000), (30_000_000, 90_000_000));
    // The last minute with seconds ends at the change itself.
    let change = us("1972-01-07T00:44:30Z");
    assert_eq!(minutes.window(change - 1).1, change);
    assert_eq!(format_zoned(0, &monrovia), "1969-12-31T23:16:00-00:44");
}

#[test]
fn sorted_times_reuse_the_window() {
    let mut windows = Windows::new(WindowSize::Hour, named("Europe/Berlin"));
    let start = us("2024-03-31T00:00:00Z");
    let mut seen = Vec::new();
    for minute in 0..180 {
        let window = windows.window(start + minute * MINUTE_US);
        if seen.last() != Some(&window) {
            seen.push(window);
        }
    }
    assert_eq!(seen.len(), 3);
    let hour = 1.hour().total(jiff::Unit::Microsecond).unwrap() as i64;
    assert!(seen.iter().all(|(start, end)| end - start == hour));
}

const MINUTE_US: i64 = 60_000_000;
/// Day by day through the years: a stretch never spans a change of offset.
#[test]
fn stretches_know_every_change() {
    for name in ZONES {
        let zone = named(name);
        let offset = |time_s| i64::from(zone.to_offset(Timestamp::from_second(time_s).unwrap()).seconds());
        let mut stretch = Stretch::around(&zone, 0);
        for day in 0..=TIME_US_MAX / 1_000_000 / DAY_S {
            let time_s = day * DAY_S;
            while time_s >= stretch.to_s {
                assert_ne!(stretch, Stretch::around(&zone, stretch.to_s));
                stretch = Stretch::around(&zone, stretch.to_s);
            }
            assert_eq!(offset(time_s), stretch.offset_s, "{name} {time_s} {stretch:?}");
        }
    }
    // Juárez changed its rule in one November; the change before the last of that year is not in December.
    let juarez = Stretch::around(&named("America/Ciudad_Juarez"), us("2022-12-15T00:00:00Z") / 1_000_000);
    assert_eq!(juarez.from_s, us("2022-11-30T06:00:00Z") / 1_000_000);
}

/// The hours that neither a window's edge nor a change divides, found by walking from window to window.
fn undivided_hours(zone: &TimeZone, from_us: i64, to_us: i64) -> Vec<(i64, i64)> {
    let mut divided = std::collections::BTreeSet::new();
    for size in [WindowSize::Hour, WindowSize::Day, WindowSize::Month] {
        let mut windows = Windows::new(size, zone.clone());
        let mut at = from_us;
        while at < to_us {
            let (start, end) = windows.window(at);
            for edge in [start, end] {
                if edge.rem_euclid(HOUR_US) != 0 {
                    divided.insert(edge.div_euclid(HOUR_US));
                }
            }
            at = end;
        }
    }
    let offset = |at: i64| zone.to_offset(Timestamp::from_microsecond(at).unwrap());
    let mut parts: Vec<(i64, i64)> = Vec::new();
    for hour in (from_us + HOUR_US - 1).div_euclid(HOUR_US)..to_us.div_euclid(HOUR_US) {
        let (start, end) = (hour * HOUR_US, (hour + 1) * HOUR_US);
        match parts.last_mut() {
            // Clocks that go back in the middle of an hour may make it part of a longer one.
            _ if divided.contains(&hour) || offset(start) != offset(end - 1) => {}
            Some(last) if last.1 == start => last.1 = end,
            _ => parts.push((start, end)),
        }
    }
    parts
}

#[test]
fn whole_hours_are_those_that_no_window_divides() {
    for (from, to) in
        [("1970-01-01T00:00:00Z", "1974-01-01T00:00:00Z"), ("2018-06-15T10:20:30Z", "2020-05-01T00:00:01Z")]
    {
        for name in ZONES {
            let (zone, from, to) = (named(name), us(from), us(to));
            assert_eq!(whole_hours(&zone, from, to), undivided_hours(&zone, from, to), "{name} {from}");
        }
    }
}

#[test]
fn whole_hours_around_every_change() {
    let database = TimeZoneDatabase::bundled();
    for name in database.available() {
        let zone = named(name.as_str());
        let begin = Timestamp::from_second(0).unwrap();
        for change in
            zone.following(begin).take_while(|change| change.timestamp().as_second() < 1_900_000_000)
        {
            let at = change.timestamp().as_microsecond();
            let (from, to) = (at - 3 * HOUR_US - 1, at + 3 * HOUR_US + 1);
            if from > 0 {
                assert_eq!(
                    whole_hours(&zone, from, to),
                    undivided_hours(&zone, from, to),
                    "{} {at}",
                    name.as_str()
                );
            }
        }
    }
}

#[test]
fn whole_hours_without_bounds() {
    let (least, greatest) = (i64::MIN / 2, i64::MAX / 2);
    let all = [(ceil_hour(least), floor_hour(greatest))];
    for name in ["UTC", "Europe/Berlin", "America/New_York"] {
        assert_eq!(whole_hours(&named(name), least, greatest), all, "{name}");
    }
    for name in ["Asia/Kolkata", "America/St_Johns"] {
        assert_eq!(whole_hours(&named(name), least, greatest), [], "{name}");
    }
    // Nepal's clocks went from half hours to quarters; Liberia's from 44 minutes and a half to none at all.
    assert_eq!(whole_hours(&named("Asia/Kathmandu"), least, greatest), []);
    assert_eq!(
        whole_hours(&named("Africa/Monrovia"), least, greatest),
        [(us("1972-01-07T01:00:00Z"), floor_hour(greatest))]
    );
    // Half the year on the half hour, for as long as there are events.
    let howe = whole_hours(&named("Australia/Lord_Howe"), least, greatest);
    assert!(howe.len() > 100, "{howe:?}");
    assert_eq!(howe.first(), Some(&(ceil_hour(least), us("1981-02-28T14:00:00Z"))));
    assert_eq!(howe.last().map(|part| part.1), Some(floor_hour(greatest)));
    // Where there are no events: by the rule in force at the nearest.
    assert_eq!(whole_hours(&named("Asia/Kolkata"), least, least / 2), []);
    assert_eq!(whole_hours(&named("UTC"), least, -1), [(ceil_hour(least), -HOUR_US)]);
    assert_eq!(whole_hours(&named("UTC"), 1, HOUR_US), []);
    assert_eq!(whole_hours(&named("UTC"), 10, 5), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whole_hours_anywhere(
        name in prop::sample::select(ZONES.to_vec()), from in 90_000_000_000..TIME_US_MAX - 10_000_000_000_000,
        length in 0..10_000_000_000_000_i64,
    ) {
        let zone = named(name);
        prop_assert_eq!(whole_hours(&zone, from, from + length), undivided_hours(&zone, from, from + length));
    }
}
