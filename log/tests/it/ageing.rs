//! Old events do not stay because few new ones come: a file ends by age as well, and then a cut takes it.

use std::fs;

use weir_log::local::LocalLog;
use weir_log::local::inspect::{Place, inspect};
use weir_log::{Log, LogError};

use crate::fixture::{Fixture, INSTALLATION, append_each, assert_holds};

const DAY_S: i64 = 24 * 3600;

/// The default bounds, so that no file ends by its size; reads go to the files.
fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.options.tail_bytes_max = 0;
    fixture
}

fn assert_inspected(fixture: &Fixture, start: u64, end: u64) {
    let place = Place { dir: &fixture.options.dir, installation: INSTALLATION, epoch: 2, partition: 0 };
    let found = inspect(place, None).unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    assert_eq!((found.start, found.end), (start, end));
}

async fn assert_cut_to(fixture: &Fixture, log: &LocalLog, start: u64, files: usize) {
    assert_eq!((log.start(0).await.unwrap(), fixture.files().len()), (start, files));
}

#[tokio::test]
async fn an_append_to_an_old_file_begins_a_new_one() {
    let fixture = fixture();
    let log = fixture.open();
    append_each(&log, 0..3).await;
    fixture.wait(DAY_S - 1);
    append_each(&log, 3..5).await;
    log.cut(0, 5).await.unwrap();
    assert_cut_to(&fixture, &log, 0, 1).await;
    fixture.wait(1);
    append_each(&log, 5..6).await;
    assert_cut_to(&fixture, &log, 0, 2).await;
    assert_holds(&log, 0..6).await;
    log.cut(0, 5).await.unwrap();
    assert_cut_to(&fixture, &log, 5, 1).await;
    drop(log);
    let log = fixture.open();
    assert_cut_to(&fixture, &log, 5, 1).await;
    assert_holds(&log, 5..6).await;
    assert_inspected(&fixture, 5, 6);
}

#[tokio::test]
async fn the_age_outlives_a_restart_and_a_clock_that_goes_back() {
    let fixture = fixture();
    append_each(&fixture.open(), 0..3).await;
    fixture.wait(DAY_S - 1);
    append_each(&fixture.open(), 3..4).await;
    fixture.wait(-10 * DAY_S);
    let log = fixture.open();
    append_each(&log, 4..5).await;
    assert_cut_to(&fixture, &log, 0, 1).await;
    fixture.wait(10 * DAY_S + 1);
    append_each(&log, 5..6).await;
    assert_cut_to(&fixture, &log, 0, 2).await;
    assert_holds(&log, 0..6).await;
}

#[tokio::test]
async fn a_cut_up_to_the_end_lets_an_old_file_go() {
    let fixture = fixture();
    let log = fixture.open();
    append_each(&log, 0..4).await;
    log.read(0, 0, 1).await.unwrap();
    fixture.wait(DAY_S - 1);
    log.cut(0, 4).await.unwrap();
    assert_cut_to(&fixture, &log, 0, 1).await;
    fixture.wait(1);
    log.cut(0, 3).await.unwrap();
    assert_cut_to(&fixture, &log, 0, 1).await;
    log.cut(0, 4).await.unwrap();
    assert_cut_to(&fixture, &log, 4, 1).await;
    assert!(matches!(log.read(0, 1, 1).await, Err(LogError::BelowStart { .. })));
    assert_holds(&log, 4..4).await;
    assert_inspected(&fixture, 4, 4);
    // An empty file has no age.
    fixture.wait(9 * DAY_S);
    log.cut(0, 4).await.unwrap();
    assert_cut_to(&fixture, &log, 4, 1).await;
    drop(log);
    // The clock is back at the beginning: the new file still knows that time went on.
    fixture.wait(-20 * DAY_S);
    let log = fixture.open();
    assert_eq!(*log.durable_end(0).borrow(), 4);
    append_each(&log, 4..7).await;
    assert_holds(&log, 4..7).await;
    assert!(log.read(0, 4, 1).await.unwrap()[0].record_time_us >= 1_000_000);
    log.close().await;
    assert!(matches!(log.cut(0, 7).await, Err(LogError::Closed(_))));
}

/// What a kill or a power cut can leave of such a cut: the new file not there, there in part, there
/// beside the old one, or alone.
#[tokio::test]
async fn a_crash_at_any_step_of_letting_go_loses_nothing() {
    let fixture = fixture();
    let log = fixture.open();
    append_each(&log, 0..4).await;
    fixture.wait(DAY_S);
    let before = fixture.copy();
    log.cut(0, 4).await.unwrap();
    let new_file = fixture.last_file();
    let header = fs::read(&new_file).unwrap();
    assert_eq!(header.len(), 56);
    for written in 0..=header.len() {
        for zeros in [0, header.len() - written] {
            let crashed = before.copy();
            let mut bytes = header[..written].to_vec();
            bytes.resize(written + zeros, 0);
            fs::write(crashed.partition(0).join(new_file.file_name().unwrap()), bytes).unwrap();
            assert_inspected(&crashed, 0, 4);
            let log = crashed.open();
            assert_holds(&log, 0..4).await;
            log.cut(0, 4).await.unwrap();
            assert_cut_to(&crashed, &log, 4, 1).await;
            append_each(&log, 4..6).await;
            drop(log);
            assert_holds(&crashed.open(), 4..6).await;
        }
    }
}

/// Records that come while a cut decides are never in what it lets go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_beside_a_cut_are_kept() {
    let fixture = fixture();
    let log = std::sync::Arc::new(fixture.open());
    let appender = log.clone();
    let clock = fixture.clock.clone();
    let appending = tokio::spawn(async move {
        for number in 0..300 {
            clock.0.fetch_add(DAY_S * 1_000_000 / 2, std::sync::atomic::Ordering::SeqCst);
            append_each(&appender, number..number + 1).await;
        }
    });
    while !appending.is_finished() {
        let end = *log.durable_end(0).borrow();
        log.cut(0, end).await.unwrap();
        let start = log.start(0).await.unwrap();
        assert!(start <= end, "{start} {end}");
        tokio::task::yield_now().await;
    }
    appending.await.unwrap();
    let start = log.start(0).await.unwrap();
    assert_holds(&log, start..300).await;
    assert_inspected(&fixture, start, 300);
}
