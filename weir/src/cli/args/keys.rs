//! Arguments of `weir keys`, and of every command that sends a key.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use weir_meter::environment::Clock as _;
use weir_meter::time::format_utc;

use super::Server;
use crate::environment::SystemClock;
use crate::keys::body::{KeyCreate, KeyRoll};
use crate::keys::{Folder, Place};
use crate::meters::Format;
use crate::output::Failure;
use crate::settings::values::duration;

/// A key on the command line or in the environment. It is not printed with the other arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyText {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(…)")
    }
}

/// Whose keys: a server's, or those in the folder of one that is stopped.
#[derive(Clone, Debug, Args)]
pub struct KeysPlace {
    /// Instead of asking a server: the data folder of one that is stopped
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// With --data-dir: the server's settings, where they say that the catalog lies elsewhere
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

impl KeysPlace {
    pub fn place(&self) -> Result<Place, Failure> {
        match &self.data_dir {
            Some(data_dir) => {
                Ok(Place::Folder(Folder { data_dir: data_dir.clone(), config: self.config.clone() }))
            }
            None => Ok(Place::Server(self.server.client()?)),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key, and print it this once
    Create(CreateKeyArgs),
    /// List the keys; their texts are nowhere
    List {
        /// Also those that have expired or were revoked
        #[arg(long)]
        all: bool,
        /// How to print them
        #[arg(long, default_value = "table")]
        format: Format,
        #[command(flatten)]
        place: KeysPlace,
    },
    /// Make a key in the place of another, which goes on for a while
    #[command(after_help = "\
Examples:
  weir keys roll abcdefgh234567zz
  weir keys roll abcdefgh234567zz --overlap 0     (the old key ends at once)

The new key has the old one's name, namespace, scopes and limits, and lives as long as that was made for.")]
    Roll {
        /// The old key's id: what stands between `weir_` and the next `_`
        id: String,
        /// For how long the old key still lets in; 0 is not at all
        #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = overlap)]
        overlap: Duration,
        /// How to print the new key: its text alone, or all of it
        #[arg(long, default_value = "table")]
        format: Format,
        #[command(flatten)]
        place: KeysPlace,
    },
    /// End a key at once and for good
    Revoke {
        /// The key's id: what stands between `weir_` and the next `_`
        id: String,
        #[command(flatten)]
        place: KeysPlace,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir keys create operator --operator --data-dir /var/lib/weir      (the first one, the server being stopped)
  weir keys create 'backend of acme' --namespace acme --scope ingest --events-per-second 5000
  WEIR_KEY=weir_… weir keys create dashboard --scope query --expires-in 2160h

The key goes to stdout, everything else to stderr. Of its secret only a hash is kept.")]
pub struct CreateKeyArgs {
    /// Name for people
    name: String,
    /// Whose data it opens [default: that of the key that makes it; in a folder: default]
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// What it may be used for: one, or several with commas between them
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = ["ingest", "query", "admin"])]
    scope: Vec<String>,
    /// A key that manages the keys of every namespace, and does nothing else
    #[arg(long, conflicts_with_all = ["namespace", "scope"])]
    operator: bool,
    /// For how long it lets in [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    expires_in: Option<Duration>,
    /// Most requests in a second, on average [default: no limit]
    #[arg(long, value_name = "COUNT")]
    requests_per_second: Option<NonZeroU32>,
    /// Most events in a second, on average [default: no limit]
    #[arg(long, value_name = "COUNT")]
    events_per_second: Option<NonZeroU32>,
    /// How to print the key: its text alone, or all of it
    #[arg(long, default_value = "table")]
    pub(in crate::cli) format: Format,
    #[command(flatten)]
    pub(in crate::cli) place: KeysPlace,
}

impl CreateKeyArgs {
    pub fn key(&self) -> Result<KeyCreate, Failure> {
        if !self.operator && self.scope.is_empty() {
            return Err(Failure::usage("a key needs a scope").advice(
                "--scope ingest, --scope query or --scope admin, or several of them; or --operator",
            ));
        }
        let expires_us = self.expires_in.map(|life| {
            let life_us = i64::try_from(life.as_micros()).unwrap_or(i64::MAX);
            SystemClock.now_us().saturating_add(life_us)
        });
        Ok(KeyCreate {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            operator: self.operator,
            scopes: self.scope.clone(),
            expires_at: expires_us.map(format_utc),
            requests_per_second: self.requests_per_second,
            events_per_second: self.events_per_second,
        })
    }
}

/// How a key is rolled, as the wire has it.
pub(in crate::cli) fn roll(overlap: Duration) -> KeyRoll {
    KeyRoll { overlap_seconds: Some(u32::try_from(overlap.as_secs()).unwrap_or(u32::MAX)) }
}

/// A duration, or nothing of it.
fn overlap(text: &str) -> Result<Duration, String> {
    if text == "0" {
        Ok(Duration::ZERO)
    } else {
        duration::parse(text).map_err(|reason| format!("{reason}, nor 0"))
    }
}
