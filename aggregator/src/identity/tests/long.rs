//! Many identities: a million with tables of 20,000, so that there are seals and merges of several sizes.

use weir_files::Disk;
use weir_meter::{ContentHash, IdentityHash};

use super::world::origin;
use crate::identity::{IdentityIndex, IndexFolder};

const STEP: u64 = 4_096;
const WINDOW_US: i64 = 1_000_000_000;

/// Spread over all bits, as a keyed hash does it.
fn hash(n: u64) -> IdentityHash {
    let mix = |seed: u64| {
        let mut x = n.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    IdentityHash((u128::from(mix(1)) << 64) | u128::from(mix(2)))
}

/// Takes records as folding does, a batch at a time.
struct Taking {
    index: IdentityIndex,
    at: u64,
    accepted: u64,
    duplicates: u64,
    seals: u64,
    merged: u64,
}

impl Taking {
    fn take(&mut self, numbers: impl Iterator<Item = u64>) {
        let now_us = self.at as i64;
        let wanted: Vec<_> = numbers.map(|n| (hash(n), now_us)).collect();
        let sealed = self.index.sealed(&wanted).unwrap();
        for (i, (identity, now_us)) in wanted.iter().enumerate() {
            self.at += 1;
            if self.index.recent(*identity, *now_us).or(sealed.get(i).copied().flatten()).is_some() {
                self.duplicates += 1;
            } else {
                self.accepted += 1;
                self.index.accept(*identity, ContentHash(identity.0), *now_us);
            }
        }
        if self.index.is_full() {
            self.index.seal(self.at, self.at as i64).unwrap();
            self.seals += 1;
            self.merged += self.index.tidy(self.at, self.at as i64).unwrap();
        }
    }
}

/// Every identity comes once, and of those before every step some again; all are asked once more at the
/// end, with as many that never came.
#[test]
fn a_million_identities_with_forced_seals_are_each_counted_once() {
    let count: u64 = std::env::var("WEIR_TEST_IDENTITIES").map_or(1_000_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let folder = IndexFolder::with_shape(Disk::default(), dir.path(), origin(), 16, true).unwrap();
    let index = IdentityIndex::sealed_in(WINDOW_US, &folder, 0, 0, 20_000);
    let mut taking = Taking { index, at: 0, accepted: 0, duplicates: 0, seals: 0, merged: 0 };
    let mut again = 0;
    for from in (0..count).step_by(STEP as usize) {
        taking.take(from..(from + STEP).min(count));
        // From long ago, in a run of any size.
        let old = from / 3..(from / 3 + STEP / 8).min(from);
        again += old.end.saturating_sub(old.start);
        taking.take(old);
    }
    assert_eq!((taking.accepted, taking.duplicates), (count, again));
    let counts = taking.index.counts();
    assert_eq!(counts.identities, count);
    assert!(counts.runs <= 21 && taking.seals > count / 25_000, "{counts:?}, {} seals", taking.seals);
    assert!(taking.merged > count / 2, "{}", taking.merged);

    // Another process finds all that was sealed; the others are read back by somebody else.
    let before = (taking.at, taking.at as i64);
    drop(taking);
    let mut index = IdentityIndex::reopened(WINDOW_US, &folder, 0, before, 20_000).unwrap();
    let wanted: Vec<_> = (0..count + count / 4).map(|n| (hash(n), before.1)).collect();
    let found = index.sealed(&wanted).unwrap();
    let (came, never) = found.split_at(count as usize);
    assert!(never.iter().all(Option::is_none), "none of these ever came");
    let wrong = came.iter().zip(&wanted).filter_map(|(found, (id, _))| Some((*found)?.content.0 != id.0));
    assert_eq!(wrong.filter(|wrong| *wrong).count(), 0);
    assert_eq!(came.iter().filter(|found| found.is_none()).count() as u64, counts.in_memory);
    let asked = index.counts();
    assert!(asked.probes > count && asked.false_positives < asked.probes / 10_000, "{asked:?}");
}
