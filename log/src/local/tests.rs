//! What only the inside shows: a reader between two files, and the formats in memory, every bit of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use weir_files::Disk;
use weir_meter::environment::Clock;
use weir_meter::{ContentHash, IdentityHash, InstallationId, Namespace, RequestId};

use super::files::Files;
use super::frame::{BadFrame, Compression, check_frame, encode_frame, find_frame, payload};
use super::header::{BadHeader, FileHeader};
use super::payload::{decode_records, encode_record, encoded_bytes};
use super::reader::{Cursors, Source};
use super::recover::look;
use super::{LocalLog, LocalLogOptions};
use crate::{Log, Record, RecordKind};

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

/// A cut takes a file while a read of its last record is under way: the reader's next read goes on in
/// the file after it.
#[tokio::test]
async fn a_reader_at_the_end_of_a_file_that_was_cut_goes_on() {
    let (folder, disk) = (TempDir::new().unwrap(), Disk::default());
    let mut options = LocalLogOptions::new(folder.path().join("log"), InstallationId(5), 1, 1);
    options.segment_age_max = Duration::ZERO;
    let clock = Arc::new(Ticking(AtomicI64::new(1)));
    let log = LocalLog::open_on(disk.clone(), options, clock).unwrap();
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
    let files =
        Mutex::new(Files::new(look(&disk, &folder, &whose, None).unwrap().mend(&disk).unwrap().files));
    let cursors = Cursors::default();
    let source = |durable_end| Source { disk: &disk, folder: &folder, files: &files, durable_end };
    assert_eq!(cursors.read(source(1), 0, 1).unwrap()[0].offset, 0);
    files.lock().take_below(1).unwrap();
    assert_eq!(cursors.read(source(2), 1, 1).unwrap()[0].offset, 1);
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
