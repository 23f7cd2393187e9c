//! How heavy a question is, told before its turn and without reading anything: about how many bytes of
//! segments its plan would read, and about as many for what the head has. What was looked at for it is let
//! go before the question waits, so that waiting keeps nothing of the head.
//!
//! It is an estimate of whole files. The listing says how large a segment is and from when to when, but not
//! how much of it belongs to which meter, so a small meter that is asked about all time beside a large one
//! is taken for heavy. That costs it its place in the light lane and nothing else. What could tell are the
//! footers: rows lie by namespace, meter and subject, so that the bounds of row groups and pages say how many
//! of them a scan can match. The store keeps footers to itself, and whether one is at hand. What earlier
//! questions have read is no substitute: it says nothing of the segments that compaction has made since.

use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::{Generation, Meter};
use weir_store::{RowSource, WindowSource};

use crate::error::QueryError;
use crate::lanes::Weight;
use crate::look::Ask;
use crate::planner::{self, Plan, Shelf, TimeRange, Times};
use crate::request::UsageRequest;
use crate::service::QueryService;
use crate::usage::scope;

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
    let scope = scope(request, ask, at_position.unwrap_or_else(|| shelf.ends()));
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

#[cfg(test)]
mod tests {
    use weir_meter::segment::{Coverage, Generations, NewSegment};
    use weir_meter::{SegmentId, WriterId};

    use super::*;

    const BYTES: u64 = 10 << 20;

    fn segment(time_range_us: Option<(i64, i64)>) -> Segment {
        let coverage = Coverage {
            ranges: Vec::new(),
            revision: 1,
            fold_version: 1,
            window_size_s: 60,
            generations: Generations::AllBut(Vec::new()),
        };
        let new = NewSegment {
            segment: SegmentId(1),
            kind: SegmentKind::Windows,
            level: 0,
            row_count: 1,
            dropped_rows: 0,
            byte_count: BYTES,
            coverage,
            time_range_us,
            location: String::new(),
            checksum: 0,
        };
        Segment { new, writer: WriterId(1), listed_at_us: 0, delisted_at_us: None }
    }

    #[test]
    fn a_segment_weighs_what_belongs_to_the_times() {
        let between = |from, to| TimeRange::new(Some(from), Some(to));
        for (times, bytes) in [
            (vec![TimeRange::new(None, None)], BYTES),
            (vec![between(0, 100)], BYTES),
            (vec![between(0, 50)], BYTES / 2),
            (vec![between(-100, 25), between(75, 1_000)], BYTES / 2),
            // Whatever is touched at all costs something, and what is not costs nothing.
            (vec![between(99, 1_000)], BYTES / 100),
            (vec![between(-1, 0), between(100, 1_000)], 0),
            (Vec::new(), 0),
        ] {
            assert_eq!(within(&segment(Some((0, 99))), &Times::new(times.clone())), bytes, "{times:?}");
        }
        let all = Times::new([TimeRange::new(None, None)]);
        assert_eq!(within(&segment(Some((i64::MIN, i64::MAX))), &Times::new([between(0, 1)])), TOUCHED_BYTES);
        assert_eq!(within(&segment(Some((7, 7))), &all), BYTES);
        assert_eq!(within(&segment(None), &all), 0, "nothing is in it");
    }
}
