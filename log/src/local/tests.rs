//! What only a failing disk shows, and the formats in memory, every bit of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use weir_meter::environment::Clock;
use weir_meter::{ContentHash, IdentityHash, InstallationId, Namespace, RequestId};

use super::file::{Disk, Faults};
use super::files::Files;
use super::frame::{BadFrame, Compression, check_frame, encode_frame, find_frame, payload};
use super::header::{BadHeader, FileHeader};
use super::payload::{decode_records, encode_record, encoded_bytes};
use super::reader::{Cursors, Source};
use super::recover::recover;
use super::{LocalLog, LocalLogOptions};
use crate::{AppendError, Log, Record, RecordKind};

struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now_us(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn record(number: u128, value: &[u8]) -> Record {
    Record {
        namespace: Namespace::new("acme"),
        kind: RecordKind::Event,
        identity: IdentityHash(number),
        content: ContentHash(number * 3),
        request: RequestId(7),
        value: Bytes::copy_from_slice(value),
    }
}

fn open(folder: &TempDir, disk: &Disk, change: impl FnOnce(&mut LocalLogOptions)) -> LocalLog {
    let mut options = LocalLogOptions::new(folder.path().join("log"), InstallationId(5), 1, 1);
    change(&mut options);
    LocalLog::open_on(disk.clone(), options, Arc::new(Ticking(AtomicI64::new(1)))).unwrap()
}

fn faults(disk: &Disk) -> &Faults {
    &disk.faults
}

async fn offsets(log: &LocalLog) -> Vec<u64> {
    let mut offsets: Vec<u64> = Vec::new();
    loop {
        let records = log.read(0, offsets.len() as u64, 1 << 20).await.unwrap();
        if records.is_empty() {
            return offsets;
        }
        offsets.extend(records.iter().map(|record| record.offset));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let (folder, disk) = (TempDir::new().unwrap(), Disk::default());
    let log = open(&folder, &disk, |_| {});
    log.append(vec![record(0, b"first")]).await.unwrap();
    for space in [0, 1, 20, 60] {
        *faults(&disk).space_left.lock() = Some(space);
        let refused = log.append(vec![record(1, b"does not fit")]).await;
        assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
        assert_eq!(log.unavailable(), None);
    }
    *faults(&disk).space_left.lock() = None;
    let appended = log.append(vec![record(2, b"fits again")]).await.unwrap();
    assert_eq!((appended.ranges[0].from, appended.ranges[0].to), (1, 2));
    log.close().await;
    let log = open(&folder, &disk, |options| options.tail_bytes_max = 0);
    assert_eq!(offsets(&log).await, [0, 1]);
}

#[tokio::test]
async fn a_full_disk_while_a_file_begins_leaves_no_file() {
    let (folder, disk) = (TempDir::new().unwrap(), Disk::default());
    let log = open(&folder, &disk, |options| {
        options.segment_bytes_max = 200;
        options.compression = Compression::None;
    });
    log.append(vec![record(0, &[b'x'; 150])]).await.unwrap();
    *faults(&disk).space_left.lock() = Some(30);
    log.append(vec![record(1, &[b'y'; 150])]).await.unwrap_err();
    *faults(&disk).space_left.lock() = None;
    assert_eq!(std::fs::read_dir(folder.path().join("log/e1/p0")).unwrap().count(), 1);
    log.append(vec![record(2, b"z")]).await.unwrap();
    log.append(vec![record(3, &[b'z'; 150])]).await.unwrap();
    assert!(std::fs::read_dir(folder.path().join("log/e1/p0")).unwrap().count() > 1);
    log.close().await;
    assert_eq!(offsets(&open(&folder, &disk, |_| {})).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_failing_disk_keeps_an_old_file_until_a_later_cut() {
    let (folder, disk) = (TempDir::new().unwrap(), Disk::default());
    // The clock ticks with every look: one record is old enough at once.
    let log = open(&folder, &disk, |options| options.segment_age_max = Duration::from_micros(1));
    log.append(vec![record(0, b"first")]).await.unwrap();
    let files = || std::fs::read_dir(folder.path().join("log/e1/p0")).unwrap().count();
    *faults(&disk).space_left.lock() = Some(30);
    log.cut(0, 1).await.unwrap();
    *faults(&disk).space_left.lock() = None;
    *faults(&disk).syncs_fail.lock() = true;
    log.cut(0, 1).await.unwrap();
    *faults(&disk).syncs_fail.lock() = false;
    assert_eq!((log.start(0).await.unwrap(), files(), log.unavailable()), (0, 1, None));
    log.cut(0, 1).await.unwrap();
    assert_eq!((log.start(0).await.unwrap(), files()), (1, 1));
    log.append(vec![record(1, b"second")]).await.unwrap();
    log.close().await;
    let log = open(&folder, &disk, |_| {});
    assert_eq!(log.read(0, 1, 1).await.unwrap()[0].record, record(1, b"second"));
}

/// A cut takes a file while a read of its last record is under way: the reader's next read goes on in
/// the file after it.
#[tokio::test]
async fn a_reader_at_the_end_of_a_file_that_was_cut_goes_on() {
    let (folder, disk) = (TempDir::new().unwrap(), Disk::default());
    let log = open(&folder, &disk, |options| options.segment_age_max = Duration::ZERO);
    log.append(vec![record(0, b"first")]).await.unwrap();
    log.append(vec![record(1, b"second")]).await.unwrap();
    log.close().await;
    let folder = folder.path().join("log/e1/p0");
    let whose = FileHeader {
        installation: InstallationId(5),
        epoch: 1,
        partition: 0,
        base_offset: 0,
        record_time_floor_us: i64::MIN,
    };
    let files = Mutex::new(Files::new(recover(&disk, &folder, &whose).unwrap().files));
    let cursors = Cursors::default();
    let source = |durable_end| Source { disk: &disk, folder: &folder, files: &files, durable_end };
    assert_eq!(cursors.read(source(1), 0, 1).unwrap()[0].offset, 0);
    files.lock().take_below(1).unwrap();
    assert_eq!(cursors.read(source(2), 1, 1).unwrap()[0].offset, 1);
}

#[tokio::test]
async fn a_write_that_cannot_be_taken_back_stops_the_log() {
    let (folder, disk) = (TempDir::new().unwrap(), Disk::default());
    let log = open(&folder, &disk, |_| {});
    log.append(vec![record(0, b"first")]).await.unwrap();
    *faults(&disk).space_left.lock() = Some(10);
    *faults(&disk).truncates_fail.lock() = true;
    log.append(vec![record(1, b"second")]).await.unwrap_err();
    *faults(&disk).space_left.lock() = None;
    *faults(&disk).truncates_fail.lock() = false;
    log.append(vec![record(1, b"second")]).await.unwrap_err();
    assert!(log.unavailable().unwrap().contains("cannot take it back"));
    log.close().await;
    assert_eq!(offsets(&open(&folder, &disk, |_| {})).await, [0]);
}

#[tokio::test]
async fn a_failed_sync_stops_the_log_until_it_is_opened_again() {
    let (folder, disk) = (TempDir::new().unwrap(), Disk::default());
    let log = open(&folder, &disk, |_| {});
    log.append(vec![record(0, b"first")]).await.unwrap();
    *faults(&disk).syncs_fail.lock() = true;
    log.append(vec![record(1, b"second")]).await.unwrap_err();
    *faults(&disk).syncs_fail.lock() = false;
    let refused = log.append(vec![record(2, b"third")]).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { retry_after_seconds: 30, .. })), "{refused:?}");
    assert!(log.unavailable().unwrap().contains("cannot sync"), "{:?}", log.unavailable());
    assert_eq!(offsets(&log).await, [0], "what was not synced is not there for readers");
    assert_eq!(*log.durable_end(0).borrow(), 1);
    log.close().await;
    let log = open(&folder, &disk, |_| {});
    log.append(vec![record(2, b"third")]).await.unwrap();
}

/// While one sync takes its time, requests gather: the bound holds, and one frame takes them all.
#[tokio::test]
async fn what_gathers_during_a_sync_shares_the_next_and_stays_bounded() {
    let (folder, disk) = (TempDir::new().unwrap(), Disk::default());
    let bytes = encoded_bytes(&record(0, &[b'x'; 100]));
    let log = Arc::new(open(&folder, &disk, |options| {
        options.queue_bytes_max = bytes * 10;
        options.append_bytes_max = bytes * 2;
        options.compression = Compression::None;
    }));
    *faults(&disk).syncs_wait.lock() = true;
    let mut waiting = Vec::new();
    for number in 0..10u128 {
        let appender = log.clone();
        waiting.push(tokio::spawn(async move { appender.append(vec![record(number, &[b'x'; 100])]).await }));
        // The first one is under way alone before the others come.
        tokio::time::sleep(Duration::from_millis(if number == 0 { 100 } else { 1 })).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let refused = log.append(vec![record(10, &[b'x'; 100])]).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { retry_after_seconds: 1, .. })), "{refused:?}");
    let large = log.append((0..3).map(|number| record(number, &[b'x'; 100])).collect()).await;
    assert!(matches!(large, Err(AppendError::TooLarge { .. })), "{large:?}");
    assert_eq!(*log.durable_end(0).borrow(), 0, "nothing is durable before its sync");
    assert!(log.read(0, 0, 1000).await.unwrap().is_empty());
    *faults(&disk).syncs_wait.lock() = false;
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    log.append(vec![record(10, &[b'x'; 100])]).await.unwrap();
    let times: Vec<i64> =
        log.read(0, 0, 1 << 20).await.unwrap().iter().map(|record| record.record_time_us).collect();
    assert_eq!(times, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3], "one time a frame");
}

#[test]
fn no_bit_of_a_file_header_may_change() {
    let header = FileHeader {
        installation: InstallationId(0x0123_4567_89ab_cdef),
        epoch: 3,
        partition: 4,
        base_offset: 5,
        record_time_floor_us: -6,
    };
    let (bytes, seed) = header.encode();
    assert_eq!(FileHeader::decode(&bytes), Ok((header, seed)));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(FileHeader::decode(&changed), Err(BadHeader::Damaged), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert_eq!(FileHeader::decode(&bytes[..length]), Err(BadHeader::Damaged));
    }
}

#[test]
fn no_bit_of_a_frame_may_change() {
    for compression in [Compression::None, Compression::Lz4] {
        let records = [record(1, b"{\"id\":\"1\"}"), record(2, b""), record(3, &[b'a'; 300])];
        let mut raw = Vec::new();
        for record in &records {
            let before = raw.len();
            encode_record(record, &mut raw);
            assert_eq!(raw.len() - before, encoded_bytes(record));
        }
        let mut bytes = Vec::new();
        encode_frame(99, 1000, 3, 55, &raw, compression, &mut bytes);
        let header = check_frame(99, &bytes).unwrap();
        assert_eq!(header.frame_bytes(), bytes.len());
        let payload = payload(&header, &bytes).unwrap().into_owned();
        let frame = decode_records(Bytes::from(payload), 1000, 3, 55).unwrap();
        assert_eq!(frame.end_offset(), 1003);
        assert!(frame.records.iter().map(|logged| &logged.record).eq(&records));
        assert!(check_frame(98, &bytes).is_err(), "a frame is good only in its own file");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(check_frame(99, &changed), Err(BadFrame::Damaged(_))), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(matches!(check_frame(99, &bytes[..length]), Err(BadFrame::Damaged(_))));
        }
        let mut hidden = vec![0xee; 77];
        hidden.extend_from_slice(&bytes);
        assert_eq!(find_frame(99, &hidden).map(|(at, _)| at), Some(77));
        assert!(find_frame(99, &hidden[..hidden.len() - 1]).is_none());
    }
}

#[test]
fn a_frame_of_a_newer_format_is_named_as_such() {
    let mut bytes = Vec::new();
    encode_frame(9, 0, 1, 0, b"payload", Compression::None, &mut bytes);
    bytes[8] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(9, &bytes[..4]), &bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(check_frame(9, &bytes), Err(BadFrame::Newer(2)));
}

#[test]
fn records_that_do_not_fill_their_payload_are_refused() {
    let mut raw = Vec::new();
    encode_record(&record(1, b"value"), &mut raw);
    for length in 0..raw.len() {
        assert!(decode_records(Bytes::copy_from_slice(&raw[..length]), 0, 1, 0).is_err());
    }
    assert!(decode_records(Bytes::from(raw.clone()), 0, 2, 0).is_err());
    raw.push(0);
    assert!(decode_records(Bytes::from(raw), 0, 1, 0).is_err());
}
