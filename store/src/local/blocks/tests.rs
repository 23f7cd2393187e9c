//! Blocks against plain slices of the same bytes.

use std::path::Path;

use proptest::prelude::*;
use weir_files::Open;
use weir_files::simulated::SimulatedDisk;

use super::*;

const PATH: &str = "/file";

/// A front of these bytes, its list, and something in the place of index and footer.
fn laid_out(front: &[u8], behind: &[u8]) -> (Vec<u8>, u32) {
    let mut bytes = front.to_vec();
    let mut sums = BlockSums::default();
    for piece in front.chunks(1_000) {
        sums.add(piece);
    }
    bytes.extend_from_slice(sums.padding());
    sums.add(sums.padding());
    let note = note(&sums);
    bytes.extend(sums.list());
    bytes.extend_from_slice(behind);
    bytes.extend_from_slice(note.as_bytes());
    bytes.extend_from_slice(b"PAR1");
    let checksum = crc32c::crc32c(&bytes);
    (bytes, checksum)
}

fn file_of(bytes: &[u8]) -> File {
    let disk = SimulatedDisk::new(1).disk();
    disk.open(Path::new(PATH), Open::CreateNew).unwrap().write_all_at(bytes, 0).unwrap();
    disk.open(Path::new(PATH), Open::Read).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_range_of_a_file_reads_back_and_a_changed_one_does_not(
        front in prop::collection::vec(any::<u8>(), 0..20_000),
        behind in prop::collection::vec(any::<u8>(), 0..9_000),
        (start, length, flipped) in any::<(prop::sample::Index, prop::sample::Index, prop::sample::Index)>(),
        bit in 0..8_u8,
    ) {
        let (mut bytes, checksum) = laid_out(&front, &behind);
        let file = file_of(&bytes);
        let blocks = Blocks::load(&file, bytes.len() as u64, checksum).unwrap();
        prop_assert_eq!(blocks.checksums.len(), bytes.len().div_ceil(BLOCK_BYTES));
        let start = start.index(bytes.len());
        let length = length.index(bytes.len() - start + 1);
        prop_assert_eq!(&blocks.read(&file, start as u64, length).unwrap()[..], &bytes[start..start + length]);
        let outside = blocks.read(&file, start as u64, bytes.len() - start + 1);
        prop_assert!(matches!(outside, Err(Unreadable::Outside { .. })), "outside");

        let at = flipped.index(bytes.len());
        let whole = bytes.clone();
        bytes[at] ^= 1 << bit;
        let file = file_of(&bytes);
        // Whoever has the checksums already finds the change, and so does whoever reads them now.
        let touched = blocks.read(&file, at as u64, 1);
        prop_assert!(matches!(touched, Err(Unreadable::Changed { .. })), "changed");
        if let Ok(fresh) = Blocks::load(&file, bytes.len() as u64, checksum) {
            prop_assert!(fresh.read(&file, at as u64, 1).is_err());
            let before = fresh.read(&file, 0, at / BLOCK_BYTES * BLOCK_BYTES).unwrap();
            prop_assert_eq!(&before[..], &whole[..before.len()]);
        }
    }
}

#[test]
fn a_file_without_a_note_is_compared_whole() {
    let bytes: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
    let file = file_of(&bytes);
    let blocks = Blocks::load(&file, 10_000, crc32c::crc32c(&bytes)).unwrap();
    assert_eq!(&blocks.read(&file, 4_000, 5_000).unwrap()[..], &bytes[4_000..9_000]);
    assert!(matches!(Blocks::load(&file, 10_000, 7), Err(Unreadable::File { listed: 7, .. })));
}

/// A subject called like a note can stand in the bounds of an old file's footer.
#[test]
fn a_text_that_looks_like_a_note_spoils_nothing() {
    for text in ["0000000000001000:00000000", "0000000000000000:12345678", "ffffffffffffffff:00000000", ""] {
        let mut bytes = vec![7; 9_000];
        bytes.extend_from_slice(format!("{NOTE_START}{text}").as_bytes());
        bytes.extend_from_slice(b" and so on PAR1");
        let file = file_of(&bytes);
        let blocks = Blocks::load(&file, bytes.len() as u64, crc32c::crc32c(&bytes)).unwrap();
        assert_eq!(&blocks.read(&file, 8_999, 5).unwrap()[..], b"\x07weir");
    }
}
