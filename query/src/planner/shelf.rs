//! What there is to read from: one consistent look at the head and the listing, and how far it goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_catalog::{Frontier, Listing};
use weir_meter::OffsetRange;
use weir_meter::segment::{Segment, SegmentKind};
use weir_store::{PieceSnapshot, RowSource};

use super::{PlanError, RowPart, Times, touches};
use crate::ranges;

/// One consistent look at what is at rest and in the head; pieces lie wholly above the frontiers.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    pub frontiers: Vec<Frontier>,
    pub segments: Vec<Arc<Segment>>,
    /// Windows and members that others have replaced and whose files are still there.
    pub retired: Vec<Arc<Segment>>,
    /// Oldest first.
    pub pieces: Vec<Arc<PieceSnapshot>>,
}

impl Shelf {
    /// From a head taken before the listing: pieces that the frontier has passed are at rest and
    /// listed by now, so they are dropped.
    pub fn new(head: &[Arc<PieceSnapshot>], listing: &Listing) -> Result<Self, PlanError> {
        let frontiers = &listing.frontiers;
        let mut ends: BTreeMap<(u32, u32), u64> =
            frontiers.iter().map(|f| ((f.epoch, f.partition), f.next_offset)).collect();
        let mut pieces = Vec::with_capacity(head.len());
        for piece in head {
            let mut above = false;
            let mut below = None;
            for range in piece.ranges.iter().filter(|r| !r.is_empty()) {
                let frontier = listing.frontier(range.epoch, range.partition);
                if range.from < frontier && frontier < range.to {
                    return Err(PlanError::PieceAcrossFrontier { piece: *range, frontier });
                }
                if range.to <= frontier {
                    below = Some((*range, frontier));
                } else {
                    above = true;
                }
            }
            if !above {
                continue;
            }
            // A flush moves all of a piece's frontiers or none.
            if let Some((range, frontier)) = below {
                return Err(PlanError::PieceAcrossFrontier { piece: range, frontier });
            }
            for range in piece.ranges.iter().filter(|r| !r.is_empty()) {
                let end = ends.entry((range.epoch, range.partition)).or_insert(0);
                if *end != range.from {
                    return Err(PlanError::HeadGap { piece: *range, expected: *end });
                }
                *end = range.to;
            }
            pieces.push(Arc::clone(piece));
        }
        Ok(Self {
            frontiers: frontiers.clone(),
            segments: listing.segments.clone(),
            retired: listing.retired.clone(),
            pieces,
        })
    }

    /// Everything there is, as ranges from 0 to the end of each partition: the frontier, or the end of
    /// the head's pieces.
    pub fn ends(&self) -> Vec<OffsetRange> {
        let mut ends: BTreeMap<(u32, u32), u64> =
            self.frontiers.iter().map(|f| ((f.epoch, f.partition), f.next_offset)).collect();
        for range in self.pieces.iter().flat_map(|p| &p.ranges) {
            let end = ends.entry((range.epoch, range.partition)).or_insert(0);
            *end = range.to.max(*end);
        }
        let all = ends.into_iter();
        all.filter(|(_, to)| *to > 0)
            .map(|((epoch, partition), to)| OffsetRange { epoch, partition, from: 0, to })
            .collect()
    }

    /// The ends at a position: partitions of its epoch to the offsets it names, and no further where it
    /// names none; earlier epochs wholly; later ones not at all. None if not all of that is here.
    pub fn ends_at(&self, epoch: u32, offsets: &[(u32, u64)]) -> Option<Vec<OffsetRange>> {
        let mut ends = self.ends();
        let reached = offsets.iter().filter(|(_, to)| *to > 0).all(|(partition, to)| {
            ends.iter().any(|e| e.epoch == epoch && e.partition == *partition && e.to >= *to)
        });
        for end in ends.iter_mut().filter(|e| e.epoch >= epoch) {
            let named =
                offsets.iter().find(|(partition, _)| end.epoch == epoch && *partition == end.partition);
            end.to = named.map_or(0, |(_, to)| *to);
        }
        ends.retain(|end| end.to > 0);
        reached.then_some(ends)
    }

    /// Everything that holds rows, and could hold some with a time in one of `times`.
    pub fn row_sources(&self, times: &Times) -> Vec<RowSource> {
        let segments = self.of_kind(SegmentKind::Rows).filter(|s| touches(s, times)).cloned();
        let pieces = self.pieces.iter().cloned();
        segments.map(RowSource::Segment).chain(pieces.map(RowSource::Piece)).collect()
    }

    pub(super) fn of_kind(&self, kind: SegmentKind) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.iter().filter(move |s| s.new.kind == kind)
    }

    /// Finds what holds the rows of each part, and leaves out parts that cannot have any.
    pub(super) fn find_rows(&self, parts: &mut Vec<RowPart>) -> Result<(), PlanError> {
        let at_rest = self.of_kind(SegmentKind::Rows).flat_map(|s| &s.new.coverage.ranges);
        let in_head = self.pieces.iter().flat_map(|p| &p.ranges);
        let held = ranges::disjoint(at_rest.chain(in_head).copied())
            .map_err(|shared| PlanError::CoveredTwice { shared: shared.0 })?;
        for part in parts.iter_mut() {
            if let Some(missing) = ranges::subtract(&part.offsets, &held).first() {
                return Err(PlanError::Gap { missing: *missing });
            }
            part.sources = self.row_sources(&part.times);
            part.sources.retain(|source| {
                let held = match source {
                    RowSource::Segment(segment) => &segment.new.coverage.ranges,
                    RowSource::Piece(piece) => &piece.ranges,
                };
                held.iter().any(|range| ranges::meet(&part.offsets, range))
            });
        }
        parts.retain(|part| !part.sources.is_empty());
        Ok(())
    }
}
