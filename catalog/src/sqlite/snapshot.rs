//! What flushes and queries ask for all the time, as one immutable value: the listing and the meters
//! that live, of one and the same commit. It is derived from the value before it, so that a commit
//! costs as much with ten thousand segments as with ten, and read from the tables only at open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metrics::gauge;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::{Generation, Meter, MeterId, Namespace, OffsetRange, SegmentId};

use super::columns::{damaged, get, id, number};
use super::connection::failed;
use super::{floors, meters, segments, wide};
use crate::metrics::{LISTED_SEGMENTS, LIVING_METERS, RETIRED_SEGMENTS, REVISION};
use crate::{CatalogError, Floor, Frontier, Listing, Wide};

#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// Frontiers, segments and retired segments in the order of their offsets.
    pub(super) listing: Arc<Listing>,
    /// Sorted by id.
    pub(super) meters: Arc<Vec<Arc<Meter>>>,
}

/// What memory knows of a meter at a revision.
pub(super) enum Known {
    Answer(Option<Arc<Meter>>),
    /// The tables know, as of this revision.
    LookUp {
        revision: u64,
    },
}

impl Snapshot {
    /// What an id or slug stood for at a revision. Only what is not the living generation, or was
    /// not it yet, has to be looked up.
    pub(super) fn meter_at(&self, namespace: &Namespace, id_or_slug: &str, revision: u64) -> Known {
        let newest = self.listing.revision;
        // Later ones are not known yet; the newest is what counts for them so far.
        let revision = revision.min(newest);
        let by_then =
            |meter: &&Arc<Meter>| meter.namespace == *namespace && meter.created_revision <= revision;
        if let Ok(id) = id_or_slug.parse::<MeterId>() {
            // Generations of a meter come one after the other: a living one made by then is the newest
            // of then.
            let at = self.meters.binary_search_by_key(&id, |meter| meter.id).ok();
            return match at.and_then(|at| self.meters.get(at)).filter(by_then) {
                Some(found) => Known::Answer(Some(Arc::clone(found))),
                None => Known::LookUp { revision },
            };
        }
        match self.meters.iter().find(|meter| meter.slug == id_or_slug && by_then(meter)) {
            Some(found) => Known::Answer(Some(Arc::clone(found))),
            None if revision == newest => Known::Answer(None),
            None => Known::LookUp { revision },
        }
    }

    /// The state after a flush.
    pub(super) fn with_flush(&self, moved: Vec<Frontier>, listed: Vec<Segment>) -> Self {
        let mut listing = Listing::clone(&self.listing);
        for frontier in moved {
            let key = (frontier.epoch, frontier.partition);
            match listing.frontiers.binary_search_by_key(&key, |f| (f.epoch, f.partition)) {
                Ok(at) => listing.frontiers.splice(at..=at, [frontier]).for_each(drop),
                Err(at) => listing.frontiers.insert(at, frontier),
            }
        }
        listed.into_iter().for_each(|segment| insert(&mut listing.segments, segment));
        self.with_listing(listing)
    }

    /// The state after some segments took the place of others.
    pub(super) fn with_swap(&self, removed: Vec<Segment>, now_us: i64, added: Vec<Segment>) -> Self {
        let mut listing = Listing::clone(&self.listing);
        let gone: BTreeSet<SegmentId> = removed.iter().map(|segment| segment.new.segment).collect();
        listing.segments.retain(|segment| !gone.contains(&segment.new.segment));
        for segment in removed.into_iter().filter(is_source) {
            insert(&mut listing.retired, Segment { delisted_at_us: Some(now_us), ..segment });
        }
        added.into_iter().for_each(|segment| insert(&mut listing.segments, segment));
        self.with_listing(listing)
    }

    /// The state after retired segments were forgotten.
    pub(super) fn with_forgotten(&self, forgotten: &BTreeSet<SegmentId>) -> Self {
        let mut listing = Listing::clone(&self.listing);
        listing.retired.retain(|segment| !forgotten.contains(&segment.new.segment));
        self.with_listing(listing)
    }

    /// The state after a floor was raised.
    pub(super) fn with_floors(&self, revision: u64, floors: BTreeMap<Namespace, Floor>) -> Self {
        self.with_listing(Listing { revision, floors: Arc::new(floors), ..Listing::clone(&self.listing) })
    }

    /// The state after a wide meter was noted.
    pub(super) fn with_wide(&self, wide: BTreeMap<Generation, Wide>) -> Self {
        self.with_listing(Listing { wide: Arc::new(wide), ..Listing::clone(&self.listing) })
    }

    fn with_listing(&self, listing: Listing) -> Self {
        Self { listing: Arc::new(listing), meters: Arc::clone(&self.meters) }
    }

    /// The state after a meter came, changed or went.
    pub(super) fn with_meters(&self, revision: u64, meters: Vec<Arc<Meter>>) -> Self {
        let listing = Listing { revision, ..Listing::clone(&self.listing) };
        Self { listing: Arc::new(listing), meters: Arc::new(meters) }
    }

    pub(super) fn measure(&self) {
        gauge!(LISTED_SEGMENTS).set(self.listing.segments.len() as f64);
        gauge!(RETIRED_SEGMENTS).set(self.listing.retired.len() as f64);
        gauge!(LIVING_METERS).set(self.meters.len() as f64);
        gauge!(REVISION).set(self.listing.revision as f64);
    }
}

/// Rows of old positions are read from the rows that replaced them, which hold the same.
fn is_source(segment: &Segment) -> bool {
    segment.new.kind != SegmentKind::Rows
}

fn insert(segments: &mut Vec<Arc<Segment>>, segment: Segment) {
    let at = segments.partition_point(|other| order(other) < order(&segment));
    segments.insert(at, Arc::new(segment));
}

fn in_order(mut segments: Vec<Segment>) -> Vec<Arc<Segment>> {
    segments.sort_by(|a, b| order(a).cmp(&order(b)));
    segments.into_iter().map(Arc::new).collect()
}

/// Where a segment begins, then what it holds: the same after a restart as before it.
pub(super) fn order(segment: &Segment) -> (Option<OffsetRange>, &'static str, SegmentId) {
    (segment.new.coverage.ranges.first().copied(), segment.new.kind.name(), segment.new.segment)
}

/// Reads everything from one state of the tables.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Snapshot, CatalogError> {
    let mut tx = connection.begin().await.map_err(failed("begin"))?;
    let revision = revision(&mut tx).await?;
    let frontiers = frontiers(&mut tx).await?;
    let segments = in_order(segments::listed(&mut tx).await?);
    let retired = segments::delisted(&mut tx, i64::MAX).await?;
    let retired = in_order(retired.into_iter().filter(is_source).collect());
    let floors = Arc::new(floors::all(&mut tx).await?);
    let wide = Arc::new(wide::all(&mut tx).await?);
    let meters = Arc::new(meters::living(&mut tx).await?);
    tx.rollback().await.map_err(failed("end a look"))?;
    let listing = Listing { revision, frontiers, segments, retired, floors, wide };
    let snapshot = Snapshot { listing: Arc::new(listing), meters };
    snapshot.measure();
    Ok(snapshot)
}

pub(super) async fn revision(connection: &mut SqliteConnection) -> Result<u64, CatalogError> {
    let row = sqlx::query("SELECT revision FROM installation")
        .fetch_one(connection)
        .await
        .map_err(failed("read the revision"))?;
    number(&row, "revision")
}

pub(super) async fn frontiers(connection: &mut SqliteConnection) -> Result<Vec<Frontier>, CatalogError> {
    let rows = sqlx::query("SELECT * FROM frontiers ORDER BY epoch, partition")
        .fetch_all(connection)
        .await
        .map_err(failed("read the frontiers"))?;
    rows.iter().map(read_frontier).collect()
}

pub(super) fn read_frontier(row: &SqliteRow) -> Result<Frontier, CatalogError> {
    let next_offset = number(row, "next_offset")?;
    if next_offset == 0 {
        return Err(damaged("frontiers", "a partition that never moved has a row"));
    }
    Ok(Frontier {
        epoch: number(row, "epoch")?,
        partition: number(row, "partition")?,
        next_offset,
        record_time_max_us: get(row, "max_record_time_us")?,
        last_record_hash: id(row, "last_record_hash")?,
    })
}
