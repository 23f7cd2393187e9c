//! How heavy a question is, told before its turn and without reading anything: about how many bytes of
//! segments its plan would read, and about as many for what the head has. What was looked at for it is let
//! go before the question waits, so that waiting keeps nothing of the head.

use jiff::tz::TimeZone;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::{Generation, Meter};
use weir_store::{RowSource, WindowSource};

use crate::error::QueryError;
use crate::lanes::Weight;
use crate::look::{Ask, ReadOnly};
use crate::planner::{self, Plan, Scope, Shelf, TimeRange, TimeSplit, Times};
use crate::request::UsageRequest;
use crate::service::QueryService;

/// Of a segment that a question touches at all, about as many bytes are read: its footer and a page or two
/// of each column.
const TOUCHED_BYTES: u64 = 32 << 10;
/// What one subject takes of a segment, as windows of a subject lie together.
const SUBJECT_BYTES: u64 = 128 << 10;
/// What a window or a row of the head counts for: about what it takes at rest.
const IN_HEAD_BYTES: u64 = 64;
/// The event list reads times and coordinates of all rows in its range, and the rest of a few.
const LISTED_PART: u64 = 8;

impl QueryService {
    pub(crate) async fn weigh(
        &self,
        meter: &Meter,
        request: &UsageRequest,
        ask: &Ask,
    ) -> Result<Weight, QueryError> {
        let (shelf, _) = self.shelf(&[meter.key()]).await?;
        let subjects = request.subjects.as_ref().map_or(usize::MAX, Vec::len);
        // What cannot be planned fails in its turn, with its reason.
        let bytes =
            planned(meter, request, ask, &shelf).map_or(u64::MAX, |plan| bytes(&plan, meter.key(), subjects));
        Ok(self.weight(bytes))
    }

    /// The weight of an event list.
    pub(crate) async fn weigh_list(&self, times: TimeRange) -> Result<Weight, QueryError> {
        let listing = self.parts.catalog.listing().await?;
        let times = Times::new([times]);
        let rows = listing.segments.iter().filter(|segment| segment.new.kind == SegmentKind::Rows);
        let bytes = rows.fold(0_u64, |sum, segment| sum.saturating_add(within(segment, &times)));
        Ok(self.weight(bytes / LISTED_PART))
    }

    fn weight(&self, bytes: u64) -> Weight {
        if bytes <= self.options.light_bytes_max { Weight::Light } else { Weight::Heavy }
    }
}

fn planned(meter: &Meter, request: &UsageRequest, ask: &Ask, shelf: &Shelf) -> Option<Plan> {
    let at_position = ask.exactly().and_then(|position| shelf.ends_at(position.epoch, &position.offsets));
    let zone = request.zone.clone().unwrap_or(TimeZone::UTC);
    let times = TimeRange::new(request.from_us, request.to_us);
    let scope = Scope {
        times: TimeSplit::new(times, request.window_size.map(|size| (size, &zone))),
        retired_after_us: None,
        windows: ask.only != Some(ReadOnly::Rows) && request.properties.is_empty(),
        ends: at_position.unwrap_or_else(|| shelf.ends()),
    };
    planner::plan(meter, shelf, &scope).ok()
}

fn bytes(plan: &Plan, generation: Generation, subjects: usize) -> u64 {
    let of_subjects = SUBJECT_BYTES.saturating_mul(subjects as u64);
    let in_head = |count: usize| IN_HEAD_BYTES.saturating_mul(count as u64);
    let mut sum = 0_u64;
    for part in &plan.windows {
        for source in part.sources.iter().chain(&part.members) {
            sum = sum.saturating_add(match source {
                WindowSource::Segment(segment) => within(segment, &part.times).min(of_subjects),
                WindowSource::Piece(piece) => {
                    in_head(piece.windows_of(generation).map_or(0, |found| found.windows.len()))
                }
            });
        }
    }
    for part in &plan.rows {
        for source in &part.sources {
            sum = sum.saturating_add(match source {
                RowSource::Segment(segment) => within(segment, &part.times),
                RowSource::Piece(piece) => in_head(piece.rows.iter().map(|step| step.len()).sum()),
            });
        }
    }
    sum
}

/// About how many bytes of a segment belong to the times.
fn within(segment: &Segment, times: &Times) -> u64 {
    let Some((first, last)) = segment.new.time_range_us else { return 0 };
    if !times.meet(first, last) {
        return 0;
    }
    let span = i128::from(last) - i128::from(first) + 1;
    let shared: i128 = times
        .pairs()
        .iter()
        .map(|(from, to)| i128::from((*to).min(last.saturating_add(1))) - i128::from((*from).max(first)))
        .map(|shared| shared.max(0))
        .sum();
    let part = i128::from(segment.new.byte_count).saturating_mul(shared) / span.max(1);
    u64::try_from(part).unwrap_or(u64::MAX).max(TOUCHED_BYTES)
}
