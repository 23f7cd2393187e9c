//! Every byte of a run is covered by a checksum, and every way a file can be cut short shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_files::simulated::SimulatedDisk;

use super::world::{FOLDER, origin};
use crate::identity::folder::IndexFolder;
use crate::identity::run::Run;
use crate::identity::table::{Entry, halves};

/// Five slices of two pages, the last one not full.
fn run() -> (SimulatedDisk, PathBuf, Vec<Entry>) {
    let disk = SimulatedDisk::new(1);
    let folder = IndexFolder::with_shape(disk.disk(), Path::new(FOLDER), origin(), 2, true).unwrap();
    let mut entries: Vec<Entry> = (0..1_700_u64)
        .map(|n| Entry {
            identity: [n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n],
            content: halves(u128::from(n)),
            record_time_us: n as i64,
        })
        .collect();
    // The upper halves decide the filter: some are the same.
    entries[5].identity[0] = entries[6].identity[0];
    entries.sort_unstable();
    let run = folder.write(0, -1, Vec::new(), |push| entries.iter().try_for_each(push)).unwrap().unwrap();
    (disk, run.path().to_path_buf(), entries)
}

fn read(disk: &SimulatedDisk, path: &Path) -> Result<Vec<Entry>, String> {
    let run = Arc::new(Run::open(&disk.disk(), path).map_err(|error| error.to_string())?);
    let mut reader = run.reader();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().map_err(|error| error.to_string())? {
        entries.push(entry);
    }
    Ok(entries)
}

#[test]
fn a_run_holds_what_was_pushed_and_finds_each() {
    let (disk, path, entries) = run();
    assert_eq!(read(&disk, &path).unwrap(), entries);
    let run = Run::open(&disk.disk(), &path).unwrap();
    for entry in &entries {
        let identity = crate::identity::table::whole(entry.identity);
        assert!(run.may_hold(identity));
        assert_eq!(run.get(identity).unwrap(), Some(*entry));
        assert_eq!(run.get(identity ^ 1 << 63).unwrap(), None);
    }
    let others = (0..100_000_u128).filter(|n| run.may_hold((n << 100) | 0xFFFF_FFFF_FFFF));
    assert!(others.count() < 50);
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (disk, path, entries) = run();
    let length = disk.contents(&path).unwrap().len();
    let every = std::env::var("WEIR_TEST_EVERY_BYTE").map_or(29, |_| 1);
    // All of the header's fields, and something of each page, filter, fence and range.
    for byte in (0..160).chain((160..length).step_by(every)).chain(length - 40..length) {
        disk.flip_bit(&path, byte, (byte % 8) as u8).unwrap();
        let found = read(&disk, &path);
        assert!(
            found.is_err(),
            "byte {byte} of {length} was flipped, and {:?} entries came",
            found.map(|e| e.len())
        );
        disk.flip_bit(&path, byte, (byte % 8) as u8).unwrap();
    }
    assert_eq!(read(&disk, &path).unwrap(), entries);
}

#[test]
fn a_file_cut_short_or_with_something_behind_is_noticed() {
    let (disk, path, _) = run();
    let whole = disk.contents(&path).unwrap();
    for length in (0..whole.len()).step_by(997).chain([whole.len() - 1]) {
        disk.set_contents(&path, &whole[..length]).unwrap();
        assert!(read(&disk, &path).is_err(), "{length} of {} bytes", whole.len());
    }
    disk.set_contents(&path, &[whole.as_slice(), &[0]].concat()).unwrap();
    assert!(read(&disk, &path).is_err());
}

#[test]
fn pages_of_another_run_are_not_this_one_s() {
    let (disk, path, _) = run();
    let elsewhere = SimulatedDisk::new(1);
    let folder = IndexFolder::with_shape(elsewhere.disk(), Path::new(FOLDER), origin(), 2, true).unwrap();
    // The numbers go on after those of files that are there.
    elsewhere.disk().open(&path, weir_files::Open::CreateNew).unwrap();
    folder.load(&[]).unwrap();
    let entry = Entry { identity: [0, 0], content: [0, 0], record_time_us: 1 };
    let other = folder.write(0, -1, Vec::new(), |push| push(&entry)).unwrap().unwrap();
    let (mine, theirs) = (disk.contents(&path).unwrap(), elsewhere.contents(other.path()).unwrap());
    let mut mixed = mine;
    mixed[4_096..4_096 + 8_192].copy_from_slice(&theirs[4_096..4_096 + 8_192]);
    disk.set_contents(&path, &mixed).unwrap();
    assert!(read(&disk, &path).unwrap_err().contains("page 0"));
}
