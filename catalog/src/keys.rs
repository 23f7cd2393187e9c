//! API keys, as values: whose requests they let in, to what, and until when. A key's secret is known to its
//! holder alone; here is only its hash, and nothing prints that either.

use std::fmt;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::str::FromStr;

use weir_meter::Namespace;

/// Characters of a key's id.
pub const KEY_ID_CHARS: usize = 16;
/// Longest name of a key, in characters.
pub const KEY_NAME_CHARS_MAX: usize = 128;
/// Longest name of a namespace that a key may be made for.
pub const NAMESPACE_BYTES_MAX: usize = 64;

/// What a key is called: the public part of it, which finds the row. Letters from `a` to `z` and digits from
/// `2` to `7`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// The text is not a key's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a key: it has 16 characters, each from a to z or from 2 to 7")]
pub struct NotAKeyId;

impl KeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let fits = text.len() == KEY_ID_CHARS && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAKeyId) }
    }
}

/// So that a map of ids can be asked with a text.
impl std::borrow::Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

/// SHA-256 of a key's secret. The secret is 256 random bits, so nobody finds it by trying, however fast a try
/// is: a slow hash, as passwords need it, would only make each request slow.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The form at rest.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }
}

/// Takes as long for hashes that differ in the first bit as for those that differ in the last.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
        black_box(differing) == 0
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Sending events.
    Ingest,
    /// Reading: meters, their usage, events.
    Query,
    /// Making, changing and deleting meters, and the keys of the namespace.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Query, Self::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Query => "query",
            Self::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Any number of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u8);

impl Scopes {
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Always in the same order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// Names with a blank between them.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            write!(f, "{}{}", if index > 0 { " " } else { "" }, scope.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

/// Whom a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// May manage the keys of every namespace, and do nothing else.
    Operator,
    Tenant {
        namespace: Namespace,
        scopes: Scopes,
    },
}

impl Grant {
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Operator => None,
            Self::Tenant { namespace, .. } => Some(namespace),
        }
    }
}

/// How much a key may do in a second; None is as much as there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    pub requests_per_s: Option<NonZeroU32>,
    pub events_per_s: Option<NonZeroU32>,
}

/// A key as it is kept. What counts about it never changes but for its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub grant: Grant,
    /// For people.
    pub name: String,
    pub secret_hash: SecretHash,
    pub limits: KeyLimits,
    pub created_us: i64,
    /// From this time on it lets nobody in.
    pub expires_us: Option<i64>,
    pub revoked_us: Option<i64>,
    /// The key that was made to take its place.
    pub rolled_to: Option<KeyId>,
}

impl ApiKey {
    /// Whether it lets anybody in at this time.
    pub fn is_usable(&self, now_us: i64) -> bool {
        self.revoked_us.is_none() && self.expires_us.is_none_or(|expires_us| now_us < expires_us)
    }
}

/// A key as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    pub id: KeyId,
    pub secret_hash: SecretHash,
    pub grant: Grant,
    pub name: String,
    pub limits: KeyLimits,
    pub expires_us: Option<i64>,
}

impl NewKey {
    /// A sentence about what is wrong with it.
    pub fn check(&self, now_us: i64) -> Result<(), String> {
        if let Grant::Tenant { namespace, scopes } = &self.grant {
            check_namespace(namespace.as_str())?;
            if scopes.is_empty() {
                return Err("scopes: a key needs at least one of ingest, query and admin".to_owned());
            }
        }
        if self.name.is_empty() || self.name.chars().count() > KEY_NAME_CHARS_MAX {
            return Err(format!("name: it must have 1 to {KEY_NAME_CHARS_MAX} characters"));
        }
        if self.name.chars().any(char::is_control) {
            return Err("name: it must not hold control characters".to_owned());
        }
        if self.expires_us.is_some_and(|expires_us| expires_us <= now_us) {
            return Err("the key would have expired already; choose a later time".to_owned());
        }
        Ok(())
    }
}

/// Whether a namespace may have this name: it becomes part of records, rows and file names' neighbours, and people
/// type it.
pub fn check_namespace(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (1..=NAMESPACE_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_'))
        && name.bytes().next().is_some_and(plain);
    if fits {
        return Ok(());
    }
    Err(format!(
        "namespace: it must have 1 to {NAMESPACE_BYTES_MAX} characters, small letters, digits, - and _, and begin \
         with a letter or digit"
    ))
}

/// Another secret for an old key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    pub new_id: KeyId,
    pub new_secret_hash: SecretHash,
    /// When the old key ends, unless it ends before.
    pub old_expires_us: i64,
}

/// Whose keys may be seen and changed. Others are as if they were not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysOf {
    /// Of every namespace, and of operators.
    Everyone,
    Namespace(Namespace),
}

impl KeysOf {
    pub fn covers(&self, grant: &Grant) -> bool {
        match self {
            Self::Everyone => true,
            Self::Namespace(namespace) => grant.namespace() == Some(namespace),
        }
    }
}

/// How to list keys: the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    pub of: KeysOf,
    /// Also those that were revoked or have expired by this time.
    pub ended: bool,
    pub now_us: i64,
    pub offset: u64,
    pub limit: u64,
}

/// Every key that may still let somebody in, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTable {
    /// Grows with every change of a key.
    pub number: u64,
    /// Whether there is a key at all, ended ones included.
    pub any: bool,
    /// Those that were not revoked; they may have expired.
    pub keys: Vec<ApiKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_texts_of_one_form() {
        let id: KeyId = "abcdefgh234567zz".parse().unwrap();
        assert_eq!(id.to_string(), "abcdefgh234567zz");
        for wrong in [
            "",
            "abcdefgh234567z",
            "abcdefgh234567zzz",
            "abcdefgh234567z1",
            "ABCDEFGH234567ZZ",
            "äbcdefgh234567z",
        ] {
            assert_eq!(wrong.parse::<KeyId>(), Err(NotAKeyId), "{wrong}");
        }
    }

    #[test]
    fn hashes_are_equal_in_every_bit_and_never_shown() {
        let hash = SecretHash::new([0xab; 32]);
        assert_eq!(hash, SecretHash::new([0xab; 32]));
        for bit in 0..256 {
            let mut bytes = [0xab; 32];
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(hash, SecretHash::new(bytes), "{bit}");
        }
        let shown = format!("{hash:?}");
        assert!(!shown.to_lowercase().contains("ab") && !shown.contains("171"), "{shown}");
    }

    #[test]
    fn scopes_have_one_order() {
        let scopes: Scopes = [Scope::Admin, Scope::Ingest, Scope::Admin].into_iter().collect();
        assert_eq!(scopes.to_string(), "ingest admin");
        assert!(scopes.contains(Scope::Ingest) && !scopes.contains(Scope::Query));
        assert_eq!(Scopes::all().to_string(), "ingest query admin");
        assert!(Scopes::default().is_empty() && Scopes::default().to_string().is_empty());
    }

    #[test]
    fn namespaces_have_plain_names() {
        for fine in ["a", "default", "acme-eu_2", "7up", &"n".repeat(64)] {
            check_namespace(fine).unwrap();
        }
        for wrong in ["", "-a", "_a", "A", "a b", "a/b", "ä", "a.b", &"n".repeat(65)] {
            check_namespace(wrong).unwrap_err();
        }
    }
}
