//! Position tokens: how far a client's events lie in the log, handed out by ingest and by every usage
//! answer, taken by queries. A token is encrypted, as plain offsets would tell one tenant how much
//! all the others send, and bound to its namespace, so that nobody can use another tenant's.

mod code;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// The longest text that can be a token; 256 partitions take less.
pub const POSITION_TEXT_BYTES_MAX: usize = 4_096;

/// The form of the token. It stands before the encrypted part and is authenticated with it.
const VERSION: u8 = 1;

/// How a query given the position is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PositionKind {
    /// At or after it. Partitions that are not named do not matter.
    AtLeast,
    /// As of it, neither earlier nor later.
    Exactly,
}

/// A place in the log, the same for everyone who reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub kind: PositionKind,
    /// Of the installation: a restored catalog has another one, and its old positions mean nothing.
    pub incarnation: u128,
    pub epoch: u32,
    /// (partition, the offset after the last one that belongs to the position), each partition
    /// once, in rising order.
    pub offsets: Vec<(u32, u64)>,
    /// Of the catalog; 0 if any will do.
    pub revision: u64,
}

/// A text that is no position here. The client should leave it away or take one from a fresh answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error(
        "the position has {bytes} characters, no position has more than {POSITION_TEXT_BYTES_MAX}; send it exactly as it was received"
    )]
    TooLong { bytes: usize },
    #[error("the position is not unpadded base64url, or was cut off; send it exactly as it was received")]
    Malformed,
    #[error(
        "the position was made by another version of Weir (form {found}, this one reads form {VERSION}); take a new one from a fresh answer"
    )]
    Version { found: u8 },
    #[error(
        "the position was not made by this installation for this namespace, or was changed on the way; take a new one from a fresh answer"
    )]
    Foreign,
}

/// The installation's secret key for position tokens.
#[derive(Clone)]
pub struct PositionKey(LessSafeKey);

impl PositionKey {
    #[allow(clippy::expect_used, reason = "fails for no key of 32 bytes, and the type says 32")]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).expect("AES-256 takes 32 bytes")))
    }

    /// Makes a token. `entropy` is random and used for this token only: what two tokens of the same
    /// entropy say could be found out.
    #[allow(clippy::expect_used, reason = "fails for no plaintext shorter than 64 GiB")]
    pub fn seal(&self, position: &Position, namespace: &str, entropy: [u8; NONCE_LEN]) -> String {
        let mut secret = code::encode(position);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(entropy),
                Aad::from(bound_to(VERSION, namespace)),
                &mut secret,
            )
            .expect("a position is far shorter than what AES-GCM takes");
        let mut token = Vec::with_capacity(1 + NONCE_LEN + secret.len() + tag.as_ref().len());
        token.push(VERSION);
        token.extend_from_slice(&entropy);
        token.extend_from_slice(&secret);
        token.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Reads a token that was made for the same namespace.
    pub fn open(&self, text: &str, namespace: &str) -> Result<Position, PositionError> {
        if text.len() > POSITION_TEXT_BYTES_MAX {
            return Err(PositionError::TooLong { bytes: text.len() });
        }
        let token = URL_SAFE_NO_PAD.decode(text).map_err(|_| PositionError::Malformed)?;
        let (version, rest) = token.split_first().ok_or(PositionError::Malformed)?;
        if *version != VERSION {
            return Err(PositionError::Version { found: *version });
        }
        let (entropy, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(PositionError::Malformed)?;
        let mut secret = sealed.to_vec();
        let plain = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*entropy),
                Aad::from(bound_to(*version, namespace)),
                &mut secret,
            )
            .map_err(|_| PositionError::Foreign)?;
        code::decode(plain).ok_or(PositionError::Foreign)
    }
}

/// The key is a secret: it never shows in logs.
impl std::fmt::Debug for PositionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PositionKey(secret)")
    }
}

/// What the token is authenticated with beside its own bytes.
fn bound_to(version: u8, namespace: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + namespace.len());
    bytes.push(version);
    bytes.extend_from_slice(namespace.as_bytes());
    bytes
}

#[cfg(test)]
mod tests;
