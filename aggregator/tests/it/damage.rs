//! Maintenance on files that cannot be read: it does without them, and what is a cache comes back.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use weir_aggregator::{
    AggregatorError, Maintenance, MaintenanceHandle, MaintenanceParts, MaintenanceStatus, Parts, Step,
};
use weir_meter::segment::SegmentKind;
use weir_meter::{Aggregation, Meter};
use weir_store::StoreError;

use crate::sight::{expected, seen, stray_files};
use crate::world::{Event, NOW_US, World, append_events, close, make_meter, offsets, rows, work_to_the_end};

const DAY: Duration = Duration::from_secs(86_400);
const PATIENCE: Duration = Duration::from_secs(30);

fn events_at(ids: std::ops::Range<u64>, from_us: i64) -> Vec<Event> {
    ids.map(|id| Event {
        id,
        value: id % 11,
        subject: format!("subject-{}", id % 3),
        time_us: from_us + (id as i64 * 7_919 % 300) * 60_000_000,
    })
    .collect()
}

fn start(world: &World, parts: &Parts) -> impl Future<Output = (Maintenance, MaintenanceHandle)> {
    let parts = MaintenanceParts {
        store: parts.store.clone(),
        catalog: parts.catalog.clone(),
        clock: parts.clock.clone(),
        entropy: parts.entropy.clone(),
        hash_key: parts.hash_key,
    };
    let options = world.maintenance.clone();
    async move { Maintenance::start(parts, options).await.unwrap() }
}

/// Where the files of a kind and window size are, those of the lowest offsets first.
async fn files(world: &World, parts: &Parts, kind: SegmentKind, size_s: u32) -> Vec<PathBuf> {
    let listing = parts.catalog.listing().await.unwrap();
    let mut segments: Vec<_> = listing
        .segments
        .iter()
        .filter(|s| s.new.kind == kind && s.new.coverage.window_size_s == size_s)
        .collect();
    segments.sort_by_key(|s| s.new.coverage.ranges[0].from);
    segments.iter().map(|s| world.path("store").join(&s.new.location)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Footer,
    Middle,
    Gone,
}

/// Gives back what the file held.
fn harm(file: &PathBuf, how: Harm) -> Vec<u8> {
    let good = fs::read(file).unwrap();
    let mut bytes = good.clone();
    let end = bytes.len();
    match how {
        Harm::Footer => bytes[end - 40..end - 8].fill(0xff),
        Harm::Middle => bytes[end / 4..end / 4 + 400].iter_mut().for_each(|byte| *byte ^= 0x55),
        Harm::Gone => return fs::remove_file(file).map(|()| good).unwrap(),
    }
    fs::write(file, bytes).unwrap();
    good
}

async fn check(parts: &Parts, meter: &Meter, events: &[Event], size_s: u32) {
    let mut expected = expected(events, i64::from(size_s));
    for (_, sum, distinct) in expected.values_mut() {
        match meter.aggregation {
            Aggregation::UniqueCount => *sum = 0,
            _ => *distinct = 0,
        }
    }
    let seen = seen(parts, meter, size_s).await.expect("every offset is covered once");
    assert_eq!(seen, expected, "{:?} {size_s}", meter.aggregation);
}

/// Lets maintenance run until its status and the number of rows segments are as wished.
async fn run_until(
    world: &World,
    parts: &Parts,
    wished: impl Fn(&MaintenanceStatus, usize) -> bool,
) -> MaintenanceStatus {
    let (maintenance, handle) = start(world, parts).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(maintenance.run(stop.clone()));
    let reached = tokio::time::timeout(PATIENCE, async {
        while !wished(&handle.status(), files(world, parts, SegmentKind::Rows, 0).await.len()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let reached = reached.await;
    let status = handle.status();
    stop.cancel();
    running.await.unwrap();
    let rows = files(world, parts, SegmentKind::Rows, 0).await.len();
    assert!(reached.is_ok(), "{status:?}, {rows} rows segments");
    status
}

#[tokio::test]
async fn rows_that_cannot_be_read_do_not_hold_up_the_others() {
    for how in [Harm::Footer, Harm::Gone, Harm::Middle] {
        let mut world = World::new();
        world.maintenance.poll = Duration::from_millis(1);
        world.maintenance.refold_rows = 10;
        let parts = world.open().await;
        let events = events_at(0..70, NOW_US);
        append_events(&parts, &events).await;
        world.drain(&parts).await.unwrap();
        // Made after the events: these are folded for it, but for the damaged ones.
        let meter = make_meter(&parts, 5, Aggregation::UniqueCount).await;
        let all = files(&world, &parts, SegmentKind::Rows, 0).await;
        assert_eq!(all.len(), 7);
        // The first to be merged, and the newest, which is the first to be folded.
        let harmed = [all[0].clone(), all[6].clone()];
        let good = harmed.each_ref().map(|file| harm(file, how));
        close(parts).await;

        let parts = world.open().await;
        // Five others: two and two, then four, and one is left.
        let status = run_until(&world, &parts, |status, rows| rows == 4 && status.refold_backlog == 20).await;
        let error = status.error.expect("it is told as long as rows cannot be read");
        assert!(error.contains(all[0].file_name().unwrap().to_str().unwrap()) || error.contains("2 rows"));
        assert!(seen(&parts, &meter, 60).await.is_none(), "some offsets wait");

        // A process that goes on tries again after an hour, and only then.
        let (mut maintenance, _) = start(&world, &parts).await;
        let mut met = 0;
        loop {
            match maintenance.step().await {
                Ok(Step::Idle) => break,
                Ok(_) => {}
                Err(AggregatorError::Store(StoreError::Damaged { .. })) => met += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(met, 2, "{how:?}");
        for (file, good) in harmed.iter().zip(good) {
            fs::write(file, good).unwrap();
        }
        assert_eq!(maintenance.step().await.unwrap(), Step::Idle);
        world.pass(Duration::from_secs(3_601));
        work_to_the_end(&mut maintenance).await;
        assert_eq!(files(&world, &parts, SegmentKind::Rows, 0).await.len(), 3);
        check(&parts, &meter, &events, 60).await;
        assert_eq!(offsets(&rows(&parts).await), (0..70).collect::<Vec<_>>());
        assert_eq!(stray_files(&world, &parts).await, [""; 0]);
    }
}

#[tokio::test]
async fn windows_that_cannot_be_read_are_folded_again() {
    let kinds = [SegmentKind::Windows, SegmentKind::Members];
    let cases = kinds.into_iter().flat_map(|kind| [Harm::Footer, Harm::Gone].map(|how| (kind, how)));
    for (kind, how) in cases {
        let world = World::new();
        let parts = world.open().await;
        let meters = [
            make_meter(&parts, 5, Aggregation::UniqueCount).await,
            make_meter(&parts, 6, Aggregation::Sum).await,
        ];
        let events = events_at(0..40, NOW_US);
        append_events(&parts, &events).await;
        world.drain(&parts).await.unwrap();
        harm(&files(&world, &parts, kind, 60).await[1], how);
        close(parts).await;

        let parts = world.open().await;
        let steps = work_to_the_end(&mut start(&world, &parts).await.0).await;
        assert_eq!(steps[0], Step::LeftDamaged { segments: 2 }, "{kind:?} {how:?}");
        assert!(matches!(steps[1], Step::Refolded { generations: 2, offsets: 10, .. }), "{steps:?}");
        for meter in &meters {
            check(&parts, meter, &events, 60).await;
            check(&parts, meter, &events, 3_600).await;
        }
        assert_eq!(stray_files(&world, &parts).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_disk_that_damages_all_windows_is_not_kept_busy() {
    let mut world = World::new();
    world.maintenance.poll = Duration::from_millis(1);
    let parts = world.open().await;
    let meter = make_meter(&parts, 6, Aggregation::Sum).await;
    let events = events_at(0..20, NOW_US);
    append_events(&parts, &events).await;
    world.drain(&parts).await.unwrap();
    harm(&files(&world, &parts, SegmentKind::Windows, 60).await[0], Harm::Gone);
    let status = run_until(&world, &parts, |status, _| status.error.is_some()).await;
    assert!(status.error.unwrap().contains("windows: damaged windows were taken off"));
    // The other jobs go on, and once windows were merged there is nothing to complain of.
    run_until(&world, &parts, |status, rows| rows == 1 && status.error.is_none()).await;
    world.maintain(&parts).await;
    check(&parts, &meter, &events, 60).await;
}

#[tokio::test]
async fn bare_rows_that_are_merged_with_none_go_as_well() {
    let mut world = World::new();
    world.maintenance.retention = Some(2 * DAY);
    world.maintenance.fanout = 64;
    let parts = world.open().await;
    append_events(&parts, &events_at(0..20, NOW_US - 40 * DAY.as_micros() as i64)).await;
    world.drain(&parts).await.unwrap();
    let mut maintenance = world.maintenance(&parts).await;
    work_to_the_end(&mut maintenance).await;
    // Their identities are still asked for.
    assert_eq!(rows(&parts).await.len(), 20);
    for _ in 0..3 {
        world.pass(DAY);
        work_to_the_end(&mut maintenance).await;
        assert_eq!(rows(&parts).await.len(), 20, "no later record says how far the log has come");
    }
    append_events(&parts, &events_at(20..30, world.now_us())).await;
    world.drain(&parts).await.unwrap();
    world.pass(DAY);
    world.maintain(&parts).await;
    assert_eq!(offsets(&rows(&parts).await), (20..30).collect::<Vec<_>>());
    assert_eq!(world.maintain(&parts).await, []);
}

#[tokio::test]
async fn replaced_segments_stay_for_a_margin_more() {
    let mut world = World::new();
    world.maintenance.forget_margin = DAY;
    let parts = world.open().await;
    append_events(&parts, &events_at(0..20, NOW_US)).await;
    world.drain(&parts).await.unwrap();
    let mut maintenance = world.maintenance(&parts).await;
    work_to_the_end(&mut maintenance).await;
    world.pass(DAY + DAY / 2);
    assert_eq!(work_to_the_end(&mut maintenance).await, []);
    world.pass(DAY);
    let steps = work_to_the_end(&mut maintenance).await;
    assert!(matches!(steps[..], [Step::Forgot { .. }]), "{steps:?}");
}
