//! A log that holds less than was read of it before is refused, and nothing of it has changed then.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_log::local::LocalLog;
use weir_log::{Log, LogError};

use crate::fixture::{Fixture, append_each, assert_holds, change, length};

/// Every folder and file below, files with their bytes.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, Vec::new());
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Opens a log that must be refused, and fails if that has changed anything.
fn refused(fixture: &Fixture) -> LogError {
    let folder = fixture.options.dir.parent().unwrap();
    let before = everything(folder);
    let error = fixture.try_open().expect_err("the log is refused");
    let after = everything(folder);
    assert!(before == after, "refused and changed: {:?} were {:?}", after.keys(), before.keys());
    error
}

#[track_caller]
fn expect_short(fixture: &Fixture, wanted: (u32, u64, u64)) {
    match refused(fixture) {
        LogError::Short { partition, end, frontier } => assert_eq!((partition, end, frontier), wanted),
        other => panic!("{other}"),
    }
}

#[test]
fn a_log_that_is_gone_is_not_begun_anew() {
    let mut fixture = Fixture::new();
    fixture.options.frontiers = BTreeMap::from([(0, 3)]);
    expect_short(&fixture, (0, 0, 3));
    assert!(!fixture.options.dir.exists());
    std::fs::create_dir_all(fixture.partition(0)).unwrap();
    expect_short(&fixture, (0, 0, 3));
    // A file in which a crash, or a copy that broke off, left nothing.
    std::fs::write(fixture.partition(0).join("00000000000000000000.log"), b"weir").unwrap();
    expect_short(&fixture, (0, 0, 3));
    fixture.options.frontiers = BTreeMap::from([(0, 0)]);
    fixture.open();
}

#[tokio::test]
async fn a_torn_end_below_the_frontier_is_not_cut_off() {
    let mut fixture = Fixture::new();
    append_each(&fixture.open(), 0..3).await;
    let whole = length(&fixture.last_file());
    change(&fixture.last_file(), |bytes| bytes.truncate(whole - 1));
    fixture.options.frontiers = BTreeMap::from([(0, 3)]);
    expect_short(&fixture, (0, 2, 3));
    // As far as it was read, it is whole: what is torn was never acknowledged.
    fixture.options.frontiers = BTreeMap::from([(0, 2)]);
    assert_holds(&fixture.open(), 0..2).await;
    assert!(length(&fixture.last_file()) < whole - 1);
}

#[tokio::test]
async fn no_partition_is_mended_if_another_is_refused() {
    let mut fixture = Fixture::new();
    fixture.options.partitions = 2;
    let log = fixture.open();
    append_each(&log, 0..4).await;
    let ends: Vec<u64> = (0..2).map(|number| *log.durable_end(number).borrow()).collect();
    drop(log);
    assert!(ends.iter().all(|end| *end > 0), "{ends:?}");
    change(&fixture.last_file(), |bytes| bytes.extend_from_slice(b"torn"));
    std::fs::remove_dir_all(fixture.partition(1)).unwrap();
    fixture.options.frontiers = BTreeMap::from([(0, ends[0]), (1, ends[1])]);
    expect_short(&fixture, (1, 0, ends[1]));
}

#[tokio::test]
async fn a_log_that_begins_above_the_frontier_is_left_alone() {
    let mut fixture = Fixture::on_disk();
    let log = fixture.open();
    append_each(&log, 0..30).await;
    log.cut(0, 20).await.unwrap();
    let start = log.start(0).await.unwrap();
    drop(log);
    assert!(start > 0);
    change(&fixture.last_file(), |bytes| bytes.extend_from_slice(b"torn"));
    fixture.options.frontiers = BTreeMap::from([(0, start - 1)]);
    match refused(&fixture) {
        LogError::BelowStart { partition: 0, asked, start: begins } => {
            assert_eq!((asked, begins), (start - 1, start));
        }
        other => panic!("{other}"),
    }
    for frontier in [start, 30] {
        fixture.options.frontiers = BTreeMap::from([(0, frontier)]);
        let log: LocalLog = fixture.open();
        assert_eq!(*log.durable_end(0).borrow(), 30);
    }
}

/// A cut never takes the file that is written to, also if nothing is left in it.
#[tokio::test]
async fn a_log_cut_right_up_to_its_frontier_opens() {
    let mut fixture = Fixture::on_disk();
    let log = fixture.open();
    append_each(&log, 0..10).await;
    fixture.wait(100_000);
    log.cut(0, 10).await.unwrap();
    assert_eq!(log.start(0).await.unwrap(), 10);
    drop(log);
    fixture.options.frontiers = BTreeMap::from([(0, 10)]);
    let log = fixture.open();
    assert_eq!((log.start(0).await.unwrap(), *log.durable_end(0).borrow()), (10, 10));
}
