//! Times on the wire: RFC 3339 with capital T and Z, seconds mandatory, microseconds kept.

/// 2100-12-31T23:59:59.999999Z, the latest time an event can have; the earliest is 0.
pub const TIME_US_MAX: i64 = 4_133_980_799_999_999;

/// Why a time is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("not an RFC 3339 date-time such as 2024-01-31T10:00:00Z: {0}")]
    Grammar(&'static str),
    #[error("outside 1970-01-01T00:00:00Z to 2100-12-31T23:59:59.999999Z")]
    OutOfRange,
}

const SECOND_US: i64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// Microseconds since 1970, UTC. Digits past the sixth of a fraction are dropped.
pub fn parse_rfc3339(text: &str) -> Result<i64, TimeError> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(10).ok_or(TimeError::Grammar("the date is YYYY-MM-DD"))?;
    let date_s = parse_date(date)? * DAY_S;
    let [b'T', rest @ ..] = rest else {
        return Err(TimeError::Grammar("a capital T stands between the date and the time"));
    };
    let (clock, rest) = rest.split_at_checked(8).ok_or(TimeError::Grammar("the time of day is HH:MM:SS"))?;
    let clock_s = parse_clock(clock)?;
    let (fraction_us, rest) = match rest {
        [b'.', rest @ ..] => parse_fraction(rest)?,
        rest => (0, rest),
    };
    let offset_s = parse_offset(rest)?;
    let time_us = (date_s + clock_s - offset_s) * SECOND_US + fraction_us;
    if (0..=TIME_US_MAX).contains(&time_us) { Ok(time_us) } else { Err(TimeError::OutOfRange) }
}

/// `2024-01-31T10:00:00Z`, with a fraction only if there is one.
pub fn format_utc(time_us: i64) -> String {
    format!("{}Z", format_clock(time_us))
}

/// The last whole second that is not later: query bounds and listed events have no fraction.
pub fn floor_to_second(time_us: i64) -> i64 {
    time_us.saturating_sub(time_us.rem_euclid(SECOND_US))
}

/// `2024-01-31T10:00:00.5` without a zone.
pub(crate) fn format_clock(time_us: i64) -> String {
    let seconds = time_us.div_euclid(SECOND_US);
    let (year, month, day) = date_of_day(seconds.div_euclid(DAY_S));
    let second = seconds.rem_euclid(DAY_S);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    let fraction_us = time_us.rem_euclid(SECOND_US);
    if fraction_us != 0 {
        let fraction = format!(".{fraction_us:06}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text
}

fn parse_date(date: &[u8]) -> Result<i64, TimeError> {
    const SHAPE: TimeError = TimeError::Grammar("the date is YYYY-MM-DD");
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return Err(SHAPE) };
    let (century, year) = (two_digits(y1, y2).ok_or(SHAPE)?, two_digits(y3, y4).ok_or(SHAPE)?);
    let (month, day) = (two_digits(m1, m2).ok_or(SHAPE)?, two_digits(d1, d2).ok_or(SHAPE)?);
    let year = century * 100 + year;
    if day < 1 || day > days_of_month(year, month).ok_or(TimeError::Grammar("there is no such month"))? {
        return Err(TimeError::Grammar("there is no such day"));
    }
    Ok(day_of_date(year, month, day))
}

fn parse_clock(clock: &[u8]) -> Result<i64, TimeError> {
    const SHAPE: TimeError = TimeError::Grammar("the time of day is HH:MM:SS");
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *clock else { return Err(SHAPE) };
    let (hour, minute) = (two_digits(h1, h2).ok_or(SHAPE)?, two_digits(m1, m2).ok_or(SHAPE)?);
    let second = two_digits(s1, s2).ok_or(SHAPE)?;
    if hour > 23 || minute > 59 || second > 59 {
        return Err(TimeError::Grammar("the time of day goes from 00:00:00 to 23:59:59"));
    }
    Ok(hour * 3_600 + minute * 60 + second)
}

/// After the point: the microseconds and what follows the digits.
fn parse_fraction(text: &[u8]) -> Result<(i64, &[u8]), TimeError> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Err(TimeError::Grammar("a digit follows the point"));
    }
    let (digits, rest) = text.split_at_checked(count).unwrap_or((text, &[]));
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
    Ok((padded.fold(0, |sum, digit| sum * 10 + i64::from(digit & 0x0f)), rest))
}

/// Seconds that the zone is ahead of UTC.
fn parse_offset(text: &[u8]) -> Result<i64, TimeError> {
    const SHAPE: TimeError = TimeError::Grammar("it ends with Z or an offset such as +02:00");
    let (sign, h1, h2, m1, m2) = match *text {
        [b'Z'] => return Ok(0),
        [b'+', h1, h2, b':', m1, m2] => (1, h1, h2, m1, m2),
        [b'-', h1, h2, b':', m1, m2] => (-1, h1, h2, m1, m2),
        _ => return Err(SHAPE),
    };
    let (hours, minutes) = (two_digits(h1, h2).ok_or(SHAPE)?, two_digits(m1, m2).ok_or(SHAPE)?);
    if hours > 23 || minutes > 59 {
        return Err(TimeError::Grammar("an offset goes from -23:59 to +23:59"));
    }
    Ok(sign * (hours * 3_600 + minutes * 60))
}

fn two_digits(high: u8, low: u8) -> Option<i64> {
    (high.is_ascii_digit() && low.is_ascii_digit())
        .then(|| i64::from(high & 0x0f) * 10 + i64::from(low & 0x0f))
}

fn days_of_month(year: i64, month: i64) -> Option<i64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => return None,
    })
}

/// Days since 1970-01-01. Years are counted from March, so that the leap day comes last.
pub(crate) fn day_of_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Year, month and day of a count of days since 1970-01-01.
pub(crate) fn date_of_day(day: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_accepted_forms() {
        for (text, time_us) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-01-31T10:00:00Z", 1_706_695_200_000_000),
            ("2024-01-31T10:00:00.5Z", 1_706_695_200_500_000),
            ("2024-01-31T10:00:00.123456789+00:00", 1_706_695_200_123_456),
            ("2024-01-31T10:00:00-05:30", 1_706_715_000_000_000),
            ("2024-02-29T23:59:59-00:00", 1_709_251_199_000_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000),
            ("1969-12-31T23:30:00-00:30", 0),
            ("2100-12-31T23:59:59.9999999Z", TIME_US_MAX),
        ] {
            assert_eq!(parse_rfc3339(text), Ok(time_us), "{text}");
        }
    }

    #[test]
    fn refuses_other_spellings() {
        for text in [
            "",
            "2024",
            "2024-01-31",
            "2024-01-31T10:00Z",
            "2024-01-31t10:00:00Z",
            "2024-01-31 10:00:00Z",
            "2024-01-31T10:00:00z",
            "2024-01-31T10:00:00",
            "2024-01-31T10:00:00.Z",
            "2024-01-31T10:00:00,5Z",
            "2024-01-31T10:00:60Z",
            "2024-01-31T24:00:00Z",
            "2024-02-30T10:00:00Z",
            "2023-02-29T10:00:00Z",
            "2100-02-29T10:00:00Z",
            "2024-13-01T10:00:00Z",
            "2024-00-01T10:00:00Z",
            "2024-01-00T10:00:00Z",
            "2024-01-31T10:60:00Z",
            "2024-01-31T10:00:00+0200",
            "2024-01-31T10:00:00+02",
            "2024-01-31T10:00:00+24:00",
            "2024-01-31T10:00:00+02:60",
            "2024-01-31T10:00:00ZZ",
            " 2024-01-31T10:00:00Z",
            "2024-01-31T10:00:00Z ",
            "24-01-31T10:00:00Z",
            "2024-1-31T10:00:00Z",
            "+2024-01-31T10:00:00Z",
            "2024-01-31T10:00:00−05:00",
            "２024-01-31T10:00:00Z",
            "2024-01-31T1é:00:00Z",
            "2024-W05-3T10:00:00Z",
            "2024-01-31T10:00:00Z[Europe/Berlin]",
        ] {
            assert!(matches!(parse_rfc3339(text), Err(TimeError::Grammar(_))), "{text:?}");
        }
    }

    #[test]
    fn refuses_times_out_of_range() {
        for text in [
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00+00:01",
            "2101-01-01T00:00:00Z",
            "2100-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_rfc3339(text), Err(TimeError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn fractions_show_only_if_there_are_any() {
        assert_eq!(format_utc(1_706_695_200_000_000), "2024-01-31T10:00:00Z");
        assert_eq!(format_utc(1_706_695_200_500_000), "2024-01-31T10:00:00.5Z");
        assert_eq!(format_utc(1_706_695_200_000_001), "2024-01-31T10:00:00.000001Z");
        assert_eq!(format_utc(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(floor_to_second(1_999_999), 1_000_000);
        assert_eq!(floor_to_second(-1), -1_000_000);
    }

    proptest! {
        #[test]
        fn agrees_with_a_library(time_us in 0..=TIME_US_MAX) {
            let text = format_utc(time_us);
            prop_assert_eq!(parse_rfc3339(&text), Ok(time_us));
            let library: jiff::Timestamp = text.parse().unwrap();
            prop_assert_eq!(library.as_microsecond(), time_us);
            prop_assert_eq!(library.to_string(), text);
        }

        #[test]
        fn offsets_agree_with_a_library(time_us in 90_000_000_000..TIME_US_MAX - 90_000_000_000, hours in -23_i64..=23, minutes in 0_i64..60) {
            let shift_us = (hours.abs() * 60 + minutes) * 60_000_000 * if hours < 0 { -1 } else { 1 };
            let sign = if hours < 0 { '-' } else { '+' };
            let text = format!("{}{sign}{:02}:{minutes:02}", format_clock(time_us + shift_us), hours.abs());
            prop_assert_eq!(parse_rfc3339(&text), Ok(time_us));
            prop_assert_eq!(text.parse::<jiff::Timestamp>().unwrap().as_microsecond(), time_us);
        }

        #[test]
        fn never_panics(text in "[0-9TZ:.+\\-é]{0,30}") {
            let _ = parse_rfc3339(&text);
        }
    }
}
