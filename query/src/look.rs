//! The first step of a question: one consistent look at the head, the listing and the meter, and how
//! much of it the question is about. The head comes first and the meter last: what a flush moves from
//! the head to rest in between is then found in both, and dropped from the head by the frontier; and
//! the meter is the one of the very revision that the answer names.

use weir_catalog::{Floor, Listing};
use weir_meter::time::format_utc;
use weir_meter::{Generation, Meter, Namespace, OffsetRange};
use weir_proto::{Position, PositionKind};

use crate::error::QueryError;
use crate::planner::Shelf;
use crate::request::UsageRequest;
use crate::service::QueryService;
use crate::shown::shown;

/// Looks that may be taken until head and listing agree on which generation a meter's name stands for.
/// One that still differs then is right as well: what the head did not fold is answered from rows.
const LOOKS_MAX: usize = 4;

/// How a question is to be answered, beside what is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub position: Option<Position>,
    /// Both, unless one is asked for by itself, for tests and for those who doubt the other.
    pub only: Option<ReadOnly>,
}

/// What an answer may be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnly {
    /// Rows at rest: nothing that was stored as a window.
    Rows,
    /// Stored windows, also those in the head: no row.
    Segments,
}

impl Ask {
    /// The position that the answer has to be as of.
    pub(crate) fn exactly(&self) -> Option<&Position> {
        self.position.as_ref().filter(|position| position.kind == PositionKind::Exactly)
    }
}

/// What a question is answered from.
pub(crate) struct Look {
    pub(crate) meter: Meter,
    pub(crate) shelf: Shelf,
    /// Offsets above these do not count.
    pub(crate) ends: Vec<OffsetRange>,
    /// What the ends and the meter are as of.
    pub(crate) position: Position,
    pub(crate) floor: Option<Floor>,
}

impl QueryService {
    /// The meter that a name stands for, now or at a position.
    pub(crate) async fn meter_for(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        exactly: Option<&Position>,
    ) -> Result<Meter, QueryError> {
        let catalog = &self.parts.catalog;
        match exactly {
            Some(position) => {
                let meter = catalog.meter_at(namespace, id_or_slug, position.revision).await?;
                living(meter, id_or_slug, position.revision)
            }
            None => living(catalog.meter(namespace, id_or_slug).await?, id_or_slug, u64::MAX),
        }
    }

    /// Looks for the answer to a question about a meter, whose generation `expected` is a guess.
    pub(crate) async fn look(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        ask: &Ask,
        expected: Generation,
    ) -> Result<Look, QueryError> {
        let mut wanted = expected;
        let mut looks = 1;
        loop {
            let (shelf, listing) = self.shelf(&[wanted]).await?;
            let revision = ask.exactly().map_or(listing.revision, |position| position.revision);
            let meter = self.parts.catalog.meter_at(namespace, id_or_slug, revision).await?;
            let meter = living(meter, id_or_slug, revision)?;
            if meter.key() == wanted || looks == LOOKS_MAX {
                let (ends, position) = self.scope(&shelf, &listing, ask).await?;
                let floor = listing.floors.get(namespace).copied();
                return Ok(Look { meter, shelf, ends, position, floor });
            }
            wanted = meter.key();
            looks += 1;
        }
    }

    /// How far the answer goes, and the position that says so.
    pub(crate) async fn scope(
        &self,
        shelf: &Shelf,
        listing: &Listing,
        ask: &Ask,
    ) -> Result<(Vec<OffsetRange>, Position), QueryError> {
        if ask.position.as_ref().is_some_and(|position| position.revision > listing.revision) {
            return Err(self.not_visible());
        }
        if let Some(position) = ask.exactly() {
            let ends = shelf.ends_at(position.epoch, &position.offsets);
            return Ok((ends.ok_or_else(|| self.not_visible())?, position.clone()));
        }
        let ends = shelf.ends();
        let epoch = match ends.iter().map(|end| end.epoch).max() {
            Some(epoch) => epoch,
            None => self.parts.catalog.epochs().await?.last().map_or(0, |epoch| epoch.epoch),
        };
        let newest = ends.iter().filter(|end| end.epoch == epoch);
        let position = Position {
            kind: PositionKind::Exactly,
            incarnation: self.parts.catalog.installation().incarnation,
            epoch,
            offsets: newest.map(|end| (end.partition, end.to)).collect(),
            revision: listing.revision,
        };
        Ok((ends, position))
    }
}

/// The meter, if there is one and it had not been deleted at the revision. A deleted one stands for no
/// number any more, as its windows end with it; positions from before its end still answer.
fn living(meter: Option<Meter>, id_or_slug: &str, revision: u64) -> Result<Meter, QueryError> {
    let meter = meter.ok_or_else(|| QueryError::no_meter(id_or_slug))?;
    match (meter.deleted_revision, meter.deleted_at_us) {
        (Some(deleted), Some(at_us)) if deleted <= revision => Err(QueryError::NotFound(format!(
            "meter not found: {} was deleted at {}; only a position from before then answers for it",
            shown(id_or_slug),
            format_utc(at_us)
        ))),
        _ => Ok(meter),
    }
}

impl Look {
    /// Holds a question to the floor of its namespace. Returns the floor if the answer begins there
    /// because the question did not say where.
    pub(crate) fn hold_to_floor(
        &self,
        request: &mut UsageRequest,
        ask: &Ask,
    ) -> Result<Option<i64>, QueryError> {
        let Some(Floor { floor_us, revision }) = self.floor else { return Ok(None) };
        let reaches_below = request.from_us.is_none_or(|from_us| from_us < floor_us);
        let floor = format_utc(floor_us);
        if ask.exactly().is_some_and(|position| position.revision < revision) {
            if !reaches_below {
                return Ok(None);
            }
            let detail = format!(
                "since the position was made, events before {floor} have been deleted or may be at any moment; ask with from={floor} or later, or without the position"
            );
            return Err(QueryError::Gone { kind: "below-floor", detail });
        }
        if !reaches_below {
            return Ok(None);
        }
        if request.from_us.is_none() && request.to_us.is_some_and(|to_us| to_us <= floor_us) {
            return Err(QueryError::invalid(
                "below-floor",
                format!(
                    "events before {floor} have been deleted or may be at any moment, and all before `to` lie there; ask with from={floor} or later and a later `to`"
                ),
            ));
        }
        if request.from_us.is_some() {
            return Err(QueryError::invalid(
                "below-floor",
                format!(
                    "events before {floor} have been deleted or may be at any moment; ask with from={floor} or later, or leave from away to begin there"
                ),
            ));
        }
        request.from_us = Some(floor_us);
        Ok(Some(floor_us))
    }
}
