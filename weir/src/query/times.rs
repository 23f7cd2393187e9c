//! Times as people type them: with an offset, or without one in the zone of the question.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::output::Failure;

/// The zone of an IANA name, UTC if none is given.
pub fn zone(name: Option<&str>) -> Result<TimeZone, Failure> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    weir_meter::zone::zone(name).ok_or_else(|| {
        Failure::usage(format!("`{name}` is no known time zone"))
            .advice("an IANA name, such as Europe/Berlin or America/New_York")
    })
}

/// The instant that `text` means, as RFC 3339 in UTC. A date alone is the midnight that begins it.
pub fn instant(flag: &str, text: &str, zone: &TimeZone) -> Result<String, Failure> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.to_string());
    }
    let civil: Option<DateTime> = match text.parse::<Date>() {
        Ok(date) if !text.contains([':', 'T', ' ']) => Some(date.to_datetime(jiff::civil::Time::midnight())),
        _ => text.parse().ok(),
    };
    // Where clocks skip the time, jiff takes the one that the clock shows after the gap.
    civil.and_then(|civil| civil.to_zoned(zone.clone()).ok()).map_or_else(
        || {
            Err(Failure::usage(format!("{flag} `{text}` is neither a date nor a time"))
                .advice("2013-03-01, 2013-03-01T10:00 or 2013-03-01T10:00:00Z"))
        },
        |zoned| Ok(zoned.timestamp().to_string()),
    )
}

/// The same as microseconds since 1970, of a text that means UTC where it names no offset.
pub fn microseconds(flag: &str, text: Option<&str>) -> Result<Option<i64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let instant = instant(flag, text, &TimeZone::UTC)?;
    let time_us = instant.parse::<Timestamp>().map(|instant| instant.as_microsecond());
    time_us.map(Some).map_err(|error| Failure::usage(format!("{flag} `{text}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_midnights_of_the_zone() {
        let new_york = TimeZone::get("America/New_York").unwrap();
        let at = |text: &str| instant("--from", text, &new_york).unwrap();
        assert_eq!(at("2013-03-01"), "2013-03-01T05:00:00Z");
        assert_eq!(at("2013-03-11"), "2013-03-11T04:00:00Z");
        assert_eq!(at("2013-03-01T10:00"), "2013-03-01T15:00:00Z");
        assert_eq!(at("2013-03-01 10:00:30"), "2013-03-01T15:00:30Z");
        assert_eq!(at("2013-03-01T10:00:00+01:00"), "2013-03-01T09:00:00Z");
        assert_eq!(at("2013-03-01T10:00:00Z"), "2013-03-01T10:00:00Z");
        assert_eq!(instant("--to", "2013-03-01", &TimeZone::UTC).unwrap(), "2013-03-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in ["", "soon", "2013-02-30", "10:00", "2013-03-01T25:00"] {
            let failure = instant("--to", text, &TimeZone::UTC).unwrap_err();
            assert!(failure.render(crate::output::Style::PLAIN).contains("--to `"), "{text}");
        }
    }
}
