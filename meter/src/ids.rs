//! Identifiers, each a type of its own so that a writer can never stand where a segment is meant.
//! All are 128 bits; on disk and in Arrow they are 16 big-endian bytes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// 16 big-endian bytes, the form at rest.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:032x})", stringify!($name), self.0)
            }
        }

        /// 32 lowercase or uppercase hexadecimal digits.
        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                // The library's reader would also take a plus sign and shorter texts.
                if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(NotAnId);
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| NotAnId)
            }
        }
    };
}

/// The text is not an identifier: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: expected 32 hexadecimal digits")]
pub struct NotAnId;

id128!(
    /// Keyed hash of the identity tuple (namespace, source, id).
    IdentityHash
);
id128!(
    /// Keyed hash of an event's attributes as sent and the bytes of its data.
    ContentHash
);
id128!(
    /// One process's licence to commit, random, taken anew after any write without a clear answer.
    WriterId
);
id128!(
    /// One immutable file or insert of rows, windows or members.
    SegmentId
);
id128!(
    /// One ingest request: what it brought can be found among everything else.
    RequestId
);
id128!(
    /// The system that one log, one store and one catalog belong to.
    InstallationId
);

/// A meter's id. Shown as a ULID (26 characters of Crockford's base 32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterId(pub u128);

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl MeterId {
    /// 16 big-endian bytes, the form at rest.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for position in (0..26).rev() {
            let digit = (self.0 >> (position * 5)) & 31;
            let letter = CROCKFORD.get(digit as usize).copied().unwrap_or(b'0');
            write!(f, "{}", letter as char)?;
        }
        Ok(())
    }
}

impl fmt::Debug for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeterId({self})")
    }
}

/// The text is not a ULID: 26 characters of Crockford's base 32, the first at most 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a ULID: expected 26 characters of Crockford's base 32, the first from 0 to 7")]
pub struct NotAUlid;

impl FromStr for MeterId {
    type Err = NotAUlid;

    fn from_str(text: &str) -> Result<Self, NotAUlid> {
        if text.len() != 26 || !matches!(text.as_bytes().first(), Some(b'0'..=b'7')) {
            return Err(NotAUlid);
        }
        let mut value: u128 = 0;
        for letter in text.bytes() {
            let upper = letter.to_ascii_uppercase();
            let digit = CROCKFORD.iter().position(|c| *c == upper).ok_or(NotAUlid)?;
            value = (value << 5) | digit as u128;
        }
        Ok(Self(value))
    }
}

/// A tenant. Part of every record, row, key, cursor and position; it comes from the credential.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Namespace(Arc<str>);

impl Namespace {
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The namespace of a server that runs without keys.
impl Default for Namespace {
    fn default() -> Self {
        Self::new("default")
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_and_bytes_come_back(value: u128) {
            prop_assert_eq!(MeterId(value).to_string().parse(), Ok(MeterId(value)));
            prop_assert_eq!(MeterId(value).to_string().to_lowercase().parse(), Ok(MeterId(value)));
            prop_assert_eq!(MeterId::from_bytes(MeterId(value).to_bytes()), MeterId(value));
            prop_assert_eq!(SegmentId(value).to_string().parse(), Ok(SegmentId(value)));
            prop_assert_eq!(SegmentId::from_bytes(SegmentId(value).to_bytes()), SegmentId(value));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "7ZZZZZZZZZZZZZZZZZZZZZZZZ",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "0000000000000000000000000U",
            "0000000000000000000000000é",
        ] {
            assert_eq!(text.parse::<MeterId>(), Err(NotAUlid), "{text}");
        }
        for text in [
            "",
            "1",
            "+0000000000000000000000000000001",
            "0000000000000000000000000000000g",
            "000000000000000000000000000000001",
        ] {
            assert_eq!(text.parse::<WriterId>(), Err(NotAnId), "{text}");
        }
    }
}
