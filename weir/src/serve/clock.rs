//! A look at the machine's clock before it is used. Records and identities are dated by the log, whose
//! time never goes back: what a wrong clock does to them once stays.

use jiff::Timestamp;
use weir_catalog::Listing;

use super::ServeError;

const HOUR_US: i64 = 3_600 * 1_000_000;

/// 2020-01-01 and 2100-01-01, UTC: no machine that runs this lives outside, but clocks without a battery
/// begin in 1970, and events after 2100 are refused.
const EARLIEST_US: i64 = 1_577_836_800_000_000;
const LATEST_US: i64 = 4_102_444_800_000_000;

/// Refuses a clock that cannot be right, before anything is dated by it.
pub(super) fn refuse_impossible(now_us: i64) -> Result<(), ServeError> {
    if (EARLIEST_US..LATEST_US).contains(&now_us) {
        return Ok(());
    }
    Err(ServeError::Clock { now: shown(now_us) })
}

/// By how much the newest record at rest is ahead of the clock, if that is more than an hour. Clocks that
/// are set right by some minutes are none of the operator's sorrows.
fn ahead_us(now_us: i64, listing: &Listing) -> Option<i64> {
    let newest = listing.frontiers.iter().map(|frontier| frontier.record_time_max_us).max()?;
    Some(newest.saturating_sub(now_us)).filter(|ahead| *ahead > HOUR_US)
}

/// Says so if the log is far ahead: it goes on, but not as the operator may expect.
pub(super) fn warn_if_log_is_ahead(now_us: i64, listing: &Listing) {
    let Some(ahead) = ahead_us(now_us, listing) else { return };
    tracing::warn!(
        clock = %shown(now_us),
        log = %shown(now_us.saturating_add(ahead)),
        "the log's last event was taken {} h after what the clock shows now: the clock was ahead then, or is behind \
         now. The log's time does not go back: until the clock is there, events without a time get the log's, \
         and identities are remembered by it. If the clock is behind, set it right",
        ahead / HOUR_US
    );
}

fn shown(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map_or_else(|_| format!("{at_us} µs"), |at| format!("{at:.0}"))
}

#[cfg(test)]
mod tests {
    use weir_catalog::Frontier;

    use super::*;

    #[test]
    fn clocks_that_cannot_be_right_are_refused_with_what_they_show() {
        for fine in [EARLIEST_US, LATEST_US - 1] {
            refuse_impossible(fine).unwrap();
        }
        for wrong in [0, -1, EARLIEST_US - 1, LATEST_US, i64::MIN, i64::MAX] {
            refuse_impossible(wrong).unwrap_err();
        }
        insta::assert_snapshot!(
            refuse_impossible(0).unwrap_err().to_string(),
            @"this machine's clock shows 1970-01-01T00:00:00Z, which cannot be right; set it, best by NTP, and start again: what is stored would stay dated by it for good"
        );
        assert_eq!(shown(EARLIEST_US), "2020-01-01T00:00:00Z");
        assert_eq!(shown(LATEST_US), "2100-01-01T00:00:00Z");
    }

    #[test]
    fn a_log_is_ahead_only_by_more_than_an_hour_of_its_newest_partition() {
        let at = |time_us: i64, partition| Frontier {
            epoch: 1,
            partition,
            next_offset: 1,
            record_time_max_us: time_us,
            last_record_hash: 0,
        };
        let listing = |times: &[i64]| Listing {
            frontiers: times.iter().zip(0..).map(|(time_us, partition)| at(*time_us, partition)).collect(),
            ..Listing::default()
        };
        let now = EARLIEST_US;
        assert_eq!(ahead_us(now, &listing(&[])), None);
        assert_eq!(ahead_us(now, &listing(&[now - 1, i64::MIN])), None);
        assert_eq!(ahead_us(now, &listing(&[now + HOUR_US])), None);
        assert_eq!(ahead_us(now, &listing(&[now, now + 3 * HOUR_US, now - 1])), Some(3 * HOUR_US));
    }
}
