//! Keyed 128-bit hashes (SipHash-2-4 with the installation's key). Keyed, because some events come
//! from enemies: without the key nobody can choose two identities that collide. Every part is
//! preceded by its length, so that no two different tuples feed the hash the same bytes.

#[cfg(test)]
mod tests;

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::event::{AttributeValue, Event};
use crate::ids::{ContentHash, IdentityHash, Namespace};

/// The installation's secret key for every hash in its log and store.
#[derive(Clone, Copy)]
pub struct HashKey([u8; 16]);

impl HashKey {
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    fn hasher(&self, domain: u8) -> SipHasher24 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&[domain]);
        hasher
    }

    /// The identity tuple (namespace, source, id).
    pub fn identity(&self, namespace: &Namespace, source: &str, id: &str) -> IdentityHash {
        let mut hasher = self.hasher(1);
        write_part(&mut hasher, namespace.as_str().as_bytes());
        write_part(&mut hasher, source.as_bytes());
        write_part(&mut hasher, id.as_bytes());
        IdentityHash(hasher.finish128().as_u128())
    }

    /// All attributes but `data`, sorted by name, then the bytes of `data` as sent. A string
    /// attribute is hashed by what it says, so another way of escaping it is no other content.
    pub fn content(&self, event: &Event<'_>) -> ContentHash {
        let mut order: Vec<&(_, _)> = event.attributes.iter().collect();
        order.sort_by(|a, b| a.0.cmp(&b.0));
        let mut hasher = self.hasher(2);
        hasher.write(&(order.len() as u64).to_le_bytes());
        for (name, value) in order {
            write_part(&mut hasher, name.as_bytes());
            match value {
                AttributeValue::Text(text) => {
                    hasher.write(&[0]);
                    write_part(&mut hasher, text.as_bytes());
                }
                AttributeValue::Raw(raw) => {
                    hasher.write(&[1]);
                    write_part(&mut hasher, raw);
                }
            }
        }
        match event.data {
            None => hasher.write(&[0]),
            Some(data) => {
                hasher.write(&[1]);
                write_part(&mut hasher, data);
            }
        }
        ContentHash(hasher.finish128().as_u128())
    }

    /// One member of a UNIQUE_COUNT: the value's normalised text.
    pub fn member(&self, text: &str) -> u128 {
        let mut hasher = self.hasher(3);
        hasher.write(text.as_bytes());
        hasher.finish128().as_u128()
    }

    /// A record as the log holds it; kept with the frontier so that a new owner can tell that
    /// the log it reads is the log the frontier speaks of.
    pub fn record(&self, value: &[u8]) -> u128 {
        let mut hasher = self.hasher(4);
        hasher.write(value);
        hasher.finish128().as_u128()
    }
}

/// The key is a secret: it never shows in logs.
impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

fn write_part(hasher: &mut SipHasher24, part: &[u8]) {
    hasher.write(&(part.len() as u64).to_le_bytes());
    hasher.write(part);
}
