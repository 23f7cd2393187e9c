//! Arithmetic on sets of offset ranges, for what maintenance has to do. A set is a sorted list of ranges
//! that neither overlap nor touch; `union` makes one of any ranges, everything else takes and gives such.

use weir_meter::OffsetRange;

/// The set of all offsets that are in one of the ranges.
pub(crate) fn union(ranges: impl IntoIterator<Item = OffsetRange>) -> Vec<OffsetRange> {
    let mut sorted: Vec<OffsetRange> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_unstable();
    let mut set: Vec<OffsetRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match set.last_mut() {
            Some(last) if same_partition(last, &range) && range.from <= last.to => {
                last.to = last.to.max(range.to);
            }
            _ => set.push(range),
        }
    }
    set
}

/// The offsets that both sets hold.
pub(crate) fn intersect(a: &[OffsetRange], b: &[OffsetRange]) -> Vec<OffsetRange> {
    let (mut at, mut bt) = (a.iter().peekable(), b.iter().peekable());
    let mut shared = Vec::new();
    while let (Some(left), Some(right)) = (at.peek(), bt.peek()) {
        if left.overlaps(right) {
            let (from, to) = (left.from.max(right.from), left.to.min(right.to));
            shared.push(OffsetRange { from, to, ..**left });
        }
        // Whichever ends first meets nothing further on.
        if end(left) <= end(right) {
            at.next();
        } else {
            bt.next();
        }
    }
    shared
}

/// The offsets of `set` that are not in `taken`.
pub(crate) fn subtract(set: &[OffsetRange], taken: &[OffsetRange]) -> Vec<OffsetRange> {
    let mut rest = Vec::new();
    for range in set {
        let mut left = *range;
        let first = taken.partition_point(|t| end(t) <= (range.epoch, range.partition, range.from));
        for cut in taken.iter().skip(first).take_while(|cut| cut.overlaps(range)) {
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

/// True if `set` holds every offset of `part`.
pub(crate) fn contains(set: &[OffsetRange], part: &[OffsetRange]) -> bool {
    subtract(part, set).is_empty()
}

/// Number of offsets in the set.
pub(crate) fn len(set: &[OffsetRange]) -> u64 {
    set.iter().fold(0, |sum: u64, range| sum.saturating_add(range.len()))
}

fn end(range: &OffsetRange) -> (u32, u32, u64) {
    (range.epoch, range.partition, range.to)
}

fn same_partition(a: &OffsetRange, b: &OffsetRange) -> bool {
    a.epoch == b.epoch && a.partition == b.partition
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(partition: u32, from: u64, to: u64) -> OffsetRange {
        OffsetRange { epoch: 1, partition, from, to }
    }

    /// Every offset by itself: the slow way to write a set.
    fn spell(set: &[OffsetRange]) -> BTreeSet<(u32, u64)> {
        set.iter().flat_map(|r| (r.from..r.to).map(|offset| (r.partition, offset))).collect()
    }

    fn any_ranges() -> impl Strategy<Value = Vec<OffsetRange>> {
        let one = (0..2_u32, 0..30_u64, 0..8_u64).prop_map(|(p, from, len)| range(p, from, from + len));
        prop::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn sets_agree_with_single_offsets(a in any_ranges(), b in any_ranges()) {
            let (set_a, set_b) = (union(a.clone()), union(b.clone()));
            prop_assert_eq!(spell(&set_a), spell(&a));
            prop_assert!(set_a.windows(2).all(|w| end(&w[0]) < (1, w[1].partition, w[1].from)));
            let shared: BTreeSet<_> = spell(&a).intersection(&spell(&b)).copied().collect();
            prop_assert_eq!(spell(&intersect(&set_a, &set_b)), shared);
            let rest: BTreeSet<_> = spell(&a).difference(&spell(&b)).copied().collect();
            prop_assert_eq!(spell(&subtract(&set_a, &set_b)), rest);
            prop_assert_eq!(contains(&set_a, &set_b), spell(&b).is_subset(&spell(&a)));
            prop_assert_eq!(len(&set_a), spell(&a).len() as u64);
        }
    }
}
