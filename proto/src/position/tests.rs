//! Tokens come back as they were, and nothing else does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn key() -> PositionKey {
    PositionKey::new([7; 32])
}

fn position() -> impl Strategy<Value = Position> {
    let offset = prop_oneof![0u64..4, any::<u64>(), Just(u64::MAX)];
    // Small partitions make runs, large ones the ends of the range.
    let partition = prop_oneof![0u32..256, (u32::MAX - 2)..=u32::MAX];
    (
        any::<bool>(),
        any::<u128>(),
        any::<u32>(),
        proptest::collection::btree_map(partition, offset, 0..40),
        any::<u64>(),
    )
        .prop_map(|(least, incarnation, epoch, offsets, revision)| Position {
            kind: if least { PositionKind::AtLeast } else { PositionKind::Exactly },
            incarnation,
            epoch,
            offsets: offsets.into_iter().collect(),
            revision,
        })
}

proptest! {
    #[test]
    fn what_is_sealed_opens_again(position in position(), namespace in ".{0,20}", entropy: [u8; 12]) {
        let text = key().seal(&position, &namespace, entropy);
        prop_assert!(text.len() <= POSITION_TEXT_BYTES_MAX);
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        prop_assert_eq!(key().open(&text, &namespace), Ok(position));
    }

    #[test]
    fn another_namespace_or_key_is_refused(position in position(), entropy: [u8; 12], other in "[a-z]{0,8}") {
        prop_assume!(other != "mine");
        let text = key().seal(&position, "mine", entropy);
        prop_assert_eq!(key().open(&text, &other), Err(PositionError::Foreign));
        prop_assert_eq!(PositionKey::new([8; 32]).open(&text, "mine"), Err(PositionError::Foreign));
    }

    #[test]
    fn any_changed_or_missing_byte_is_refused(
        position in position(),
        entropy: [u8; 12],
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let text = key().seal(&position, "mine", entropy);
        let mut token = URL_SAFE_NO_PAD.decode(&text).unwrap();
        let at = at.index(token.len());
        prop_assert!(key().open(&URL_SAFE_NO_PAD.encode(&token[..at]), "mine").is_err());
        token[at] ^= flip;
        prop_assert!(key().open(&URL_SAFE_NO_PAD.encode(&token), "mine").is_err());
    }

    #[test]
    fn order_and_repeats_do_not_matter(
        pairs in proptest::collection::vec((0u32..12, any::<u64>()), 0..20),
        entropy: [u8; 12],
    ) {
        let mut greatest = BTreeMap::new();
        for (partition, offset) in &pairs {
            let held = greatest.entry(*partition).or_insert(*offset);
            *held = (*held).max(*offset);
        }
        let position =
            Position { kind: PositionKind::AtLeast, incarnation: 1, epoch: 0, offsets: pairs, revision: 0 };
        let opened = key().open(&key().seal(&position, "mine", entropy), "mine").unwrap();
        prop_assert_eq!(opened.offsets, greatest.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(key().open(&text, "mine").is_err());
        prop_assert!(key().open(&URL_SAFE_NO_PAD.encode(&raw), "mine").is_err());
        let _ = super::code::decode(&raw);
    }
}

#[test]
fn offsets_do_not_show() {
    let offset = 0x1122_3344_5566_7788_u64;
    let of = |offset| Position {
        kind: PositionKind::Exactly,
        incarnation: 3,
        epoch: 0,
        offsets: vec![(0, offset)],
        revision: 9,
    };
    let token = URL_SAFE_NO_PAD.decode(key().seal(&of(offset), "mine", [5; 12])).unwrap();
    assert!(!token.windows(4).any(|w| w == &offset.to_be_bytes()[..4] || w == &offset.to_le_bytes()[..4]));
    // The same position sealed twice looks different, and its length tells nothing of its size.
    let again = URL_SAFE_NO_PAD.decode(key().seal(&of(offset), "mine", [6; 12])).unwrap();
    assert!(token.iter().skip(13).zip(again.iter().skip(13)).filter(|(a, b)| a == b).count() < 8);
    assert_eq!(key().seal(&of(0), "mine", [5; 12]).len(), key().seal(&of(u64::MAX), "mine", [5; 12]).len());
}

#[test]
fn every_count_of_partitions_fits() {
    for step in [1, 2] {
        let offsets = (0..256).step_by(step).map(|partition| (partition, u64::MAX)).collect();
        let position = Position {
            kind: PositionKind::Exactly,
            incarnation: u128::MAX,
            epoch: u32::MAX,
            offsets,
            revision: 1,
        };
        let text = key().seal(&position, "mine", [0; 12]);
        assert!(text.len() < 3_000, "{}", text.len());
        assert_eq!(key().open(&text, "mine"), Ok(position));
    }
}

#[test]
fn errors_say_what_to_do() {
    let text = key().seal(
        &Position { kind: PositionKind::AtLeast, incarnation: 0, epoch: 0, offsets: vec![], revision: 0 },
        "mine",
        [0; 12],
    );
    let mut newer = URL_SAFE_NO_PAD.decode(&text).unwrap();
    newer[0] = 2;
    let cases = [
        ("A".repeat(5_000), PositionError::TooLong { bytes: 5_000 }),
        ("not base64!".to_owned(), PositionError::Malformed),
        (String::new(), PositionError::Malformed),
        (URL_SAFE_NO_PAD.encode(newer), PositionError::Version { found: 2 }),
        (text, PositionError::Foreign),
    ];
    for (text, expected) in cases {
        let error = key().open(&text, "other").unwrap_err();
        assert_eq!(error, expected);
        let said = error.to_string();
        assert!(said.contains("send it exactly") || said.contains("take a new one"), "{said}");
    }
}

#[test]
fn the_key_does_not_show() {
    assert_eq!(format!("{:?}", key()), "PositionKey(secret)");
}
