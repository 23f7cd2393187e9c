//! Bits that turn over on the disk. SQLite has no checksums of its pages, so not every one can be found;
//! but none may change unnoticed which offsets count, and how far folding has come.

use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use weir_catalog::sqlite::SqliteCatalog;
use weir_catalog::{Catalog, CatalogError};

use super::Machine;
use super::history::Calm;

/// What counts: frontiers, and what each listed segment covers.
async fn counted(catalog: &SqliteCatalog) -> Result<String, CatalogError> {
    let listing = catalog.listing().await?;
    let frontiers: BTreeMap<_, _> =
        listing.frontiers.iter().map(|f| ((f.epoch, f.partition), f.next_offset)).collect();
    let segments: BTreeMap<_, _> = (listing.segments.iter())
        .map(|s| (s.new.segment, (s.new.kind.name(), s.new.coverage.ranges.clone())))
        .collect();
    Ok(format!("{frontiers:?} {segments:?}"))
}

#[tokio::test]
async fn a_flipped_bit_does_not_change_unnoticed_what_counts() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let machine = Calm::play(3, 24).await.finished().await;
    let whole = machine.disk.contents(Machine::path()).unwrap();
    let right = {
        let catalog = machine.open().await.unwrap();
        let right = counted(&catalog).await.unwrap();
        catalog.close().await;
        right
    };
    let (mut refused, mut found, mut passed) = (0, 0, 0);
    for round in 0..300 {
        // Half of them in the first pages of the tables, where most of the rows are.
        let most = if round % 2 == 0 { whole.len() } else { whole.len() / 8 };
        let (byte, bit) = (random.random_range(0..most), random.random_range(0..8));
        machine.disk.set_contents(Machine::path(), &whole).unwrap();
        machine.disk.flip_bit(Machine::path(), byte, bit).unwrap();
        let copy = machine.restart();
        match copy.open().await {
            Err(error) => {
                assert!(error.to_string().contains("catalog"), "{error}");
                refused += 1;
            }
            Ok(catalog) => {
                if !catalog.integrity().await.is_empty() {
                    found += 1;
                } else {
                    let text = counted(&catalog).await.unwrap();
                    assert_eq!(text, right, "bit {bit} of byte {byte}");
                    passed += 1;
                }
                catalog.close().await;
            }
        }
    }
    assert!(refused > 10 && found > 0 && passed > 100, "{refused} refused, {found} found, {passed} passed");
}
