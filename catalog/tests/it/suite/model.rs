//! Random histories of several writers against a model that works out everything offset by offset and
//! generation by generation, each time anew from the segments it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use weir_catalog::{
    Catalog, CatalogError, Commit, CommitOutcome, Floor, Listing, MeterUpdate, Swap, SwapOutcome, Wide,
};
use weir_meter::segment::{Generations, NewSegment, Segment, SegmentKind};
use weir_meter::{Generation, Meter, Namespace, OffsetRange, SegmentId, WriterId};

use crate::place::{Place, at, draft, meter_id, namespace, range, rows, segment, step, windows, writer};

const PARTITIONS: u32 = 3;
const SLUGS: u8 = 3;
const HOUR_US: i64 = 3_600_000_000;

#[derive(Clone, Debug)]
pub(crate) enum Act {
    OpenWriter(u8),
    CloseWriter(u8),
    CreateMeter(u8),
    DeleteMeter(u8),
    /// Which meter, and which of the ways to group.
    UpdateMeter(u8, u8),
    NoteWide(u8, u64),
    /// In hours.
    RaiseFloor(i64),
    Flush(Flush),
    Exchange(Exchange),
    /// Acts ago.
    Forget(u8),
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

#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    writer: u8,
    /// Which of the listed segments, in the order of their ids, go.
    remove: Vec<u8>,
    /// One that may never have been listed goes too.
    stranger: Option<u8>,
    /// Rows and caches come again for those that go.
    again: bool,
    /// What is wrong with the rows that come, as a rule nothing.
    slip: Slip,
    /// How many of their rows are said to be gone.
    dropped: u64,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slip {
    None,
    Short,
    Long,
    Twice,
}

/// A windows segment: a part of the first move, or in an exchange of what is at rest in the first
/// partition, in hundredths, and which generations.
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
        prop::collection::vec(piece.clone(), 0..5),
    )
        .prop_map(|(writer, moves, bring_rows, pieces)| Flush { writer, moves, bring_rows, pieces });
    let slip = prop_oneof![9 => Just(Slip::None), 1 => Just(Slip::Short), 1 => Just(Slip::Long), 1 => Just(Slip::Twice)];
    let exchange = (
        prop_oneof![5 => Just(0_u8), 1 => 1..4_u8],
        prop::collection::vec(any::<u8>(), 0..5),
        prop::option::weighted(0.1, 0..120_u8),
        prop::bool::weighted(0.8),
        slip,
        prop_oneof![3 => Just(0_u64), 1 => 0..9_u64],
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(piece, 1..3)],
    )
        .prop_map(|(writer, remove, stranger, again, slip, dropped, pieces)| Exchange {
            writer,
            remove,
            stranger,
            again,
            slip,
            dropped,
            pieces,
        });
    let act = prop_oneof![
        3 => (0..4_u8).prop_map(Act::OpenWriter),
        1 => (0..4_u8).prop_map(Act::CloseWriter),
        4 => (0..SLUGS).prop_map(Act::CreateMeter),
        1 => (0..SLUGS).prop_map(Act::DeleteMeter),
        2 => (0..SLUGS, 0..3_u8).prop_map(|(number, by)| Act::UpdateMeter(number, by)),
        1 => (0..SLUGS, 0..9_u64).prop_map(|(number, groups)| Act::NoteWide(number, groups)),
        1 => (-2..5_i64).prop_map(Act::RaiseFloor),
        12 => flush.prop_map(Act::Flush),
        10 => exchange.prop_map(Act::Exchange),
        1 => (0..9_u8).prop_map(Act::Forget),
        1 => Just(Act::Reopen),
    ];
    prop::collection::vec(act, 1..45)
}

/// What is folded where: kind, size, generation (none for rows), partition, offset.
type Spot = (SegmentKind, u32, Option<Generation>, u32, u64);

#[derive(Default)]
struct Model {
    /// Open or closed.
    writers: BTreeMap<WriterId, bool>,
    frontiers: BTreeMap<u32, u64>,
    listed: BTreeMap<SegmentId, Segment>,
    delisted: BTreeMap<SegmentId, Segment>,
    /// Every generation, in the order of their revisions.
    meters: Vec<Meter>,
    floors: BTreeMap<Namespace, Floor>,
    wide: BTreeMap<Generation, Wide>,
    revision: u64,
    used: u128,
    /// One more with each act.
    second: i64,
}

#[derive(Debug, PartialEq)]
enum Expected<Outcome> {
    Outcome(Outcome),
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
        segments.extend(flush.pieces.iter().map(|piece| self.piece(piece, moves[0], id())));
        self.used = used;
        Commit {
            writer: writer(u128::from(flush.writer)),
            moves: moves.into_iter().map(step).collect(),
            segments,
            now_us: at(self.second),
        }
    }

    fn piece(&self, piece: &Piece, whole: OffsetRange, id: u128) -> NewSegment {
        let part = |hundredths: u8| whole.from + whole.len() * u64::from(hundredths) / 100;
        // Parts may be empty, but not often.
        let to = part(piece.end).max(whole.from + 1);
        let from = part(piece.begin).min(if piece.begin == 0 { to } else { to - 1 });
        let named: BTreeSet<_> = piece.named.iter().map(|n| self.generation(*n)).collect();
        let named = named.into_iter().collect();
        let generations = if piece.only { Generations::Only(named) } else { Generations::AllBut(named) };
        let revision = self.revision.saturating_sub(u64::from(piece.revision_back));
        let mut segment = windows(id, &[OffsetRange { from, to, ..whole }], revision, generations);
        segment.coverage.window_size_s = piece.size_s;
        if piece.members {
            segment.kind = SegmentKind::Members;
        }
        segment
    }

    fn build_swap(&mut self, exchange: &Exchange) -> Swap {
        let mut used = self.used;
        let mut id = || {
            used += 1;
            used
        };
        let gone: BTreeSet<SegmentId> = (exchange.remove.iter())
            .filter_map(|pick| self.listed.keys().nth(usize::from(*pick) % self.listed.len().max(1)))
            .copied()
            .collect();
        let mut add = Vec::new();
        if exchange.again {
            let of = |id: &SegmentId| &self.listed[id].new;
            let mut ranges: Vec<OffsetRange> = (gone.iter().map(of))
                .filter(|new| new.kind == SegmentKind::Rows)
                .flat_map(|new| new.coverage.ranges.clone())
                .collect();
            match (ranges.first_mut(), exchange.slip) {
                (Some(first), Slip::Short) => first.to -= 1,
                (Some(first), Slip::Long) => first.to += 1,
                _ => {}
            }
            // A range that is cut to nothing, or is as long as what follows, is left to the others.
            if !ranges.is_empty() && ranges.iter().all(|range| !range.is_empty()) && disjoint(&ranges) {
                let mut new = rows(id(), &ranges);
                new.dropped_rows = exchange.dropped.min(new.row_count);
                new.row_count -= new.dropped_rows;
                add.push(new);
                if exchange.slip == Slip::Twice {
                    add.push(rows(id(), &ranges[..1]));
                }
            }
            for new in gone.iter().map(of).filter(|new| new.kind != SegmentKind::Rows) {
                add.push(NewSegment { segment: segment(id()), level: new.level + 1, ..new.clone() });
            }
        }
        let whole = range(0, 0, self.frontiers.get(&0).copied().unwrap_or(1));
        add.extend(exchange.pieces.iter().map(|piece| self.piece(piece, whole, id())));
        self.used = used;
        let mut remove: Vec<SegmentId> = gone.into_iter().collect();
        remove.extend(exchange.stranger.map(|number| segment(u128::from(number))));
        Swap { writer: writer(u128::from(exchange.writer)), remove, add, now_us: at(self.second) }
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

    fn commit(&mut self, commit: &Commit) -> Expected<CommitOutcome> {
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
        match self.list(self.listed.clone(), &commit.segments, commit.writer) {
            Err((segment, met)) => return Expected::Overlap(segment, met),
            Ok(listed) => self.listed = listed,
        }
        self.frontiers.extend(commit.moves.iter().map(|step| (step.range.partition, step.range.to)));
        Expected::Outcome(CommitOutcome::Committed)
    }

    /// The listing with these too, or the first of them that covers what others cover.
    fn list(
        &self,
        mut listed: BTreeMap<SegmentId, Segment>,
        add: &[NewSegment],
        writer: WriterId,
    ) -> Result<BTreeMap<SegmentId, Segment>, (SegmentId, BTreeSet<SegmentId>)> {
        let mut covered = self.covered(&listed);
        for new in add {
            let spots = self.spots(new);
            let met: BTreeSet<_> = spots.iter().filter_map(|spot| covered.get(spot).copied()).collect();
            if !met.is_empty() {
                return Err((new.segment, met));
            }
            covered.extend(spots.into_iter().map(|spot| (spot, new.segment)));
            let mut new = new.clone();
            new.coverage.ranges.sort();
            let segment = Segment { new, writer, listed_at_us: at(self.second), delisted_at_us: None };
            listed.insert(segment.new.segment, segment);
        }
        Ok(listed)
    }

    fn covered(&self, listed: &BTreeMap<SegmentId, Segment>) -> BTreeMap<Spot, SegmentId> {
        let mut covered = BTreeMap::new();
        for segment in listed.values() {
            for spot in self.spots(&segment.new) {
                assert_eq!(covered.insert(spot, segment.new.segment), None, "counted twice: {spot:?}");
            }
        }
        covered
    }

    fn swap(&mut self, swap: &Swap) -> Expected<SwapOutcome> {
        let removed: BTreeSet<_> = swap.remove.iter().copied().collect();
        let empty = swap.add.iter().any(|s| s.coverage.ranges.iter().any(OffsetRange::is_empty));
        if empty || removed.len() < swap.remove.len() || (removed.is_empty() && swap.add.is_empty()) {
            return Expected::Conflict;
        }
        match self.writers.get(&swap.writer) {
            None => return Expected::NotFound,
            Some(false) => return Expected::Outcome(SwapOutcome::WriterClosed),
            Some(true) => {}
        }
        if let Some(missing) = swap.remove.iter().find(|id| !self.listed.contains_key(id)) {
            return Expected::Outcome(SwapOutcome::NotListed { segment: *missing });
        }
        let old: Vec<&NewSegment> = removed.iter().map(|id| &self.listed[id].new).collect();
        let new: Vec<&NewSegment> = swap.add.iter().collect();
        let offsets = |side: &[&NewSegment], of_rows: bool| -> BTreeSet<(u32, u64)> {
            side.iter()
                .filter(|new| (new.kind == SegmentKind::Rows) == of_rows)
                .flat_map(|new| new.coverage.ranges.clone())
                .flat_map(|range| (range.from..range.to).map(move |offset| (range.partition, offset)))
                .collect()
        };
        let dropped = |side: &[&NewSegment]| side.iter().map(|new| new.dropped_rows).sum::<u64>();
        let above =
            |(partition, offset): &(u32, u64)| *offset >= self.frontiers.get(partition).copied().unwrap_or(0);
        if offsets(&old, true) != offsets(&new, true)
            || dropped(&new) < dropped(&old)
            || offsets(&new, false).iter().any(above)
        {
            return Expected::Conflict;
        }
        let mut stay = self.listed.clone();
        stay.retain(|id, _| !removed.contains(id));
        match self.list(stay, &swap.add, swap.writer) {
            Err((segment, met)) => Expected::Overlap(segment, met),
            Ok(listed) => {
                for id in removed {
                    let old = Segment { delisted_at_us: Some(swap.now_us), ..self.listed[&id].clone() };
                    self.delisted.insert(id, old);
                }
                self.listed = listed;
                Expected::Outcome(SwapOutcome::Swapped)
            }
        }
    }

    /// What an id or slug stood for at a revision.
    fn meter_at(&self, name: &str, revision: u64) -> Option<&Meter> {
        let made = self.meters.iter().filter(|meter| meter.created_revision <= revision);
        let of_id = made.clone().filter(|meter| meter.id.to_string() == name).max_by_key(|m| m.generation);
        let alive = |meter: &&Meter| meter.deleted_revision.is_none_or(|end| end > revision);
        of_id.or_else(|| made.filter(alive).find(|meter| meter.slug == name))
    }

    async fn compare(&self, catalog: &dyn Catalog) {
        let listing = catalog.listing().await.unwrap();
        for partition in 0..PARTITIONS {
            let expected = self.frontiers.get(&partition).copied().unwrap_or(0);
            assert_eq!(listing.frontier(0, partition), expected);
        }
        assert_eq!(listing.frontiers.len(), self.frontiers.len());
        let by_id = |segments: &[Arc<Segment>]| -> BTreeMap<SegmentId, Segment> {
            segments.iter().map(|s| (s.new.segment, Segment::clone(s))).collect()
        };
        assert_eq!(by_id(&listing.segments), self.listed);
        self.covered(&by_id(&listing.segments));
        let mut sources = self.delisted.clone();
        sources.retain(|_, segment| segment.new.kind != SegmentKind::Rows);
        assert_eq!(by_id(&listing.retired), sources);
        let kept: BTreeSet<SegmentId> = self.listed.keys().chain(self.delisted.keys()).copied().collect();
        assert!(catalog.kept_segments().await.unwrap().into_iter().eq(kept));
        assert_eq!((&*listing.floors, &*listing.wide), (&self.floors, &self.wide));
        let (revision, living) = catalog.live_meters().await.unwrap();
        assert_eq!((revision, listing.revision), (self.revision, self.revision));
        let mut expected: Vec<_> = self.meters.iter().filter(|m| m.deleted_revision.is_none()).collect();
        expected.sort_by_key(|meter| meter.key());
        assert!(living.iter().map(|m| &**m).eq(expected), "{living:?}");
    }

    async fn compare_history(&self, catalog: &dyn Catalog) {
        let slugs = (0..SLUGS).map(|number| format!("m{number}"));
        for name in slugs.chain(self.meters.iter().map(|meter| meter.id.to_string())) {
            for revision in 0..=self.revision + 1 {
                let found = catalog.meter_at(&namespace("default"), &name, revision).await.unwrap();
                assert_eq!(found.as_ref(), self.meter_at(&name, revision), "{name} at {revision}");
            }
        }
    }
}

fn disjoint(ranges: &[OffsetRange]) -> bool {
    ranges.iter().enumerate().all(|(at, a)| ranges[at + 1..].iter().all(|b| !a.overlaps(b)))
}

/// Not only equal, but in the same order.
fn assert_same(before: &Listing, after: &Listing) {
    assert_eq!(before.segments, after.segments);
    assert_eq!(before.retired, after.retired);
    assert_eq!(before.frontiers, after.frontiers);
}

/// Plays a history. Every answer is the model's, and so is every state in between.
pub(crate) async fn play(place: &dyn Place, acts: Vec<Act>) {
    let default = namespace("default");
    let mut catalog: Arc<dyn Catalog> = place.open().await;
    catalog.ensure_epoch("log", PARTITIONS, 60, at(0)).await.unwrap();
    catalog.open_writer(writer(0), at(0)).await.unwrap();
    let mut model = Model { writers: BTreeMap::from([(writer(0), true)]), ..Model::default() };
    for act in acts {
        model.second += 1;
        let now_us = at(model.second);
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
                match catalog.create_meter(&default, draft(&slug), id, now_us).await {
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
                assert_eq!(catalog.delete_meter(&default, &slug, now_us).await.unwrap(), living.is_some());
                if let Some(meter) = living {
                    model.revision += 1;
                    meter.deleted_revision = Some(model.revision);
                    meter.deleted_at_us = Some(now_us);
                }
            }
            Act::Flush(flush) => {
                let commit = model.build(&flush);
                let expected = model.commit(&commit);
                check(catalog.commit(commit).await, expected);
            }
            Act::UpdateMeter(number, by) => {
                let slug = format!("m{number}");
                let group_by: BTreeMap<String, String> = ["model", "region"][..by.into()]
                    .iter()
                    .map(|key| ((*key).to_owned(), format!("$.{key}")))
                    .collect();
                let update = MeterUpdate { group_by: group_by.clone(), ..MeterUpdate::default() };
                let got = catalog.update_meter(&default, &slug, update, now_us).await.unwrap();
                let living = model.meters.iter_mut().find(|m| m.slug == slug && m.deleted_revision.is_none());
                let Some(living) = living else {
                    assert_eq!(got, None);
                    continue;
                };
                let mut changed = Meter { metadata: None, updated_at_us: now_us, ..living.clone() };
                if living.group_by == group_by {
                    *living = changed.clone();
                } else {
                    model.revision += 1;
                    living.deleted_revision = Some(model.revision);
                    changed.generation += 1;
                    changed.created_revision = model.revision;
                    changed.group_by = group_by;
                    model.meters.push(changed.clone());
                }
                assert_eq!(got, Some(changed));
            }
            Act::NoteWide(number, groups) => {
                let generation = model.generation(number);
                let known = model.meters.iter().any(|meter| meter.key() == generation);
                let wide = Wide { groups, noticed_at_us: now_us };
                assert_eq!(catalog.note_wide(generation, wide).await.is_ok(), known);
                if known {
                    model.wide.entry(generation).or_insert(wide);
                }
            }
            Act::RaiseFloor(hours) => {
                let raised = catalog.raise_floor(&default, hours * HOUR_US, now_us).await.unwrap();
                if model.floors.get(&default).is_none_or(|floor| floor.floor_us < hours * HOUR_US) {
                    model.revision += 1;
                    let floor = Floor { floor_us: hours * HOUR_US, revision: model.revision };
                    model.floors.insert(default.clone(), floor);
                }
                assert_eq!(raised, model.floors[&default]);
            }
            Act::Exchange(exchange) => {
                let swap = model.build_swap(&exchange);
                let expected = model.swap(&swap);
                check_swap(catalog.swap(swap).await, expected);
            }
            Act::Forget(ago) => {
                let before_us = at(model.second - i64::from(ago));
                let forgotten = catalog.forget_segments(before_us).await.unwrap();
                let forgotten: BTreeMap<_, _> = forgotten.into_iter().map(|s| (s.new.segment, s)).collect();
                let mut expected = model.delisted.clone();
                expected.retain(|_, segment| segment.delisted_at_us.unwrap() < before_us);
                assert_eq!(forgotten, expected);
                model.delisted.retain(|id, _| !expected.contains_key(id));
            }
            // The old one is dropped without being closed, as by a process that is killed.
            Act::Reopen => {
                let before = catalog.listing().await.unwrap();
                catalog = place.open().await;
                assert_same(&before, &catalog.listing().await.unwrap());
            }
        }
        model.compare(&*catalog).await;
    }
    model.compare_history(&*catalog).await;
    let reopened = place.open().await;
    assert_same(&catalog.listing().await.unwrap(), &reopened.listing().await.unwrap());
    model.compare(&*reopened).await;
    model.compare_history(&*reopened).await;
}

fn check_swap(got: Result<SwapOutcome, CatalogError>, expected: Expected<SwapOutcome>) {
    match (got, expected) {
        (Ok(got), Expected::Outcome(expected)) => assert_eq!(got, expected),
        (Ok(SwapOutcome::Overlap { segment, listed }), Expected::Overlap(new, met)) => {
            assert_eq!(segment, new);
            assert!(met.contains(&listed));
        }
        (Err(CatalogError::Conflict(_)), Expected::Conflict) => {}
        (Err(CatalogError::NotFound(_)), Expected::NotFound) => {}
        (got, expected) => panic!("{got:?} instead of {expected:?}"),
    }
}

fn check(got: Result<CommitOutcome, CatalogError>, expected: Expected<CommitOutcome>) {
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
