//! Who is let in. One layer before everything that answers reads the credential, over HTTP and gRPC alike, finds
//! its key in a table in memory, and says to what follows which namespace it is for. The table is a value that
//! is exchanged whole: after each change made here before that is answered, and every second for changes
//! that another process made.

mod bucket;
mod refusal;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::{HeaderMap, header};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use weir_catalog::{
    ApiKey, Catalog, CatalogError, Grant, KeyId, KeyTable, KeysOf, NewKey, Roll, Scope, Scopes,
};
use weir_ingest::EventAllowance;
use weir_meter::Namespace;
use weir_meter::environment::Clock;

use self::bucket::Bucket;
use self::refusal::Refusal;
use self::routes::{Found, Needs, find};
use super::metrics;
use crate::keys::token::Token;
use crate::settings::Settings;

/// How often changes of another process are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Names of the limits of a key, as answers and metrics have them.
const REQUESTS: &str = "requests_per_s";
const EVENTS: &str = "events_per_s";

/// Whether a server without keys lets everybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Openness {
    /// Other machines can reach it.
    Never,
    /// Nobody can reach it but who is on this machine anyway.
    Loopback,
    /// It was told to.
    Everywhere,
}

impl Openness {
    pub(crate) fn of(settings: &Settings) -> Self {
        match (settings.insecure_open, settings.is_reachable()) {
            (true, _) => Self::Everywhere,
            (false, true) => Self::Never,
            (false, false) => Self::Loopback,
        }
    }
}

/// Keys in memory.
pub(super) struct Access {
    catalog: Arc<dyn Catalog>,
    clock: Arc<dyn Clock>,
    openness: Openness,
    table: ArcSwap<Table>,
    /// Held from a change, or a look, until the table shows it: an older look must not undo a newer change.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    number: u64,
    any: bool,
    keys: HashMap<KeyId, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    key: ApiKey,
    requests: Option<Arc<Bucket>>,
    events: Option<Arc<Bucket>>,
}

/// Whose request it is. What manages keys looks at it.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// There are no keys, and nobody is asked for one.
    Anybody,
    Key(Grant),
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("openness", &self.openness).finish_non_exhaustive()
    }
}

impl Access {
    /// Reads the keys for the first time.
    pub(super) async fn open(
        catalog: Arc<dyn Catalog>,
        clock: Arc<dyn Clock>,
        openness: Openness,
    ) -> Result<Self, CatalogError> {
        let read = catalog
            .keys()
            .table(None)
            .await?
            .ok_or_else(|| CatalogError::Unusable("the catalog has no table of keys".to_owned()))?;
        let table = Table::of(read, &Table::default(), clock.now_us());
        Ok(Self {
            catalog,
            clock,
            openness,
            table: ArcSwap::from_pointee(table),
            changing: Default::default(),
        })
    }

    /// Looks for changes of other processes until it is told to stop. While the catalog cannot be read, the
    /// keys that were read last stay in force.
    pub(super) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            let _changing = self.changing.lock().await;
            let looked = self.look().await;
            match &looked {
                Err(error) if !failing => {
                    tracing::warn!(%error, "the keys cannot be read again; those that were read last stay in force");
                }
                Ok(()) if failing => tracing::info!("the keys can be read again"),
                _ => {}
            }
            failing = looked.is_err();
        }
    }

    /// Whether nobody is asked for a key.
    pub(super) fn is_open(&self) -> bool {
        self.openness != Openness::Never && !self.table.load().any
    }

    /// Whoever comes first to a server that is open to the world must not lock out the others.
    pub(super) fn may_create(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Anybody => self.openness == Openness::Loopback,
            Caller::Key(_) => true,
        }
    }

    pub(super) async fn create(
        &self,
        caller: &Caller,
        key: NewKey,
        now_us: i64,
    ) -> Result<ApiKey, CatalogError> {
        let _changing = self.changing.lock().await;
        if matches!(caller, Caller::Anybody) && !self.is_open() {
            let sentence =
                "somebody has made the first key just now, and keys are asked for from here on; send one";
            return Err(CatalogError::Conflict(sentence.to_owned()));
        }
        let made = self.catalog.keys().create(key, now_us).await;
        self.look_after_change().await;
        made
    }

    pub(super) async fn roll(
        &self,
        of: &KeysOf,
        id: &KeyId,
        roll: Roll,
        now_us: i64,
    ) -> Result<Option<ApiKey>, CatalogError> {
        let _changing = self.changing.lock().await;
        let rolled = self.catalog.keys().roll(of, id, roll, now_us).await;
        self.look_after_change().await;
        rolled
    }

    /// Once this has returned, the key lets nobody in any more.
    pub(super) async fn revoke(&self, of: &KeysOf, id: &KeyId, now_us: i64) -> Result<bool, CatalogError> {
        let _changing = self.changing.lock().await;
        let revoked = self.catalog.keys().revoke(of, id, now_us).await;
        if matches!(revoked, Ok(true)) {
            // Whether or not the table can be read anew.
            let before = self.table.load();
            let keys = before.keys.iter().filter(|(known, _)| *known != id);
            let keys = keys.map(|(id, entry)| (id.clone(), Arc::clone(entry))).collect();
            self.table.store(Arc::new(Table { number: before.number, any: before.any, keys }));
        }
        self.look_after_change().await;
        revoked
    }

    async fn look_after_change(&self) {
        if let Err(error) = self.look().await {
            tracing::warn!(%error, "the keys cannot be read after a change; it takes effect with the next look");
        }
    }

    async fn look(&self) -> Result<(), CatalogError> {
        let before = self.table.load();
        if let Some(read) = self.catalog.keys().table(Some(before.number)).await? {
            self.table.store(Arc::new(Table::of(read, &before, self.clock.now_us())));
        }
        Ok(())
    }

    /// Tells what follows whose request it is; or answers it, if it is not let in.
    pub(super) fn refuse(&self, request: &mut Request, is_grpc: bool) -> Option<Response> {
        let refusal = self.decide(request).err()?;
        if let Refusal::TooMany { limit, .. } = refusal {
            metrics::refused(limit);
        }
        tracing::debug!(?refusal, "a request was not let in");
        Some(refusal.into_response(is_grpc))
    }

    fn decide(&self, request: &mut Request) -> Result<(), Refusal> {
        let found = match request.extensions().get::<MatchedPath>() {
            Some(path) => find(request.method(), path.as_str()),
            // Nothing is there: whoever may come in is told so.
            None => Found::Needs(Needs::AnyKey),
        };
        if found == Found::Needs(Needs::Nothing) {
            return Ok(());
        }
        let caller = self.caller(request)?;
        let needs = match found {
            Found::Needs(needs) => needs,
            Found::Methods(allowed) => {
                let path = super::http::shortened(request.uri().path()).into_owned();
                return Err(Refusal::Method { method: request.method().to_string(), path, allowed });
            }
            Found::Nobody => {
                tracing::error!(
                    path = request.uri().path(),
                    "a route is not in the table of routes; please report this"
                );
                return Err(Refusal::Nobody);
            }
        };
        allow(&caller, needs)?;
        let namespace = match &caller {
            Caller::Anybody => Some(Namespace::default()),
            Caller::Key(grant) => grant.namespace().cloned(),
        };
        if let Some(namespace) = namespace {
            request.extensions_mut().insert(namespace);
        }
        request.extensions_mut().insert(caller);
        Ok(())
    }

    /// Reads the credential, and takes the request from what its key may do.
    fn caller(&self, request: &mut Request) -> Result<Caller, Refusal> {
        let table = self.table.load();
        if self.openness != Openness::Never && !table.any {
            return Ok(Caller::Anybody);
        }
        let token = credential(request.headers())?;
        let now_us = self.clock.now_us();
        let hash = token.hash();
        let entry = table.keys.get(token.id()).filter(|entry| entry.key.secret_hash == hash);
        let entry = entry.filter(|entry| entry.key.is_usable(now_us)).ok_or(Refusal::Unknown)?;
        if let Some(bucket) = &entry.requests {
            bucket
                .take(1, now_us)
                .map_err(|retry_after_seconds| Refusal::TooMany { limit: REQUESTS, retry_after_seconds })?;
        }
        if let Some(bucket) = &entry.events {
            let (bucket, clock) = (Arc::clone(bucket), Arc::clone(&self.clock));
            request.extensions_mut().insert(EventAllowance::new(EVENTS, move |events| {
                bucket.take(events, clock.now_us()).inspect_err(|_| metrics::refused(EVENTS))
            }));
        }
        Ok(Caller::Key(entry.key.grant.clone()))
    }
}

/// Whether this caller may do what needs this.
fn allow(caller: &Caller, needs: Needs) -> Result<(), Refusal> {
    let needed = match needs {
        Needs::Nothing | Needs::AnyKey => return Ok(()),
        Needs::Scope(scope) => scope,
        Needs::Keys => Scope::Admin,
    };
    match caller {
        Caller::Anybody => Ok(()),
        Caller::Key(Grant::Operator) if needs == Needs::Keys => Ok(()),
        Caller::Key(Grant::Operator) => Err(Refusal::Operator { needed }),
        Caller::Key(Grant::Tenant { scopes, .. }) if scopes.contains(needed) => Ok(()),
        Caller::Key(Grant::Tenant { scopes, .. }) => {
            Err(Refusal::Scope { needed, held: Scopes::clone(scopes) })
        }
    }
}

/// The key in the one `Authorization` header there may be.
fn credential(headers: &HeaderMap) -> Result<Token, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Refusal::Missing),
        (Some(value), None) => value,
        _ => return Err(Refusal::Malformed),
    };
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, token) = text.trim().split_once(' ').ok_or(Refusal::Malformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Malformed);
    }
    Token::parse(token.trim_start()).map_err(|_| Refusal::Malformed)
}

impl Table {
    /// What is left of a rate stays with its key, as long as the rate is the same.
    fn of(read: KeyTable, before: &Self, now_us: i64) -> Self {
        let keys = read.keys.into_iter().map(|key| {
            let old = before.keys.get(&key.id);
            let bucket = |rate: Option<std::num::NonZeroU32>, kept: Option<&Arc<Bucket>>| {
                let kept = kept.filter(|bucket| Some(bucket.rate()) == rate).map(Arc::clone);
                kept.or_else(|| rate.map(|rate| Arc::new(Bucket::new(rate, now_us))))
            };
            let requests = bucket(key.limits.requests_per_s, old.and_then(|old| old.requests.as_ref()));
            let events = bucket(key.limits.events_per_s, old.and_then(|old| old.events.as_ref()));
            (key.id.clone(), Arc::new(Entry { key, requests, events }))
        });
        Self { number: read.number, any: read.any, keys: keys.collect() }
    }
}
