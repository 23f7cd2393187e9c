//! A disk that fails at one operation, or is full. Nobody knows then what became of the transaction, and
//! so it is looked up; what is read after the next successful write stays.

use std::io::ErrorKind;

use weir_catalog::sqlite::SqliteCatalog;
use weir_catalog::{Catalog, CatalogError, Commit, CommitOutcome};
use weir_files::simulated::{Effect, Operation, Rule};

use super::Machine;
use crate::place::{at, flush, range, writer};

pub(super) fn rule(operation: Operation, skip: u64, times: u64, effect: Effect) -> Rule {
    Rule { operation, path_contains: String::new(), skip, times, effect }
}

/// One offset, with a row of several pages.
pub(super) fn long(from: u64, who: u128) -> Commit {
    let mut commit = flush(writer(who), u128::from(from) + 1, range(0, from, from + 1));
    commit.segments[0].location = "long".repeat(3_000);
    commit
}

pub(super) async fn filled(machine: &Machine) -> SqliteCatalog {
    let catalog = machine.open().await.unwrap();
    catalog.ensure_epoch("log", 3, 60, at(0)).await.unwrap();
    catalog.open_writer(writer(1), at(0)).await.unwrap();
    catalog.commit(long(0, 1)).await.unwrap();
    catalog
}

/// The next process finds a commit that can be read and will never be on the disk.
pub(super) async fn killed(seed: u64) -> Machine {
    let machine = Machine::new(seed);
    let killed = filled(&machine).await;
    // The connection that only reads keeps the other one from mending the journal when it closes.
    killed.writers().await.unwrap();
    machine.disk.add_rule(rule(Operation::SyncFile, 0, 1, Effect::Fail(ErrorKind::Other)));
    killed.commit(long(1, 1)).await.unwrap_err();
    std::mem::forget(killed);
    let next = machine.restart();
    next.disk.clear_rules();
    next
}

async fn frontier(catalog: &SqliteCatalog) -> u64 {
    catalog.listing().await.unwrap().frontier(0, 0)
}

/// What an aggregator does after a commit without a clear answer, on a disk that works again.
pub(super) async fn goes_on(machine: &Machine, catalog: &SqliteCatalog, fewest: u64, what: &str) {
    catalog.close_writer(writer(1), at(1)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    catalog.open_writer(writer(2), at(1)).await.unwrap();
    let found = frontier(catalog).await;
    assert!((fewest..=2).contains(&found), "{what}: the frontier is {found}");
    assert_eq!(catalog.commit(long(found, 2)).await.unwrap(), CommitOutcome::Committed, "{what}");
    assert_eq!(catalog.integrity().await, Vec::<String>::new(), "{what}");
    for seed in 0..2 {
        let after = machine.reboot(seed);
        let reopened = after.open().await.unwrap();
        assert_eq!(frontier(&reopened).await, found + 1, "{what}");
        assert_eq!(reopened.integrity().await, Vec::<String>::new(), "{what}");
    }
}

const FAILING: [(Operation, u64); 8] = [
    (Operation::Write, 14),
    (Operation::Read, 14),
    (Operation::SyncFile, 3),
    (Operation::SyncFolder, 3),
    (Operation::SetLen, 3),
    (Operation::Open, 4),
    (Operation::Create, 2),
    (Operation::Remove, 2),
];

/// Once, and for as long as the commit lasts.
#[tokio::test]
async fn a_commit_whose_disk_fails_is_unknown_and_the_next_one_works() {
    let mut unknown = 0;
    for (operation, most) in FAILING {
        for (skip, times) in (0..most).flat_map(|skip| [(skip, 1), (skip, u64::MAX)]) {
            let what = format!("{operation:?} after {skip}, {times} times");
            let machine = Machine::new(skip);
            let catalog = filled(&machine).await;
            machine.disk.add_rule(rule(operation, skip, times, Effect::Fail(ErrorKind::Other)));
            let fewest = match catalog.commit(long(1, 1)).await {
                Ok(outcome) => {
                    assert_eq!(outcome, CommitOutcome::Committed, "{what}");
                    2
                }
                Err(CatalogError::Database { .. }) => {
                    unknown += 1;
                    1
                }
                Err(error) => panic!("{what}: {error}"),
            };
            // A look that cannot be made says so, and the next one is a new one.
            if let Ok(listing) = catalog.listing().await {
                assert!((fewest..=2).contains(&listing.frontier(0, 0)), "{what}");
            }
            machine.disk.clear_rules();
            goes_on(&machine, &catalog, fewest, &what).await;
        }
    }
    assert!(unknown > 10, "{unknown}");
}

#[tokio::test]
async fn a_full_disk_refuses_commits_until_there_is_room() {
    let mut refused = 0;
    for space in (0..24).map(|step| step * 1_000) {
        let machine = Machine::new(space);
        let catalog = filled(&machine).await;
        machine.disk.set_space(Some(space));
        let what = format!("{space} bytes left");
        let fewest = match catalog.commit(long(1, 1)).await {
            Ok(outcome) => {
                assert_eq!(outcome, CommitOutcome::Committed, "{what}");
                2
            }
            Err(CatalogError::Database { reason, .. }) => {
                assert!(reason.contains("full"), "{what}: {reason}");
                refused += 1;
                1
            }
            Err(error) => panic!("{what}: {error}"),
        };
        assert!((fewest..=2).contains(&frontier(&catalog).await), "{what}: reading goes on");
        machine.disk.set_space(None);
        goes_on(&machine, &catalog, fewest, &what).await;
    }
    assert!(refused > 5, "{refused}");
}

/// Whatever page cannot be read, it is one transaction that fails, and the next one begins.
#[tokio::test]
async fn a_read_that_fails_inside_a_transaction_stops_no_other_one() {
    let mut failed = 0;
    for skip in 0..12 {
        let machine = Machine::new(skip);
        filled(&machine).await.close().await;
        // It has no page in memory yet.
        let catalog = machine.open().await.unwrap();
        machine.disk.add_rule(rule(Operation::Read, skip, 1, Effect::Fail(ErrorKind::Other)));
        let committed = catalog.commit(long(1, 1)).await;
        machine.disk.clear_rules();
        failed += usize::from(committed.is_err());
        goes_on(&machine, &catalog, 1, &format!("the read after {skip}, {committed:?}")).await;
    }
    assert!(failed > 3, "{failed}");
}

/// A row of more pages than SQLite keeps in memory is written, and so refused, before COMMIT.
#[tokio::test]
async fn a_disk_that_is_full_inside_a_transaction_is_as_good_as_before_once_there_is_room() {
    let mut refused = 0;
    for space in [0, 100_000, 1_000_000, 3_000_000] {
        let machine = Machine::new(space);
        let catalog = filled(&machine).await;
        machine.disk.set_space(Some(space));
        let what = format!("{space} bytes left");
        let mut much = long(1, 1);
        much.segments[0].location = "much".repeat(1_000_000);
        let error = catalog.commit(much).await.unwrap_err();
        let CatalogError::Database { context, reason } = error else { panic!("{what}: {error}") };
        assert!(reason.contains("full"), "{what}: {reason}");
        refused += usize::from(context != "commit");
        assert_eq!(frontier(&catalog).await, 1, "{what}: reading goes on");
        machine.disk.set_space(None);
        goes_on(&machine, &catalog, 1, &what).await;
    }
    assert!(refused > 1, "{refused}");
}

/// Opening fails or not, but never loses or hides anything.
#[tokio::test]
async fn a_start_whose_disk_fails_is_repeated() {
    let mut failed = 0;
    for (operation, most) in FAILING {
        for skip in 0..most {
            let what = format!("{operation:?} after {skip}");
            let machine = Machine::new(skip);
            let before = filled(&machine).await;
            let after = machine.reboot(skip);
            after.disk.add_rule(rule(operation, skip, 1, Effect::Fail(ErrorKind::Other)));
            let catalog = match after.open().await {
                Ok(catalog) => catalog,
                Err(_) => {
                    failed += 1;
                    after.disk.clear_rules();
                    after.open().await.unwrap_or_else(|error| panic!("{what}: {error}"))
                }
            };
            after.disk.clear_rules();
            assert_eq!(catalog.installation(), before.installation(), "{what}");
            goes_on(&after, &catalog, 1, &what).await;
        }
    }
    assert!(failed > 10, "{failed}");
}

/// A commit's sync fails, so that its pages can be read and will never be on the disk, and the process is
/// killed. The next one finds the commit in the journal, and may not build on it before all of it is durable.
#[tokio::test]
async fn nothing_is_built_on_a_journal_whose_sync_failed() {
    for skip in 0..8 {
        for operation in [Operation::Write, Operation::SyncFile, Operation::SetLen] {
            let what = format!("{operation:?} after {skip}");
            let next = killed(skip).await;
            // Nor does the first try to mend it end well.
            next.disk.add_rule(rule(operation, skip, 1, Effect::Fail(ErrorKind::Other)));
            let catalog = match next.open().await {
                Ok(catalog) => catalog,
                Err(_) => next.open().await.unwrap(),
            };
            next.disk.clear_rules();
            goes_on(&next, &catalog, 1, &what).await;
        }
    }
}
