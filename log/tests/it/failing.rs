//! A disk that is full, fails, or is slow: nothing that was acknowledged is lost, the answer is quick and
//! says when to come again, and where the disk recovers so does the log.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_files::simulated::{Effect, Operation};
use weir_log::{AppendError, Log, Record};

use crate::fixture::record;
use crate::hooked::{Answer, Hook, hooked};
use crate::machine::{Machine, offsets};

const EIO: Effect = Effect::Fail(ErrorKind::Other);

fn assert_refused(answer: Result<weir_log::Appended, AppendError>, seconds: u32) {
    match answer {
        Err(AppendError::Unavailable { retry_after_seconds, .. }) => assert_eq!(retry_after_seconds, seconds),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let machine = Machine::new(1);
    let log = machine.open();
    log.append(vec![record(0, 10)]).await.unwrap();
    for space in [0, 1, 20, 60] {
        machine.disk.set_space(Some(space));
        assert_refused(log.append(vec![record(1, 100)]).await, 5);
        assert_eq!(log.unavailable(), None);
        assert_eq!(offsets(&log).await, [0], "reads go on");
    }
    machine.disk.set_space(None);
    let appended = log.append(vec![record(2, 10)]).await.unwrap();
    assert_eq!((appended.ranges[0].from, appended.ranges[0].to), (1, 2));
    log.close().await;
    assert_eq!(offsets(&machine.open()).await, [0, 1]);
    assert!(machine.inspect().problems.is_empty());
}

#[tokio::test]
async fn a_full_disk_while_a_file_begins_leaves_no_file() {
    let mut machine = Machine::new(2);
    machine.options.segment_bytes_max = 250;
    let log = machine.open();
    log.append(vec![record(0, 150)]).await.unwrap();
    for space in [0, 30, 55] {
        machine.disk.set_space(Some(space));
        assert_refused(log.append(vec![record(1, 150)]).await, 5);
        assert_eq!(machine.files().len(), 1);
    }
    // Room for the header of the next file, and for no frame.
    machine.disk.set_space(Some(56));
    assert_refused(log.append(vec![record(1, 150)]).await, 5);
    machine.disk.set_space(None);
    for number in 2..4 {
        log.append(vec![record(number, 150)]).await.unwrap();
    }
    assert!(machine.files().len() > 1);
    log.close().await;
    assert_eq!(offsets(&machine.open()).await, [0, 1, 2]);
    assert!(machine.inspect().problems.is_empty());
}

/// A file that could not be begun is taken back for good: the one before it has grown past its beginning
/// when the power goes.
#[tokio::test]
async fn a_file_that_could_not_be_begun_does_not_come_back() {
    for seed in 0..40 {
        let mut machine = Machine::new(seed);
        machine.options.segment_bytes_max = 600;
        let log = machine.open();
        log.append(vec![record(0, 100)]).await.unwrap();
        machine.rule(Operation::SyncFolder, 1, EIO);
        assert_refused(log.append(vec![record(1, 300)]).await, 5);
        log.append(vec![record(2, 10)]).await.unwrap();
        assert_eq!(machine.files().len(), 1);
        machine.disk.cut();
        drop(log);
        let rebooted = Machine { disk: machine.disk.reboot(seed), ..machine };
        assert_eq!(read(&rebooted.open()).await, [record(0, 100), record(2, 10)]);
    }
}

#[tokio::test]
async fn a_failing_disk_keeps_an_old_file_until_a_later_cut() {
    let mut machine = Machine::new(3);
    // The clock ticks with every look: one record is old enough at once.
    machine.options.segment_age_max = Duration::from_micros(1);
    let log = machine.open();
    log.append(vec![record(0, 10)]).await.unwrap();
    machine.disk.set_space(Some(30));
    log.cut(0, 1).await.unwrap();
    machine.disk.set_space(None);
    machine.rule(Operation::SyncFile, 1, EIO);
    log.cut(0, 1).await.unwrap();
    assert_eq!((log.start(0).await.unwrap(), machine.files().len(), log.unavailable()), (0, 1, None));
    machine.rule(Operation::Remove, 1, EIO);
    log.cut(0, 1).await.unwrap_err();
    assert_eq!((log.start(0).await.unwrap(), machine.files().len()), (0, 2));
    machine.disk.clear_rules();
    log.cut(0, 1).await.unwrap();
    assert_eq!((log.start(0).await.unwrap(), machine.files().len()), (1, 1));
    log.append(vec![record(1, 10)]).await.unwrap();
    log.close().await;
    assert_eq!(machine.open().read(0, 1, 1).await.unwrap()[0].record, record(1, 10));
}

#[tokio::test]
async fn a_write_that_cannot_be_taken_back_stops_the_log() {
    for operation in [Operation::SetLen, Operation::SyncFile] {
        let machine = Machine::new(4);
        let log = machine.open();
        log.append(vec![record(0, 10)]).await.unwrap();
        machine.disk.set_space(Some(10));
        machine.rule(operation, 1, EIO);
        assert_refused(log.append(vec![record(1, 10)]).await, 30);
        machine.disk.set_space(None);
        assert_refused(log.append(vec![record(1, 10)]).await, 30);
        assert!(log.unavailable().unwrap().contains("cannot take it back"));
        log.close().await;
        assert_eq!(offsets(&machine.open()).await, [0]);
    }
}

/// After a failed sync the page cache shows bytes that the disk never got, and the next sync succeeds.
/// The log must not believe it, and the next start must see what the disk has.
#[tokio::test]
async fn a_failed_sync_stops_the_log_until_it_is_opened_again() {
    for seed in 0..30 {
        let machine = Machine::new(seed);
        let log = machine.open();
        log.append(vec![record(0, 700)]).await.unwrap();
        machine.rule(Operation::SyncFile, 1, EIO);
        assert_refused(log.append(vec![record(1, 700)]).await, 30);
        assert_refused(log.append(vec![record(2, 10)]).await, 30);
        assert!(log.unavailable().unwrap().contains("cannot sync"), "{:?}", log.unavailable());
        assert_eq!(offsets(&log).await, [0], "what was not synced is not there for readers");
        assert_eq!(*log.durable_end(0).borrow(), 1);
        log.close().await;
        let log = machine.open();
        let end = *log.durable_end(0).borrow();
        log.append(vec![record(2, 10)]).await.unwrap();
        let seen: Vec<Record> = read(&log).await;
        assert_eq!(seen.len() as u64, end + 1);
        // What readers saw after the start is there after the power was gone.
        machine.disk.cut();
        drop(log);
        let rebooted = Machine { disk: machine.disk.reboot(seed), ..machine };
        assert_eq!(read(&rebooted.open()).await, seen);
    }
}

async fn read(log: &impl Log) -> Vec<Record> {
    log.read(0, 0, 1 << 20).await.unwrap().into_iter().map(|logged| logged.record).collect()
}

/// Lets syncs of log files wait for as long as it is closed.
fn gate() -> (Arc<AtomicBool>, Hook) {
    let closed = Arc::new(AtomicBool::new(false));
    let seen = closed.clone();
    let hook = move |operation, _: &Path| {
        // Bounded, so that a test that fails meanwhile still ends.
        for _ in 0..5000 {
            if operation != Operation::SyncFile || !seen.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Answer::Go
    };
    (closed, Arc::new(hook))
}

/// While one sync takes its time, requests gather: the bound holds, the answer to the rest is quick, and
/// one frame takes all that wait.
#[tokio::test]
async fn what_gathers_during_a_sync_shares_the_next_and_stays_bounded() {
    let mut machine = Machine::new(5);
    // Ten of these records fill the queue.
    let bytes = 55 + 4 + record(3, 100).value.len();
    machine.options.queue_bytes_max = bytes * 10;
    machine.options.append_bytes_max = bytes * 2;
    let (closed, hook) = gate();
    let log = Arc::new(machine.try_open_on(hooked(&machine.disk, hook)).unwrap());
    closed.store(true, Ordering::SeqCst);
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let appender = log.clone();
        let first = waiting.is_empty();
        waiting.push(tokio::spawn(async move { appender.append(vec![record(3, 100)]).await }));
        // The first one is under way alone before the others come.
        tokio::time::sleep(Duration::from_millis(if first { 100 } else { 1 })).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_refused(log.append(vec![record(3, 100)]).await, 1);
    let large = log.append(vec![record(3, 100), record(3, 100), record(3, 100)]).await;
    assert!(matches!(large, Err(AppendError::TooLarge { .. })), "{large:?}");
    assert_eq!(*log.durable_end(0).borrow(), 0, "nothing is durable before its sync");
    assert!(log.read(0, 0, 1000).await.unwrap().is_empty());
    closed.store(false, Ordering::SeqCst);
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    log.append(vec![record(3, 100)]).await.unwrap();
    let times: Vec<i64> =
        log.read(0, 0, 1 << 20).await.unwrap().iter().map(|record| record.record_time_us).collect();
    assert_eq!(times, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3], "one time a frame");
}

/// A disk whose syncs take a hundred times as long as they might, under more clients than it can serve: most
/// are refused at once and told to come again in a second; when the disk is quick again, so is the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_refuses_early_and_recovers_without_a_restart() {
    let mut machine = Machine::new(6);
    machine.options.append_bytes_max = 1000;
    machine.options.queue_bytes_max = 4000;
    machine.options.group_bytes_max = 2000;
    let log = Arc::new(machine.open());
    machine.rule(Operation::SyncFile, u64::MAX, Effect::Slow(Duration::from_millis(20)));
    let clients = (0..64u64).map(|client| {
        let log = log.clone();
        tokio::spawn(async move {
            let (mut acknowledged, mut refused) = (0, 0);
            for round in 0..4 {
                match log.append(vec![record(client * 10 + round, 500)]).await {
                    Ok(_) => acknowledged += 1,
                    Err(AppendError::Unavailable { retry_after_seconds: 1, .. }) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            (acknowledged, refused)
        })
    });
    let (mut acknowledged, mut refused) = (0, 0);
    for client in clients.collect::<Vec<_>>() {
        let counts = client.await.unwrap();
        acknowledged += counts.0;
        refused += counts.1;
    }
    assert!(acknowledged > 0 && refused > 0, "{acknowledged} {refused}");
    assert_eq!(log.unavailable(), None);
    machine.disk.clear_rules();
    for number in 0..20 {
        log.append(vec![record(number, 500)]).await.unwrap();
    }
    assert_eq!(offsets(&log).await.len(), acknowledged + 20);
}
