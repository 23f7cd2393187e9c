//! Times as text and back, without a library: the generator writes millions of them a second, so the
//! texts of all seconds that a run can need are made beforehand.

use std::time::{SystemTime, UNIX_EPOCH};

/// Length of `2026-11-21T05:51:07`.
pub const SECOND_BYTES: usize = 19;
pub const DAY_S: i64 = 86_400;
/// How long one run may last.
const AHEAD_S: i64 = 12 * 3_600;

/// Seconds since 1970, and the microseconds of the second.
pub fn now() -> (i64, u32) {
    // The server asks its own clock; the generator has to ask the same one.
    #[allow(clippy::disallowed_methods)]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), now.subsec_micros())
}

/// The texts of every second from somewhat more than a day ago until the longest run is over.
#[derive(Debug)]
pub struct Seconds {
    first: i64,
    text: Vec<u8>,
}

impl Seconds {
    pub fn around(now_s: i64) -> Self {
        let first = now_s - DAY_S - 60;
        let mut text = Vec::with_capacity((DAY_S + AHEAD_S + 120) as usize * SECOND_BYTES);
        for second in first..now_s + AHEAD_S {
            text.extend_from_slice(second_text(second).as_bytes());
        }
        Self { first, text }
    }

    /// The first second that has a text.
    pub fn first(&self) -> i64 {
        self.first
    }

    pub fn len(&self) -> usize {
        self.text.len() / SECOND_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn text(&self, second: i64) -> &[u8] {
        let at = (second - self.first) as usize * SECOND_BYTES;
        &self.text[at..at + SECOND_BYTES]
    }
}

/// `2026-11-21T05:51:07`, UTC.
pub fn second_text(second: i64) -> String {
    let (year, month, day) = civil(second.div_euclid(DAY_S));
    let of_day = second.rem_euclid(DAY_S);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Seconds since 1970 of a text that begins like the one above.
pub fn second_of(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    Some(days * DAY_S + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?)
}

/// Year, month and day of the days since 1970, by counting in years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_known_seconds() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_251_199, "2024-02-29T23:59:59"),
            (1_795_240_267, "2026-11-21T05:51:07"),
        ] {
            assert_eq!(second_text(second), text);
            assert_eq!(second_of(text), Some(second));
        }
        let seconds = Seconds::around(1_795_240_267);
        assert_eq!(seconds.text(1_795_240_267 - DAY_S), b"2026-11-20T05:51:07");
    }
}
