//! One seed: a log lives several times on one disk, and each life but the last ends badly.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use weir_files::simulated::{Effect, Operation, Rule};
use weir_log::local::{Compression, LocalLog};
use weir_log::{AppendError, Log, Record, RecordKind};
use weir_meter::{ContentHash, IdentityHash, Namespace, RequestId};

use super::ledger::Ledger;
use super::watch::{Kind, Watch};
use crate::hooked::hooked;
use crate::machine::Machine;

const PARTITIONS: u32 = 2;
const LIVES: usize = 4;

struct World {
    machine: Machine,
    watch: Arc<Watch>,
    ledger: Ledger,
    random: ChaCha8Rng,
    sent: u64,
    faulty: bool,
    /// The disk had a fault since the last start. It may have stopped the log until the next one, also a
    /// little later: an append is answered when the first of its partitions has failed.
    harmed: bool,
}

pub(crate) async fn run(seed: u64, skipped: Option<Kind>) -> Result<(), String> {
    let mut world = World::new(seed, skipped);
    for _ in 0..LIVES {
        world.life().await?;
    }
    world.begin(None);
    let log = world.open().map_err(|error| format!("the last start: {error}"))?;
    world.compare(&log).await?;
    world.append(&log).await?;
    world.compare(&log).await?;
    drop(log);
    world.power_cut();
    world.begin(None);
    let log = world.open().map_err(|error| format!("the start after the last: {error}"))?;
    world.compare(&log).await
}

impl World {
    fn new(seed: u64, skipped: Option<Kind>) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut machine = Machine::new(random.random());
        // Whoever made the folder above the log's has seen to its name.
        machine.disk.disk().create_folders("/data".as_ref()).unwrap();
        let options = &mut machine.options;
        options.partitions = PARTITIONS;
        options.segment_bytes_max = [300, 800, 1500, 2500][random.random_range(0..4)];
        options.segment_age_max = Duration::from_micros([5, 1_000_000][random.random_range(0..2)]);
        options.group_bytes_max = [1, 600, 1 << 20][random.random_range(0..3)];
        options.tail_bytes_max = [0, 3000][random.random_range(0..2)];
        options.compression = [Compression::None, Compression::Lz4][random.random_range(0..2)];
        Self {
            machine,
            watch: Watch::new(skipped),
            ledger: Ledger::new(PARTITIONS),
            random,
            sent: 0,
            faulty: false,
            harmed: false,
        }
    }

    /// One process: it may end at any operation, with or without the power.
    async fn life(&mut self) -> Result<(), String> {
        let after = if self.random.random_bool(0.4) { 1..10 } else { 1..70 };
        let after = self.random.random_range(after);
        let (kill, cut) = [(true, false), (false, true), (false, false)][self.random.random_range(0..3)];
        self.begin(kill.then_some(after));
        if cut {
            self.machine.disk.cut_after(after);
        }
        if self.random.random_bool(0.1) {
            self.spoil();
        }
        match self.open() {
            Ok(log) => {
                self.compare(&log).await?;
                self.work(&log).await?;
                log.close().await;
            }
            Err(error) if !(self.dying() || self.faulty) => return Err(format!("a start: {error}")),
            Err(_) => {}
        }
        self.heal();
        if cut || self.random.random_bool(0.4) {
            self.power_cut();
        }
        Ok(())
    }

    async fn work(&mut self, log: &Arc<LocalLog>) -> Result<(), String> {
        for _ in 0..self.random.random_range(1..14) {
            if self.dying() || log.unavailable().is_some() {
                break;
            }
            match self.random.random_range(0..14) {
                0 => self.spoil(),
                1 => self.heal(),
                2 => self.cut(log).await,
                3 => self.compare(log).await?,
                4 => {
                    let by = self.random.random_range(-20..20);
                    self.machine.clock.0.fetch_add(by, Ordering::SeqCst);
                }
                5 | 6 => self.hiccup(log).await?,
                _ => self.append(log).await?,
            }
        }
        self.compare(log).await
    }

    /// Some clients at once.
    async fn append(&mut self, log: &Arc<LocalLog>) -> Result<(), String> {
        let mut waiting = Vec::new();
        for _ in 0..self.random.random_range(1..5) {
            let batch = self.batch();
            self.ledger.send(&batch);
            let (log, request) = (log.clone(), batch[0].request.0);
            waiting.push((request, tokio::spawn(async move { log.append(batch).await })));
        }
        for (request, task) in waiting {
            match task.await.map_err(|error| error.to_string())? {
                Ok(appended) => self.ledger.acknowledge(request, &appended)?,
                Err(AppendError::Unavailable { .. }) if self.dying() || self.faulty => {}
                Err(AppendError::Unavailable { .. }) if self.harmed && log.unavailable().is_some() => {}
                Err(error) => return Err(format!("an append to a good log: {error}")),
            }
        }
        Ok(())
    }

    fn batch(&mut self) -> Vec<Record> {
        let request = RequestId(u128::from(self.random.random::<u64>()));
        let count = self.random.random_range(1..5);
        // Small ones and large ones: what fits into a file after what does not.
        let bytes_max = [40, 700][self.random.random_range(0..2)];
        (0..count)
            .map(|_| {
                self.sent += 1;
                let mut value = vec![0; self.random.random_range(0..bytes_max)];
                self.random.fill(value.as_mut_slice());
                Record {
                    namespace: Namespace::new("acme"),
                    kind: RecordKind::Event,
                    identity: IdentityHash(
                        u128::from(self.sent) * 7 + u128::from(self.random.random::<u8>() % 2),
                    ),
                    content: ContentHash(u128::from(self.sent)),
                    request,
                    value: Bytes::from(value),
                }
            })
            .collect()
    }

    async fn cut(&mut self, log: &LocalLog) {
        let partition = self.random.random_range(0..PARTITIONS);
        let end = *log.durable_end(partition).borrow();
        let below = if self.random.random() { end } else { self.random.random_range(0..=end) };
        self.ledger.ask_cut(partition, below);
        // A cut that fails may have taken something all the same.
        if log.cut(partition, below).await.is_ok()
            && let Ok(start) = log.start(partition).await
        {
            self.ledger.cut(partition, start);
        }
    }

    async fn compare(&mut self, log: &LocalLog) -> Result<(), String> {
        let bytes_max = self.random.random_range(1..3000);
        let whole = self.ledger.compare(log, bytes_max).await?;
        if whole || self.dying() { Ok(()) } else { Err("it cannot be read".to_owned()) }
    }

    /// The disk is full, or fails to begin a file, for just one append.
    async fn hiccup(&mut self, log: &Arc<LocalLog>) -> Result<(), String> {
        (self.faulty, self.harmed) = (true, true);
        match self.random.random_range(0..3) {
            0 => self.fail(Operation::SyncFolder, 0, 1),
            1 => self.fail(Operation::Create, 0, 1),
            _ => self.machine.disk.set_space(Some(self.random.random_range(1..700))),
        }
        self.append(log).await?;
        self.heal();
        if log.unavailable().is_some() { Ok(()) } else { self.append(log).await }
    }

    /// The disk is full, or fails once or twice.
    fn spoil(&mut self) {
        use Operation::{Create, Remove, SetLen, SyncFile, SyncFolder, Write};
        (self.faulty, self.harmed) = (true, true);
        if self.random.random_bool(0.3) {
            return self.machine.disk.set_space(Some(self.random.random_range(0..900)));
        }
        let (skip, times) = (self.random.random_range(0..3), self.random.random_range(1..3));
        if self.random.random_bool(0.1) {
            return self.rule(Write, skip, times, Effect::Short);
        }
        let operation = [Create, Remove, SetLen, SyncFile, SyncFolder, Write][self.random.random_range(0..6)];
        self.fail(operation, skip, times);
    }

    fn fail(&self, operation: Operation, skip: u64, times: u64) {
        self.rule(operation, skip, times, Effect::Fail(ErrorKind::Other));
    }

    fn rule(&self, operation: Operation, skip: u64, times: u64, effect: Effect) {
        let path_contains = "/log".to_owned();
        self.machine.disk.add_rule(Rule { operation, path_contains, skip, times, effect });
    }

    fn heal(&mut self) {
        self.machine.disk.clear_rules();
        self.machine.disk.set_space(None);
        self.faulty = false;
    }

    fn begin(&mut self, killed_after: Option<u64>) {
        self.heal();
        self.harmed = false;
        self.watch.begin(killed_after);
    }

    fn open(&self) -> Result<Arc<LocalLog>, weir_log::LogError> {
        let log = self.machine.try_open_on(hooked(&self.machine.disk, self.watch.hook()))?;
        self.watch.opened();
        Ok(Arc::new(log))
    }

    fn dying(&self) -> bool {
        self.watch.killed() || self.machine.disk.is_cut()
    }

    fn power_cut(&mut self) {
        self.machine.disk = self.machine.disk.reboot(self.random.random());
    }
}
