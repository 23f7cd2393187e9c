//! What flushes and queries ask for all the time, as one immutable value: the listing and the meters
//! that live, of one and the same commit. It is derived from the value before it, so that a commit
//! costs as much with ten thousand segments as with ten, and read from the tables only at open.

use std::sync::Arc;

use metrics::gauge;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use weir_meter::segment::Segment;
use weir_meter::{Meter, OffsetRange, SegmentId};

use super::columns::{damaged, get, id, number};
use super::connection::failed;
use super::{meters, segments};
use crate::metrics::{LISTED_SEGMENTS, LIVING_METERS, REVISION};
use crate::{CatalogError, Frontier, Listing};

#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// Frontiers and segments in the order of their offsets.
    pub(super) listing: Arc<Listing>,
    /// Sorted by id.
    pub(super) meters: Arc<Vec<Arc<Meter>>>,
}

impl Snapshot {
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
        for segment in listed {
            let at = listing.segments.partition_point(|other| order(other) < order(&segment));
            listing.segments.insert(at, Arc::new(segment));
        }
        Self { listing: Arc::new(listing), meters: Arc::clone(&self.meters) }
    }

    /// The state after a meter came or went.
    pub(super) fn with_meters(&self, revision: u64, meters: Vec<Arc<Meter>>) -> Self {
        let listing = Listing { revision, ..Listing::clone(&self.listing) };
        Self { listing: Arc::new(listing), meters: Arc::new(meters) }
    }

    pub(super) fn measure(&self) {
        gauge!(LISTED_SEGMENTS).set(self.listing.segments.len() as f64);
        gauge!(LIVING_METERS).set(self.meters.len() as f64);
        gauge!(REVISION).set(self.listing.revision as f64);
    }
}

/// Where a segment begins, then what it holds: the same after a restart as before it.
fn order(segment: &Segment) -> (Option<OffsetRange>, &'static str, SegmentId) {
    (segment.new.coverage.ranges.first().copied(), segment.new.kind.name(), segment.new.segment)
}

/// Reads everything from one state of the tables.
pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Snapshot, CatalogError> {
    let mut tx = connection.begin().await.map_err(failed("begin"))?;
    let revision = revision(&mut tx).await?;
    let frontiers = frontiers(&mut tx).await?;
    let mut segments = segments::listed(&mut tx).await?;
    segments.sort_by(|a, b| order(a).cmp(&order(b)));
    let meters = meters::living(&mut tx).await?;
    tx.rollback().await.map_err(failed("end a look"))?;
    let segments = segments.into_iter().map(Arc::new).collect();
    let snapshot = Snapshot {
        listing: Arc::new(Listing { revision, frontiers, segments, ..Listing::default() }),
        meters: Arc::new(meters),
    };
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

async fn frontiers(connection: &mut SqliteConnection) -> Result<Vec<Frontier>, CatalogError> {
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
