//! How far the windows of a meter have come. A meter is right from the moment it is made, as queries read
//! from rows what no window covers; this tells how much of that is left, so that a slow query is no riddle.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use weir_catalog::Listing;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::time::format_utc;
use weir_meter::window::FOLD_VERSION;
use weir_meter::{Meter, OffsetRange};
use weir_proto::Problem;

use super::{MeterPath, Tenant};
use crate::error::QueryError;
use crate::service::QueryService;

/// `Progress`, in offsets of all partitions.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    /// Below the frontier, with listed windows of this meter.
    success: u64,
    /// Always 0: folding is total, and what could not be folded now is folded later.
    failed: u64,
    /// Below the frontier.
    total: u64,
    updated_at: String,
}

pub(super) async fn read(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    meter: MeterPath,
) -> Result<Json<Progress>, Problem> {
    let Path(id_or_slug) = meter?;
    // A deleted meter has no windows that could come on.
    let meter = service.meter_for(&namespace, &id_or_slug, None).await?;
    let listing = service.parts.catalog.listing().await.map_err(QueryError::from)?;
    Ok(Json(Progress::new(&meter, &listing)))
}

impl Progress {
    fn new(meter: &Meter, listing: &Listing) -> Self {
        let folded = listing.segments.iter().filter(|segment| {
            let coverage = &segment.new.coverage;
            segment.new.kind == SegmentKind::Windows
                && coverage.fold_version == FOLD_VERSION
                && coverage.covers(meter)
        });
        let folded: Vec<&Arc<Segment>> = folded.collect();
        // Minutes and hours of one offset count once.
        let mut ranges: Vec<OffsetRange> =
            folded.iter().flat_map(|segment| segment.new.coverage.ranges.iter().copied()).collect();
        ranges.sort_unstable();
        let mut success = 0_u64;
        let mut end: Option<OffsetRange> = None;
        for mut range in ranges {
            range.to = range.to.min(listing.frontier(range.epoch, range.partition));
            let before = end.filter(|end| (end.epoch, end.partition) == (range.epoch, range.partition));
            if let Some(before) = before {
                range.from = range.from.max(before.to);
                range.to = range.to.max(before.to);
            }
            success = success.saturating_add(range.len());
            end = Some(range);
        }
        let listed_at_us = folded.iter().map(|segment| segment.listed_at_us).max();
        Self {
            success,
            failed: 0,
            total: listing.frontiers.iter().fold(0, |sum, f| sum.saturating_add(f.next_offset)),
            updated_at: format_utc(
                listed_at_us.map_or(meter.updated_at_us, |at| at.max(meter.updated_at_us)),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use weir_catalog::Frontier;
    use weir_meter::segment::{Coverage, Generations, NewSegment};
    use weir_meter::{Aggregation, MeterId, Namespace, SegmentId, WriterId};

    use super::*;

    fn meter() -> Meter {
        Meter {
            id: MeterId(1),
            generation: 2,
            namespace: Namespace::default(),
            slug: "m".to_owned(),
            name: "m".to_owned(),
            description: None,
            metadata: None,
            event_type: "t".to_owned(),
            aggregation: Aggregation::Count,
            value_property: None,
            group_by: BTreeMap::new(),
            event_from_us: None,
            created_revision: 7,
            deleted_revision: None,
            created_at_us: 0,
            updated_at_us: 1_000_000,
            deleted_at_us: None,
        }
    }

    /// Windows over a range of one partition, at a revision: the meter is in them from 7 on.
    fn windows(partition: u32, from: u64, to: u64, revision: u64, window_size_s: u32) -> Arc<Segment> {
        let ranges = vec![OffsetRange { epoch: 0, partition, from, to }];
        let generations = Generations::AllBut(Vec::new());
        Arc::new(Segment {
            new: NewSegment {
                segment: SegmentId(0),
                kind: SegmentKind::Windows,
                level: 0,
                row_count: 0,
                dropped_rows: 0,
                byte_count: 0,
                coverage: Coverage {
                    ranges,
                    revision,
                    fold_version: FOLD_VERSION,
                    window_size_s,
                    generations,
                },
                time_range_us: None,
                location: String::new(),
                checksum: 0,
            },
            writer: WriterId(1),
            listed_at_us: 5_000_000,
            delisted_at_us: None,
        })
    }

    fn listing(segments: Vec<Arc<Segment>>) -> Listing {
        let frontier = |partition, next_offset| Frontier {
            epoch: 0,
            partition,
            next_offset,
            record_time_max_us: 0,
            last_record_hash: 0,
        };
        Listing { segments, frontiers: vec![frontier(0, 20), frontier(1, 10)], ..Listing::default() }
    }

    #[test]
    fn nothing_is_folded_at_first() {
        let progress = Progress::new(&meter(), &listing(vec![windows(0, 0, 20, 6, 60)]));
        let updated_at = "1970-01-01T00:00:01Z".to_owned();
        assert_eq!(progress, Progress { success: 0, failed: 0, total: 30, updated_at });
    }

    proptest! {
        #[test]
        fn an_offset_counts_once(spans in prop::collection::vec((0u32..2, 0u64..22, 0u64..9, 5u64..9, any::<bool>()), 0..8)) {
            let segments = spans.iter().map(|(partition, from, length, revision, hour)| {
                windows(*partition, *from, from + length, *revision, if *hour { 3_600 } else { 60 })
            });
            let listing = listing(segments.collect());
            let covered = |partition: u32, offset: u64| spans.iter().any(|(p, from, length, revision, _)| {
                *p == partition && *revision >= 7 && *from <= offset && offset < from + length
            });
            let expected = (0..20).filter(|o| covered(0, *o)).count() + (0..10).filter(|o| covered(1, *o)).count();
            prop_assert_eq!(Progress::new(&meter(), &listing).success, expected as u64);
        }
    }
}
