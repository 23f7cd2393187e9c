//! What the tests on a simulated disk share: a store on it, and small pieces that a seed chooses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::datatypes::i256;
use weir_files::Open;
use weir_files::simulated::SimulatedDisk;
use weir_meter::segment::{Coverage, Generations};
use weir_meter::window::{FOLD_VERSION, LatestKey, WindowKeyRef, WindowSet};
use weir_meter::{Coordinates, Decimal};

use super::*;
use crate::row::Row;
use crate::testing::{NAMESPACES, generation, generations, plain_row, range};
use crate::{WindowChunk, WindowChunks};

pub(super) const ROOT: &str = "/data/store";

/// Numbers that look random and are the same for the same seed.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

pub(super) fn open_on(simulated: &SimulatedDisk, ids_from: u64) -> Result<LocalStore, StoreError> {
    let entropy = Arc::new(Counting(AtomicU64::new(ids_from)));
    LocalStore::open_on(simulated.disk(), Path::new(ROOT), INSTALLATION, entropy)
}

pub(super) fn listed_by(writer: WriterId, new: Vec<NewSegment>) -> Vec<Arc<Segment>> {
    new.into_iter()
        .map(|new| Arc::new(Segment { new, writer, listed_at_us: 0, delisted_at_us: None }))
        .collect()
}

pub(super) fn path_of(segment: &Segment) -> PathBuf {
    Path::new(ROOT).join(&segment.new.location)
}

/// Files of segments, with what is in them.
pub(super) fn segment_files(simulated: &SimulatedDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = simulated.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "parquet"));
    files.map(|path| (path.clone(), simulated.contents(&path).unwrap())).collect()
}

/// A disk with an opened store and these files, all durable.
pub(super) fn disk_with(files: &BTreeMap<PathBuf, Vec<u8>>) -> SimulatedDisk {
    let simulated = SimulatedDisk::new(1);
    open_on(&simulated, 0).unwrap();
    for (path, bytes) in files {
        let file = simulated.disk().open(path, Open::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.sync_all().unwrap();
        simulated.disk().sync_name(path).unwrap();
    }
    simulated
}

fn windows(numbers: &mut Numbers, count: u64) -> WindowSet {
    let mut set = WindowSet::default();
    for _ in 0..count {
        let number = numbers.below(2);
        let windows = Arc::make_mut(set.meters.entry(generation(number as u32)).or_default());
        let subject = format!("subject {}", numbers.below(5));
        let start_us = numbers.below(20) as i64 * 60_000_000;
        let key = WindowKeyRef { subject: &subject, start_us, groups: &["a".to_owned()] };
        let (place, state) = windows.windows.place(key);
        state.add_event(start_us + 1);
        let at = Coordinates { epoch: 1, partition: 0, offset: numbers.below(100) };
        let value = Decimal::from_unscaled(i256::from_i128(i128::from(numbers.below(1 << 40))));
        let _ = state.add_value(value, LatestKey { time_us: start_us, record_time_us: start_us, at });
        windows.add_member(place, u128::from(numbers.below(6)));
    }
    set
}

/// So many rows from this offset on, and some windows.
pub(super) fn piece(numbers: &mut Numbers, from: u64, rows: u64, window_count: u64) -> PieceSnapshot {
    let rows: Vec<Row> = (from..from + rows).map(plain_row).collect();
    PieceSnapshot {
        ranges: vec![range(0, from, from + rows.len() as u64)],
        revision: 1,
        generations: generations(),
        left_out: Vec::new(),
        rows: vec![Arc::new(rows)],
        windows: windows(numbers, window_count),
    }
}

/// The windows of a piece as a refold would bring them, each meter in one chunk.
pub(super) fn refolded(piece: &PieceSnapshot) -> (Coverage, WindowChunks) {
    let coverage = Coverage {
        ranges: piece.ranges.clone(),
        revision: 2,
        fold_version: FOLD_VERSION,
        window_size_s: 60,
        generations: Generations::AllBut(Vec::new()),
    };
    let chunk = |(key, windows): (&_, &Arc<_>)| WindowChunk {
        namespace: generations()[key].clone(),
        generation: *key,
        windows: Arc::clone(windows),
    };
    let mut chunks: Vec<WindowChunk> = piece.windows.meters.iter().map(chunk).collect();
    chunks.sort_by_key(|chunk| (chunk.namespace.clone(), chunk.generation));
    assert!(chunks.iter().all(|chunk| NAMESPACES.contains(&chunk.namespace.as_str())));
    (coverage, Box::pin(futures::stream::iter(chunks.into_iter().map(Ok))))
}

/// Rows of a segment by offset.
pub(super) async fn rows_in(store: &LocalStore, segment: &Arc<Segment>) -> Result<Vec<Row>, StoreError> {
    let mut found = rows(store.scan_rows(everything(vec![RowSource::Segment(Arc::clone(segment))]))).await?;
    found.sort_by_key(|row| row.at);
    Ok(found)
}
