//! Times that matter: the moments at which zones change their clocks, the ends of months, and the
//! edges of what an event may say.

use chrono::{DateTime, FixedOffset};
use rand::Rng as _;

use super::Rng8;

/// Zones that queries use, each for a reason: none, plain daylight saving, half hours, a half-hour
/// change, midnights that are skipped, an offset with seconds.
pub const ZONES: [&str; 6] = [
    "UTC",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Monrovia",
];

/// Seconds since 1970 around which events gather.
const ANCHORS: [i64; 14] = [
    0,             // the first second that is allowed
    63_593_070,    // 1972-01-07T00:44:30Z, Monrovia leaves its seconds
    1_362_898_800, // 2013-03-10T07:00:00Z, New York springs forward
    1_383_458_400, // 2013-11-03T06:00:00Z, New York falls back
    1_456_704_000, // 2016-02-29T00:00:00Z
    1_518_919_200, // 2018-02-18T02:00:00Z, São Paulo falls back at midnight
    1_541_300_400, // 2018-11-04T03:00:00Z, São Paulo skips midnight
    1_704_047_400, // 2023-12-31T18:30:00Z, the year begins in Kolkata
    1_712_415_600, // 2024-04-06T15:00:00Z, Lord Howe falls back by half an hour
    1_728_142_200, // 2024-10-05T15:30:00Z, Lord Howe springs forward by half an hour
    1_772_323_200, // 2026-03-01T00:00:00Z
    1_795_219_200, // 2026-11-21T00:00:00Z
    1_900_000_000, // some years ahead
    4_070_908_799, // 2098-12-31T23:59:59Z; the reference's zones know no summers after 2099
];

/// The last microsecond that an event may have.
const TIME_US_MAX: i64 = 4_133_980_800_000_000 - 1;

/// A run keeps to a few anchors, so that windows hold more than one event.
#[derive(Clone, Debug)]
pub struct Times {
    anchors: Vec<i64>,
}

impl Times {
    pub fn new(rng: &mut Rng8) -> Self {
        let count = rng.random_range(1..=5);
        Self { anchors: (0..count).map(|_| ANCHORS[rng.random_range(0..ANCHORS.len())]).collect() }
    }

    /// A moment near one of the anchors, microseconds since 1970.
    pub fn moment_us(&self, rng: &mut Rng8) -> i64 {
        let anchor = self.anchors[rng.random_range(0..self.anchors.len())];
        let spread = [0, 3, 90, 5_400, 100_000, 3_000_000][rng.random_range(0..6)];
        let second = anchor + rng.random_range(-spread..=spread);
        let micros = match rng.random_range(0..4) {
            0 => rng.random_range(0..1_000_000),
            1 => rng.random_range(0..1_000) * 1_000,
            _ => 0,
        };
        (second * 1_000_000 + micros).clamp(0, TIME_US_MAX)
    }
}

/// The moment as RFC 3339 with any offset and any number of digits, some of them past a microsecond.
pub fn rfc3339(rng: &mut Rng8, time_us: i64) -> String {
    let utc = DateTime::from_timestamp_micros(time_us).unwrap();
    let minutes = [0, 0, 0, 330, -300, 720, -720, 765, 60][rng.random_range(0..9)];
    let local = utc.with_timezone(&FixedOffset::east_opt(minutes * 60).unwrap());
    let mut text = local.format("%Y-%m-%dT%H:%M:%S").to_string();
    let micros = format!("{:06}", time_us.rem_euclid(1_000_000));
    let digits = if rng.random_bool(0.2) { 6 } else { micros.trim_end_matches('0').len() };
    if digits > 0 {
        text.push('.');
        text.push_str(&micros[..digits]);
        if digits == 6 && rng.random_bool(0.3) {
            text.push_str(&format!("{:03}", rng.random_range(0..1_000)));
        }
    }
    if minutes == 0 && rng.random_bool(0.8) {
        text.push('Z');
    } else {
        text.push_str(&local.format("%:z").to_string());
    }
    text
}
