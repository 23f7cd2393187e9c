//! Bodies that are compressed, cut off, or far larger than they look.

use std::io::Write as _;

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
    decode(wire, encoding, bytes_max, &mut Budget::new(64 << 20, 1).open())
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
        let refused = decode(&bomb, encoding, 1 << 20, &mut budget.open());
        assert!(matches!(refused, Err(IngestError::TooLarge { bytes_max: 1_048_576, .. })), "{refused:?}");
        // And a smaller budget stops it before.
        let refused = decode(&bomb, encoding, 1 << 20, &mut Budget::new(1 << 18, 1).open());
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
