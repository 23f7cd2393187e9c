//! Random histories, cut again and again.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, Connection as _};
use weir_catalog::sqlite::SqliteCatalog;
use weir_catalog::{Catalog, CatalogError, Commit, MeterUpdate, Swap, Wide};
use weir_files::simulated::Rule;
use weir_meter::segment::{Generations, NewSegment};
use weir_meter::{Generation, OffsetRange, SegmentId};

use super::Machine;
use crate::place::{at, draft, members, meter_id, namespace, range, rows, segment, step, windows, writer};

const PARTITIONS: u32 = 3;
const HOUR_US: i64 = 3_600_000_000;

#[derive(Clone, Debug)]
enum Act {
    OpenWriter(u128),
    CloseWriter(u128),
    Commit(Commit),
    Swap(Swap),
    /// Before this second.
    Forget(i64),
    CreateMeter(u128),
    Regroup(u128),
    Reword(u128),
    DeleteMeter(u128),
    RaiseFloor(i64),
    NoteWide(u128),
    /// What the journal holds goes into the file, in one of SQLite's ways.
    Checkpoint(&'static str),
    Reopen,
}

/// What the generator knows, so that most acts change something.
#[derive(Default)]
struct Plan {
    used: u128,
    meters: u128,
    revision: u64,
    writer: u128,
    frontiers: BTreeMap<u32, u64>,
    rows: Vec<(SegmentId, OffsetRange)>,
    caches: Vec<SegmentId>,
}

impl Plan {
    fn id(&mut self) -> u128 {
        self.used += 1;
        self.used
    }

    fn act(&mut self, second: i64, random: &mut ChaCha8Rng) -> Act {
        let meter = random.random_range(0..self.meters.max(1));
        match random.random_range(0..32) {
            0 | 1 => {
                self.writer += 1;
                Act::OpenWriter(self.writer)
            }
            2 => Act::CloseWriter(random.random_range(0..self.writer + 1)),
            3..=14 => Act::Commit(self.flush(second, random)),
            15..=18 => Act::Swap(self.swap(second, random)),
            19 => Act::Forget(second - random.random_range(0..6)),
            20 | 21 => {
                self.meters += 1;
                self.revision += 1;
                Act::CreateMeter(self.meters - 1)
            }
            22 => Act::Regroup(meter),
            23 => Act::Reword(meter),
            24 => Act::DeleteMeter(meter),
            25 => Act::RaiseFloor(random.random_range(0..5)),
            26 => Act::NoteWide(meter),
            27..=29 => Act::Checkpoint(["PASSIVE", "FULL", "RESTART", "TRUNCATE"].choose(random).unwrap()),
            _ => Act::Reopen,
        }
    }

    /// Some are refused: by a writer that is closed, or of a revision that did not come.
    fn flush(&mut self, second: i64, random: &mut ChaCha8Rng) -> Commit {
        let mut ranges = Vec::new();
        for partition in 0..random.random_range(1..=PARTITIONS) {
            let from = self.frontiers.get(&partition).copied().unwrap_or(0);
            let to = from + random.random_range(1..9);
            ranges.push(range(partition, from, to));
        }
        let mut segments: Vec<NewSegment> = Vec::new();
        for offsets in &ranges {
            let id = self.id();
            segments.push(rows(id, &[*offsets]));
        }
        // Long rows make commits of several pages.
        if random.random_bool(0.3)
            && let Some(first) = segments.first_mut()
        {
            first.location = format!("{}/{}", "long".repeat(random.random_range(1..2_000)), first.location);
        }
        if random.random_bool(0.5) {
            let (one, other) = (self.id(), self.id());
            let caches = windows(one, &ranges, self.revision.min(1), Generations::AllBut(Vec::new()));
            segments.push(NewSegment { segment: segment(other), ..members(caches.clone()) });
            segments.push(caches);
        }
        if random.random_bool(0.9) {
            for offsets in &ranges {
                self.frontiers.insert(offsets.partition, offsets.to);
            }
            for new in &segments {
                match new.coverage.window_size_s {
                    0 => self.rows.push((new.segment, new.coverage.ranges[0])),
                    _ => self.caches.push(new.segment),
                }
            }
            let moves = ranges.into_iter().map(step).collect();
            return Commit { writer: writer(0), moves, segments, now_us: at(second) };
        }
        let moves = ranges.into_iter().map(step).collect();
        Commit { writer: writer(99), moves, segments, now_us: at(second) }
    }

    fn swap(&mut self, second: i64, random: &mut ChaCha8Rng) -> Swap {
        if random.random_bool(0.3) || self.rows.is_empty() {
            let remove = std::mem::take(&mut self.caches);
            return Swap { writer: writer(0), remove, add: Vec::new(), now_us: at(second) };
        }
        let taken: Vec<_> = self.rows.drain(..self.rows.len().min(3)).collect();
        let ranges: Vec<OffsetRange> = taken.iter().map(|(_, offsets)| *offsets).collect();
        let add = vec![rows(self.id(), &ranges)];
        let remove = taken.into_iter().map(|(id, _)| id).collect();
        Swap { writer: writer(0), remove, add, now_us: at(second) }
    }
}

fn plan(seed: u64, length: usize) -> Vec<Act> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut plan = Plan::default();
    (1..).take(length).map(|second| plan.act(second, &mut random)).collect()
}

/// An open catalog on a machine.
struct Player<'a> {
    machine: &'a Machine,
    catalog: SqliteCatalog,
}

impl<'a> Player<'a> {
    async fn begin(machine: &'a Machine) -> Result<Self, CatalogError> {
        let catalog = machine.open().await?;
        catalog.ensure_epoch("log", PARTITIONS, 60, at(0)).await?;
        if catalog.writers().await?.is_empty() {
            catalog.open_writer(writer(0), at(0)).await?;
        }
        Ok(Self { machine, catalog })
    }

    /// What the act came to, refusals included; an error if nobody knows.
    async fn play(&mut self, act: &Act, second: i64) -> Result<String, CatalogError> {
        let (catalog, default) = (&self.catalog, namespace("default"));
        let name = |number: &u128| format!("m{number}");
        let now_us = at(second);
        let outcome = match act.clone() {
            Act::OpenWriter(number) => catalog.open_writer(writer(number), now_us).await.map(shown),
            Act::CloseWriter(number) => catalog.close_writer(writer(number), now_us).await.map(shown),
            Act::Commit(commit) => catalog.commit(commit).await.map(shown),
            Act::Swap(swap) => catalog.swap(swap).await.map(shown),
            Act::Forget(before) => catalog.forget_segments(at(before)).await.map(shown),
            Act::CreateMeter(number) => {
                let draft = draft(&name(&number));
                catalog.create_meter(&default, draft, meter_id(number), now_us).await.map(shown)
            }
            Act::Regroup(number) => {
                let update = MeterUpdate::default();
                catalog.update_meter(&default, &name(&number), update, now_us).await.map(shown)
            }
            Act::Reword(number) => {
                let name = name(&number);
                let group_by = catalog.meter(&default, &name).await?.map(|meter| meter.group_by);
                let words = Some("other words".to_owned());
                let update =
                    MeterUpdate { name: words, group_by: group_by.unwrap_or_default(), ..Default::default() };
                catalog.update_meter(&default, &name, update, now_us).await.map(shown)
            }
            Act::DeleteMeter(number) => {
                catalog.delete_meter(&default, &name(&number), now_us).await.map(shown)
            }
            Act::RaiseFloor(hours) => catalog.raise_floor(&default, hours * HOUR_US, now_us).await.map(shown),
            Act::NoteWide(number) => {
                let generation = Generation { meter: meter_id(number), generation: 1 };
                catalog.note_wide(generation, Wide { groups: 9, noticed_at_us: now_us }).await.map(shown)
            }
            Act::Checkpoint(how) => {
                // Whether it comes to its end makes no difference.
                if let Ok(mut connection) = self.machine.raw().await {
                    let pragma = format!("PRAGMA wal_checkpoint({how})");
                    let _ = sqlx::query(AssertSqlSafe(pragma)).execute(&mut connection).await;
                    let _ = connection.close().await;
                }
                Ok(String::new())
            }
            Act::Reopen => {
                catalog.close().await;
                self.catalog = self.machine.open().await?;
                Ok(String::new())
            }
        };
        match outcome {
            Ok(text) => Ok(text),
            Err(error @ (CatalogError::Conflict(_) | CatalogError::NotFound(_))) => Ok(error.to_string()),
            Err(error) => Err(error),
        }
    }
}

fn shown(outcome: impl std::fmt::Debug) -> String {
    format!("{outcome:?}")
}

/// A history as it goes where nothing fails: outcomes, the tables after each act, and how many
/// operations the disk saw.
pub(super) struct Calm {
    acts: Vec<Act>,
    outcomes: Vec<String>,
    states: Vec<String>,
    operations: u64,
}

impl Calm {
    pub(super) async fn play(seed: u64, length: usize) -> Self {
        let acts = plan(seed, length);
        let machine = Machine::new(seed);
        let mut player = Player::begin(&machine).await.unwrap();
        let mut states = vec![machine.dump().await];
        let mut outcomes = Vec::new();
        for (act, second) in acts.iter().zip(1..) {
            outcomes.push(player.play(act, second).await.unwrap());
            states.push(machine.dump().await);
        }
        assert_eq!(player.catalog.integrity().await, Vec::<String>::new(), "seed {seed}");
        Self { acts, outcomes, states, operations: machine.disk.operations() }
    }

    /// Where it is at its end, closed in good order.
    pub(super) async fn finished(&self) -> Machine {
        let machine = Machine::new(0);
        let mut player = Player::begin(&machine).await.unwrap();
        for (act, second) in self.acts.iter().zip(1..) {
            player.play(act, second).await.unwrap();
        }
        player.catalog.close().await;
        machine
    }

    /// Plays it on a disk that is cut again and again, and says what is wrong with what a cut left.
    pub(super) async fn cut(&self, seed: u64, rules: &[Rule]) -> Result<(), String> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut machine = Machine::new(seed);
        let mut done = 0;
        // How far it may have come: what is done, and one more if its outcome is not known.
        let mut begun = 0;
        let mut first = true;
        let mut restarts = 0_u64;
        while done < self.acts.len() {
            restarts += 1;
            rules.iter().for_each(|rule| machine.disk.add_rule(rule.clone()));
            // Early ones too, so that the start after a cut is cut as well; at last it is left alone.
            let most = if random.random_bool(0.3) { 40 } else { self.operations };
            if restarts < 8 {
                machine.disk.cut_after(random.random_range(1..=most));
            }
            if let Ok(mut player) = Player::begin(&machine).await {
                if !first {
                    let found = machine.is_at(self, done, begun, &player.catalog).await;
                    match found {
                        Ok(at) => done = at,
                        Err(_) if machine.disk.is_cut() => {}
                        Err(problem) => return Err(format!("seed {seed}, act {done}: {problem}")),
                    }
                }
                first = false;
                begun = done;
                for (index, act) in self.acts.iter().enumerate().skip(done) {
                    if machine.disk.is_cut() {
                        break;
                    }
                    begun = index + 1;
                    let second = i64::try_from(begun).unwrap();
                    match player.play(act, second).await {
                        Ok(outcome) if outcome == self.outcomes[index] => done = begun,
                        Ok(outcome) => return Err(format!("seed {seed}, act {index}: {outcome}")),
                        Err(_) if machine.disk.is_cut() => break,
                        Err(error) => return Err(format!("seed {seed}, act {index}: {error}")),
                    }
                }
            } else if !machine.disk.is_cut() {
                return Err(format!("seed {seed}, act {done}: it does not open"));
            }
            machine = machine.reboot(random.random());
        }
        Ok(())
    }
}

impl Machine {
    /// Which of the states that it may be in it is in.
    async fn is_at(
        &self,
        calm: &Calm,
        done: usize,
        begun: usize,
        catalog: &SqliteCatalog,
    ) -> Result<usize, String> {
        let problems = catalog.integrity().await;
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        let Ok(state) = self.try_dump().await else { return Err("it cannot be read".to_owned()) };
        (done..=begun).rev().find(|at| calm.states[*at] == state).ok_or_else(|| {
            format!("acts up to {done} were acknowledged, {begun} begun, and it holds\n{state}")
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_any_cut() {
    let (histories, cuts) = match std::env::var("WEIR_POWER_CUT_SEEDS").map(|text| text.parse()) {
        Ok(Ok(seeds)) => (seeds, 10),
        _ => (12, 9),
    };
    for history in 0..histories {
        let calm = Calm::play(history, 24).await;
        for cut in 0..cuts {
            calm.cut(history * 1_000 + cut, &[]).await.unwrap_or_else(|problem| panic!("{problem}"));
        }
    }
}
