//! Starting again: after a crash at any point, on another log, and beside what was never committed.

use std::fs;
use std::sync::Arc;

use weir_aggregator::{AggregatorError, Parts, Service};
use weir_meter::segment::SegmentKind;
use weir_meter::{OffsetRange, SegmentId, WriterId};
use weir_store::StoreError;

use crate::faults::{FaultyCatalog, Lost};
use crate::world::{World, append, close, counted, fates, offsets, rows, sum_meter};

#[tokio::test]
async fn identities_at_rest_are_remembered_by_the_next_process() {
    let world = World::new();
    let parts = world.open().await;
    let meter = sum_meter(&parts).await;
    append(&parts, (0..15).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    close(parts).await;

    let parts = world.open().await;
    append(&parts, (0..20).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    let rows = rows(&parts).await;
    assert_eq!(offsets(&rows), (0..35).collect::<Vec<_>>());
    assert_eq!(fates(&rows, "duplicate").len(), 15);
    assert_eq!(counted(&parts, &meter).await, 20);
}

#[tokio::test]
async fn files_that_were_written_and_never_committed_do_not_count_and_are_swept() {
    let world = World::new();
    let parts = world.open().await;
    let meter = sum_meter(&parts).await;
    append(&parts, (0..8).map(|n| (n, n))).await;
    // A process folds, writes its files, and dies before the commit.
    let (meters, head) = (parts.catalog.live_meters().await.unwrap(), parts.store.head());
    let generations = meters.1.iter().map(|m| (m.key(), m.namespace.clone())).collect();
    head.begin(meters.0, std::sync::Arc::new(generations), Vec::new()).unwrap();
    let writer = weir_meter::WriterId(parts.entropy.random_u128());
    parts.catalog.open_writer(writer, 1).await.unwrap();
    let range = OffsetRange { epoch: 0, partition: 0, from: 0, to: 1 };
    let logged = parts.log.read(0, 0, 1).await.unwrap();
    let row = weir_store::Row {
        at: weir_meter::Coordinates { epoch: 0, partition: 0, offset: 0 },
        record_time_us: logged[0].record_time_us,
        record_time_raw_us: logged[0].record_time_us,
        namespace: logged[0].record.namespace.clone(),
        fate: weir_store::Fate::Unreadable,
        identity: logged[0].record.identity,
        content: logged[0].record.content,
        request: logged[0].record.request,
        event: None,
        stored_at_us: 1,
    };
    head.add(range, vec![row], |_, _| ()).unwrap();
    let piece = head.freeze().unwrap();
    let written = parts.store.write(writer, &piece).await.unwrap();
    let left_behind: Vec<_> = written
        .iter()
        .filter(|s| !s.location.is_empty())
        .map(|s| world.path("store").join(&s.location))
        .collect();
    assert!(!left_behind.is_empty() && left_behind.iter().all(|path| path.exists()));
    close(parts).await;

    let parts = world.open().await;
    let stranger = world.path("store").join("rows").join("notes.txt");
    fs::write(&stranger, "not ours").unwrap();
    world.drain(&parts).await.unwrap();
    assert!(left_behind.iter().all(|path| !path.exists()), "swept");
    assert!(stranger.exists(), "what the catalog does not know is left alone");
    assert_eq!(offsets(&rows(&parts).await), (0..8).collect::<Vec<_>>());
    assert_eq!(counted(&parts, &meter).await, 8);
}

#[tokio::test]
async fn windows_that_are_gone_are_folded_again() {
    let world = World::new();
    let parts = world.open().await;
    let meter = sum_meter(&parts).await;
    append(&parts, (0..15).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    let windows = file_of(&parts, SegmentKind::Windows).await;
    close(parts).await;
    fs::remove_file(world.path("store").join(&windows)).unwrap();

    let parts = world.open().await;
    world.drain(&parts).await.unwrap();
    assert!(counted(&parts, &meter).await < 15, "off the listing");
    world.maintain(&parts).await;
    assert_eq!(counted(&parts, &meter).await, 15);
}

#[tokio::test]
async fn a_catalog_whose_rows_are_gone_sweeps_nothing() {
    let world = World::new();
    let parts = world.open().await;
    append(&parts, (0..15).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    let rows = file_of(&parts, SegmentKind::Rows).await;
    close(parts).await;
    // As with an older catalog: the rows are in a file of the same writer that it does not list.
    let (listed, merged) = (world.path("store").join(&rows), SegmentId(77));
    let (writer, _) = rows.rsplit_once('-').unwrap();
    let merged = world.path("store").join(format!("{writer}-{merged}.parquet"));
    fs::rename(&listed, &merged).unwrap();

    let parts = world.open().await;
    let refused = world.drain(&parts).await;
    assert!(matches!(refused, Err(AggregatorError::Store(StoreError::Damaged { .. }))), "{refused:?}");
    assert!(merged.exists(), "perhaps the only copy of these rows");
}

async fn file_of(parts: &Parts, kind: SegmentKind) -> String {
    let listing = parts.catalog.listing().await.unwrap();
    let mut files = listing.segments.iter().filter(|s| s.new.kind == kind && s.new.row_count > 0);
    files.next().unwrap().new.location.clone()
}

#[tokio::test]
async fn a_log_that_begins_above_the_frontier_is_a_gap() {
    let world = World::new();
    let parts = world.open().await;
    append(&parts, (0..5).map(|n| (n, n))).await;
    close(parts).await;
    let mut files: Vec<_> =
        fs::read_dir(world.path("log").join("e0").join("p0")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    fs::remove_file(&files[0]).unwrap();

    let parts = world.open().await;
    let error = Service::start(parts, world.options).await.unwrap_err();
    assert!(matches!(error, AggregatorError::Gap { frontier: 0, start: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_log_that_ends_below_the_frontier_is_refused() {
    let world = World::new();
    let parts = world.open().await;
    append(&parts, (0..5).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    close(parts).await;
    let folder = world.path("log").join("e0").join("p0");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in &files[2..] {
        fs::remove_file(file).unwrap();
    }

    let parts = world.open().await;
    let error = Service::start(parts, world.options).await.unwrap_err();
    assert!(matches!(error, AggregatorError::LogBehind { frontier: 5, end: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_log_with_other_records_below_the_frontier_is_refused() {
    let world = World::new();
    let parts = world.open().await;
    append(&parts, (0..5).map(|n| (n, n))).await;
    world.drain(&parts).await.unwrap();
    close(parts).await;
    fs::remove_dir_all(world.path("log")).unwrap();
    let parts = world.open().await;
    append(&parts, (0..5).map(|n| (n, n + 1_000))).await;
    let error = Service::start(parts, world.options).await.unwrap_err();
    assert!(matches!(error, AggregatorError::OtherLog { offset: 4, .. }), "{error}");
}

#[tokio::test]
async fn what_was_written_before_the_catalog_was_restored_is_never_swept() {
    for (restored, left_alone) in [(false, false), (true, true)] {
        let world = World::new();
        let real = world.open().await;
        let writer = WriterId(real.entropy.random_u128());
        real.catalog.open_writer(writer, 1).await.unwrap();
        let file = world.path("store").join("rows").join(format!("{writer}-{}.parquet", SegmentId(5)));
        fs::write(&file, "committed after the copy was made").unwrap();
        let mut catalog = FaultyCatalog::new(Arc::clone(&real.catalog), Lost::BeforeTheEffect, 0);
        catalog.installation.incarnation ^= u128::from(restored);
        world.drain(&Parts { catalog: Arc::new(catalog), ..real.clone() }).await.unwrap();
        assert_eq!(file.exists(), left_alone);
    }
}
