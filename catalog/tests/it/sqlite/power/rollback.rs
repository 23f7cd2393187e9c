//! Commits that were acknowledged and are gone: SQLite takes a damaged or missing journal for one that ended
//! earlier. Neither a start nor a look goes on from there; whoever means to, removes the file that counts.

use std::path::{Path, PathBuf};

use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, CatalogError};

use super::Machine;
use super::faults::filled;
use crate::place::{at, writer};

const JOURNAL: &str = "/catalog.db-wal";
const TALLY: &str = "/catalog.commits";

/// A process that was killed after some commits, all of them in the journal.
async fn killed() -> Machine {
    let machine = Machine::new(1);
    let catalog = filled(&machine).await;
    for who in 2..6 {
        catalog.open_writer(writer(who), at(1)).await.unwrap();
    }
    std::mem::forget(catalog);
    machine.restart()
}

fn refused<T: std::fmt::Debug>(opened: Result<T, CatalogError>, what: &str) {
    match opened {
        Err(CatalogError::Unusable(text)) => {
            assert!(text.contains("is older than what was committed to it"), "{what}: {text}");
            assert!(text.contains("/catalog.db") && text.contains(TALLY), "{what}: {text}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

fn files(machine: &Machine) -> Vec<(PathBuf, Vec<u8>)> {
    let contents = |path: PathBuf| {
        let bytes = machine.disk.contents(&path).unwrap();
        (path, bytes)
    };
    machine
        .disk
        .files()
        .into_iter()
        .filter(|path| path != Path::new("/catalog.db-shm"))
        .map(contents)
        .collect()
}

#[tokio::test]
async fn a_journal_that_lost_commits_is_refused_and_left_as_it_is() {
    let bytes = killed().await.disk.contents(Path::new(JOURNAL)).unwrap().len();
    let mut met = 0;
    for byte in (32..bytes).step_by(bytes / 20) {
        let machine = killed().await;
        machine.disk.flip_bit(Path::new(JOURNAL), byte, 3).unwrap();
        let before = files(&machine);
        let looked =
            SqliteCatalog::open_read_only_on(machine.storage(), Machine::path(), SqliteOptions::default())
                .await;
        refused(looked, &format!("a look, byte {byte}"));
        refused(machine.open().await, &format!("a start, byte {byte}"));
        assert!(files(&machine) == before, "byte {byte}: something was changed");
        met += 1;
    }
    assert!(met >= 20);

    let machine = killed().await;
    machine.disk.disk().remove(Path::new(JOURNAL)).unwrap();
    refused(machine.open().await, "no journal");
    // Whoever wants to go on from here can.
    machine.disk.disk().remove(Path::new(TALLY)).unwrap();
    let catalog = machine.open().await.unwrap();
    catalog.open_writer(writer(9), at(2)).await.unwrap();
    catalog.close().await;
    machine.open().await.unwrap().close().await;
}

#[tokio::test]
async fn an_older_copy_in_the_place_of_the_newer_one_is_refused() {
    let machine = Machine::new(1);
    filled(&machine).await.close().await;
    let older = machine.disk.contents(Machine::path()).unwrap();
    let catalog = machine.open().await.unwrap();
    catalog.open_writer(writer(7), at(1)).await.unwrap();
    catalog.close().await;
    machine.disk.set_contents(Machine::path(), &older).unwrap();
    refused(machine.restart().open().await, "an older copy");
    machine.disk.set_contents(Machine::path(), &[]).unwrap();
    refused(machine.restart().open().await, "nothing");
}

/// The file that counts is never ahead of the database, wherever the power goes; and a half of it that
/// was torn leaves the other half.
#[tokio::test]
async fn the_count_is_never_ahead_of_what_a_cut_leaves() {
    for cut in 1..50 {
        let machine = Machine::new(cut);
        let catalog = filled(&machine).await;
        machine.disk.cut_after(cut);
        for who in 2..8 {
            let _ = catalog.open_writer(writer(who), at(1)).await;
        }
        let after = machine.reboot(cut);
        let opened = after.open().await.unwrap_or_else(|error| panic!("cut {cut}: {error}"));
        opened.close().await;
        for byte in [40, 520] {
            after.disk.flip_bit(Path::new(TALLY), byte, 1).unwrap();
            after.open().await.unwrap_or_else(|error| panic!("cut {cut}: {error}")).close().await;
        }
    }
}
