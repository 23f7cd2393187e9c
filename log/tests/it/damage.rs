//! What a crash leaves is cut off; what anything else did to the files is named and stops the start.

use weir_log::local::Compression;
use weir_log::{Log, LogError};
use weir_meter::InstallationId;

use crate::fixture::{Fixture, append_each, assert_holds, change, length};

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
