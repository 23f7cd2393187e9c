//! The power goes at any operation. What a method of the store has brought back is there afterwards,
//! byte for byte; what it had removed stays gone; and everything else is swept and disturbs nobody.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use weir_files::simulated::{Effect, Operation, Rule, SimulatedDisk};
use weir_meter::Namespace;

use super::merging::plain_merge;
use super::simulated::*;
use super::*;
use crate::row::Row;
use crate::{Merge, Retention};

const SEEDS: u64 = 100;
const LIVES: u64 = 3;

/// Changing operations of a life at most; the first lives often end while the store is made.
const OPERATIONS_MAX: u64 = 90;

/// A segment that some method has answered.
struct Written {
    segment: Arc<Segment>,
    bytes: Vec<u8>,
    /// By offset; None where something else than rows is at rest.
    rows: Option<Vec<Row>>,
}

/// What a catalog would know, and what the disk must hold.
struct World {
    disk: SimulatedDisk,
    numbers: Numbers,
    written: BTreeMap<u128, Written>,
    /// Files that were removed with success.
    gone: BTreeSet<PathBuf>,
    writers: Vec<WriterId>,
    next_offset: u64,
    lie: Option<Rule>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl World {
    fn new(seed: u64, lie: Option<Rule>) -> Self {
        let mut world = Self {
            disk: SimulatedDisk::new(seed),
            numbers: Numbers(seed),
            written: BTreeMap::new(),
            gone: BTreeSet::new(),
            writers: Vec::new(),
            next_offset: 0,
            lie,
        };
        world.tell_lies();
        world
    }

    fn tell_lies(&mut self) {
        if let Some(lie) = &self.lie {
            self.disk.add_rule(lie.clone());
        }
    }

    async fn live_and_look(&mut self) -> Result<(), String> {
        for life in 1..=LIVES {
            let end = if life == 1 && self.numbers.below(2) == 0 { 16 } else { OPERATIONS_MAX };
            self.disk.cut_after(1 + self.numbers.below(end));
            self.live(life).await?;
            self.disk = self.disk.reboot(self.numbers.below(u64::MAX));
            // A disk that lies once has done so; one that always does goes on.
            if self.lie.as_ref().is_some_and(|lie| lie.times == u64::MAX) {
                self.tell_lies();
            }
            self.look(life).await.map_err(|error| format!("after life {life}: {error}"))?;
        }
        Ok(())
    }

    /// Does whatever comes until the power goes.
    async fn live(&mut self, life: u64) -> Result<(), String> {
        let writer = WriterId(u128::from(life));
        let closed: HashSet<WriterId> = self.writers.iter().copied().collect();
        self.writers.push(writer);
        let store = match open_on(&self.disk, life * 1_000) {
            Ok(store) => store,
            Err(error) => return self.excused(error),
        };
        if let Err(error) = self.sweep(&store, &closed).await? {
            return self.excused(error);
        }
        while !self.disk.is_cut() {
            if let Err(error) = self.step(&store, writer).await? {
                return self.excused(error);
            }
        }
        Ok(())
    }

    /// Nothing but a missing current excuses an error.
    fn excused(&self, error: StoreError) -> Result<(), String> {
        if self.disk.is_cut() { Ok(()) } else { Err(text(error)) }
    }

    async fn step(&mut self, store: &LocalStore, writer: WriterId) -> Result<Result<(), StoreError>, String> {
        match self.numbers.below(10) {
            0..4 => {
                let (rows, windows) = (1 + self.numbers.below(20), self.numbers.below(8));
                let piece = piece(&mut self.numbers, self.next_offset, rows, windows);
                self.next_offset += rows;
                let rows = piece.rows[0].to_vec();
                match store.write(writer, &piece).await {
                    Ok(new) => self.done(writer, new, Some(rows)),
                    Err(error) => return Ok(Err(error)),
                }
            }
            4 => {
                let piece = piece(&mut self.numbers, self.next_offset, 1, 8);
                self.next_offset += 1;
                let (coverage, chunks) = refolded(&piece);
                match store.write_windows(writer, coverage, chunks).await {
                    Ok(new) => self.done(writer, new, None),
                    Err(error) => return Ok(Err(error)),
                }
            }
            5..8 => return self.merge(store, writer).await,
            8 => {
                let Some(id) = self.any_of(None, 1).pop() else { return Ok(Ok(())) };
                return Ok(self.remove(store, &[id]).await);
            }
            _ => {
                if let Some(id) = self.any_of(Some(SegmentKind::Rows), 1).pop()
                    && let Some(written) = self.written.get(&id)
                {
                    match rows_in(store, &written.segment).await {
                        Ok(found) if Some(&found) == written.rows.as_ref() => {}
                        Ok(_) => return Err("other rows were read than written".to_owned()),
                        Err(error) => return Ok(Err(error)),
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    async fn merge(
        &mut self,
        store: &LocalStore,
        writer: WriterId,
    ) -> Result<Result<(), StoreError>, String> {
        let kinds = [SegmentKind::Rows, SegmentKind::Windows, SegmentKind::Members];
        let kind = kinds[self.numbers.below(3) as usize];
        let ids = self.any_of(Some(kind), 3);
        let inputs: Vec<_> = ids.iter().map(|id| Arc::clone(&self.written[id].segment)).collect();
        if inputs.is_empty() {
            return Ok(Ok(()));
        }
        let mut rows: Vec<Row> =
            ids.iter().filter_map(|id| self.written[id].rows.clone()).flatten().collect();
        rows.sort_by_key(|row| row.at);
        let mut merge = plain_merge(inputs, if kind == SegmentKind::Rows { 0 } else { 60 });
        if self.numbers.below(2) == 0 && kind == SegmentKind::Rows {
            // Rows at least as old turn bare, in files of their own where they are many, and none goes.
            let floor = self.numbers.below(self.next_offset + 1) as i64;
            let floors = BTreeMap::from([(Namespace::default(), floor)]);
            merge = Merge { retention: Retention { floors, identities_until_us: -1 }, ..merge };
            for row in rows.iter_mut().filter(|row| row.at.offset < floor as u64) {
                row.event = None;
            }
        }
        match store.merge(writer, merge).await {
            Ok(new) => {
                self.done(writer, vec![new], (kind == SegmentKind::Rows).then_some(rows));
                Ok(self.remove(store, &ids).await)
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Segments that were written and not removed, so many at most.
    fn any_of(&mut self, kind: Option<SegmentKind>, count: usize) -> Vec<u128> {
        let of_kind =
            self.written.iter().filter(|(_, written)| kind.is_none_or(|k| written.segment.new.kind == k));
        let mut ids: Vec<u128> = of_kind.map(|(id, _)| *id).collect();
        while ids.len() > count {
            ids.swap_remove(self.numbers.below(ids.len() as u64) as usize);
        }
        ids
    }

    fn done(&mut self, writer: WriterId, new: Vec<NewSegment>, rows: Option<Vec<Row>>) {
        for segment in listed_by(writer, new) {
            if !segment.new.location.is_empty() {
                let bytes = self.disk.contents(&path_of(&segment)).unwrap();
                let rows = rows.clone().filter(|_| segment.new.kind == SegmentKind::Rows);
                self.written.insert(segment.new.segment.0, Written { segment, bytes, rows });
            }
        }
    }

    async fn remove(&mut self, store: &LocalStore, ids: &[u128]) -> Result<(), StoreError> {
        // From the moment of asking nobody relies on them.
        let taken: Vec<Segment> =
            ids.iter().filter_map(|id| self.written.remove(id)).map(|w| Segment::clone(&w.segment)).collect();
        store.remove(&taken).await?;
        self.gone.extend(taken.iter().map(path_of));
        Ok(())
    }

    /// Afterwards there is what was written, and nothing else.
    async fn sweep(
        &mut self,
        store: &LocalStore,
        closed: &HashSet<WriterId>,
    ) -> Result<Result<(), StoreError>, String> {
        let kept = self.written.values().map(|written| written.segment.new.segment).collect();
        let report = match store.sweep(closed, &kept).await {
            Ok(report) => report,
            Err(error) => return Ok(Err(error)),
        };
        if !report.unknown.is_empty() {
            return Err(format!("nobody's files: {:?}", report.unknown));
        }
        self.gone.extend(report.removed.iter().map(|name| PathBuf::from(ROOT).join(name)));
        let expected: Vec<PathBuf> = self.written.values().map(|w| path_of(&w.segment)).collect();
        let found = segment_files(&self.disk);
        if found.len() != expected.len() || !expected.iter().all(|path| found.contains_key(path)) {
            return Err(format!("{:?} are there, {expected:?} should be", found.keys()));
        }
        Ok(Ok(()))
    }

    /// What is there once the power is back.
    async fn look(&mut self, life: u64) -> Result<(), String> {
        let files = segment_files(&self.disk);
        if let Some(back) = self.gone.iter().find(|path| files.contains_key(*path)) {
            return Err(format!("{} was removed and is back", back.display()));
        }
        let store = open_on(&self.disk, life * 1_000 + 500).map_err(text)?;
        for written in self.written.values() {
            let path = path_of(&written.segment);
            if files.get(&path) != Some(&written.bytes) {
                return Err(format!("{} is not what was written", path.display()));
            }
            store.verify(&[Arc::clone(&written.segment)], true).await.map_err(text)?;
            if let Some(rows) = &written.rows
                && self.numbers.below(3) == 0
                && rows_in(&store, &written.segment).await.map_err(text)? != *rows
            {
                return Err(format!("{} holds other rows", path.display()));
            }
        }
        if self.numbers.below(2) == 0 {
            let closed = self.writers.iter().copied().collect();
            self.sweep(&store, &closed).await?.map_err(text)?;
            // Names that went may come back until the next sync; this one was answered.
            self.disk.cut();
            self.disk = self.disk.reboot(life);
            let files = segment_files(&self.disk);
            if let Some(back) = self.gone.iter().find(|path| files.contains_key(*path)) {
                return Err(format!("{} was swept and is back", back.display()));
            }
        }
        Ok(())
    }
}

fn fails(seed: u64, lie: Option<Rule>) -> Option<String> {
    block_on(World::new(seed, lie).live_and_look()).err()
}

#[test]
fn what_was_answered_outlives_any_cut() {
    let seeds = std::env::var("WEIR_STORE_POWER_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(SEEDS) {
        if let Some(error) = fails(seed, None) {
            panic!("seed {seed}: {error}");
        }
    }
}

/// The test above is worth something only if it notices a disk that does not keep its word.
#[test]
fn a_disk_that_lies_about_any_sync_is_noticed() {
    let always = |operation, path: &str| Rule {
        operation,
        path_contains: path.to_owned(),
        skip: 0,
        times: u64::MAX,
        effect: Effect::Lie,
    };
    for lie in [
        always(Operation::SyncFile, "/rows/"),
        always(Operation::SyncFile, "/windows/"),
        always(Operation::SyncFile, "/members/"),
        always(Operation::SyncFile, "weir-store"),
        always(Operation::SyncFolder, "/rows"),
        always(Operation::SyncFolder, "/windows"),
        always(Operation::SyncFolder, "/members"),
        // Of the first start: the names of the data folder, of the store's and of all within it. Each of them
        // is synced more than once, so only a disk that never keeps one is found out.
        Rule { times: 1, ..always(Operation::SyncFolder, "/") },
        always(Operation::SyncFolder, "/"),
    ] {
        let noticed = (0..SEEDS).any(|seed| fails(seed, Some(lie.clone())).is_some());
        assert!(noticed, "nobody noticed that {:?} of {:?} lies", lie.operation, lie.path_contains);
    }
}
