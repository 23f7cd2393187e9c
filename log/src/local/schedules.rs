//! Appends, readers, cuts and a close that meet in many orders. A scheduler takes the place of the machine's: it
//! decides at every lock and every wait who goes on, and fails a test in which nobody can. `just schedules`
//! runs it; this module exists only with the feature `shuttle`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, future, thread};
use weir_files::simulated::{Effect, Operation, Rule, SimulatedDisk};
use weir_meter::environment::Clock;
use weir_meter::{ContentHash, IdentityHash, InstallationId, Namespace, RequestId};

use super::payload::encoded_bytes;
use super::{LocalLog, LocalLogOptions, join};
use crate::{AppendError, Appended, Log, LogError, LoggedRecord, Record, RecordKind};

const PARTITIONS: u32 = 2;

/// Half of the schedules are plainly random, half change who goes first at a few places only.
fn check(test: impl Fn() + Clone + Send + Sync + 'static) {
    let asked = std::env::var("WEIR_LOG_SCHEDULES").ok().and_then(|text| text.parse().ok());
    let schedules: usize = asked.unwrap_or(1500);
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    Runner::new(RandomScheduler::new_from_seed(7, schedules / 2), config.clone()).run(test.clone());
    Runner::new(PctScheduler::new_from_seed(7, 4, schedules / 2), config).run(test);
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now_us(&self) -> i64 {
        5
    }
}

fn record(number: u128) -> Record {
    Record {
        namespace: Namespace::new("acme"),
        kind: RecordKind::Event,
        identity: IdentityHash(number),
        content: ContentHash(number),
        request: RequestId(number / 10),
        value: Bytes::from(format!("{number:08}")),
    }
}

/// A request of two records, one for each partition.
fn batch(client: u128, round: u128) -> Vec<Record> {
    let first = client * 100 + round * 10;
    vec![record(first), record(first + 1)]
}

fn open(disk: &SimulatedDisk, change: impl FnOnce(&mut LocalLogOptions)) -> Arc<LocalLog> {
    let mut options = LocalLogOptions::new("/log", InstallationId(5), 1, PARTITIONS);
    change(&mut options);
    Arc::new(LocalLog::open_on(disk.disk(), options, Arc::new(Still)).unwrap())
}

/// All that a reader sees of a partition now.
fn seen(log: &LocalLog, partition: u32, from: u64) -> Vec<LoggedRecord> {
    let found = log.partition(partition).and_then(|partition| partition.read_memory(from, 1 << 20));
    let records = found.unwrap().expect("everything is in memory");
    assert!(records.iter().zip(from..).all(|(record, offset)| record.offset == offset), "no gaps");
    records
}

/// Whoever asks after the answer sees what was acknowledged.
fn assert_seen(log: &LocalLog, batch: &[Record], appended: &Appended) {
    assert_eq!(appended.ranges.len(), batch.len());
    for (range, record) in appended.ranges.iter().zip(batch) {
        assert!(*log.durable_end(range.partition).borrow() >= range.to);
        let Ok(partition) = log.partition(range.partition) else { continue };
        match partition.read_memory(range.from, 1) {
            Ok(records) => {
                let records = records.expect("it is in memory");
                assert_eq!((records[0].offset, &records[0].record), (range.from, record));
            }
            // Another thread may have cut it by now.
            Err(LogError::BelowStart { start, .. }) => assert!(start > range.from),
            Err(error) => panic!("{error}"),
        }
    }
}

fn client(log: &Arc<LocalLog>, number: u128) -> thread::JoinHandle<Vec<Appended>> {
    let log = log.clone();
    thread::spawn(move || {
        let mut acknowledged = Vec::new();
        for round in 0..2 {
            let batch = batch(number, round);
            match future::block_on(log.append(batch.clone())) {
                Ok(appended) => {
                    assert_seen(&log, &batch, &appended);
                    acknowledged.push(appended);
                }
                Err(AppendError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        acknowledged
    })
}

/// Sees only ever more of the same.
fn reader(log: &Arc<LocalLog>) -> thread::JoinHandle<()> {
    let log = log.clone();
    thread::spawn(move || {
        let mut before: Vec<LoggedRecord> = Vec::new();
        for _ in 0..4 {
            if log.partition(0).is_err() {
                return;
            }
            let end = *log.durable_end(0).borrow();
            let found = log.partition(0).and_then(|partition| partition.read_memory(0, 1 << 20));
            // Closed meanwhile: memory was let go.
            let Ok(Some(now)) = found else { return };
            assert!(now.len() as u64 >= end, "what is durable can be read");
            assert!(now.starts_with(&before), "readers see a prefix");
            before = now;
        }
    })
}

/// Everything has ended: all room was given back, and each acknowledged record lies in its place.
fn assert_ended(disk: &SimulatedDisk, log: Arc<LocalLog>, acknowledged: &[Appended]) {
    let (budget, bytes_max) = (log.budget.clone(), 4 * encoded_bytes(&record(0)));
    join(log.begin_close());
    assert!(matches!(
        future::block_on(log.append(batch(9, 9))),
        Err(AppendError::Unavailable { retry_after_seconds: 30, .. })
    ));
    drop(log);
    assert!(budget.admit(&[bytes_max]).is_some(), "permits are given back");
    disk.clear_rules();
    let log = open(disk, |_| {});
    for range in acknowledged.iter().flat_map(|appended| &appended.ranges) {
        assert!(range.to <= *log.durable_end(range.partition).borrow());
    }
    let mut ranges: Vec<_> = acknowledged.iter().flat_map(|appended| appended.ranges.clone()).collect();
    ranges.sort();
    assert!(ranges.windows(2).all(|two| two[0].partition < two[1].partition || two[0].to <= two[1].from));
}

/// Room for two requests, so that the third is refused; groups of one, so that the queue is taken in parts.
fn narrow(options: &mut LocalLogOptions) {
    let bytes = encoded_bytes(&record(0));
    options.append_bytes_max = 2 * bytes;
    options.queue_bytes_max = 4 * bytes;
    options.group_bytes_max = bytes;
}

#[test]
fn appends_readers_and_a_close() {
    check(|| {
        let disk = SimulatedDisk::new(1);
        let log = open(&disk, narrow);
        let clients = [client(&log, 1), client(&log, 2), client(&log, 3)];
        let reader = reader(&log);
        let closing = log.clone();
        let closer = thread::spawn(move || join(closing.begin_close()));
        let acknowledged: Vec<Appended> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        reader.join().unwrap();
        closer.join().unwrap();
        assert_ended(&disk, log, &acknowledged);
    });
}

#[test]
fn an_append_that_is_given_up() {
    check(|| {
        let disk = SimulatedDisk::new(1);
        let log = open(&disk, narrow);
        let leaving = log.clone();
        let leaver = thread::spawn(move || {
            future::block_on(async {
                let mut append = pin!(leaving.append(batch(4, 0)));
                std::future::poll_fn(|context| {
                    let _ = append.as_mut().poll(context);
                    Poll::Ready(())
                })
                .await;
            });
        });
        let clients = [client(&log, 1), client(&log, 2)];
        let acknowledged: Vec<Appended> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        leaver.join().unwrap();
        let _ = seen(&log, 0, 0);
        assert_ended(&disk, log, &acknowledged);
    });
}

#[test]
fn a_disk_that_fails_tells_everybody() {
    check(|| {
        let disk = SimulatedDisk::new(1);
        let log = open(&disk, narrow);
        disk.add_rule(Rule {
            operation: Operation::SyncFile,
            path_contains: "/p0/".to_owned(),
            skip: 1,
            times: 1,
            effect: Effect::Fail(ErrorKind::Other),
        });
        let clients = [client(&log, 1), client(&log, 2)];
        let reader = reader(&log);
        let acknowledged: Vec<Appended> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        reader.join().unwrap();
        let ranges = acknowledged.iter().flat_map(|appended| &appended.ranges);
        let ends = ranges.filter(|range| range.partition == 0).map(|range| range.to).max();
        assert!(ends.unwrap_or(0) <= seen(&log, 0, 0).len() as u64);
        assert_ended(&disk, log, &acknowledged);
    });
}

/// Each cut asks the log thread for a new file, as every file is old at once.
#[test]
fn cuts_beside_appends_and_a_close() {
    check(|| {
        let disk = SimulatedDisk::new(1);
        let log = open(&disk, |options| options.segment_age_max = Duration::ZERO);
        let appending = client(&log, 1);
        let cutting = log.clone();
        let cutter = thread::spawn(move || {
            for _ in 0..2 {
                let Ok(partition) = cutting.partition(0).cloned() else { return };
                let end = *partition.durable_end.borrow();
                partition.cut(end).unwrap();
                assert!(partition.start() <= end, "nothing above the cut goes");
            }
        });
        let closing = log.clone();
        let closer = thread::spawn(move || join(closing.begin_close()));
        let acknowledged = appending.join().unwrap();
        cutter.join().unwrap();
        closer.join().unwrap();
        assert_ended(&disk, log, &acknowledged);
    });
}
