//! Maintenance on the real store and catalog: refold, compaction, retention, and every place at which they
//! can be broken off.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use weir_aggregator::{Parts, Service, Step};
use weir_meter::segment::SegmentKind;
use weir_meter::{Aggregation, Meter, Namespace};

use crate::faults::{FaultyCatalog, FaultyStore, Lost};
use crate::sight::{expected, seen, stray_files};
use crate::world::{
    Event, NOW_US, World, append_events, append_frames, close, make_meter, offsets, rows, sum_meter,
    work_to_the_end,
};

const DAY: Duration = Duration::from_secs(86_400);

/// Of three subjects, over a few hours.
fn events(count: u64) -> Vec<Event> {
    events_at(0..count, NOW_US)
}

fn events_at(ids: std::ops::Range<u64>, from_us: i64) -> Vec<Event> {
    ids.map(|id| Event {
        id,
        value: id % 11,
        subject: format!("subject-{}", id % 3),
        time_us: from_us + (id as i64 * 7_919 % 300) * 60_000_000,
    })
    .collect()
}

/// Sums as a SUM meter keeps them, or distinct values as a UNIQUE_COUNT does.
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

fn steps_of(steps: &[Step], of: impl Fn(&Step) -> bool) -> usize {
    steps.iter().filter(|step| of(step)).count()
}

#[tokio::test]
async fn a_meter_made_after_its_events_gets_their_windows() {
    // In memory all at once, in several portions, and streamed from a large segment.
    for (refold_rows, fanout) in [(1_000, 64), (25, 64), (9, 64), (9, 2)] {
        let mut world = World::new();
        world.maintenance.refold_rows = refold_rows;
        world.maintenance.fanout = fanout;
        let parts = world.open().await;
        let events = events(63);
        append_events(&parts, &events).await;
        world.drain(&parts).await.unwrap();
        if fanout == 2 {
            world.maintain(&parts).await;
        }
        let sum = sum_meter(&parts).await;
        let unique = make_meter(&parts, 5, Aggregation::UniqueCount).await;
        assert_eq!(seen(&parts, &sum, 60).await, None);
        let steps = world.maintain(&parts).await;
        assert!(steps_of(&steps, |step| matches!(step, Step::Refolded { generations: 2, .. })) > 0);
        for meter in [&sum, &unique] {
            check(&parts, meter, &events, 60).await;
        }
        assert_eq!(stray_files(&world, &parts).await, [""; 0]);
    }
}

#[tokio::test]
async fn small_segments_become_few_and_hours_appear() {
    let mut world = World::new();
    world.options.flush_records = 5;
    let parts = world.open().await;
    let sum = sum_meter(&parts).await;
    let unique = make_meter(&parts, 5, Aggregation::UniqueCount).await;
    let events = events(80);
    append_events(&parts, &events).await;
    world.drain(&parts).await.unwrap();
    let before = parts.catalog.listing().await.unwrap().segments.len();
    assert_eq!(before, 48);
    let steps = world.maintain(&parts).await;
    assert!(steps_of(&steps, |step| matches!(step, Step::Compacted { kind: SegmentKind::Rows, .. })) == 15);

    let listing = parts.catalog.listing().await.unwrap();
    let mut left: Vec<_> =
        listing.segments.iter().map(|s| (s.new.kind.name(), s.new.coverage.window_size_s)).collect();
    left.sort_unstable();
    assert_eq!(left, [("members", 60), ("members", 3_600), ("rows", 0), ("windows", 60), ("windows", 3_600)]);
    for meter in [&sum, &unique] {
        check(&parts, meter, &events, 60).await;
        check(&parts, meter, &events, 3_600).await;
    }
    assert_eq!(offsets(&rows(&parts).await), (0..80).collect::<Vec<_>>());
    close(parts).await;
    // The next process finds its identities in the merged rows.
    let parts = world.open().await;
    append_events(&parts, &events).await;
    world.drain(&parts).await.unwrap();
    world.maintain(&parts).await;
    check(&parts, &sum, &events, 60).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Store,
    Swap(Lost),
}

/// Events at rest, and a meter that came after half of them, so that everything is to be done.
async fn half_a_meter(world: &World, parts: &Parts, events: &[Event]) -> [Meter; 2] {
    let (first, second) = events.split_at(events.len() / 2);
    let unique = make_meter(parts, 5, Aggregation::UniqueCount).await;
    append_frames(parts, first, 7).await;
    world.drain(parts).await.unwrap();
    let sum = sum_meter(parts).await;
    append_frames(parts, second, 7).await;
    world.drain(parts).await.unwrap();
    [sum, unique]
}

#[tokio::test]
async fn a_job_broken_off_anywhere_is_done_again_and_nothing_counts_twice() {
    for fault in [Fault::Store, Fault::Swap(Lost::BeforeTheEffect), Fault::Swap(Lost::AfterTheEffect)] {
        // The fault meets one job after the other, with the same process going on or another one after it.
        for (place, restart) in (0..8).flat_map(|place| [(place, false), (place, true)]) {
            let mut world = World::new();
            world.options.flush_records = 7;
            let real = world.open().await;
            let events = events(42);
            let meters = half_a_meter(&world, &real, &events).await;
            let store = Arc::new(FaultyStore::new(Arc::clone(&real.store), 0));
            let lost = if let Fault::Swap(lost) = fault { lost } else { Lost::BeforeTheEffect };
            let catalog = Arc::new(FaultyCatalog::new(Arc::clone(&real.catalog), lost, 0));
            let parts =
                Parts { store: Arc::clone(&store) as _, catalog: Arc::clone(&catalog) as _, ..real.clone() };
            let mut maintenance = world.maintenance(&parts).await;
            for _ in 0..place {
                maintenance.step().await.unwrap();
            }
            let left = match fault {
                Fault::Store => &store.maintenance_failing,
                Fault::Swap(_) => &catalog.swaps_lost,
            };
            left.store(1, Ordering::SeqCst);
            let hit = maintenance.step().await;
            assert_eq!(hit.is_ok(), fault == Fault::Swap(Lost::AfterTheEffect), "{fault:?} {place}: {hit:?}");
            assert_eq!(left.load(Ordering::SeqCst), 0, "the fault was met");
            if restart {
                drop((maintenance, parts, store, catalog));
                close(real).await;
                let parts = world.open().await;
                world.drain(&parts).await.unwrap();
                world.maintain(&parts).await;
                check_all(&world, &parts, &meters, &events).await;
            } else {
                // What the failed attempt left is swept at once, by the process that goes on.
                assert_eq!(stray_files(&world, &real).await, [""; 0], "{fault:?} {place}");
                work_to_the_end(&mut maintenance).await;
                check_all(&world, &real, &meters, &events).await;
            }
        }
    }
}

async fn check_all(world: &World, parts: &Parts, meters: &[Meter], events: &[Event]) {
    for meter in meters {
        check(parts, meter, events, 60).await;
        check(parts, meter, events, 3_600).await;
    }
    assert_eq!(offsets(&rows(parts).await), (0..events.len() as u64).collect::<Vec<_>>());
    assert_eq!(stray_files(world, parts).await, [""; 0]);
}

#[tokio::test]
async fn a_catalog_that_is_busy_after_a_lost_swap_is_waited_for() {
    for lost in [Lost::BeforeTheEffect, Lost::AfterTheEffect] {
        let world = World::new();
        let real = world.open().await;
        let events = events(40);
        let meters = half_a_meter(&world, &real, &events).await;
        let mut catalog = FaultyCatalog::new(Arc::clone(&real.catalog), lost, 0);
        catalog.swaps_lost = AtomicUsize::new(1);
        catalog.busy = AtomicUsize::new(2);
        let parts = Parts { catalog: Arc::new(catalog), ..real.clone() };
        let mut maintenance = world.maintenance(&parts).await;
        let hit = maintenance.step().await;
        assert_eq!(hit.is_ok(), lost == Lost::AfterTheEffect, "{hit:?}");
        work_to_the_end(&mut maintenance).await;
        check_all(&world, &real, &meters, &events).await;
    }
}

#[tokio::test]
async fn flushes_go_on_while_segments_are_merged_and_meters_come_and_go() {
    let mut world = World::new();
    world.options.flush_records = 6;
    world.maintenance.poll = Duration::from_millis(1);
    world.maintenance.refold_rows = 20;
    let parts = world.open().await;
    let first = sum_meter(&parts).await;
    let (service, _) = Service::start(parts.clone(), world.options).await.unwrap();
    let maintenance = world.maintenance(&parts).await;
    let (stop_folding, stop_maintenance) = (CancellationToken::new(), CancellationToken::new());
    let folding = tokio::spawn(service.run(stop_folding.clone()));
    let maintaining = tokio::spawn(maintenance.run(stop_maintenance.clone()));
    let events = events(400);
    let mut meters = vec![first];
    for (batch, id) in events.chunks(50).zip(100_u128..) {
        append_events(&parts, batch).await;
        meters.push(make_meter(&parts, id, Aggregation::UniqueCount).await);
        if meters.len() > 3 {
            let gone = meters.remove(1);
            assert!(parts.catalog.delete_meter(&Namespace::default(), &gone.slug, 9).await.unwrap());
        }
    }
    stop_folding.cancel();
    folding.await.unwrap().unwrap();
    stop_maintenance.cancel();
    maintaining.await.unwrap();
    assert_eq!(stray_files(&world, &parts).await, [""; 0]);
    world.maintain(&parts).await;
    for meter in &meters {
        check(&parts, meter, &events, 60).await;
    }
    assert_eq!(offsets(&rows(&parts).await), (0..400).collect::<Vec<_>>());
    let listed = parts.catalog.listing().await.unwrap().segments.len();
    assert!(listed < 60, "{listed} segments after 67 flushes");
}

#[tokio::test]
async fn what_was_replaced_stays_for_a_while_and_then_its_files_go() {
    let world = World::new();
    let parts = world.open().await;
    sum_meter(&parts).await;
    append_events(&parts, &events(20)).await;
    world.drain(&parts).await.unwrap();
    let mut maintenance = world.maintenance(&parts).await;
    work_to_the_end(&mut maintenance).await;
    let kept = parts.catalog.kept_segments().await.unwrap().len();
    assert_eq!(kept, 6 + 5);
    world.pass(DAY / 2);
    assert_eq!(work_to_the_end(&mut maintenance).await, []);
    world.pass(DAY);
    assert_eq!(work_to_the_end(&mut maintenance).await, [Step::Forgot { segments: 6 }]);
    assert_eq!(parts.catalog.kept_segments().await.unwrap().len(), 5);
    assert_eq!(stray_files(&world, &parts).await, [""; 0]);
}

#[tokio::test]
async fn events_below_the_floor_go_once_it_is_raised() {
    let mut world = World::new();
    world.maintenance.retention = Some(30 * DAY);
    world.maintenance.fanout = 64;
    let parts = world.open().await;
    let sum = sum_meter(&parts).await;
    let day_us = DAY.as_micros() as i64;
    let old = events_at(0..10, NOW_US - 40 * day_us);
    let mixed: Vec<_> =
        [events_at(10..15, NOW_US - 36 * day_us), events_at(15..20, NOW_US - 10 * day_us)].concat();
    let new = events_at(20..30, NOW_US);
    append_events(&parts, &[old, mixed.clone(), new.clone()].concat()).await;
    world.drain(&parts).await.unwrap();
    let steps = world.maintain(&parts).await;
    assert!(matches!(&steps[0], Step::RaisedFloor { floor_us, .. } if floor_us % day_us == 0), "{steps:?}");
    let retained = |kind| steps_of(&steps, |step| *step == Step::Retained { kind });
    assert_eq!((retained(SegmentKind::Rows), retained(SegmentKind::Windows)), (2, 2));

    let kept: Vec<_> = [&mixed[5..], &new].concat();
    check(&parts, &sum, &kept, 60).await;
    // Every offset keeps what became of it.
    assert_eq!(offsets(&rows(&parts).await), (0..30).collect::<Vec<_>>());
    let later = make_meter(&parts, 6, Aggregation::Sum).await;
    world.maintain(&parts).await;
    check(&parts, &later, &kept, 60).await;
    // A late event below the floor gets no window when it is folded again.
    append_events(&parts, &events_at(30..40, NOW_US - 33 * day_us)).await;
    world.drain(&parts).await.unwrap();
    let latest = make_meter(&parts, 7, Aggregation::Sum).await;
    let mut maintenance = world.maintenance(&parts).await;
    let mut steps = Vec::new();
    while seen(&parts, &latest, 60).await.is_none() {
        steps.push(maintenance.step().await.unwrap());
    }
    assert!(steps.iter().all(|step| matches!(step, Step::Refolded { .. })), "{steps:?}");
    check(&parts, &latest, &kept, 60).await;
    world.maintain(&parts).await;
    for meter in [&sum, &later, &latest] {
        check(&parts, meter, &kept, 60).await;
    }
    assert_eq!(world.maintain(&parts).await, [], "nothing is rewritten for nothing");
}

#[tokio::test]
async fn bare_rows_go_once_no_record_can_be_told_a_duplicate_by_them() {
    let mut world = World::new();
    world.maintenance.retention = Some(2 * DAY);
    let parts = world.open().await;
    let events = events_at(0..20, NOW_US);
    append_events(&parts, &events).await;
    world.drain(&parts).await.unwrap();
    // Long after the identity window of an hour and the retention.
    world.pass(10 * DAY);
    append_events(&parts, &events_at(20..30, world.now_us())).await;
    world.drain(&parts).await.unwrap();
    world.maintain(&parts).await;
    let left = offsets(&rows(&parts).await);
    assert!(left.iter().all(|offset| *offset >= 20), "{left:?}");
    let dropped: u64 = {
        let listing = parts.catalog.listing().await.unwrap();
        listing.segments.iter().map(|s| s.new.dropped_rows).sum()
    };
    assert_eq!((left.len(), dropped), (10, 20));
    close(parts).await;
    // And the next process is content with that.
    let parts = world.open().await;
    world.drain(&parts).await.unwrap();
    assert_eq!(world.maintain(&parts).await, []);
}

#[tokio::test]
async fn minutes_go_where_hours_stand_for_them_and_stay_gone() {
    let mut world = World::new();
    world.maintenance.minute_windows_kept_for = Some(3 * DAY);
    let parts = world.open().await;
    let sum = sum_meter(&parts).await;
    let events = events(40);
    append_events(&parts, &events).await;
    world.drain(&parts).await.unwrap();
    world.maintain(&parts).await;
    check(&parts, &sum, &events, 60).await;
    world.pass(4 * DAY);
    let steps = world.maintain(&parts).await;
    assert!(matches!(steps[..], [Step::Forgot { .. }, Step::LeftMinutes { segments: 2 }]), "{steps:?}");
    assert_eq!(seen(&parts, &sum, 60).await, None);
    check(&parts, &sum, &events, 3_600).await;
    assert_eq!(world.maintain(&parts).await, []);
    // A meter that comes later gets hours there too, and its minutes go.
    let later = make_meter(&parts, 8, Aggregation::UniqueCount).await;
    world.maintain(&parts).await;
    for meter in [&sum, &later] {
        check(&parts, meter, &events, 3_600).await;
        assert_eq!(seen(&parts, meter, 60).await, None);
    }
}

#[tokio::test]
async fn of_a_segment_that_is_open_in_part_only_that_part_is_folded() {
    for refold_rows in [1_000, 5] {
        let mut world = World::new();
        world.maintenance.fanout = 64;
        world.maintenance.refold_rows = refold_rows;
        let parts = world.open().await;
        let events = events(20);
        append_events(&parts, &events[..10]).await;
        world.drain(&parts).await.unwrap();
        let sum = sum_meter(&parts).await;
        append_events(&parts, &events[10..]).await;
        world.drain(&parts).await.unwrap();
        // The rows become one segment, half of which the meter has windows of.
        world.maintenance.fanout = 2;
        let listing = parts.catalog.listing().await.unwrap();
        let inputs: Vec<_> =
            listing.segments.iter().filter(|s| s.new.kind == SegmentKind::Rows).cloned().collect();
        let writer = weir_meter::WriterId(parts.entropy.random_u128());
        parts.catalog.open_writer(writer, 1).await.unwrap();
        let mut coverage = inputs[0].new.coverage.clone();
        coverage.ranges[0].to = 20;
        let merge = weir_store::Merge {
            kind: SegmentKind::Rows,
            inputs: inputs.clone(),
            coverage,
            level: 1,
            generations: Arc::default(),
            retention: weir_store::Retention::default(),
            stop: Arc::default(),
        };
        let add = vec![parts.store.merge(writer, merge).await.unwrap()];
        let remove = inputs.iter().map(|input| input.new.segment).collect();
        let swap = weir_catalog::Swap { writer, remove, add, now_us: world.now_us() };
        assert_eq!(parts.catalog.swap(swap).await.unwrap(), weir_catalog::SwapOutcome::Swapped);

        let steps = world.maintain(&parts).await;
        assert!(matches!(steps[0], Step::Refolded { offsets: 10, .. }), "{steps:?}");
        check(&parts, &sum, &events, 60).await;
    }
}

#[tokio::test]
async fn windows_can_be_dropped_and_come_back_the_same() {
    let mut world = World::new();
    world.options.flush_records = 7;
    let parts = world.open().await;
    let events = events(50);
    let meters = half_a_meter(&world, &parts, &events).await;
    world.maintain(&parts).await;
    let listing = parts.catalog.listing().await.unwrap();
    let writer = weir_meter::WriterId(parts.entropy.random_u128());
    parts.catalog.open_writer(writer, 1).await.unwrap();
    let windows = listing.segments.iter().filter(|s| s.new.kind != SegmentKind::Rows);
    let remove = windows.map(|s| s.new.segment).collect();
    let swap = weir_catalog::Swap { writer, remove, add: Vec::new(), now_us: world.now_us() };
    parts.catalog.swap(swap).await.unwrap();
    assert_eq!(seen(&parts, &meters[0], 60).await, None);
    world.maintain(&parts).await;
    for meter in &meters {
        check(&parts, meter, &events, 60).await;
    }
}

#[tokio::test]
async fn a_refold_that_is_told_to_stop_ends_soon_and_leaves_nothing() {
    let world = World::new();
    let parts = world.open().await;
    append_events(&parts, &events(30)).await;
    world.drain(&parts).await.unwrap();
    sum_meter(&parts).await;
    let stop = CancellationToken::new();
    let maintaining = tokio::spawn(world.maintenance(&parts).await.run(stop.clone()));
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), maintaining).await.expect("it ends").unwrap();
    assert_eq!(stray_files(&world, &parts).await, [""; 0]);
}
