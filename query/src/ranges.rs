//! Arithmetic on sets of offset ranges, for the planner. A set is a sorted list of ranges that
//! neither overlap nor touch; everything here takes and gives such lists.

use weir_meter::OffsetRange;

/// Two ranges that should have been disjoint share this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shared(pub(crate) OffsetRange);

/// Makes a set of ranges that must not overlap.
pub(crate) fn disjoint(ranges: impl IntoIterator<Item = OffsetRange>) -> Result<Vec<OffsetRange>, Shared> {
    let mut sorted: Vec<OffsetRange> = ranges.into_iter().filter(|r| !r.is_empty()).collect();
    sorted.sort_unstable();
    let mut set: Vec<OffsetRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match set.last_mut() {
            Some(last) if last.overlaps(&range) => {
                return Err(Shared(OffsetRange { to: last.to.min(range.to), ..range }));
            }
            Some(last)
                if last.epoch == range.epoch
                    && last.partition == range.partition
                    && last.to == range.from =>
            {
                last.to = range.to;
            }
            _ => set.push(range),
        }
    }
    Ok(set)
}

/// The offsets of `set` that are not in `taken`.
pub(crate) fn subtract(set: &[OffsetRange], taken: &[OffsetRange]) -> Vec<OffsetRange> {
    let mut rest = Vec::new();
    for range in set {
        let mut left = *range;
        // The first range that could reach into this one; all before it end below it.
        let first = taken
            .partition_point(|t| (t.epoch, t.partition, t.to) <= (range.epoch, range.partition, range.from));
        for cut in taken.iter().skip(first).take_while(|t| t.overlaps(range)) {
            if left.from < cut.from {
                rest.push(OffsetRange { to: cut.from, ..left });
            }
            left.from = cut.to;
        }
        if !left.is_empty() {
            rest.push(left);
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn range(partition: u32, from: u64, to: u64) -> OffsetRange {
        OffsetRange { epoch: 1, partition, from, to }
    }

    /// Every offset by itself: the slow way to write a set.
    fn spell(set: &[OffsetRange]) -> BTreeSet<(u32, u64)> {
        set.iter().flat_map(|r| (r.from..r.to).map(|o| (r.partition, o))).collect()
    }

    #[test]
    fn touching_ranges_become_one() {
        assert_eq!(disjoint([range(0, 5, 9), range(0, 0, 5), range(1, 9, 10)]), {
            Ok(vec![range(0, 0, 9), range(1, 9, 10)])
        });
    }

    #[test]
    fn an_overlap_is_named() {
        assert_eq!(disjoint([range(0, 0, 6), range(0, 4, 9)]), Err(Shared(range(0, 4, 6))));
    }

    prop_compose! {
        fn a_set()(marks in prop::collection::vec((0u32..2, any::<bool>()), 0..40)) -> Vec<OffsetRange> {
            let ranges = marks.iter().enumerate().filter(|(_, m)| m.1).map(|(at, m)| {
                range(m.0, at as u64, at as u64 + 1)
            });
            disjoint(ranges).unwrap()
        }
    }

    proptest! {
        #[test]
        fn subtraction_takes_away_exactly_the_taken(set in a_set(), taken in a_set()) {
            let rest = subtract(&set, &taken);
            let expected: BTreeSet<_> = spell(&set).difference(&spell(&taken)).copied().collect();
            prop_assert_eq!(spell(&rest), expected);
            prop_assert_eq!(disjoint(rest.clone()).unwrap(), rest);
        }
    }
}
