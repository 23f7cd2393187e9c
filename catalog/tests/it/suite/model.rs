//! Random histories of several writers against a model that keeps one entry for each offset and
//! generation, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use weir_catalog::{Catalog, CatalogError, Commit, CommitOutcome};
use weir_meter::segment::{Generations, NewSegment, SegmentKind};
use weir_meter::{Generation, Meter, OffsetRange, SegmentId, WriterId};

use crate::place::{Place, at, draft, meter_id, namespace, range, rows, step, windows, writer};

const PARTITIONS: u32 = 3;

#[derive(Clone, Debug)]
pub(crate) enum Act {
    OpenWriter(u8),
    CloseWriter(u8),
    CreateMeter(u8),
    DeleteMeter(u8),
    Flush(Flush),
    Reopen,
}

#[derive(Clone, Debug)]
pub(crate) struct Flush {
    writer: u8,
    /// For each partition that moves: how far off its frontier the flush begins, and its length.
    moves: Vec<(i8, u8)>,
    bring_rows: bool,
    pieces: Vec<Piece>,
}

/// A windows segment: a part of the first move, in hundredths, and which generations.
#[derive(Clone, Debug)]
struct Piece {
    begin: u8,
    end: u8,
    size_s: u32,
    members: bool,
    revision_back: u8,
    only: bool,
    named: Vec<u8>,
}

pub(crate) fn acts() -> impl Strategy<Value = Vec<Act>> {
    let piece = (
        0..100_u8,
        1..=100_u8,
        prop_oneof![4 => Just(60_u32), 1 => Just(3_600)],
        prop::bool::weighted(0.2),
        0..4_u8,
    )
        .prop_flat_map(|(begin, end, size_s, members, revision_back)| {
            (any::<bool>(), prop::collection::vec(0..3_u8, 0..3)).prop_map(move |(only, named)| Piece {
                begin,
                end,
                size_s,
                members,
                revision_back,
                only,
                named,
            })
        });
    let flush = (
        prop_oneof![3 => Just(0_u8), 2 => 1..4_u8],
        prop::collection::vec(
            (prop_oneof![15 => Just(0_i8), 1 => -2..=2_i8], prop_oneof![30 => 1..7_u8, 1 => Just(0)]),
            1..=3,
        ),
        prop::bool::weighted(0.8),
        prop::collection::vec(piece, 0..5),
    )
        .prop_map(|(writer, moves, bring_rows, pieces)| Flush { writer, moves, bring_rows, pieces });
    let act = prop_oneof![
        3 => (0..4_u8).prop_map(Act::OpenWriter),
        1 => (0..4_u8).prop_map(Act::CloseWriter),
        4 => (0..3_u8).prop_map(Act::CreateMeter),
        1 => (0..3_u8).prop_map(Act::DeleteMeter),
        12 => flush.prop_map(Act::Flush),
        1 => Just(Act::Reopen),
    ];
    prop::collection::vec(act, 1..30)
}

/// What is folded where: kind, size, generation (none for rows), partition, offset.
type Spot = (SegmentKind, u32, Option<Generation>, u32, u64);

#[derive(Default)]
struct Model {
    /// Open or closed.
    writers: BTreeMap<WriterId, bool>,
    frontiers: BTreeMap<u32, u64>,
    covered: BTreeMap<Spot, SegmentId>,
    segments: BTreeMap<SegmentId, WriterId>,
    meters: Vec<Meter>,
    revision: u64,
    used: u128,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Outcome(CommitOutcome),
    /// The listed segment may be any that covers a common spot.
    Overlap(SegmentId, BTreeSet<SegmentId>),
    Conflict,
    NotFound,
}

impl Model {
    fn build(&mut self, flush: &Flush) -> Commit {
        let mut moves = Vec::new();
        for (partition, (off, length)) in flush.moves.iter().enumerate() {
            let partition = u32::try_from(partition).unwrap();
            let frontier = self.frontiers.get(&partition).copied().unwrap_or(0);
            let from = frontier.saturating_add_signed(i64::from(*off));
            moves.push(range(partition, from, from + u64::from(*length)));
        }
        let mut used = self.used;
        let mut id = || {
            used += 1;
            used
        };
        let mut segments: Vec<NewSegment> = Vec::new();
        if flush.bring_rows {
            segments.extend(moves.iter().map(|offsets| rows(id(), &[*offsets])));
        }
        for piece in &flush.pieces {
            let part = |hundredths: u8| moves[0].from + moves[0].len() * u64::from(hundredths) / 100;
            // Parts may be empty, but not often.
            let to = part(piece.end).max(moves[0].from + 1);
            let from = part(piece.begin).min(if piece.begin == 0 { to } else { to - 1 });
            let offsets = OffsetRange { from, to, ..moves[0] };
            let named: BTreeSet<_> = piece.named.iter().map(|n| self.generation(*n)).collect();
            let named = named.into_iter().collect();
            let generations = if piece.only { Generations::Only(named) } else { Generations::AllBut(named) };
            let revision = self.revision.saturating_sub(u64::from(piece.revision_back));
            let mut segment = windows(id(), &[offsets], revision, generations);
            segment.coverage.window_size_s = piece.size_s;
            if piece.members {
                segment.kind = SegmentKind::Members;
            }
            segments.push(segment);
        }
        self.used = used;
        Commit {
            writer: writer(u128::from(flush.writer)),
            moves: moves.into_iter().map(step).collect(),
            segments,
            now_us: at(1),
        }
    }

    /// The newest meter made under this number.
    fn generation(&self, number: u8) -> Generation {
        let slug = format!("m{number}");
        let made = self.meters.iter().rev().find(|meter| meter.slug == slug);
        made.map_or(Generation { meter: meter_id(0), generation: 1 }, Meter::key)
    }

    fn spots(&self, segment: &NewSegment) -> Vec<Spot> {
        let coverage = &segment.coverage;
        let generations: Vec<Option<Generation>> = match (&coverage.generations, segment.kind) {
            (_, SegmentKind::Rows) => vec![None],
            (Generations::Only(list), _) => list.iter().copied().map(Some).collect(),
            (Generations::AllBut(except), _) => (self.meters.iter())
                .filter(|m| m.created_revision <= coverage.revision)
                .filter(|m| m.deleted_revision.is_none_or(|end| end > coverage.revision))
                .map(Meter::key)
                .filter(|key| !except.contains(key))
                .map(Some)
                .collect(),
        };
        let mut spots = Vec::new();
        for range in &coverage.ranges {
            for offset in range.from..range.to {
                for generation in &generations {
                    let size = coverage.window_size_s;
                    spots.push((segment.kind, size, *generation, range.partition, offset));
                }
            }
        }
        spots
    }

    fn commit(&mut self, commit: &Commit) -> Expected {
        let empty = commit.moves.iter().any(|step| step.range.is_empty())
            || commit.segments.iter().any(|s| s.coverage.ranges.iter().any(OffsetRange::is_empty));
        if empty {
            return Expected::Conflict;
        }
        match self.writers.get(&commit.writer) {
            None => return Expected::NotFound,
            Some(false) => return Expected::Outcome(CommitOutcome::WriterClosed),
            Some(true) => {}
        }
        for step in &commit.moves {
            let frontier = self.frontiers.get(&step.range.partition).copied().unwrap_or(0);
            if frontier != step.range.from {
                return Expected::Outcome(CommitOutcome::NotOwner { range: step.range, frontier });
            }
        }
        let mut covered = self.covered.clone();
        for segment in &commit.segments {
            let spots = self.spots(segment);
            let met: BTreeSet<_> = spots.iter().filter_map(|spot| covered.get(spot).copied()).collect();
            if !met.is_empty() {
                return Expected::Overlap(segment.segment, met);
            }
            covered.extend(spots.into_iter().map(|spot| (spot, segment.segment)));
        }
        self.covered = covered;
        self.frontiers.extend(commit.moves.iter().map(|step| (step.range.partition, step.range.to)));
        self.segments.extend(commit.segments.iter().map(|s| (s.segment, commit.writer)));
        Expected::Outcome(CommitOutcome::Committed)
    }

    async fn compare(&self, catalog: &dyn Catalog) {
        let listing = catalog.listing().await.unwrap();
        for partition in 0..PARTITIONS {
            let expected = self.frontiers.get(&partition).copied().unwrap_or(0);
            assert_eq!(listing.frontier(0, partition), expected);
        }
        assert_eq!(listing.frontiers.len(), self.frontiers.len());
        let listed: BTreeMap<_, _> = listing.segments.iter().map(|s| (s.new.segment, s.writer)).collect();
        assert_eq!(listed, self.segments);
        let mut covered = BTreeMap::new();
        for segment in &listing.segments {
            for spot in self.spots(&segment.new) {
                assert_eq!(covered.insert(spot, segment.new.segment), None, "counted twice: {spot:?}");
            }
        }
        assert_eq!(covered, self.covered);
        let (revision, living) = catalog.live_meters().await.unwrap();
        assert_eq!((revision, listing.revision), (self.revision, self.revision));
        let mut expected: Vec<_> = self.meters.iter().filter(|m| m.deleted_revision.is_none()).collect();
        expected.sort_by_key(|meter| meter.key());
        assert!(living.iter().map(|m| &**m).eq(expected), "{living:?}");
    }
}

/// Plays a history. Every answer is the model's, and so is every state in between.
pub(crate) async fn play(place: &dyn Place, acts: Vec<Act>) {
    let default = namespace("default");
    let mut catalog: Arc<dyn Catalog> = place.open().await;
    catalog.ensure_epoch("log", PARTITIONS, 60, at(0)).await.unwrap();
    catalog.open_writer(writer(0), at(0)).await.unwrap();
    let mut model = Model { writers: BTreeMap::from([(writer(0), true)]), ..Model::default() };
    for act in acts {
        match act {
            Act::OpenWriter(number) => {
                let id = writer(u128::from(number));
                let fresh = !model.writers.contains_key(&id);
                assert_eq!(catalog.open_writer(id, at(0)).await.is_ok(), fresh);
                model.writers.entry(id).or_insert(true);
            }
            Act::CloseWriter(number) => {
                let id = writer(u128::from(number));
                let known = model.writers.contains_key(&id);
                assert_eq!(catalog.close_writer(id, at(0)).await.is_ok(), known);
                model.writers.entry(id).and_modify(|open| *open = false);
            }
            Act::CreateMeter(number) => {
                let slug = format!("m{number}");
                let taken = model.meters.iter().any(|m| m.slug == slug && m.deleted_revision.is_none());
                // Ids come in no order.
                let id = meter_id(1 + (model.meters.len() as u128 * 7) % 64);
                match catalog.create_meter(&default, draft(&slug), id, at(2)).await {
                    Ok(meter) => {
                        assert!(!taken);
                        model.revision += 1;
                        assert_eq!(meter.created_revision, model.revision);
                        model.meters.push(meter);
                    }
                    Err(error) => assert!(taken && matches!(error, CatalogError::Conflict(_)), "{error}"),
                }
            }
            Act::DeleteMeter(number) => {
                let slug = format!("m{number}");
                let living = model.meters.iter_mut().find(|m| m.slug == slug && m.deleted_revision.is_none());
                assert_eq!(catalog.delete_meter(&default, &slug, at(3)).await.unwrap(), living.is_some());
                if let Some(meter) = living {
                    model.revision += 1;
                    meter.deleted_revision = Some(model.revision);
                    meter.deleted_at_us = Some(at(3));
                }
            }
            Act::Flush(flush) => {
                let commit = model.build(&flush);
                let expected = model.commit(&commit);
                check(catalog.commit(commit).await, expected);
            }
            // The old one is dropped without being closed, as by a process that is killed.
            Act::Reopen => catalog = place.open().await,
        }
        model.compare(&*catalog).await;
    }
    model.compare(&*place.open().await).await;
}

fn check(got: Result<CommitOutcome, CatalogError>, expected: Expected) {
    match (got, expected) {
        (Ok(got), Expected::Outcome(expected)) => assert_eq!(got, expected),
        (Ok(CommitOutcome::Overlap { segment, listed }), Expected::Overlap(new, met)) => {
            assert_eq!(segment, new);
            assert!(met.contains(&listed));
        }
        (Err(CatalogError::Conflict(_)), Expected::Conflict) => {}
        (Err(CatalogError::NotFound(_)), Expected::NotFound) => {}
        (got, expected) => panic!("{got:?} instead of {expected:?}"),
    }
}
