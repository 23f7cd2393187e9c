//! What may change transactionally: meters, and the commit records that make counting exactly once.
//! One trait; `sqlite` is the embedded implementation. Every method is one transaction.

mod check;
mod keys;
mod metrics;
mod model;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use weir_meter::segment::Segment;
use weir_meter::{Generation, Meter, MeterId, Namespace, SegmentId, WriterId};

pub use keys::{
    ApiKey, Grant, KEY_ID_CHARS, KEY_NAME_CHARS_MAX, KeyId, KeyLimits, KeyQuery, KeyTable, KeysOf,
    NAMESPACE_BYTES_MAX, NewKey, NotAKeyId, Roll, Scope, Scopes, SecretHash, check_namespace,
};
pub use metrics::describe_metrics;
pub use model::{
    Commit, CommitOutcome, EpochRow, Floor, Frontier, FrontierMove, Installation, Listing, MeterDraft,
    MeterOrder, MeterQuery, MeterUpdate, OpenWriter, Swap, SwapOutcome, Wide,
};

/// What is wrong with the catalog, or with what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The request contradicts what is stored; change the request.
    #[error("{0}")]
    Conflict(String),
    /// There are as many of something as the setting allows.
    #[error("{detail}")]
    Full { setting: &'static str, detail: String },
    #[error("{0}")]
    NotFound(String),
    /// The catalog is of another installation, of a newer format, or damaged.
    #[error("{0}")]
    Unusable(String),
    /// The database failed; the outcome of the transaction is unknown unless said otherwise.
    #[error("catalog {context}: {reason}")]
    Database { context: &'static str, reason: String },
}

#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// The one installation row; made when the catalog is made.
    fn installation(&self) -> &Installation;

    /// All epochs, oldest first.
    async fn epochs(&self) -> Result<Vec<EpochRow>, CatalogError>;

    /// Opens an epoch if there is none yet, and returns the newest one.
    async fn ensure_epoch(
        &self,
        place: &str,
        partitions: u32,
        identity_window_s: u64,
        now_us: i64,
    ) -> Result<EpochRow, CatalogError>;

    /// Registers a writer as open.
    async fn open_writer(&self, writer: WriterId, now_us: i64) -> Result<(), CatalogError>;

    /// Closes a writer: from here on it can commit nothing. Closing twice is fine.
    async fn close_writer(&self, writer: WriterId, now_us: i64) -> Result<(), CatalogError>;

    /// Every writer ever opened, open or closed.
    async fn writers(&self) -> Result<Vec<OpenWriter>, CatalogError>;

    /// The compare-and-set of a flush: checks that the writer is open, moves every frontier or
    /// none, records ownership, keeps the last records' hashes and lists the segments.
    async fn commit(&self, commit: Commit) -> Result<CommitOutcome, CatalogError>;

    /// The compare-and-set of compaction, refold and retention: takes segments off the listing and
    /// lists others in their place, if each of the former is still listed.
    async fn swap(&self, swap: Swap) -> Result<SwapOutcome, CatalogError>;

    /// Forgets segments that were taken off the listing before this time. Only once it has returned may
    /// their files go.
    async fn forget_segments(&self, delisted_before_us: i64) -> Result<Vec<Segment>, CatalogError>;

    /// Frontiers, listed segments and revision from one snapshot. Cheap: safe to call per query.
    async fn listing(&self) -> Result<Arc<Listing>, CatalogError>;

    /// Ids of every segment that is listed, or was and is still kept.
    async fn kept_segments(&self) -> Result<Vec<SegmentId>, CatalogError>;

    /// Adds a meter under a new revision. The draft has been validated.
    async fn create_meter(
        &self,
        namespace: &Namespace,
        draft: MeterDraft,
        id: MeterId,
        now_us: i64,
    ) -> Result<Meter, CatalogError>;

    /// A meter by id (ULID, also when deleted) or by slug (living ones only).
    async fn meter(&self, namespace: &Namespace, id_or_slug: &str) -> Result<Option<Meter>, CatalogError>;

    /// The generation that the id or slug stood for at a revision: of an id the newest one made by then,
    /// ended or not; of a slug the one that lived.
    async fn meter_at(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        revision: u64,
    ) -> Result<Option<Meter>, CatalogError>;

    async fn meters(&self, namespace: &Namespace, query: &MeterQuery) -> Result<Vec<Meter>, CatalogError>;

    /// Changes a living meter; a changed group-by is a new generation under a new revision. None if
    /// there is no such meter.
    async fn update_meter(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        update: MeterUpdate,
        now_us: i64,
    ) -> Result<Option<Meter>, CatalogError>;

    /// Notes that a generation has too many groups to keep windows of. The first note stays.
    async fn note_wide(&self, generation: Generation, wide: Wide) -> Result<(), CatalogError>;

    /// Raises the floor of a namespace under a new revision, before anything below it is deleted. A floor
    /// is never lowered: asked for a lower one, nothing changes and the one in force is returned.
    async fn raise_floor(
        &self,
        namespace: &Namespace,
        floor_us: i64,
        now_us: i64,
    ) -> Result<Floor, CatalogError>;

    /// Ends a meter under a new revision. False if there is none of that name; ending an ended one
    /// by its id is true and changes nothing.
    async fn delete_meter(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        now_us: i64,
    ) -> Result<bool, CatalogError>;

    /// The newest revision and every generation of every namespace that lives at it. Cheap: safe to
    /// call per batch of records.
    async fn live_meters(&self) -> Result<(u64, Arc<Vec<Arc<Meter>>>), CatalogError>;

    /// The API keys, which only a server's door asks for.
    fn keys(&self) -> &dyn Keys;

    /// Flushes and closes the database.
    async fn close(&self);
}

/// The API keys of a catalog. None of this takes a revision: no number changes with it.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Every key that was not revoked, and whether there is any key at all; None if no key has changed since
    /// the table with this number. Cheap: safe to call every second.
    async fn table(&self, known: Option<u64>) -> Result<Option<KeyTable>, CatalogError>;

    /// Adds a key.
    async fn create(&self, key: NewKey, now_us: i64) -> Result<ApiKey, CatalogError>;

    /// Keys in order, a page of them.
    async fn page(&self, query: &KeyQuery) -> Result<Vec<ApiKey>, CatalogError>;

    /// Makes a key with the grant, limits, name and length of life of an old one, and lets that one expire.
    /// None if there is no such key among these.
    async fn roll(
        &self,
        of: &KeysOf,
        id: &KeyId,
        roll: Roll,
        now_us: i64,
    ) -> Result<Option<ApiKey>, CatalogError>;

    /// Ends a key at once and for good. False if there is no such key among these; ending an ended one is
    /// true and changes nothing.
    async fn revoke(&self, of: &KeysOf, id: &KeyId, now_us: i64) -> Result<bool, CatalogError>;
}
