//! The rule that decides a record's fate. It looks at the record, at the last accepted record of the
//! same identity and at nothing else: no clock, no setting, so that a replay decides the same.

use weir_meter::ContentHash;
use weir_store::Fate;

/// The last accepted record of an identity. The time is the running maximum in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub content: ContentHash,
    pub record_time_us: i64,
}

/// `record_time_us` is the running maximum at the record; `window_us` belongs to the epoch.
pub fn decide(accepted: Option<Accepted>, content: ContentHash, record_time_us: i64, window_us: i64) -> Fate {
    match accepted {
        Some(earlier) if earlier.record_time_us > record_time_us.saturating_sub(window_us) => {
            if earlier.content == content { Fate::Duplicate } else { Fate::Conflict }
        }
        _ => Fate::Counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 1_000;

    fn at(time: i64, content: u128) -> Option<Accepted> {
        Some(Accepted { content: ContentHash(content), record_time_us: time })
    }

    #[test]
    fn the_first_of_an_identity_counts() {
        assert_eq!(decide(None, ContentHash(1), 5, WINDOW), Fate::Counted);
    }

    #[test]
    fn inside_the_window_content_tells_duplicate_from_conflict() {
        assert_eq!(decide(at(5, 1), ContentHash(1), 5, WINDOW), Fate::Duplicate);
        assert_eq!(decide(at(5, 1), ContentHash(2), 5, WINDOW), Fate::Conflict);
        assert_eq!(decide(at(5, 1), ContentHash(1), 1_004, WINDOW), Fate::Duplicate);
    }

    #[test]
    fn the_window_ends_exactly_one_window_later() {
        assert_eq!(decide(at(5, 1), ContentHash(1), 1_005, WINDOW), Fate::Counted);
        assert_eq!(decide(at(5, 1), ContentHash(2), 1_005, WINDOW), Fate::Counted);
    }
}
