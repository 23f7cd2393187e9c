//! What a crash leaves is cut off; what anything else did to the files is named and stops the start.

use std::path::{Path, PathBuf};

use weir_files::Open;
use weir_log::local::Compression;
use weir_log::{Log, LogError};
use weir_meter::InstallationId;

use crate::fixture::{Fixture, append_each, assert_holds, change, length, record};
use crate::machine::Machine;

/// Bytes at which the file header and then each frame ends, by the length fields.
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![56];
    while let Some(field) = bytes.get(*ends.last().unwrap()..).and_then(|rest| rest.first_chunk::<4>()) {
        ends.push(ends.last().unwrap() + 8 + u32::from_le_bytes(*field) as usize);
    }
    ends
}

async fn three_frames(compression: Compression) -> (Fixture, Vec<usize>) {
    let mut fixture = Fixture::new();
    fixture.options.compression = compression;
    append_each(&fixture.open(), 0..3).await;
    let ends = frame_ends(&std::fs::read(fixture.last_file()).unwrap());
    assert_eq!(ends.len(), 4);
    (fixture, ends)
}

#[tokio::test]
async fn a_last_frame_cut_at_any_byte_is_torn() {
    let (fixture, ends) = three_frames(Compression::Lz4).await;
    for at in ends[2]..ends[3] {
        let copy = fixture.copy();
        change(&copy.last_file(), |bytes| bytes.truncate(at));
        let log = copy.open();
        assert_eq!(length(&copy.last_file()), ends[2], "cut off from byte {at}");
        append_each(&log, 2..4).await;
        drop(log);
        assert_holds(&copy.open(), 0..4).await;
    }
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_the_last_frame_is_torn() {
    for compression in [Compression::None, Compression::Lz4] {
        let (fixture, ends) = three_frames(compression).await;
        for at in ends[2]..ends[3] {
            let copy = fixture.copy();
            change(&copy.last_file(), |bytes| bytes[at] ^= 1 << (at % 8));
            assert_holds(&copy.open(), 0..2).await;
            assert_eq!(length(&copy.last_file()), ends[2]);
        }
    }
}

#[tokio::test]
async fn a_bit_flipped_in_an_earlier_frame_is_a_hole() {
    for compression in [Compression::None, Compression::Lz4] {
        let (fixture, ends) = three_frames(compression).await;
        for at in ends[0]..ends[2] {
            let copy = fixture.copy();
            change(&copy.last_file(), |bytes| bytes[at] ^= 1 << (at % 8));
            let frame = usize::from(at >= ends[1]);
            match copy.try_open() {
                Err(LogError::Hole { path, byte, offset }) => {
                    assert_eq!((byte, offset), (ends[frame] as u64, frame as u64), "byte {at}");
                    assert_eq!(path, copy.last_file().display().to_string());
                }
                other => panic!("byte {at}: {other:?}"),
            }
            assert_eq!(length(&copy.last_file()), ends[3], "nothing was cut off");
        }
    }
}

#[tokio::test]
async fn a_flipped_file_header_is_named() {
    let (fixture, _) = three_frames(Compression::None).await;
    for at in 0..56 {
        let copy = fixture.copy();
        change(&copy.last_file(), |bytes| bytes[at] ^= 1 << (at % 8));
        let refused = copy.try_open();
        assert!(
            matches!(refused, Err(LogError::Damaged { byte: 0, offset: 0, .. })),
            "byte {at}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn garbage_and_zeros_at_the_end_are_torn() {
    let (fixture, ends) = three_frames(Compression::Lz4).await;
    let garbage: Vec<u8> = (0..5000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for tail in [vec![0], vec![0; 10_000], garbage, vec![0xff; 100]] {
        let copy = fixture.copy();
        change(&copy.last_file(), |bytes| bytes.extend_from_slice(&tail));
        let log = copy.open();
        assert_eq!(length(&copy.last_file()), ends[3]);
        assert_holds(&log, 0..3).await;
    }
}

/// Somebody sends the bytes of a log's frames as an event, and a crash cuts it off: they must not pass
/// for frames of this log, or one event could keep the server from starting.
#[tokio::test]
async fn frames_of_another_log_inside_a_torn_event_are_torn_too() {
    let (fixture, ends) = three_frames(Compression::None).await;
    let mut other = Fixture::new();
    other.options.installation = InstallationId(1);
    append_each(&other.open(), 0..4).await;
    let hidden = std::fs::read(other.last_file()).unwrap().split_off(56);
    change(&fixture.last_file(), |bytes| {
        bytes.truncate(ends[2] + 40);
        bytes.extend_from_slice(&hidden);
    });
    assert_holds(&fixture.open(), 0..2).await;
    assert_eq!(length(&fixture.last_file()), ends[2]);
}

#[tokio::test]
async fn an_unfinished_new_file_is_begun_again() {
    let fixture = Fixture::on_disk();
    append_each(&fixture.open(), 0..12).await;
    for header in [vec![], vec![0; 56], b"weir-log\x01\0\0".to_vec()] {
        let copy = fixture.copy();
        let log = copy.open();
        let end = *log.durable_end(0).borrow();
        drop(log);
        let unfinished = copy.partition(0).join(format!("{end:020}.log"));
        std::fs::write(&unfinished, &header).unwrap();
        let log = copy.open();
        append_each(&log, 12..20).await;
        assert_holds(&log, 0..20).await;
        // Files that do not end where it began have lost something.
        drop(log);
        std::fs::write(copy.partition(0).join("00000000000000000021.log"), &header).unwrap();
        assert!(matches!(copy.try_open(), Err(LogError::Hole { offset: 20, .. })));
    }
    let empty = Fixture::new();
    drop(empty.open());
    change(&empty.last_file(), |bytes| bytes.truncate(11));
    let log = empty.open();
    append_each(&log, 0..2).await;
    assert_holds(&log, 0..2).await;
}

#[tokio::test]
async fn a_missing_or_shortened_earlier_file_is_a_hole() {
    let fixture = Fixture::on_disk();
    append_each(&fixture.open(), 0..30).await;
    assert!(fixture.files().len() > 3);

    let copy = fixture.copy();
    std::fs::remove_file(&copy.files()[1]).unwrap();
    assert!(matches!(copy.try_open(), Err(LogError::Hole { .. })));

    let copy = fixture.copy();
    let shortened = copy.files().remove(1);
    change(&shortened, |bytes| bytes.truncate(bytes.len() - 1));
    match copy.try_open() {
        Err(LogError::Hole { path, .. }) => assert_eq!(path, shortened.display().to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn damage_in_an_earlier_file_is_named_when_it_is_read() {
    let fixture = Fixture::on_disk();
    append_each(&fixture.open(), 0..30).await;
    let path = fixture.files().remove(0);
    let ends = frame_ends(&std::fs::read(&path).unwrap());
    change(&path, |bytes| bytes[ends[1] + 60] ^= 4);
    let log = fixture.open();
    assert_eq!(log.read(0, 0, 1).await.unwrap()[0].offset, 0);
    match log.read(0, 1, 1).await {
        Err(LogError::Damaged { path: named, byte, offset, .. }) => {
            assert_eq!((named, byte, offset), (path.display().to_string(), ends[1] as u64, 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(log.read(0, 2, 1).await.unwrap()[0].offset, 2, "what is good can still be read");
}

/// A log of three files, as bytes.
async fn small_log(compression: Compression) -> Vec<(PathBuf, Vec<u8>)> {
    let mut machine = Machine::new(1);
    machine.options.segment_bytes_max = if compression == Compression::None { 600 } else { 330 };
    machine.options.compression = compression;
    append_each(&machine.open(), 0..6).await;
    let files: Vec<_> =
        machine.files().into_iter().map(|path| (path.clone(), machine.contents(&path))).collect();
    assert_eq!(files.len(), 3);
    files
}

/// A new disk with these files, one of them changed.
fn changed(files: &[(PathBuf, Vec<u8>)], which: usize, change: impl FnOnce(&mut Vec<u8>)) -> Machine {
    let machine = Machine::new(1);
    let disk = machine.disk.disk();
    disk.create_folders("/data/log/e1/p0".as_ref()).unwrap();
    for (path, bytes) in files {
        disk.open(path, Open::CreateNew).unwrap().write_all_at(bytes, 0).unwrap();
    }
    let (path, mut bytes) = files[which].clone();
    change(&mut bytes);
    machine.disk.set_contents(&path, &bytes).unwrap();
    machine
}

/// Every bit of every file: headers, lengths, checksums, counts, offsets, times and payloads. What was durable
/// is there as it was sent, or its loss is told with its file and place; only what can pass for the
/// unfinished end of the last append is cut off.
#[tokio::test]
async fn no_flipped_bit_loses_a_record_in_silence() {
    for compression in [Compression::None, Compression::Lz4] {
        let files = small_log(compression).await;
        for (which, (path, bytes)) in files.iter().enumerate() {
            let ends = frame_ends(bytes);
            let base: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            for at in 0..bytes.len() {
                let frame = ends.iter().rposition(|end| *end <= at);
                let begins = frame.map_or(0, |frame| ends[frame] as u64);
                let hit = base + frame.unwrap_or(0) as u64;
                let torn = which == 2 && frame == Some(ends.len() - 2);
                let machine = changed(&files, which, |bytes| bytes[at] ^= 1 << ((at + base as usize) % 8));
                let place = format!("{compression:?}, byte {at} of {}", path.display());

                let found = machine.inspect();
                assert_eq!(found.problems.is_empty(), torn, "{place}: {:?}", found.problems);
                assert_eq!(found.torn_bytes > 0, torn, "{place}");
                assert!(torn || found.problems.iter().any(|problem| names(problem, path, begins)), "{place}");

                match machine.try_open() {
                    Ok(log) => {
                        assert!(torn || (which < 2 && frame.is_some()), "{place} was not noticed");
                        for offset in 0..6 {
                            match log.read(0, offset, 1).await {
                                Ok(records) if records.is_empty() => {
                                    assert!(torn && offset == hit, "{place}")
                                }
                                Ok(records) => assert_eq!(records[0].record, record(offset, 100), "{place}"),
                                Err(error) => {
                                    assert!(offset == hit && names(&error, path, begins), "{place}: {error}");
                                }
                            }
                        }
                        if !torn {
                            log.read(0, hit, 1).await.unwrap_err();
                        }
                    }
                    Err(error) => assert!(!torn && names(&error, path, begins), "{place}: {error}"),
                }
            }
        }
    }
}

/// The error tells the file, and the place or one after it: a wrong length leads on.
fn names(error: &LogError, file: &Path, from: u64) -> bool {
    match error {
        LogError::Damaged { path, byte, .. } | LogError::Hole { path, byte, .. } => {
            Path::new(path) == file && *byte >= from
        }
        _ => false,
    }
}

#[tokio::test]
async fn zeros_and_garbage_from_any_byte_of_the_last_frame_are_torn() {
    let files = small_log(Compression::None).await;
    let ends = frame_ends(&files[2].1);
    for at in ends[ends.len() - 2]..ends[ends.len() - 1] {
        for fill in [0, 0x5a] {
            let machine = changed(&files, 2, |bytes| {
                bytes[at..].fill(fill);
                bytes.resize(bytes.len() + at % 700, fill);
            });
            let log = machine.open();
            assert_eq!(*log.durable_end(0).borrow(), 5, "from byte {at}");
            append_each(&log, 5..8).await;
            assert_holds(&log, 0..8).await;
            drop(log);
            assert_holds(&machine.open(), 0..8).await;
        }
    }
}
