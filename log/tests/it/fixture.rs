//! A log in a temporary folder, with a clock that a test moves, and its files as bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use tempfile::TempDir;
use weir_log::local::{Compression, LocalLog, LocalLogOptions};
use weir_log::{Log, LogError, LoggedRecord, Record, RecordKind};
use weir_meter::environment::Clock;
use weir_meter::{ContentHash, IdentityHash, InstallationId, Namespace, RequestId};

pub(crate) const INSTALLATION: InstallationId = InstallationId(0xfeed_beef);

pub(crate) struct SetClock(pub(crate) AtomicI64);

impl Clock for SetClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub(crate) struct Fixture {
    folder: TempDir,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) options: LocalLogOptions,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let options = LocalLogOptions::new(folder.path().join("log"), INSTALLATION, 2, 1);
        Self { folder, clock: Arc::new(SetClock(AtomicI64::new(1_000_000))), options }
    }

    /// Small files, nothing kept in memory: every read goes to the files.
    pub(crate) fn on_disk() -> Self {
        let mut fixture = Self::new();
        fixture.options.segment_bytes_max = 1000;
        fixture.options.tail_bytes_max = 0;
        fixture.options.compression = Compression::None;
        fixture
    }

    /// Moves the clock.
    pub(crate) fn wait(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) -> LocalLog {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<LocalLog, LogError> {
        LocalLog::open(self.options.clone(), self.clock.clone())
    }

    /// Moves the log elsewhere: what `change` does to a copy leaves the original as it is.
    pub(crate) fn copy(&self) -> Fixture {
        let mut copy = Fixture::new();
        copy.options = LocalLogOptions { dir: copy.options.dir.clone(), ..self.options.clone() };
        copy.clock = self.clock.clone();
        fs::create_dir_all(copy.partition(0)).unwrap();
        for path in self.files() {
            fs::copy(&path, copy.partition(0).join(path.file_name().unwrap())).unwrap();
        }
        copy
    }

    pub(crate) fn partition(&self, number: u32) -> PathBuf {
        self.folder.path().join(format!("log/e2/p{number}"))
    }

    /// Files of partition 0, oldest first.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.partition(0)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    pub(crate) fn last_file(&self) -> PathBuf {
        self.files().pop().unwrap()
    }
}

pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

pub(crate) fn length(path: &Path) -> usize {
    fs::metadata(path).unwrap().len() as usize
}

pub(crate) fn record(number: u64, bytes: usize) -> Record {
    let mut value = format!("{{\"id\":\"{number}\",\"data\":\"").into_bytes();
    value.resize(value.len() + bytes, b'a' + (number % 26) as u8);
    value.extend_from_slice(b"\"}");
    Record {
        namespace: Namespace::new(if number.is_multiple_of(3) { "acme" } else { "globex" }),
        kind: RecordKind::Event,
        identity: IdentityHash(u128::from(number) * 0x1_0001),
        content: ContentHash(u128::from(number) << 70),
        request: RequestId(u128::from(number / 10)),
        value: Bytes::from(value),
    }
}

/// Appends records one by one, each with a frame of its own.
pub(crate) async fn append_each(log: &LocalLog, numbers: std::ops::Range<u64>) {
    for number in numbers {
        log.append(vec![record(number, 100)]).await.unwrap();
    }
}

/// Everything from the start to the durable end, in steps of `bytes_max`, with what must always hold.
pub(crate) async fn read_all(log: &LocalLog, partition: u32, bytes_max: usize) -> Vec<LoggedRecord> {
    let mut next = log.start(partition).await.unwrap();
    let mut all: Vec<LoggedRecord> = Vec::new();
    loop {
        let records = log.read(partition, next, bytes_max).await.unwrap();
        if records.is_empty() {
            assert_eq!(next, *log.durable_end(partition).borrow());
            return all;
        }
        for record in records {
            assert_eq!(record.offset, next);
            assert!(all.last().is_none_or(|last| last.record_time_us <= record.record_time_us));
            next += 1;
            all.push(record);
        }
    }
}

/// Reads everything and compares it with records of the given numbers, as `append_each` makes them.
pub(crate) async fn assert_holds(log: &LocalLog, numbers: std::ops::Range<u64>) {
    let read: Vec<Record> = read_all(log, 0, 1 << 20).await.into_iter().map(|logged| logged.record).collect();
    let expected: Vec<Record> = numbers.map(|number| record(number, 100)).collect();
    assert_eq!(read, expected);
}
