//! The power goes, at any operation of any part, while clients append, the aggregator folds and flushes,
//! and maintenance merges and refolds. Log, store and catalog lie on one disk that keeps what was synced
//! and a random part of the rest. After each cut everything listed has to be there to the last byte, and
//! in the end every acknowledged event counts exactly once, and every other once or not at all.
//!
//! `WEIR_POWER_SEEDS` says how many histories there are. A disk that only says that it has synced, at one
//! kind of place, has to be found out: else that sync is not needed, or this test does not see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;
use weir_aggregator::{Parts, Service, Step};
use weir_files::simulated::{Effect, Operation, Rule, SimulatedDisk};
use weir_meter::{Aggregation, MeterId, Namespace};

use crate::world::{Event, World, at_rest, close, event_record, meter_draft, totals};

const SEEDS: u64 = 16;
const LIVES: usize = 5;
const CLIENTS: u64 = 2;
const BATCHES: u64 = 16;
/// Enough for a dev build; only a history that hangs takes as long.
const LIFE_LIMIT: Duration = Duration::from_secs(30);
/// Histories on a lying disk before the test gives up on finding it out.
const LIES_SEEDS: u64 = 60;

/// What was sent, and whether it was acknowledged.
#[derive(Debug, Default)]
struct Ledger {
    sent: BTreeMap<u64, u64>,
    acknowledged: BTreeSet<u64>,
    meters: BTreeSet<u128>,
}

/// What happened in a history that kept its promises.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    cuts: u64,
    acknowledged: u64,
    merges: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_every_cut() {
    let seeds = std::env::var("WEIR_POWER_SEEDS").map_or(SEEDS, |text| text.parse().unwrap());
    let mut all = Seen::default();
    for seed in 0..seeds {
        match history(seed, None).await {
            Ok(seen) => {
                all.cuts += seen.cuts;
                all.acknowledged += seen.acknowledged;
                all.merges += seen.merges;
            }
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    println!("power: {seeds} histories, {all:?}");
    assert!(all.cuts > seeds && all.acknowledged > seeds * 20, "the cuts left nothing to test: {all:?}");
    assert!(all.merges > 0, "nothing was ever merged: {all:?}");
}

/// The places where something is synced, and what says at each of them that it has been while it has not.
const SYNCS: [(&str, Operation, &str); 9] = [
    ("frames of the log", Operation::SyncFile, ".log"),
    ("names of the log's files", Operation::SyncFolder, "/log/e0/p"),
    ("folders of the log's partitions", Operation::SyncFolder, "/log/e0"),
    ("rows", Operation::SyncFile, "/store/rows/"),
    ("names of rows", Operation::SyncFolder, "/store/rows"),
    ("windows", Operation::SyncFile, "/store/windows/"),
    ("names of windows", Operation::SyncFolder, "/store/windows"),
    ("the catalog's journal", Operation::SyncFile, "catalog.db-wal"),
    ("names of all folders", Operation::SyncFolder, "/data"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_lies_is_found_out_wherever_it_does() {
    for (what, operation, path) in SYNCS {
        let mut found = None;
        for seed in 0..LIES_SEEDS {
            let lie = Rule {
                operation,
                path_contains: path.to_owned(),
                skip: 0,
                times: u64::MAX,
                effect: Effect::Lie,
            };
            if let Err(broken) = history(seed, Some(lie)).await {
                println!("power: without syncing {what}, history {seed}: {broken}");
                found = Some(broken);
                break;
            }
        }
        assert!(found.is_some(), "{LIES_SEEDS} histories do not need {what} synced");
    }
}

/// Several lives on one disk, each but the last ended by a cut or a clean stop with the power cut behind
/// it. Tells what was broken.
async fn history(seed: u64, lie: Option<Rule>) -> Result<Seen, String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::on(SimulatedDisk::new(seed));
    world.partitions = random.random_range(1..=2);
    world.options.flush_records = random.random_range(3..20);
    // Few enough that identities are sealed into runs all the time.
    world.options.identities_in_memory = random.random_range(4..40);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut seen = Seen::default();
    let merges = AtomicU64::new(0);
    for life in 0..LIVES {
        let disk = world.simulated();
        if let Some(lie) = &lie {
            disk.add_rule(lie.clone());
        }
        disk.cut_after(random.random_range(1..900));
        let lived = live(&world, &ledger, &merges, seed * 100 + life as u64);
        match tokio::time::timeout(LIFE_LIMIT, lived).await {
            Ok(Ok(())) => {}
            // Without power everything may fail, and with it nothing.
            Ok(Err(_)) if disk.is_cut() => {}
            Ok(Err(broken)) => return Err(format!("life {life}: {broken}")),
            Err(_) => return Err(format!("life {life} does not end")),
        }
        seen.cuts += u64::from(disk.is_cut());
        world.set_simulated(disk.reboot(random.random()));
    }
    let parts = world.try_open().await?;
    listed_is_there(&parts).await?;
    world.drain(&parts).await.map_err(told)?;
    world.maintain(&parts).await;
    let ledger = std::mem::take(&mut *ledger.lock().unwrap());
    let judged = judge(&parts, &ledger).await;
    close(parts).await;
    seen.acknowledged = ledger.acknowledged.len() as u64;
    seen.merges = merges.into_inner();
    judged.map(|()| seen)
}

/// A process from its start until the power goes or its clients have sent all they wanted.
async fn live(
    world: &World,
    ledger: &Arc<Mutex<Ledger>>,
    merges: &AtomicU64,
    seed: u64,
) -> Result<(), String> {
    let parts = world.try_open().await?;
    let lived = live_with(world, &parts, ledger, merges, seed).await;
    close(parts).await;
    lived
}

async fn live_with(
    world: &World,
    parts: &Parts,
    ledger: &Arc<Mutex<Ledger>>,
    merges: &AtomicU64,
    seed: u64,
) -> Result<(), String> {
    listed_is_there(parts).await?;
    let known: BTreeSet<u128> =
        parts.catalog.live_meters().await.map_err(told)?.1.iter().map(|meter| meter.id.0).collect();
    let lost = ledger.lock().unwrap().meters.iter().find(|id| !known.contains(id)).copied();
    if let Some(lost) = lost {
        return Err(format!("meter {lost} is gone"));
    }
    // One more meter in each life, so that there is something to refold.
    let id = 1_000 + u128::from(seed);
    if known.len() < 3 {
        let draft = meter_draft(id, Aggregation::Sum, "t");
        let namespace = Namespace::default();
        parts.catalog.create_meter(&namespace, draft, MeterId(id), 5).await.map_err(told)?;
        ledger.lock().unwrap().meters.insert(id);
    }
    let (service, _) = Service::start(parts.clone(), world.options).await.map_err(told)?;
    let stop = CancellationToken::new();
    let mut running = tokio::spawn(service.run(stop.clone()));
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        clients.push(tokio::spawn(send(parts.clone(), Arc::clone(ledger), seed * CLIENTS + client)));
    }
    let disk = world.simulated();
    let ended = async {
        maintain_until(world, parts, &clients, merges).await?;
        for client in &mut clients {
            client.await.map_err(told)?;
        }
        stop.cancel();
        (&mut running).await.map_err(told)?.map_err(told)?;
        Ok(())
    };
    tokio::select! {
        ended = ended => ended,
        // Without power some things are tried for ever: a catalog may come back, a full disk have room again.
        () = until_cut(&disk) => {
            running.abort();
            for client in &clients {
                client.abort();
            }
            Err("the power is off".to_owned())
        }
    }
}

async fn until_cut(disk: &SimulatedDisk) {
    while !disk.is_cut() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Step by step, until no client sends any more and nothing is left to do. What was merged before the
/// power went is counted too.
async fn maintain_until(
    world: &World,
    parts: &Parts,
    clients: &[tokio::task::JoinHandle<()>],
    merges: &AtomicU64,
) -> Result<(), String> {
    let mut maintenance = world.try_maintenance(parts).await?;
    loop {
        let silent = clients.iter().all(tokio::task::JoinHandle::is_finished);
        match maintenance.step().await.map_err(told)? {
            Step::Idle if silent => return Ok(()),
            Step::Idle => tokio::time::sleep(Duration::from_millis(1)).await,
            Step::Compacted { .. } => _ = merges.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// Sends batches, some of them again: after an answer got lost that is what clients do.
async fn send(parts: Parts, ledger: Arc<Mutex<Ledger>>, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    for batch in 0..BATCHES {
        let mut ids: Vec<u64> =
            (0..random.random_range(1..6)).map(|n| seed * 1_000_000 + batch * 1_000 + n).collect();
        {
            let mut ledger = ledger.lock().unwrap();
            if random.random_bool(0.3)
                && let Some(old) = ledger.sent.keys().nth(random.random_range(0..ledger.sent.len().max(1)))
            {
                ids.push(*old);
            }
            for id in &ids {
                ledger.sent.insert(*id, value_of(*id));
            }
        }
        let records = ids.iter().map(|id| event_record(&parts, &event(*id))).collect();
        if parts.log.append(records).await.is_err() {
            return;
        }
        ledger.lock().unwrap().acknowledged.extend(ids);
        if random.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..4))).await;
        }
    }
}

fn value_of(id: u64) -> u64 {
    id % 1_009 + 1
}

/// A few subjects and minutes, so that windows add up.
fn event(id: u64) -> Event {
    Event {
        id,
        value: value_of(id),
        subject: format!("s{}", id % 3),
        time_us: 1_704_067_200_000_000 + (id % 5) as i64 * 60_000_000,
    }
}

/// Each listed file, whole: a listing must never be on the disk before what it lists.
async fn listed_is_there(parts: &Parts) -> Result<(), String> {
    let listing = parts.catalog.listing().await.map_err(told)?;
    parts.store.verify(&listing.segments, true).await.map_err(told)
}

/// Every offset has one row; what was acknowledged counts once, what was only sent once or not at all;
/// windows say the same.
async fn judge(parts: &Parts, ledger: &Ledger) -> Result<(), String> {
    let mut offsets: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for row in at_rest(parts).await {
        offsets.entry(row.partition).or_default().push(row.offset);
        if row.fate == "counted" {
            let id = row.id.and_then(|id| id.parse().ok()).ok_or("a counted row has no id of ours")?;
            *times.entry(id).or_default() += 1;
        }
    }
    for (partition, mut offsets) in offsets {
        offsets.sort_unstable();
        if !offsets.iter().copied().eq(0..offsets.len() as u64) {
            return Err(format!("partition {partition} has rows at {offsets:?}"));
        }
    }
    if let Some(lost) = ledger.acknowledged.iter().find(|id| !times.contains_key(id)) {
        return Err(format!("event {lost} was acknowledged and is lost"));
    }
    if let Some((id, times)) = times.iter().find(|(_, times)| **times != 1) {
        return Err(format!("event {id} counts {times} times"));
    }
    if let Some(id) = times.keys().find(|id| !ledger.sent.contains_key(id)) {
        return Err(format!("event {id} was never sent"));
    }
    let (revision, meters) = parts.catalog.live_meters().await.map_err(told)?;
    let total: u64 = times.keys().map(|id| value_of(*id)).sum();
    for meter in meters.iter() {
        let (events, sum) = totals(parts, meter).await;
        if events != times.len() as i64 || sum != i128::from(total) {
            return Err(format!(
                "meter {} at revision {revision} has {events} events with {sum}, not {} with {total}",
                meter.id.0,
                times.len()
            ));
        }
    }
    if let Some(lost) = ledger.meters.iter().find(|id| meters.iter().all(|meter| meter.id.0 != **id)) {
        return Err(format!("meter {lost} was made and is gone"));
    }
    Ok(())
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
