//! The files of a log. A valid log is written by the real writer, the fuzzer's edits are applied to its files,
//! and then the log is inspected, opened, read and appended to. Whatever the edits were: nothing panics,
//! no record is read that was not appended at that very offset, and none that lies before the first
//! changed byte is missing or cannot be read.
//!
//! The first byte of the input says how the log was written; bit 7 makes the rest of the input the whole
//! file. Edits may also put checksums right again, as only somebody with intent would: then records may be
//! invented, and only panics and memory are looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use weir_log::local::inspect::{Inspection, Place, inspect, partition_folder};
use weir_log::local::{Compression, LocalLog, LocalLogOptions};
use weir_log::{Log as _, LogError, LoggedRecord, Record, RecordKind};
use weir_meter::environment::Clock;
use weir_meter::{ContentHash, IdentityHash, InstallationId, Namespace, RequestId};

use crate::edits::{self, Files, Script};

const INSTALLATION: InstallationId = InstallationId(0xfeed_beef);
const EPOCH: u32 = 2;
const HEADER_BYTES: usize = 56;
const FRAME_HEADER_BYTES: usize = 36;

/// Reads after which a log that was forged may go on as it likes.
const READS_MAX: usize = 64;

/// Records of each append.
const GROUPS: [u64; 9] = [1, 3, 1, 2, 1, 1, 4, 1, 2];

/// A valid log: its files and what was appended.
#[derive(Debug)]
struct Valid {
    compression: Compression,
    segment_bytes_max: u64,
    files: Files,
    records: Vec<LoggedRecord>,
}

static VALID: LazyLock<Vec<Valid>> = LazyLock::new(|| {
    let kinds = [
        (Compression::None, 1 << 20),
        (Compression::Lz4, 1 << 20),
        (Compression::None, 700),
        (Compression::Lz4, 700),
    ];
    kinds.into_iter().map(|(compression, bytes)| write(compression, bytes)).collect()
});

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

pub(crate) fn target(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let valid = &VALID[usize::from(first % 4)];
    let mut files = valid.files.clone();
    let mut forged = false;
    if first & 0x80 != 0 {
        let name = valid.files.keys().next().unwrap();
        files = Files::from([(name.clone(), rest.to_vec())]);
    } else {
        edits::apply(&mut Script::new(rest), &mut files, |number, script, files| {
            forged = true;
            forge(number, script, files);
        });
    }
    let folder = temporary();
    put(folder.path(), &files);
    check(folder.path(), valid, &files, forged);
}

/// A folder in memory where the machine has one: every run syncs a dozen times.
fn temporary() -> TempDir {
    let memory = Path::new("/dev/shm");
    TempDir::with_prefix_in("weir-fuzz-", memory).or_else(|_| TempDir::new()).unwrap()
}

fn partition(dir: &Path) -> PathBuf {
    partition_folder(dir, EPOCH, 0)
}

fn put(dir: &Path, files: &Files) {
    fs::create_dir_all(partition(dir)).unwrap();
    for (name, bytes) in files {
        fs::write(partition(dir).join(name), bytes).unwrap();
    }
}

/// A second later each time, so that every frame has a time of its own.
#[derive(Debug)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now_us(&self) -> i64 {
        self.0.fetch_add(1_000_000, Ordering::SeqCst)
    }
}

fn open(
    dir: &Path,
    compression: Compression,
    segment_bytes_max: u64,
    now_us: i64,
) -> Result<LocalLog, LogError> {
    let mut options = LocalLogOptions::new(dir, INSTALLATION, EPOCH, 1);
    options.compression = compression;
    options.segment_bytes_max = segment_bytes_max;
    // Every read goes to the files.
    options.tail_bytes_max = 0;
    LocalLog::open(options, Arc::new(Ticking(AtomicI64::new(now_us))))
}

fn record(number: u64) -> Record {
    let filling = "abcdefgh ".repeat(1 + (number % 5) as usize);
    Record {
        namespace: Namespace::new(if number.is_multiple_of(3) { "acme" } else { "globex" }),
        kind: RecordKind::Event,
        identity: IdentityHash(u128::from(number) * 0x1_0001),
        content: ContentHash(u128::from(number) << 70),
        request: RequestId(u128::from(number / 10)),
        value: Bytes::from(format!("{{\"id\":\"{number}\",\"data\":\"{filling}\"}}")),
    }
}

fn write(compression: Compression, segment_bytes_max: u64) -> Valid {
    let folder = temporary();
    let log = open(folder.path(), compression, segment_bytes_max, 1_000_000).unwrap();
    let mut number = 0;
    for count in GROUPS {
        let batch = (number..number + count).map(record).collect();
        RUNTIME.block_on(log.append(batch)).unwrap();
        number += count;
    }
    let records = RUNTIME.block_on(log.read(0, 0, usize::MAX)).unwrap();
    drop(log);
    let mut files = Files::new();
    for entry in fs::read_dir(partition(folder.path())).unwrap() {
        let entry = entry.unwrap();
        files.insert(entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    }
    assert_eq!(records.len() as u64, number);
    Valid { compression, segment_bytes_max, files, records }
}

/// Where the header and each frame of a valid file ends, and how many records lie before that.
fn ends(bytes: &[u8], mut records: usize) -> Vec<(usize, usize)> {
    let mut ends = vec![(HEADER_BYTES, records)];
    let mut at = HEADER_BYTES;
    while let Some(frame) = bytes.get(at..at + FRAME_HEADER_BYTES) {
        at += 8 + u32::from_le_bytes(*frame.first_chunk().unwrap()) as usize;
        records += u32::from_le_bytes(*frame[12..].first_chunk().unwrap()) as usize;
        ends.push((at, records));
    }
    ends
}

/// How the edited files compare with the valid ones.
struct Difference {
    /// Records in frames that end before the first byte that differs.
    before: usize,
    any: bool,
    /// The last file was only cut, somewhere.
    only_cut: bool,
}

fn difference(valid: &Files, edited: &Files) -> Difference {
    let mut before = 0;
    let last = valid.keys().next_back();
    for (name, bytes) in valid {
        let all = ends(bytes, before);
        let found = edited.get(name);
        if found == Some(bytes) {
            before = all.last().unwrap().1;
            continue;
        }
        let found = found.map_or(&[][..], Vec::as_slice);
        let same = bytes.iter().zip(found).take_while(|(a, b)| a == b).count();
        let whole = all.iter().filter(|(end, _)| *end <= same).map(|(_, records)| *records).max();
        return Difference {
            before: whole.unwrap_or(before),
            any: true,
            only_cut: same == found.len() && Some(name) == last && edited.contains_key(name),
        };
    }
    Difference { before, any: false, only_cut: false }
}

fn check(dir: &Path, valid: &Valid, edited: &Files, forged: bool) {
    let difference = difference(&valid.files, edited);
    let place = |wanted| {
        inspect(Place { dir, installation: INSTALLATION, epoch: EPOCH, partition: 0 }, wanted).unwrap()
    };
    let wanted = edited.values().map(Vec::len).sum::<usize>() as u64 % (valid.records.len() as u64 + 1);
    let inspected: Inspection = place(Some(wanted));
    if !forged && let Some(found) = &inspected.wanted {
        assert_eq!(Some(found), valid.records.get(wanted as usize), "inspected");
    }
    let opened = open(dir, valid.compression, valid.segment_bytes_max, 1_000_000_000);
    if forged {
        if let Ok(log) = opened {
            let start = RUNTIME.block_on(log.start(0)).unwrap();
            let end = *log.durable_end(0).borrow();
            for offset in (start..end).take(READS_MAX) {
                let _ = RUNTIME.block_on(log.read(0, offset, 1_000));
            }
        }
        return;
    }
    let log = match opened {
        Ok(log) => log,
        Err(error) => {
            assert!(difference.any, "an untouched log was refused: {error}");
            assert!(!difference.only_cut, "a log whose last file was cut was refused: {error}");
            assert!(
                !inspected.problems.is_empty() || edited.is_empty(),
                "refused, and inspected as good: {error}"
            );
            return;
        }
    };
    let end = *log.durable_end(0).borrow() as usize;
    assert!(end <= valid.records.len(), "the log ends at {end}");
    let start = RUNTIME.block_on(log.start(0)).unwrap() as usize;
    // The first files of a log may have been cut off by the log itself, so their loss is not seen here.
    let first = if edited.contains_key(valid.files.keys().next().unwrap()) { 0 } else { start };
    assert_eq!(start, first);
    if start == 0 {
        assert!(end >= difference.before, "ends at {end}, {} were not touched", difference.before);
        if difference.only_cut {
            assert_eq!(end, difference.before);
        }
    }
    let mut unreadable = Vec::new();
    for offset in start..end {
        match RUNTIME.block_on(log.read(0, offset as u64, 1)) {
            Ok(records) => assert_eq!(records[..], valid.records[offset..=offset]),
            Err(_) => unreadable.push(offset),
        }
    }
    if start == 0 {
        assert!(
            unreadable.iter().all(|offset| *offset >= difference.before),
            "{unreadable:?} cannot be read"
        );
    }
    assert!(difference.any || unreadable.is_empty());
    assert!(!inspected.problems.is_empty() || unreadable.is_empty(), "inspected as good: {unreadable:?}");
    if inspected.problems.is_empty() {
        assert_eq!(inspected.end as usize, end);
    }

    // It goes on where it ends, and what it mended stays mended.
    let more = record(1_000);
    let appended = RUNTIME.block_on(log.append(vec![more.clone()])).unwrap();
    assert_eq!((appended.ranges[0].from, appended.ranges[0].to), (end as u64, end as u64 + 1));
    drop(log);
    let log = open(dir, valid.compression, valid.segment_bytes_max, 2_000_000_000).unwrap();
    assert_eq!(*log.durable_end(0).borrow() as usize, end + 1);
    let read = RUNTIME.block_on(log.read(0, end as u64, 1)).unwrap();
    assert_eq!(read.iter().map(|read| &read.record).collect::<Vec<_>>(), [&more]);
    drop(log);
    let after = place(None);
    assert_eq!(after.torn_bytes, 0);
    assert_eq!(
        after.problems.len(),
        inspected.problems.len(),
        "{:?} {:?}",
        after.problems,
        inspected.problems
    );
}

/// Puts checksums right: of a file's header (0), of one frame (1), or of all frames after fields of one
/// were set (2).
fn forge(number: u8, script: &mut Script<'_>, files: &mut Files) {
    let which = usize::from(script.byte()) % files.len();
    let Some(bytes) = files.values_mut().nth(which) else { return };
    if number == 0 {
        if let Some(header) = bytes.get_mut(..HEADER_BYTES) {
            let checksum = crc32c::crc32c(&header[..HEADER_BYTES - 4]).to_le_bytes();
            header[HEADER_BYTES - 4..].copy_from_slice(&checksum);
        }
        return;
    }
    let chosen = usize::from(script.byte()) % 12;
    let field = usize::from(script.byte()) % 24;
    let value = script.take(4);
    let Some(seed) = bytes.get(HEADER_BYTES - 4..HEADER_BYTES).and_then(|seed| seed.first_chunk()) else {
        return;
    };
    let seed = u32::from_le_bytes(*seed);
    let mut at = HEADER_BYTES;
    for frame in 0..16 {
        let Some(header) = bytes.get(at..at + FRAME_HEADER_BYTES) else { return };
        let length = 8 + u32::from_le_bytes(*header.first_chunk().unwrap()) as usize;
        let Some(whole) = at.checked_add(length).and_then(|end| bytes.get_mut(at..end)) else { return };
        if number == 2 && frame == chosen && whole.len() >= FRAME_HEADER_BYTES {
            // A field of the header: flags, count, offset, time, uncompressed length.
            whole[8 + field..8 + field + value.len()].copy_from_slice(value);
        }
        if number == 2 || frame == chosen {
            let Some((before, after)) = whole.split_at_mut_checked(8) else { return };
            let checksum = crc32c::crc32c_append(crc32c::crc32c_append(seed, &before[..4]), after);
            before[4..].copy_from_slice(&checksum.to_le_bytes());
        }
        at += length;
    }
}
