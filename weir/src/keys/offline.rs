//! Keys in the data folder of a server that is stopped. Whoever can write there is let do everything: the
//! folder holds all there is.

use std::path::PathBuf;
use std::sync::Arc;

use weir_catalog::sqlite::SqliteCatalog;
use weir_catalog::{Catalog, CatalogError, KeyId, KeyQuery, KeysOf, Roll};
use weir_meter::Namespace;
use weir_meter::environment::{Clock, Entropy};

use super::body::{KeyBody, KeyCreate, KeyRoll};
use super::token::Token;
use crate::data::{FolderLock, Place, open_catalog};
use crate::environment::{OsEntropy, SystemClock};
use crate::output::Failure;
use crate::serve::parts::{self, KeysNeeded};
use crate::settings::{Layer, Origin, SettingFlags, Settings};

/// A data folder, and the settings that say where the parts of it lie.
#[derive(Clone, Debug)]
pub struct Folder {
    pub data_dir: PathBuf,
    pub config: Option<PathBuf>,
}

impl Folder {
    fn settings(&self) -> Result<Settings, Failure> {
        let given = [("data_dir", self.data_dir.display().to_string())];
        let flags = SettingFlags { config: self.config.clone(), layer: Layer::of(Origin::Flag, given) };
        Ok(flags.resolve()?)
    }

    /// Also in a folder that is to become a data folder.
    pub(super) async fn create(&self, key: KeyCreate) -> Result<KeyBody, Failure> {
        let open = Open::of(&self.settings()?).await?;
        let (token, now_us) = (open.token()?, SystemClock.now_us());
        let default = Namespace::default();
        let new = key
            .draft(Some(&default), token.id().clone(), token.hash(), now_us)
            .map_err(|sentence| Failure::usage(sentence).advice("`weir keys create --help` has examples"))?;
        let made = open.catalog.keys().create(new, now_us).await;
        open.close().await;
        Ok(KeyBody::revealing(&made.map_err(failure)?, token.reveal()))
    }

    pub(super) async fn roll(&self, id: &str, how: KeyRoll) -> Result<KeyBody, Failure> {
        let id = key_id(id)?;
        let open = self.existing().await?;
        let (token, now_us) = (open.token()?, SystemClock.now_us());
        let roll = Roll {
            new_id: token.id().clone(),
            new_secret_hash: token.hash(),
            old_expires_us: how.old_expires_us(now_us),
        };
        let rolled = open.catalog.keys().roll(&KeysOf::Everyone, &id, roll, now_us).await;
        open.close().await;
        let made = rolled.map_err(failure)?.ok_or_else(|| no_key(&id))?;
        Ok(KeyBody::revealing(&made, token.reveal()))
    }

    pub(super) async fn revoke(&self, id: &str) -> Result<(), Failure> {
        let id = key_id(id)?;
        let open = self.existing().await?;
        let revoked = open.catalog.keys().revoke(&KeysOf::Everyone, &id, SystemClock.now_us()).await;
        open.close().await;
        if revoked.map_err(failure)? { Ok(()) } else { Err(no_key(&id)) }
    }

    /// Beside a running server too: nothing is written.
    pub(super) async fn list(&self, page: usize, size: usize, ended: bool) -> Result<Vec<KeyBody>, Failure> {
        let place = Place::of_server(self.config.clone(), Some(&self.data_dir))?;
        place.check_there()?;
        let catalog = open_catalog(&place.catalog).await?;
        let query = KeyQuery {
            of: KeysOf::Everyone,
            ended,
            now_us: SystemClock.now_us(),
            offset: page.saturating_sub(1).saturating_mul(size) as u64,
            limit: size as u64,
        };
        let listed = catalog.keys().page(&query).await;
        catalog.close().await;
        Ok(listed.map_err(failure)?.iter().map(KeyBody::of).collect())
    }

    async fn existing(&self) -> Result<Open, Failure> {
        Place::of_server(self.config.clone(), Some(&self.data_dir))?.check_there()?;
        Open::of(&self.settings()?).await
    }
}

/// A catalog that this process has for itself.
struct Open {
    catalog: Arc<SqliteCatalog>,
    entropy: Arc<dyn Entropy>,
    /// Goes last.
    _lock: FolderLock,
}

impl Open {
    async fn of(settings: &Settings) -> Result<Self, Failure> {
        let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
            (Arc::new(SystemClock), Arc::new(OsEntropy::default()));
        let opened = parts::open_catalog(settings, &clock, &entropy, KeysNeeded::No).await;
        let (catalog, lock) = opened.map_err(|error| {
            let in_use = matches!(error, crate::serve::ServeError::InUse { .. });
            let failure = Failure::from(error);
            if in_use {
                failure.advice(
                    "ask the server itself: name it with --url, and a key that may manage keys with --key",
                )
            } else {
                failure
            }
        })?;
        Ok(Self { catalog, entropy, _lock: lock })
    }

    fn token(&self) -> Result<Token, Failure> {
        Token::random(self.entropy.as_ref()).map_err(|error| Failure::new(error.to_string()))
    }

    async fn close(&self) {
        self.catalog.close().await;
    }
}

fn key_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|error: weir_catalog::NotAKeyId| {
        Failure::usage(error.to_string()).advice("`weir keys list` shows the ids; it is not the key itself")
    })
}

fn no_key(id: &KeyId) -> Failure {
    Failure::new(format!("there is no key {id}")).advice("`weir keys list --all` shows the keys there are")
}

fn failure(error: CatalogError) -> Failure {
    Failure::new(error.to_string())
}
