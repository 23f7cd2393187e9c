//! Several partitions: a flush commits all of them or none.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_aggregator::Parts;

use crate::faults::{FaultyCatalog, Lost};
use crate::world::{World, append, close, counted, rows, sum_meter};

async fn frontiers(parts: &Parts) -> Vec<u64> {
    let listing = parts.catalog.listing().await.unwrap();
    (0..3).map(|partition| listing.frontier(0, partition)).collect()
}

fn ends(parts: &Parts) -> Vec<u64> {
    (0..3).map(|partition| *parts.log.durable_end(partition).borrow()).collect()
}

fn world() -> World {
    let mut world = World::new();
    world.partitions = 3;
    world.options.flush_records = usize::MAX;
    world
}

#[tokio::test]
async fn a_process_that_ends_before_the_commit_has_moved_no_partition() {
    let world = world();
    let real = world.open().await;
    let meter = sum_meter(&real).await;
    append(&real, (0..30).map(|n| (n, n))).await;
    assert!(ends(&real).iter().all(|end| *end > 0), "every partition has records: {:?}", ends(&real));
    // Commits never get through; the process is gone before one does.
    let catalog = FaultyCatalog::new(Arc::clone(&real.catalog), Lost::BeforeTheEffect, usize::MAX);
    let parts = Parts { catalog: Arc::new(catalog), ..real.clone() };
    let ended = tokio::time::timeout(Duration::from_millis(500), world.drain(&parts)).await;
    assert!(ended.is_err(), "it goes on trying");
    assert_eq!(frontiers(&real).await, [0, 0, 0]);
    drop(parts);
    close(real).await;

    let parts = world.open().await;
    world.drain(&parts).await.unwrap();
    assert_eq!(frontiers(&parts).await, ends(&parts));
    assert_eq!((rows(&parts).await.len(), counted(&parts, &meter).await), (30, 30));
}

#[tokio::test]
async fn a_process_that_ends_after_the_commit_has_moved_all() {
    let world = world();
    let real = world.open().await;
    let meter = sum_meter(&real).await;
    append(&real, (0..30).map(|n| (n, n))).await;
    let mut catalog = FaultyCatalog::new(Arc::clone(&real.catalog), Lost::AfterTheEffect, 1);
    // The answer is lost, and nobody can be asked any more.
    catalog.busy = usize::MAX.into();
    let catalog = Arc::new(catalog);
    let parts = Parts { catalog: Arc::clone(&catalog) as _, ..real.clone() };
    let _ = tokio::time::timeout(Duration::from_millis(500), world.drain(&parts)).await;
    assert_eq!(catalog.lost.load(Ordering::SeqCst), 0);
    assert_eq!(frontiers(&real).await, ends(&real));
    drop((parts, catalog));
    close(real).await;

    let parts = world.open().await;
    append(&parts, (0..30).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    assert_eq!(frontiers(&parts).await, ends(&parts));
    assert_eq!(counted(&parts, &meter).await, 30, "what came again is a duplicate");
}
