//! The event list: OpenMeter's contract 3.3 and 3.5. Two passes over rows at rest: the first reads
//! only times and coordinates and keeps the newest few, the second reads those few whole. Sources
//! are read from the newest down, and the first one that is older than all of the page ends it.

mod fetch;
mod newest;
mod problems;

use std::sync::Arc;

use weir_meter::{Coordinates, Namespace};
use weir_proto::Position;
use weir_store::{RowScan, RowSource, ScanCounters};

use crate::budget::Share;
use crate::error::QueryError;
use crate::look::Ask;
use crate::metrics;
use crate::names::check_name;
use crate::planner::{TimeRange, Times};
use crate::request::{check_client_id, no_customers, once, parameter, time};
use crate::service::QueryService;
use crate::usage::ReadCounts;

use newest::Newest;
use problems::EventCheck;

/// Events that one list can have.
pub const LIST_MAX: usize = 100;
/// How far back a list goes: 32 days.
const LOOK_BACK_US: i64 = 32 * 86_400 * SECOND_US;
const SECOND_US: i64 = 1_000_000;
const PARAMETERS: [&str; 9] =
    ["clientId", "ingestedAtFrom", "ingestedAtTo", "id", "subject", "customerId", "from", "to", "limit"];

/// Which events to list. Bounds are half-open, in whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsRequest {
    pub times: TimeRange,
    pub ingested: TimeRange,
    /// A part of the id.
    pub id: Option<String>,
    pub subject: Option<String>,
    pub limit: usize,
}

/// An event as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEvent {
    pub at: Coordinates,
    pub source: String,
    pub id: String,
    pub event_type: String,
    pub subject: String,
    pub time_us: i64,
    /// The JSON object as sent.
    pub data: Option<String>,
    pub ingested_at_us: i64,
    pub stored_at_us: i64,
    /// Why meters that select the event count less of it than they could, one line each.
    pub validation_error: Option<String>,
}

impl EventsRequest {
    pub fn from_query(query: &str, now_us: i64) -> Result<Self, QueryError> {
        let (mut client_id, mut id, mut subject, mut limit) = (None, None, None, None);
        let (mut from, mut to, mut ingested_from, mut ingested_to) = (None, None, None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "clientId" => &mut client_id,
                "ingestedAtFrom" => &mut ingested_from,
                "ingestedAtTo" => &mut ingested_to,
                "id" => &mut id,
                "subject" => &mut subject,
                "from" => &mut from,
                "to" => &mut to,
                "limit" => &mut limit,
                "customerId" => return Err(no_customers("customerId")),
                name => {
                    check_name(name, &PARAMETERS)?;
                    continue;
                }
            };
            once(slot, &name, value.into_owned())?;
        }
        check_client_id(client_id.as_deref())?;
        let oldest = now_us.saturating_sub(LOOK_BACK_US);
        let oldest = oldest - oldest.rem_euclid(SECOND_US);
        let since = |name: &str, text: Option<String>| match time(name, text.as_deref())? {
            Some(time) if time < oldest => {
                Err(parameter(format!("{name} must not be more than 32 days ago")))
            }
            time => Ok(time),
        };
        let range = |name: &str, from: Option<i64>, to: Option<i64>| match (from, to) {
            (Some(from), Some(to)) if from >= to => Err(parameter(
                format!("{name}From must be before {name}To")
                    .replace("timeFrom", "from")
                    .replace("timeTo", "to"),
            )),
            _ => Ok(TimeRange::new(from, to)),
        };
        let given_from = since("from", from)?;
        let to = time("to", to.as_deref())?;
        range("time", given_from, to)?;
        let from = given_from.unwrap_or(oldest.saturating_add(SECOND_US));
        let limit = match limit {
            None => LIST_MAX,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIST_MAX).contains(limit))
                .ok_or_else(|| parameter(format!("limit must be an integer from 1 to {LIST_MAX}")))?,
        };
        Ok(Self {
            times: TimeRange::new(Some(from), to),
            ingested: range(
                "ingestedAt",
                since("ingestedAtFrom", ingested_from)?,
                time("ingestedAtTo", ingested_to.as_deref())?,
            )?,
            id,
            subject,
            limit,
        })
    }
}

impl QueryService {
    /// The newest events that match: the latest time first, and of one time the last in the log. With a
    /// position that asks for it, only those below it; what lies below the namespace's floor is never listed.
    pub async fn events(
        &self,
        namespace: &Namespace,
        request: &EventsRequest,
        position: Option<Position>,
    ) -> Result<(Vec<ListedEvent>, ReadCounts), QueryError> {
        self.events_held(namespace, request, position).await.map(|(events, read, _)| (events, read))
    }

    /// The same, with the share of memory that the list holds.
    pub(crate) async fn events_held(
        &self,
        namespace: &Namespace,
        request: &EventsRequest,
        position: Option<Position>,
    ) -> Result<(Vec<ListedEvent>, ReadCounts, Arc<Share>), QueryError> {
        self.wait_for(position.as_ref()).await?;
        let ask = Ask { position, only: None };
        let weight = self.weigh_list(request.times).await?;
        self.run("events", weight, async {
            let counters = Arc::new(ScanCounters::default());
            let share = self.share();
            let mut events = Vec::new();
            if !request.times.is_empty() && !request.ingested.is_empty() {
                let newest = self.newest(namespace, request, &ask, &counters).await?;
                events = self.fetch(namespace, newest, &counters, &share).await?;
            }
            let (_, meters) = self.parts.catalog.live_meters().await?;
            let mut check = EventCheck::new(meters.iter().filter(|meter| meter.namespace == *namespace))?;
            for event in &mut events {
                event.validation_error = check.problems(&event.event_type, event.data.as_deref());
            }
            let read = ReadCounts::of(&counters);
            metrics::read(&read);
            Ok((events, read, share))
        })
        .await
    }

    /// Times and coordinates of the newest matches, each with the source it was found in.
    async fn newest(
        &self,
        namespace: &Namespace,
        request: &EventsRequest,
        ask: &Ask,
        counters: &Arc<ScanCounters>,
    ) -> Result<Newest, QueryError> {
        let (shelf, listing) = self.shelf(&[]).await?;
        let (ends, _) = self.scope(&shelf, &listing, ask).await?;
        let mut times = request.times;
        if let Some(floor) = listing.floors.get(namespace) {
            times.from_us = times.from_us.max(floor.floor_us);
        }
        let times = Times::new([times]);
        let mut sources = shelf.row_sources(&times);
        sources.sort_by_key(|source| std::cmp::Reverse(latest(source)));
        let mut newest = Newest::new(request.limit);
        for source in sources {
            if newest.full_above(latest(&source)) {
                break;
            }
            let scan = RowScan {
                sources: vec![source.clone()],
                offsets: ask.exactly().map(|_| ends.clone()),
                namespace: Some(namespace.clone()),
                event_type: None,
                subjects: request.subject.clone().map(|subject| vec![subject]),
                times_us: Some(times.pairs()),
                counted_only: true,
                recorded_after_us: None,
                columns: newest::COLUMNS.to_vec(),
                counters: Arc::clone(counters),
            };
            newest.read(self.parts.store.scan_rows(scan), &source, request).await?;
        }
        Ok(newest)
    }
}

/// No event of the source is later. A piece of the head keeps no such bound.
fn latest(source: &RowSource) -> i64 {
    match source {
        RowSource::Segment(segment) => segment.new.time_range_us.map_or(i64::MIN, |(_, last)| last),
        RowSource::Piece(_) => i64::MAX,
    }
}
