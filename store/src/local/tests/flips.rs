//! One bit of a file is not what it was. Whoever reads is told which file that is, or gets exactly the
//! rows that were written; never others.

use std::collections::BTreeMap;
use std::path::Path;

use parquet::arrow::ArrowWriter;
use weir_files::simulated::SimulatedDisk;

use super::simulated::*;
use super::*;
use crate::local::properties::properties;
use crate::local::read::open_whole;

/// Files of each kind, as they are written now or were before they had checksums of their blocks.
fn files(noted: bool) -> (SimulatedDisk, Vec<Arc<Segment>>) {
    let simulated = SimulatedDisk::new(1);
    let store = open_on(&simulated, 0).unwrap();
    let piece = piece(&mut Numbers(1), 0, 40, 20);
    let mut segments = listed(block_on(store.write(WRITER, &piece)).unwrap());
    if !noted {
        segments = segments.iter().map(|segment| without_note(&simulated, &store, segment)).collect();
    }
    (simulated, segments)
}

/// The same rows in a plain Parquet file.
fn without_note(simulated: &SimulatedDisk, store: &LocalStore, segment: &Segment) -> Arc<Segment> {
    let path = path_of(segment);
    let schema = schema::of_kind(segment.new.kind);
    let properties = properties(segment.new.kind, &schema).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
    for batch in read(store, segment).unwrap() {
        writer.write(&batch).unwrap();
    }
    let bytes = writer.into_inner().unwrap();
    simulated.set_contents(&path, &bytes).unwrap();
    let mut segment = segment.clone();
    (segment.new.byte_count, segment.new.checksum) = (bytes.len() as u64, crc32c::crc32c(&bytes));
    Arc::new(segment)
}

fn read(store: &LocalStore, segment: &Segment) -> Result<Vec<RecordBatch>, StoreError> {
    open_whole(&store.shared, &segment.new, path_of(segment), 1 << 20)?.collect()
}

/// Where the row groups end, and where the blocks do that hold them.
fn front_of(bytes: &[u8]) -> (usize, usize) {
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new()
        .parse_and_finish(&bytes::Bytes::copy_from_slice(bytes))
        .unwrap();
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let used = columns.map(|c| c.byte_range()).map(|(start, length)| start + length).max().unwrap();
    let used = usize::try_from(used).unwrap();
    (used, used.next_multiple_of(4096))
}

/// Whether reading failed, as it should or not at all.
fn failed(
    store: &LocalStore,
    segment: &Segment,
    expected: &[RecordBatch],
    place: &dyn std::fmt::Debug,
) -> bool {
    match read(store, segment) {
        Ok(batches) => {
            assert_eq!(batches, expected, "{place:?} of {}", segment.new.location);
            false
        }
        Err(StoreError::Damaged { path, .. }) => {
            assert_eq!(Path::new(&path), path_of(segment), "{place:?}");
            true
        }
        Err(other) => panic!("{place:?} of {}: {other}", segment.new.location),
    }
}

#[test]
fn no_bit_that_turned_over_gives_other_rows() {
    let (simulated, segments) = files(true);
    for segment in segments {
        let path = path_of(&segment);
        let knows = open_on(&simulated, 0).unwrap();
        let fresh = open_on(&simulated, 0).unwrap();
        let expected = read(&knows, &segment).unwrap();
        let bytes = simulated.contents(&path).unwrap();
        let (used, front) = front_of(&bytes);
        for at in 0..bytes.len() {
            let bit = (at % 8) as u8;
            simulated.flip_bit(&path, at, bit).unwrap();
            // One store has read the footer before, one has not.
            let in_front = at < front;
            if in_front || at % 32 == 0 {
                failed(&knows, &segment, &expected, &at);
            }
            if !in_front || at % 8 == 0 {
                fresh.shared.footers.forget(segment.new.segment);
                let found = failed(&fresh, &segment, &expected, &at);
                assert!(
                    found || at < front && at >= used || at < 4,
                    "byte {at} of {} of {}",
                    bytes.len(),
                    path.display()
                );
            }
            simulated.set_contents(&path, &bytes).unwrap();
        }
        assert!(!failed(&knows, &segment, &expected, &"none"));
    }
}

#[test]
fn old_files_are_read_and_watched_too() {
    let (new, segments) = files(true);
    let (simulated, old) = files(false);
    let store = open_on(&simulated, 0).unwrap();
    let fresh = open_on(&simulated, 0).unwrap();
    for (segment, same) in old.iter().zip(&segments) {
        let path = path_of(segment);
        assert!(segment.new.byte_count < same.new.byte_count);
        let expected = read(&store, segment).unwrap();
        assert_eq!(expected, read(&open_on(&new, 0).unwrap(), same).unwrap());
        let bytes = simulated.contents(&path).unwrap();
        for at in 0..bytes.len() {
            simulated.flip_bit(&path, at, 3).unwrap();
            fresh.shared.footers.forget(segment.new.segment);
            assert!(failed(&fresh, segment, &expected, &at));
            if at % 16 == 0 {
                failed(&store, segment, &expected, &at);
            }
            simulated.set_contents(&path, &bytes).unwrap();
        }
        block_on(store.verify(&[Arc::clone(segment)], true)).unwrap();
    }
}

/// A footer that asks for the whole address space is refused before anybody makes room for it.
#[test]
fn ends_that_were_overwritten_are_refused() {
    let (simulated, segments) = files(true);
    for segment in segments {
        let path = path_of(&segment);
        let bytes = simulated.contents(&path).unwrap();
        let expected = read(&open_on(&simulated, 0).unwrap(), &segment).unwrap();
        for (from, to) in [(12, 4), (8, 4), (9, 8), (8, 0), (4_000, 8), (700, 8), (bytes.len(), 0)] {
            for with in [0x00, 0x7f, 0xff, b'0', b'f'] {
                let mut other = bytes.clone();
                let end = other.len();
                other[end - from..end - to].fill(with);
                simulated.set_contents(&path, &other).unwrap();
                let fresh = open_on(&simulated, 0).unwrap();
                assert!(failed(&fresh, &segment, &expected, &(from, to, with)) || other == bytes);
            }
        }
    }
}

/// Two blocks that changed places keep their checksums, and are found all the same.
#[test]
fn blocks_that_changed_places_are_found() {
    let (simulated, segments) = {
        let simulated = SimulatedDisk::new(1);
        let store = open_on(&simulated, 0).unwrap();
        let piece = piece(&mut Numbers(2), 0, 900, 0);
        let segments = listed(block_on(store.write(WRITER, &piece)).unwrap());
        (simulated, segments)
    };
    let segment = of_kind(&segments, SegmentKind::Rows);
    let path = path_of(&segment);
    let expected = read(&open_on(&simulated, 0).unwrap(), &segment).unwrap();
    let bytes = simulated.contents(&path).unwrap();
    let mut places = BTreeMap::new();
    for (number, block) in bytes.chunks_exact(4096).take(6).enumerate() {
        places.insert(number, block.to_vec());
    }
    assert!(places.len() > 3);
    for (one, other) in [(0, 1), (1, 2), (0, 3)] {
        let mut swapped = bytes.clone();
        swapped[one * 4096..][..4096].copy_from_slice(&places[&other]);
        swapped[other * 4096..][..4096].copy_from_slice(&places[&one]);
        simulated.set_contents(&path, &swapped).unwrap();
        assert!(failed(&open_on(&simulated, 0).unwrap(), &segment, &expected, &(one, other)));
    }
}
