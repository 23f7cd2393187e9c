//! Copies and renewed incarnations: what has returned is on the disk, and nothing has its name before it
//! is whole.

use std::path::Path;
use std::sync::Arc;

use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, CommitOutcome};
use weir_files::simulated::{Effect, Operation, Rule};
use weir_meter::environment::Entropy as _;

use super::Machine;
use crate::place::{CountingEntropy, at, flush, range, writer};

async fn filled(machine: &Machine) -> SqliteCatalog {
    let catalog = machine.open().await.unwrap();
    catalog.ensure_epoch("log", 3, 60, at(0)).await.unwrap();
    catalog.open_writer(writer(1), at(0)).await.unwrap();
    catalog.commit(flush(writer(1), 1, range(0, 0, 5))).await.unwrap();
    catalog
}

#[tokio::test]
async fn a_copy_is_whole_or_has_no_name() {
    let target = Path::new("/copy.db");
    for cut in 1.. {
        let machine = Machine::new(cut);
        let catalog = filled(&machine).await;
        machine.disk.cut_after(cut);
        let copied = catalog.copy_to(target).await;
        let last = !machine.disk.is_cut();
        // What was answered is cut more often: a name that was not synced survives now and then.
        for seed in 0..if last { 20 } else { 2 } {
            let after = machine.reboot(seed);
            if copied.is_err() && after.disk.contents(target).is_err() {
                continue;
            }
            let options = SqliteOptions::default();
            let copy = SqliteCatalog::open_read_only_on(after.storage(), target, options).await;
            let copy = copy.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(copy.installation(), catalog.installation());
            assert_eq!(copy.listing().await.unwrap().frontier(0, 0), 5);
            assert_eq!(copy.integrity().await, Vec::<String>::new(), "cut at {cut}");
        }
        if last {
            copied.unwrap();
            return;
        }
    }
}

#[tokio::test]
async fn a_renewed_incarnation_stays() {
    for cut in 1.. {
        let machine = Machine::new(cut);
        let catalog = filled(&machine).await;
        catalog.close().await;
        let old = catalog.installation().incarnation;
        // A source that has already given the numbers which the installation was made of.
        let entropy = Arc::new(CountingEntropy::default());
        (0..8).for_each(|_| {
            entropy.random_u128();
        });
        machine.disk.cut_after(cut);
        let renewed = SqliteCatalog::renew_incarnation_on(machine.storage(), Machine::path(), entropy).await;
        let last = !machine.disk.is_cut();
        for seed in 0..2 {
            let found = machine.reboot(seed).open().await.unwrap().installation().incarnation;
            match &renewed {
                Ok(new) => assert_eq!(found, *new, "cut at {cut}"),
                Err(_) => assert!(
                    found == old || found == 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835_u128.wrapping_mul(9)
                ),
            }
        }
        if last {
            assert_ne!(renewed.unwrap(), old);
            return;
        }
    }
}

/// SQLite takes no notice when it cannot sync the name of its journal.
#[tokio::test]
async fn a_folder_that_cannot_be_synced_is_noticed() {
    for skip in 0..8 {
        for seed in 0..4 {
            let machine = Machine::new(seed);
            let effect = Effect::Fail(std::io::ErrorKind::Other);
            let path_contains = String::new();
            let rule = Rule { operation: Operation::SyncFolder, path_contains, skip, times: 1, effect };
            machine.disk.add_rule(rule);
            let catalog = match machine.open().await {
                Ok(catalog) => catalog,
                Err(_) => machine.open().await.unwrap(),
            };
            catalog.ensure_epoch("log", 3, 60, at(0)).await.unwrap();
            catalog.open_writer(writer(1), at(0)).await.unwrap();
            let committed = catalog.commit(flush(writer(1), 1, range(0, 0, 5))).await.unwrap();
            assert_eq!(committed, CommitOutcome::Committed);
            let after = machine.reboot(seed).open().await.unwrap();
            assert_eq!(after.listing().await.unwrap().frontier(0, 0), 5, "the sync after {skip}");
        }
    }
}
