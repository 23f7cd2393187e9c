//! Arithmetic on sets of offset ranges, for the planner. A set is a sorted list of ranges that
//! neither overlap nor touch; everything here takes and gives such lists.

use std::collections::BTreeMap;

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
        for cut in taken.iter().skip(first_above(taken, range)).take_while(|t| t.overlaps(range)) {
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

/// True if the set holds all of the range.
pub(crate) fn holds(set: &[OffsetRange], range: &OffsetRange) -> bool {
    range.is_empty()
        || set
            .get(first_above(set, range))
            .is_some_and(|r| r.overlaps(range) && r.from <= range.from && range.to <= r.to)
}

/// True if the set holds some of the range.
pub(crate) fn meet(set: &[OffsetRange], range: &OffsetRange) -> bool {
    set.get(first_above(set, range)).is_some_and(|r| r.overlaps(range))
}

/// The first range of the set that could reach into this one; all before it end below it.
fn first_above(set: &[OffsetRange], range: &OffsetRange) -> usize {
    set.partition_point(|r| (r.epoch, r.partition, r.to) <= (range.epoch, range.partition, range.from))
}

/// A set that grows by ranges that do not overlap it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken(BTreeMap<(u32, u32, u64), u64>);

impl Taken {
    pub(crate) fn meets(&self, range: &OffsetRange) -> bool {
        let place = |offset| (range.epoch, range.partition, offset);
        let mut before = self.0.range(place(0)..place(range.to));
        !range.is_empty() && before.next_back().is_some_and(|(_, to)| range.from < *to)
    }

    pub(crate) fn add(&mut self, range: &OffsetRange) {
        if !range.is_empty() {
            self.0.insert((range.epoch, range.partition, range.from), range.to);
        }
    }

    /// Sorted; neighbours may touch.
    pub(crate) fn set(&self) -> Vec<OffsetRange> {
        let all = self.0.iter();
        all.map(|((epoch, partition, from), to)| OffsetRange {
            epoch: *epoch,
            partition: *partition,
            from: *from,
            to: *to,
        })
        .collect()
    }
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

        #[test]
        fn holding_and_meeting_are_as_spelled(
            set in a_set(), partition in 0u32..2, from in 0u64..42, length in 0u64..5,
        ) {
            let range = range(partition, from, from + length);
            let (all, some) = (spell(&set), spell(&[range]));
            prop_assert_eq!(holds(&set, &range), some.is_subset(&all));
            prop_assert_eq!(meet(&set, &range), !some.is_disjoint(&all));
            let mut taken = Taken::default();
            set.iter().for_each(|r| taken.add(r));
            prop_assert_eq!(taken.meets(&range), !some.is_disjoint(&all));
            prop_assert_eq!(taken.set(), set);
        }
    }
}
