//! Keys as they go over the wire and as the command line prints them.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use weir_catalog::{ApiKey, Grant, KeyId, KeyLimits, NewKey, Scope, Scopes, SecretHash};
use weir_meter::Namespace;
use weir_meter::time::{format_utc, parse_rfc3339};

/// A key, shown once. It prints nothing of itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revealed(pub String);

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revealed(…)")
    }
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyBody {
    pub id: String,
    pub name: String,
    /// Only of a key of a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default)]
    pub operator: bool,
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<NonZeroU32>,
    pub created_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_to: Option<String>,
    /// Only in the answer to what made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Revealed>,
}

impl KeyBody {
    pub fn of(key: &ApiKey) -> Self {
        let scopes = match key.grant {
            Grant::Operator => Scopes::default(),
            Grant::Tenant { scopes, .. } => scopes,
        };
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            namespace: key.grant.namespace().map(ToString::to_string),
            operator: key.grant == Grant::Operator,
            scopes: scopes.iter().map(|scope| scope.name().to_owned()).collect(),
            requests_per_second: key.limits.requests_per_s,
            events_per_second: key.limits.events_per_s,
            created_at: format_utc(key.created_us),
            expires_at: key.expires_us.map(format_utc),
            revoked_at: key.revoked_us.map(format_utc),
            rolled_to: key.rolled_to.as_ref().map(ToString::to_string),
            key: None,
        }
    }

    /// With the key itself, for the one answer that holds it.
    pub fn revealing(key: &ApiKey, text: String) -> Self {
        Self { key: Some(Revealed(text)), ..Self::of(key) }
    }
}

/// A key as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyCreate {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operator: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<NonZeroU32>,
}

impl KeyCreate {
    /// The key that is asked for, checked; or a sentence about what is wrong.
    pub fn draft(
        self,
        namespace: Option<&Namespace>,
        id: KeyId,
        secret_hash: SecretHash,
        now_us: i64,
    ) -> Result<NewKey, String> {
        let grant = if self.operator {
            if self.namespace.is_some() || !self.scopes.is_empty() {
                return Err("operator: such a key has no namespace and no scopes; leave them away".to_owned());
            }
            Grant::Operator
        } else {
            let namespace = self.namespace.as_deref().map(Namespace::new).or_else(|| namespace.cloned());
            let namespace =
                namespace.ok_or("namespace: name the one that the key is for, or say operator")?;
            Grant::Tenant { namespace, scopes: scopes(&self.scopes)? }
        };
        let expires_us = self.expires_at.as_deref().map(parse_rfc3339).transpose();
        let key = NewKey {
            id,
            secret_hash,
            grant,
            name: self.name,
            limits: KeyLimits {
                requests_per_s: self.requests_per_second,
                events_per_s: self.events_per_second,
            },
            expires_us: expires_us.map_err(|error| format!("expiresAt: {error}"))?,
        };
        key.check(now_us)?;
        Ok(key)
    }
}

fn scopes(names: &[String]) -> Result<Scopes, String> {
    let scope = |name: &String| {
        Scope::from_name(name).ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            format!("scopes: {shown:?} is unknown; there are ingest, query and admin")
        })
    };
    names.iter().map(scope).collect()
}

/// How a key is rolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRoll {
    /// For how long the old key still lets in; a day, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u32>,
}

/// Long enough to change what uses the old key.
const OVERLAP_S: u32 = 24 * 60 * 60;

impl KeyRoll {
    /// When the old key ends.
    pub fn old_expires_us(self, now_us: i64) -> i64 {
        let overlap_s = self.overlap_seconds.unwrap_or(OVERLAP_S);
        now_us.saturating_add(i64::from(overlap_s).saturating_mul(1_000_000))
    }
}
