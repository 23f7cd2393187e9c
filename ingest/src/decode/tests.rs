//! Bodies that are compressed, cut off, or far larger than they look.

use std::io::Write as _;
use std::sync::Arc;

use super::*;
use crate::budget::Budget;

const ENCODINGS: [Encoding; 2] = [Encoding::Gzip, Encoding::Zstd];

fn encode(plain: &[u8], encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Zstd => zstd::stream::encode_all(plain, 19).unwrap(),
    }
}

fn decode_within(wire: &[u8], encoding: Encoding, bytes_max: usize) -> Result<Bytes, IngestError> {
    let waiting = Arc::new(());
    decode(wire, encoding, bytes_max, &mut Budget::new(64 << 20, 1).open(), &Arc::downgrade(&waiting))
}

/// A gzip body with so many bytes of whole blocks, each without content: as many as there can be (ten bits
/// each), as they come byte by byte, and with tables of their own; in zstd's form blocks and whole frames.
fn nothing(encoding: Encoding, kind: &str, bytes: usize) -> Vec<u8> {
    let gzip = |blocks: Vec<u8>| {
        // The last block is empty, too; so is what the checksum and the length are about.
        [&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255][..], &blocks, &[1, 0, 0, 255, 255], &[0; 8]].concat()
    };
    let (begin, block, end): (&[u8], &[u8], &[u8]) = match kind {
        // Four times: not the last one, fixed codes, the end.
        "fixed" => return gzip([0x02, 0x08, 0x20, 0x80, 0x00].repeat(bytes / 5)),
        "stored" => return gzip([0, 0, 0, 255, 255].repeat(bytes / 5)),
        "blocks" => (&[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x58], &[0, 0, 0], &[1, 0, 0]),
        "frames" => (&[], &[0x28, 0xB5, 0x2F, 0xFD, 0x20, 0, 1, 0, 0], &[]),
        _ => (&[], &[0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0], &[]),
    };
    assert_eq!(encoding, Encoding::Zstd);
    [begin, &block.repeat(bytes / block.len()), end].concat()
}

/// Text that does not shrink to nothing.
fn text(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as u8 + b'0').collect()
}

#[test]
fn bodies_come_back_whole_up_to_the_bound() {
    for encoding in ENCODINGS {
        for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 300_000] {
            let plain = text(len);
            let wire = encode(&plain, encoding);
            assert_eq!(decode_within(&wire, encoding, 300_000).unwrap(), plain, "{encoding:?} {len}");
            assert_eq!(decode_within(&wire, encoding, len).unwrap(), plain, "{encoding:?} {len}");
            if len > 0 {
                let refused = decode_within(&wire, encoding, len - 1);
                assert_eq!(
                    refused,
                    Err(IngestError::TooLarge { what: TooMany::DecodedBytes, bytes_max: len - 1 })
                );
            }
        }
    }
}

#[test]
fn several_members_are_one_body() {
    for encoding in ENCODINGS {
        let wire = [encode(b"[1,", encoding), encode(b"2]", encoding)].concat();
        assert_eq!(decode_within(&wire, encoding, 100).unwrap(), &b"[1,2]"[..]);
    }
}

#[test]
fn a_body_of_too_many_members_is_refused_before_they_are_read() {
    let one = encode(b"1", Encoding::Gzip);
    let most = one.repeat(GZIP_MEMBERS_MAX);
    assert_eq!(decode_within(&most, Encoding::Gzip, 10_000).unwrap(), "1".repeat(GZIP_MEMBERS_MAX));
    let members = Err(IngestError::Members { members_max: GZIP_MEMBERS_MAX });
    assert_eq!(decode_within(&[most, one].concat(), Encoding::Gzip, 10_000), members);
    // Empty ones too. A body that is broken further on shows that nothing behind the bound is looked at.
    let empty = encode(b"", Encoding::Gzip);
    assert_eq!(decode_within(&empty.repeat(GZIP_MEMBERS_MAX), Encoding::Gzip, 10_000).unwrap(), &b""[..]);
    let wire = [empty.repeat(GZIP_MEMBERS_MAX), b"nonsense".to_vec()].concat();
    assert_eq!(decode_within(&wire, Encoding::Gzip, 10_000), members);
}

#[test]
fn every_truncation_is_refused() {
    for encoding in ENCODINGS {
        let wire = encode(&text(2_000), encoding);
        for len in 1..wire.len() {
            let refused = decode_within(&wire[..len], encoding, 10_000);
            assert!(matches!(refused, Err(IngestError::Body(_))), "{encoding:?} {len}: {refused:?}");
        }
    }
}

#[test]
fn what_is_not_compressed_or_goes_on_is_refused() {
    for encoding in ENCODINGS {
        for wire in [b"{\"id\":1}".to_vec(), [encode(b"[]", encoding), b"trailing".to_vec()].concat()] {
            let refused = decode_within(&wire, encoding, 10_000);
            assert!(matches!(refused, Err(IngestError::Body(_))), "{encoding:?}: {refused:?}");
        }
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_bound() {
    for encoding in ENCODINGS {
        let bomb = encode(&vec![b' '; 30 << 20], encoding);
        assert!(bomb.len() < 60_000, "{}", bomb.len());
        // The budget would not let more than the bound be produced.
        let budget = Budget::new((1 << 20) + CHUNK_BYTES, 1);
        let waiting = Arc::new(());
        let refused = decode(&bomb, encoding, 1 << 20, &mut budget.open(), &Arc::downgrade(&waiting));
        assert!(matches!(refused, Err(IngestError::TooLarge { bytes_max: 1_048_576, .. })), "{refused:?}");
        // And a smaller budget stops it before.
        let small = Budget::new(1 << 18, 1);
        let refused = decode(&bomb, encoding, 1 << 20, &mut small.open(), &Arc::downgrade(&waiting));
        assert_eq!(refused, Err(IngestError::Overloaded { retry_after_seconds: 1 }));
    }
}

#[test]
fn a_window_beyond_the_bound_is_refused() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
    encoder.write_all(&text(100_000)).unwrap();
    let wire = encoder.finish().unwrap();
    let refused = decode_within(&wire, Encoding::Zstd, 1 << 20);
    assert!(matches!(refused, Err(IngestError::Body(_))), "{refused:?}");
}

#[test]
fn a_body_of_which_next_to_nothing_comes_is_refused_before_it_is_read() {
    for (encoding, kind) in [
        (Encoding::Gzip, "fixed"),
        (Encoding::Gzip, "stored"),
        (Encoding::Zstd, "blocks"),
        (Encoding::Zstd, "frames"),
        (Encoding::Zstd, "skipped"),
    ] {
        // A little of it is nobody's harm.
        let little = nothing(encoding, kind, COMPRESSED_EXCESS_BYTES_MAX / 2);
        assert_eq!(decode_within(&little, encoding, 100).unwrap(), &b""[..], "{encoding:?} {kind}");
        // A body that is broken further on shows that nothing much behind the bound is looked at.
        let much = nothing(encoding, kind, COMPRESSED_EXCESS_BYTES_MAX + 40_000);
        let wire = [&much[..much.len() - 13], b"nonsense and nonsense"].concat();
        let name = if encoding == Encoding::Gzip { "gzip" } else { "zstd" };
        let bytes_max = COMPRESSED_EXCESS_BYTES_MAX;
        let refused = Err(IngestError::Excess { encoding: name, bytes_max });
        assert_eq!(decode_within(&wire, encoding, 100), refused, "{encoding:?} {kind}");
    }
}

#[test]
fn bodies_that_do_not_get_smaller_are_read() {
    let mut state = 1_u64;
    let plain: Vec<u8> = (0..1_500_000)
        .map(|_| {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (state >> 56) as u8
        })
        .collect();
    for level in [0, 1, 9] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&plain).unwrap();
        let wire = encoder.finish().unwrap();
        assert!(wire.len() > plain.len(), "{level}: {}", wire.len());
        assert_eq!(decode_within(&wire, Encoding::Gzip, plain.len()).unwrap(), plain, "{level}");
    }
    for level in [-7, 1, 19] {
        let wire = zstd::stream::encode_all(&plain[..], level).unwrap();
        assert!(wire.len() > plain.len(), "{level}: {}", wire.len());
        assert_eq!(decode_within(&wire, Encoding::Zstd, plain.len()).unwrap(), plain, "{level}");
    }
}

#[test]
fn nothing_is_decompressed_for_a_client_that_is_gone() {
    for encoding in ENCODINGS {
        let wire = encode(&text(1_000), encoding);
        let refused =
            decode(&wire, encoding, 10_000, &mut Budget::new(64 << 20, 1).open(), &Weak::new()).unwrap_err();
        assert!(refused.to_string().contains("nobody waits"), "{refused}");
    }
}
