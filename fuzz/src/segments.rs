//! Parquet files of a store. A flush is written by the real store, the fuzzer's edits are applied to the file of
//! its rows, and a store that has not seen the file before scans it. What comes back are the rows that were
//! written, or an error; never other rows. The scan asks for everything, or for one subject.
//!
//! An edit may also make the catalog list the changed file's own checksum. Then the bytes reach the Parquet
//! reader, rows may be others, and only the end of the process and its memory are looked at.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::TryStreamExt as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use weir_meter::environment::Entropy;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::{
    ContentHash, Coordinates, IdentityHash, InstallationId, Namespace, OffsetRange, RequestId, WriterId,
};
use weir_store::local::LocalStore;
use weir_store::row::RowEvent;
use weir_store::{Fate, Row, RowScan, RowSource, Store as _, StoreError, convert, schema};

use crate::edits::{self, Files, Script};

const ROWS: u64 = 40;
const INSTALLATION: InstallationId = InstallationId(0xabc);
const WRITER: WriterId = WriterId(0x51);

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn random_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1
    }
}

/// A store with one flush.
#[derive(Debug)]
struct Valid {
    folder: TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
    segment: Segment,
}

static VALID: LazyLock<Valid> = LazyLock::new(write);

fn row(offset: u64) -> Row {
    let counted = !offset.is_multiple_of(7);
    Row {
        at: Coordinates { epoch: 1, partition: 0, offset },
        record_time_us: 1_000 + offset as i64,
        record_time_raw_us: 1_000 + offset as i64,
        namespace: Namespace::default(),
        fate: if counted { Fate::Counted } else { Fate::Duplicate },
        identity: IdentityHash(u128::from(offset) * 0x1234_5678_9abc),
        content: ContentHash(u128::from(offset) << 60),
        request: RequestId(u128::from(offset / 4)),
        event: counted.then(|| RowEvent {
            source: "fuzz".into(),
            id: format!("event-{offset}").into(),
            event_type: "api-call".into(),
            subject: format!("customer-{}", offset % 5).into(),
            time_us: 60_000_000 * offset as i64,
            time_given: offset.is_multiple_of(2),
            data: Some(Bytes::from(format!("{{\"tokens\":{offset},\"model\":\"m-{}\"}}", offset % 3))),
            attributes: Some(Bytes::from_static(b"{\"specversion\":\"1.0\"}")),
        }),
        stored_at_us: 9,
    }
}

fn open(dir: &Path) -> LocalStore {
    LocalStore::open(dir, INSTALLATION, Arc::new(Counting::default())).unwrap()
}

fn write() -> Valid {
    // In memory where the machine has such a folder.
    let folder = TempDir::with_prefix_in("weir-fuzz-", "/dev/shm").or_else(|_| TempDir::new()).unwrap();
    let store = open(folder.path());
    let range = OffsetRange { epoch: 1, partition: 0, from: 0, to: ROWS };
    store.head().begin(1, Arc::default(), Vec::new()).unwrap();
    store.head().add(range, (0..ROWS).map(row).collect(), |_, _| {}).unwrap();
    let piece = store.head().freeze().unwrap();
    let new = RUNTIME.block_on(store.write(WRITER, &piece)).unwrap();
    let new = new.into_iter().find(|new| new.kind == SegmentKind::Rows).unwrap();
    let segment = Segment { new, writer: WRITER, listed_at_us: 0, delisted_at_us: None };
    let path = folder.path().join(&segment.new.location);
    let bytes = fs::read(&path).unwrap();
    let valid = Valid { folder, path, bytes, segment };
    for subject in [None, Some(2)] {
        assert_eq!(
            sorted(scan(&valid, valid.segment.clone(), subject).unwrap()),
            expected(subject),
            "nothing was changed"
        );
    }
    valid
}

fn expected(subject: Option<u64>) -> Vec<Row> {
    let asked = |row: &Row| {
        subject.is_none_or(|n| row.event.as_ref().is_some_and(|e| *e.subject == *format!("customer-{n}")))
    };
    (0..ROWS).map(row).filter(asked).collect()
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.at.offset);
    rows
}

fn scan(valid: &Valid, segment: Segment, subject: Option<u64>) -> Result<Vec<Row>, StoreError> {
    static COLUMNS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let schema = schema::of_kind(SegmentKind::Rows);
        schema.fields().iter().map(|field| &*Box::leak(field.name().clone().into_boxed_str())).collect()
    });
    let scan = RowScan {
        sources: vec![RowSource::Segment(Arc::new(segment))],
        offsets: None,
        namespace: subject.map(|_| Namespace::default()),
        event_type: subject.map(|_| "api-call".to_owned()),
        subjects: subject.map(|n| vec![format!("customer-{n}")]),
        times_us: None,
        counted_only: subject.is_some(),
        recorded_after_us: None,
        columns: COLUMNS.clone(),
        counters: Arc::default(),
    };
    let store = open(valid.folder.path());
    RUNTIME.block_on(async {
        let batches: Vec<_> = store.scan_rows(scan).try_collect().await?;
        let mut rows = Vec::new();
        for batch in batches {
            rows.extend(convert::batch_to_rows(&batch)?);
        }
        Ok(rows)
    })
}

pub(crate) fn target(data: &[u8]) {
    let valid = &*VALID;
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let subject = (first & 1 == 1).then_some(2);
    let mut files = Files::from([(String::new(), valid.bytes.clone())]);
    let mut forged = false;
    edits::apply(&mut Script::new(rest), &mut files, |_, _, files| {
        forged = true;
        files.values_mut().for_each(|bytes| forget_blocks(bytes));
    });
    let mut segment = Segment::clone(&valid.segment);
    match files.values().next() {
        Some(bytes) => {
            fs::write(&valid.path, bytes).unwrap();
            if forged {
                segment.new.byte_count = bytes.len() as u64;
                segment.new.checksum = crc32c::crc32c(bytes);
            }
        }
        None => {
            let _ = fs::remove_file(&valid.path);
        }
    }
    let Ok(rows) = scan(valid, segment, subject) else { return };
    if !forged {
        let (found, expected) = (sorted(rows), expected(subject));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "another row");
        }
        assert_eq!(found.len(), expected.len(), "rows");
    }
}

/// Spoils the note of the blocks' checksums: the file is then one from before there were any.
fn forget_blocks(bytes: &mut [u8]) {
    let note = b"weir-front-crc32c";
    while let Some(at) = bytes.windows(note.len()).position(|window| window == note) {
        bytes[at] = b'x';
    }
}
