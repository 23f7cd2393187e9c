//! A key as its holder has it: `weir_<id>_<secret>`, with a checksum at its end by which a scanner of source
//! texts knows one from other words, and a mistyped one from a revoked one. The secret's text leaves this
//! module once, when the key is made.

use std::fmt;

use ring::digest;
use weir_catalog::{KEY_ID_CHARS, KeyId, SecretHash};
use weir_meter::environment::Entropy;

const PREFIX: &str = "weir_";
const ID_BYTES: usize = 10;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
/// Bits of a character.
const CHAR_BITS: usize = 5;
const SECRET_CHARS: usize = (SECRET_BYTES * 8).div_ceil(CHAR_BITS);
const CHECKSUM_CHARS: usize = (CHECKSUM_BYTES * 8).div_ceil(CHAR_BITS);
/// Characters of a whole token.
pub const TOKEN_CHARS: usize = PREFIX.len() + KEY_ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;

/// RFC 4648 in small letters: no letter looks like another's digit.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A key's id and secret.
pub struct Token {
    id: KeyId,
    secret: [u8; SECRET_BYTES],
}

/// The text is no key, whatever keys there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a key: one has 81 characters, begins with `weir_` and ends with a checksum; was it cut or mistyped?"
)]
pub struct NotAToken;

impl Token {
    /// A new key. Its id need not be secret, so that it is no matter how it is compared.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, NotAToken> {
        let mut secret = [0; SECRET_BYTES];
        for half in secret.chunks_mut(16) {
            half.copy_from_slice(&entropy.random_u128().to_le_bytes());
        }
        let random = entropy.random_u128().to_le_bytes();
        let mut id = String::with_capacity(KEY_ID_CHARS);
        encode(random.get(..ID_BYTES).unwrap_or_default(), &mut id);
        Ok(Self { id: id.parse().map_err(|_| NotAToken)?, secret })
    }

    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        if text.len() != TOKEN_CHARS || !text.is_ascii() {
            return Err(NotAToken);
        }
        let (signed, checksum) = text.split_at_checked(TOKEN_CHARS - CHECKSUM_CHARS).ok_or(NotAToken)?;
        let (id, secret) = signed
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_at_checked(KEY_ID_CHARS))
            .and_then(|(id, rest)| Some((id, rest.strip_prefix('_')?)))
            .ok_or(NotAToken)?;
        if decode(checksum).ok_or(NotAToken)? != checksum_of(signed) {
            return Err(NotAToken);
        }
        Ok(Self { id: id.parse().map_err(|_| NotAToken)?, secret: decode(secret).ok_or(NotAToken)? })
    }

    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What is kept of the secret, and compared.
    pub fn hash(&self) -> SecretHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.secret).as_ref());
        SecretHash::new(hash)
    }

    /// What somebody would make up who knows an id and another key.
    #[cfg(test)]
    pub(crate) fn with_secret_of(&self, other: &Self) -> Self {
        Self { id: self.id.clone(), secret: other.secret }
    }

    /// The whole key, for its holder only.
    pub fn reveal(&self) -> String {
        let mut text = String::with_capacity(TOKEN_CHARS);
        text.push_str(PREFIX);
        text.push_str(self.id.as_str());
        text.push('_');
        encode(&self.secret, &mut text);
        let checksum = checksum_of(&text);
        encode(&checksum, &mut text);
        text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, …)", self.id)
    }
}

fn checksum_of(text: &str) -> [u8; CHECKSUM_BYTES] {
    crc32c::crc32c(text.as_bytes()).to_be_bytes()
}

fn encode(bytes: &[u8], out: &mut String) {
    let digit = |value: u32| ALPHABET.get((value & 31) as usize).copied().map_or('a', char::from);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= CHAR_BITS {
            bits -= CHAR_BITS;
            out.push(digit(held >> bits));
        }
    }
    if bits > 0 {
        out.push(digit(held << (CHAR_BITS - bits)));
    }
}

/// Exactly what [`encode`] has made of so many bytes: the bits that are left over must be zero, so that a key
/// has one text only.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(CHAR_BITS) {
        return None;
    }
    let mut bytes = [0; N];
    let mut places = bytes.iter_mut();
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let digit = match letter {
            b'a'..=b'z' => letter - b'a',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        held = ((held << CHAR_BITS) | u32::from(digit)) & 0xfff;
        bits += CHAR_BITS;
        if bits >= 8 {
            bits -= 8;
            *places.next()? = u8::try_from((held >> bits) & 0xff).ok()?;
        }
    }
    (held & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Fixed(u128);

    impl Entropy for Fixed {
        fn random_u128(&self) -> u128 {
            self.0
        }
    }

    fn token() -> Token {
        Token::random(&Fixed(0x0123_4567_89ab_cdef_0011_2233_4455_6677)).unwrap()
    }

    #[test]
    fn a_key_has_one_form_that_stays() {
        let text = token().reveal();
        assert_eq!(text.len(), TOKEN_CHARS);
        insta::assert_snapshot!(text, @"weir_o5tfkrbteiiqb36n_o5tfkrbteiiqb36nvoeworjdaf3wmvkegmrbcahpzwvysz2femaqc5cxc4a");
        assert!(NotAToken.to_string().contains(&TOKEN_CHARS.to_string()));
        let read = Token::parse(&text).unwrap();
        assert_eq!((read.id(), read.hash(), read.reveal()), (token().id(), token().hash(), text.clone()));
        // As `sha256sum` has it, so that the hash at rest can be checked with any tool.
        let shown: String = read.hash().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        insta::assert_snapshot!(shown, @"566334b18da2eab34b0c85dbaf9b8a920ce865303c040f10d21a90761bcb21d8");
        assert!(!format!("{read:?}").contains(&text[30..]));
    }

    #[test]
    fn every_mistyped_letter_is_noticed() {
        let text = token().reveal();
        for place in 0..text.len() {
            for other in "ab27_ A0ä".chars() {
                let mut wrong: Vec<char> = text.chars().collect();
                if wrong[place] == other {
                    continue;
                }
                wrong[place] = other;
                let wrong: String = wrong.into_iter().collect();
                assert_eq!(Token::parse(&wrong).err(), Some(NotAToken), "{wrong}");
            }
        }
        for wrong in
            ["", "weir_", &text[1..], &text[..TOKEN_CHARS - 1], &format!("{text}a"), &text.to_uppercase()]
        {
            assert_eq!(Token::parse(wrong).err(), Some(NotAToken), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes: [u8; 32], short: [u8; 10], four: [u8; 4]) {
            let text = |bytes: &[u8]| {
                let mut out = String::new();
                encode(bytes, &mut out);
                out
            };
            prop_assert_eq!(decode(&text(&bytes)), Some(bytes));
            prop_assert_eq!(decode(&text(&short)), Some(short));
            prop_assert_eq!(decode(&text(&four)), Some(four));
            prop_assert_eq!(decode::<31>(&text(&bytes)), None);
        }

        #[test]
        fn no_text_is_too_odd(text in ".{0,100}") {
            let _ = Token::parse(&text);
        }
    }
}
