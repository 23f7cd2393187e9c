//! Flushes: every offset at rest once, the log cut one commit behind, and writes without a clear answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use weir_aggregator::{AggregatorError, Parts};
use weir_meter::segment::SegmentKind;
use weir_store::StoreError;

use crate::faults::{FaultyCatalog, FaultyStore, Lost};
use crate::world::{World, append, append_to_subjects, counted, fates, offsets, rows, sum_meter};

#[tokio::test]
async fn every_offset_has_one_row_and_every_identity_counts_once() {
    let world = World::new();
    let parts = world.open().await;
    let meter = sum_meter(&parts).await;
    append(&parts, (0..25).map(|n| (n, n))).await;
    append(&parts, (0..5).map(|n| (n, n))).await;
    append(&parts, [(3, 999)]).await;
    world.drain(&parts).await.unwrap();

    let rows = rows(&parts).await;
    assert_eq!(offsets(&rows), (0..31).collect::<Vec<_>>());
    assert_eq!(fates(&rows, "counted").len(), 25);
    assert_eq!(fates(&rows, "duplicate").len(), 5);
    assert_eq!(fates(&rows, "conflict"), [&30]);
    assert_eq!(counted(&parts, &meter).await, 25);
    assert!(parts.store.head().snapshot_of(&[]).pieces.is_empty());
}

#[tokio::test]
async fn the_log_is_cut_below_the_commit_before_the_last() {
    let world = World::new();
    let parts = world.open().await;
    append(&parts, (0..35).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    // Flushes end at 10, 20, 30 and 35: the last but one is the one that may go.
    assert_eq!(parts.catalog.listing().await.unwrap().frontier(0, 0), 35);
    assert_eq!(parts.log.start(0).await.unwrap(), 30);
}

#[tokio::test]
async fn a_store_that_fails_is_tried_again_under_a_new_writer() {
    let world = World::new();
    let real = world.open().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&real.store), 2));
    let parts = Parts { store, ..real.clone() };
    let meter = sum_meter(&parts).await;
    append(&parts, (0..12).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();

    assert_eq!(offsets(&rows(&real).await), (0..12).collect::<Vec<_>>());
    assert_eq!(counted(&real, &meter).await, 12);
    let writers = real.catalog.writers().await.unwrap();
    assert_eq!(writers.len(), 3, "one for each attempt that failed, and the one that went on");
    assert_eq!(writers.iter().filter(|w| w.closed_at_us.is_some()).count(), 2);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_counts_once_whether_it_took_effect_or_not() {
    for lost in [Lost::AfterTheEffect, Lost::BeforeTheEffect] {
        let world = World::new();
        let real = world.open().await;
        let catalog = Arc::new(FaultyCatalog::new(Arc::clone(&real.catalog), lost, 2));
        let parts = Parts { catalog: Arc::clone(&catalog) as _, ..real.clone() };
        let meter = sum_meter(&parts).await;
        append(&parts, (0..25).map(|n| (n, n))).await;
        world.drain(&parts).await.unwrap();

        assert_eq!(catalog.lost.load(Ordering::SeqCst), 0, "both faults were met");
        assert_eq!(offsets(&rows(&real).await), (0..25).collect::<Vec<_>>(), "{lost:?}");
        assert_eq!(counted(&real, &meter).await, 25, "{lost:?}");
    }
}

#[tokio::test]
async fn a_catalog_that_is_busy_after_a_lost_answer_is_waited_for() {
    for lost in [Lost::AfterTheEffect, Lost::BeforeTheEffect] {
        let world = World::new();
        let real = world.open().await;
        let mut catalog = FaultyCatalog::new(Arc::clone(&real.catalog), lost, 1);
        catalog.busy = AtomicUsize::new(2);
        let parts = Parts { catalog: Arc::new(catalog), ..real.clone() };
        let meter = sum_meter(&parts).await;
        append(&parts, (0..12).map(|n| (n, n))).await;
        world.drain(&parts).await.unwrap();

        assert_eq!(offsets(&rows(&real).await), (0..12).collect::<Vec<_>>(), "{lost:?}");
        assert_eq!(counted(&real, &meter).await, 12, "{lost:?}");
    }
}

#[tokio::test]
async fn commits_that_fail_again_and_again_leave_no_files_behind() {
    let world = World::new();
    let real = world.open().await;
    let catalog = FaultyCatalog::new(Arc::clone(&real.catalog), Lost::BeforeTheEffect, 3);
    let parts = Parts { catalog: Arc::new(catalog), ..real.clone() };
    append(&parts, (0..5).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();

    let files = std::fs::read_dir(world.path("store").join("rows")).unwrap().count();
    assert_eq!(files, 1, "the one that is listed");
}

#[tokio::test]
async fn a_piece_that_can_never_be_written_stops_the_aggregator() {
    let world = World::new();
    let real = world.open().await;
    let mut store = FaultyStore::new(Arc::clone(&real.store), usize::MAX);
    store.for_ever = true;
    let parts = Parts { store: Arc::new(store), ..real.clone() };
    append(&parts, (0..5).map(|n| (n, n))).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), world.drain(&parts)).await;
    let error = ended.expect("it ends").unwrap_err();
    assert!(matches!(error, AggregatorError::Store(StoreError::Inconsistent(_))), "{error}");
}

#[tokio::test]
async fn a_piece_is_cut_for_the_windows_it_makes_and_not_for_its_records_alone() {
    let mut world = World::new();
    world.options.flush_records = usize::MAX;
    // The records of all events together are smaller; with one window each they are not.
    world.options.flush_bytes = 5_000;
    let parts = world.open().await;
    sum_meter(&parts).await;
    append_to_subjects(&parts, 20).await;
    world.drain(&parts).await.unwrap();

    let listing = parts.catalog.listing().await.unwrap();
    let flushes = listing.segments.iter().filter(|s| s.new.kind == SegmentKind::Rows).count();
    assert!(flushes >= 2, "{flushes} flushes");
    assert_eq!(offsets(&rows(&parts).await), (0..20).collect::<Vec<_>>());
}
