//! Position tokens. The first byte of the input chooses what is tried: the rest as a token's text (0), the
//! rest as a token's bytes (1), a sealed position whose token is then changed (2), or any plaintext,
//! encrypted with the right key as only the server could (3). A token that was not sealed never opens,
//! a changed one never, and what the key has signed opens as one position or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use weir_proto::{Position, PositionError, PositionKey, PositionKind};

use crate::edits::{self, Files, Script};

const KEY: [u8; 32] = [7; 32];
const NAMESPACE: &str = "mine";

pub(crate) fn target(data: &[u8]) {
    let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
    match choice % 4 {
        0 => never_opens(&String::from_utf8_lossy(rest)),
        1 => never_opens(&URL_SAFE_NO_PAD.encode(rest)),
        2 => changed(rest),
        _ => forged(rest),
    }
}

fn key() -> PositionKey {
    PositionKey::new(KEY)
}

fn never_opens(text: &str) {
    let refused = key().open(text, NAMESPACE).expect_err("a text that was never sealed opened");
    assert!(refused.to_string().len() < 300, "{refused}");
}

/// Takes a position from the script, then edits of its token.
fn changed(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut number = |count: u32| (0..count).fold(0_u64, |sum, _| sum << 8 | u64::from(script.byte()));
    let kind = if number(1).is_multiple_of(2) { PositionKind::AtLeast } else { PositionKind::Exactly };
    let (incarnation, epoch, revision) = (u128::from(number(8)) << 60, number(4) as u32, number(8));
    let count = number(1) % 9;
    let offsets: Vec<(u32, u64)> = (0..count).map(|_| (number(4) as u32, number(8))).collect();
    let position = Position { kind, incarnation, epoch, offsets, revision };
    let text = key().seal(&position, NAMESPACE, [5; 12]);
    assert_eq!(key().open(&text, NAMESPACE), Ok(in_order(&position)));
    for (other, namespace) in [(key(), ""), (key(), "mine2"), (PositionKey::new([8; 32]), NAMESPACE)] {
        assert_eq!(other.open(&text, namespace), Err(PositionError::Foreign));
    }
    let mut files = Files::from([(String::new(), text.clone().into_bytes())]);
    edits::apply(&mut script, &mut files, |_, _, _| {});
    if let Some(edited) = files.values().next().filter(|edited| **edited != *text.as_bytes()) {
        never_opens(&String::from_utf8_lossy(edited));
    }
}

/// By partition; of one that is named twice the later offset holds.
fn in_order(position: &Position) -> Position {
    let mut offsets = std::collections::BTreeMap::new();
    for (partition, offset) in &position.offsets {
        let held = offsets.entry(*partition).or_insert(*offset);
        *held = (*held).max(*offset);
    }
    Position { offsets: offsets.into_iter().collect(), ..position.clone() }
}

fn forged(plain: &[u8]) {
    let nonce = [1; 12];
    let mut sealed = plain.to_vec();
    let bound: Vec<u8> = [&[1][..], NAMESPACE.as_bytes()].concat();
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap())
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut sealed)
        .unwrap();
    let token = [&[1][..], &nonce, &sealed].concat();
    let opened = key().open(&URL_SAFE_NO_PAD.encode(token), NAMESPACE);
    if let Ok(position) = opened {
        assert_eq!(in_order(&position), position);
        let again = key().seal(&position, NAMESPACE, [2; 12]);
        assert_eq!(key().open(&again, NAMESPACE), Ok(position));
    }
}
