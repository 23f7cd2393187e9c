//! The identity index as folding uses it: sealed runs, restarts with and without them, runs that cannot
//! be read, and a folder that cannot be written.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use weir_aggregator::{AggregatorError, Handle, Parts, Service};

use crate::faults::{FaultyCatalog, FaultyStore, Lost};
use crate::world::{World, append, close, counted, fates, offsets, rows, sum_meter};

/// Where the first page of a run begins.
const PAGE_AT: usize = 4_096;

fn world(in_memory: usize) -> World {
    let mut world = World::new();
    world.options.identities_in_memory = in_memory;
    world
}

fn runs(world: &World) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(world.path("index")) else { return Vec::new() };
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    runs.retain(|path| path.extension().is_some_and(|extension| extension == "run"));
    runs.sort();
    runs
}

/// A bit of an entry: neither its filter nor the directory can tell.
fn damage(runs: &[PathBuf]) {
    for path in runs {
        let mut bytes = fs::read(path).unwrap();
        bytes[PAGE_AT + 20] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} never came");
}

fn visible(parts: &Parts) -> u64 {
    parts.store.head().visible().borrow().iter().map(|range| range.to).sum()
}

struct Running {
    handle: Handle,
    stop: CancellationToken,
    folding: tokio::task::JoinHandle<Result<(), weir_aggregator::AggregatorError>>,
}

async fn start(world: &World, parts: &Parts) -> Running {
    let (service, handle) = Service::start(parts.clone(), world.options).await.unwrap();
    let stop = CancellationToken::new();
    Running { handle, stop: stop.clone(), folding: tokio::spawn(service.run(stop)) }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.folding.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn identities_in_runs_are_remembered_by_the_next_process_with_the_folder_and_without() {
    for keep_folder in [true, false] {
        for partitions in [1, 3] {
            let mut world = world(15);
            world.partitions = partitions;
            let parts = world.open().await;
            let meter = sum_meter(&parts).await;
            for from in [0, 100, 200] {
                append(&parts, (from..from + 100).map(|n| (n, n))).await;
                world.drain(&parts).await.unwrap();
            }
            close(parts).await;
            assert!(runs(&world).len() > 1 && runs(&world).len() < 60, "{:?}", runs(&world));
            if !keep_folder {
                fs::remove_dir_all(world.path("index")).unwrap();
            }

            let parts = world.open().await;
            append(&parts, (0..310).map(|n| (n, n))).await;
            world.drain(&parts).await.unwrap();
            let rows = rows(&parts).await;
            assert_eq!(fates(&rows, "duplicate").len(), 300, "{keep_folder} {partitions}");
            assert_eq!(counted(&parts, &meter).await, 310);
            close(parts).await;
        }
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_read_is_read_back_from_rows_at_rest() {
    let world = world(5);
    let parts = world.open().await;
    append(&parts, (0..60).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    close(parts).await;
    let damaged = runs(&world);
    damage(&damaged);

    let parts = world.open().await;
    append(&parts, (0..70).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    let rows = rows(&parts).await;
    assert_eq!(offsets(&rows), (0..130).collect::<Vec<_>>());
    assert_eq!(fates(&rows, "duplicate").len(), 60);
    assert!(damaged.iter().all(|path| !path.exists()), "given up");
    close(parts).await;
}

#[tokio::test]
async fn a_run_that_breaks_above_the_frontier_is_read_back_from_the_head() {
    let mut world = world(8);
    // Some of it at rest, all else in the head.
    world.options.flush_records = 20;
    let parts = world.open().await;
    append(&parts, (0..20).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    world.options.flush_records = usize::MAX;

    let running = start(&world, &parts).await;
    append(&parts, (20..50).map(|n| (n, n))).await;
    until("the head", || visible(&parts) == 50).await;
    until("a run above the frontier", || runs(&world).len() >= 4).await;
    let damaged = runs(&world);
    damage(&damaged);
    append(&parts, (0..55).map(|n| (n, n))).await;
    until("the duplicates", || visible(&parts) == 105).await;
    running.stop().await;
    let rows = rows(&parts).await;
    assert_eq!(offsets(&rows), (0..105).collect::<Vec<_>>());
    assert_eq!(fates(&rows, "duplicate").len(), 50);
    assert!(damaged.iter().all(|path| !path.exists()), "given up");
    close(parts).await;

    let parts = world.open().await;
    append(&parts, (0..55).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    assert_eq!(fates(&crate::world::rows(&parts).await, "duplicate").len(), 50 + 55);
}

#[tokio::test]
async fn folding_waits_for_a_folder_that_cannot_be_written_and_goes_on() {
    let mut world = world(5);
    world.options.flush_records = usize::MAX;
    let parts = world.open().await;
    let running = start(&world, &parts).await;
    fs::rename(world.path("index"), world.path("away")).unwrap();
    append(&parts, (0..40).map(|n| (n, n))).await;
    until("the reason", || running.handle.status().index_error.is_some()).await;
    until("two full tables", || visible(&parts) >= 10).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(visible(&parts), 10, "no more than two tables are in memory");
    fs::rename(world.path("away"), world.path("index")).unwrap();
    until("all records", || visible(&parts) == 40).await;
    append(&parts, (0..40).map(|n| (n, n))).await;
    until("the duplicates", || visible(&parts) == 80).await;
    until("no reason", || running.handle.status().index_error.is_none()).await;
    running.stop().await;
    assert_eq!(fates(&rows(&parts).await, "duplicate").len(), 40);
    close(parts).await;
}

#[tokio::test]
async fn identities_far_older_than_the_window_leave_no_runs() {
    let world = world(5);
    let parts = world.open().await;
    let meter = sum_meter(&parts).await;
    append(&parts, (0..30).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    let before = runs(&world);
    assert!(!before.is_empty());
    // The window of a world is an hour.
    world.pass(Duration::from_secs(3_601));
    append(&parts, (0..30).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    // The first step of the next piece tidies up.
    append(&parts, [(99, 1)]).await;
    world.drain(&parts).await.unwrap();
    assert!(before.iter().all(|path| !path.exists()), "{before:?} {:?}", runs(&world));
    assert_eq!(counted(&parts, &meter).await, 61);
    close(parts).await;
}

#[tokio::test]
async fn tiny_tables_of_many_partitions_leave_few_runs() {
    let mut world = world(8);
    world.partitions = 8;
    world.options.flush_records = 200;
    world.options.step_bytes = 1_000_000;
    let parts = world.open().await;
    let running = start(&world, &parts).await;
    // A table holds one identity, so that there are as many runs as records but for the merges. The last
    // records begin pieces, so that the others are known to be at rest.
    for from in (0..1_400).step_by(100) {
        append(&parts, (from..from + 100).map(|n| (n, n))).await;
        until("the records", || visible(&parts) == from + 100).await;
    }
    // Seven of each of three sizes in each partition, what goes into a merge and comes out of it, and what
    // is above the frontier as it was last seen.
    let bound = 8 * 7 * 3 + 17 + 3 * 200;
    until("merges", || runs(&world).len() <= bound).await;
    append(&parts, [(5, 5), (1_300, 1)]).await;
    until("the duplicates", || visible(&parts) == 1_402).await;
    running.stop().await;
    let mut duplicates = fates(&rows(&parts).await, "duplicate").len();
    duplicates += fates(&rows(&parts).await, "conflict").len();
    assert_eq!(duplicates, 2);
    close(parts).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_counts_once_also_if_its_segments_are_merged_before_the_look() {
    let world = World::new();
    let real = world.open().await;
    let meter = sum_meter(&real).await;
    append(&real, (0..10).map(|n| (n, n))).await;
    world.drain(&real).await.unwrap();

    let catalog = Arc::new(FaultyCatalog::new(Arc::clone(&real.catalog), Lost::AfterTheEffect, 1));
    let parts = Parts { catalog: Arc::clone(&catalog) as _, ..real.clone() };
    let running = start(&world, &parts).await;
    catalog.busy.store(usize::MAX, Ordering::SeqCst);
    append(&parts, (10..20).map(|n| (n, n))).await;
    until("the doubt", || running.handle.status().flush_error.is_some()).await;
    let listed = real.catalog.listing().await.unwrap().segments.len();
    let steps = world.maintain(&real).await;
    assert!(real.catalog.listing().await.unwrap().segments.len() < listed, "{steps:?}");
    catalog.busy.store(0, Ordering::SeqCst);
    running.stop().await;
    assert_eq!(offsets(&rows(&real).await), (0..20).collect::<Vec<_>>());
    assert_eq!(counted(&real, &meter).await, 20);
}

#[tokio::test]
async fn nothing_works_in_the_folder_any_more_once_a_flush_has_failed_for_good() {
    let world = world(2);
    let real = world.open().await;
    let mut store = FaultyStore::new(Arc::clone(&real.store), 1);
    store.for_ever = true;
    let parts = Parts { store: Arc::new(store), ..real.clone() };
    append(&parts, (0..200).map(|n| (n, n))).await;
    let (service, _) = Service::start(parts.clone(), world.options).await.unwrap();
    let error = service.run(CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, AggregatorError::Store(_)), "the cause and not what came of it: {error}");
    let ended = runs(&world);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(runs(&world), ended);
}
