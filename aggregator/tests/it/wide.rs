//! Meters with too many groups for windows: noticed while folding and while folding again, and left to rows.

use weir_aggregator::Step;
use weir_meter::Aggregation;
use weir_meter::segment::Generations;

use crate::sight::seen;
use crate::world::{World, append_to_subjects, make_meter, make_meter_of, offsets, rows, sum_meter};

#[tokio::test]
async fn a_meter_that_gets_too_wide_is_left_out_of_the_piece_and_of_those_after_it() {
    let mut world = World::new();
    world.options.flush_records = 20;
    world.options.wide_groups_max = 8;
    let parts = world.open().await;
    let sum = sum_meter(&parts).await;
    let narrow = make_meter_of(&parts, 3, Aggregation::Sum, "another").await;
    append_to_subjects(&parts, 50).await;
    world.drain(&parts).await.unwrap();

    let listing = parts.catalog.listing().await.unwrap();
    assert_eq!(listing.wide.get(&sum.key()).map(|wide| wide.groups), Some(9));
    assert_eq!(offsets(&rows(&parts).await), (0..50).collect::<Vec<_>>());
    let windows: Vec<_> = listing.segments.iter().filter(|s| s.new.coverage.window_size_s == 60).collect();
    assert!(windows.iter().all(|s| !s.new.coverage.covers(&sum)), "{windows:?}");
    assert!(windows.iter().all(|s| s.new.coverage.covers(&narrow)), "{windows:?}");
    assert!(seen(&parts, &narrow, 60).await.is_some());
    // Nothing is folded for it again.
    let steps = world.maintain(&parts).await;
    assert!(!steps.iter().any(|step| matches!(step, Step::Refolded { .. })), "{steps:?}");
    assert_eq!(seen(&parts, &sum, 60).await, None);
}

#[tokio::test]
async fn the_others_are_folded_on() {
    let mut world = World::new();
    world.options.wide_groups_max = 8;
    let parts = world.open().await;
    let wide = sum_meter(&parts).await;
    append_to_subjects(&parts, 12).await;
    world.drain(&parts).await.unwrap();
    // By now the first is noted; a second one begins in the same pieces as anybody.
    world.options.wide_groups_max = 100;
    let other = make_meter(&parts, 3, Aggregation::UniqueCount).await;
    append_to_subjects(&parts, 20).await;
    world.drain(&parts).await.unwrap();
    let listing = parts.catalog.listing().await.unwrap();
    let last = listing.segments.iter().rfind(|s| s.new.coverage.covers(&other)).expect("folded");
    assert_eq!(last.new.coverage.generations, Generations::AllBut(vec![wide.key()]));
    world.maintain(&parts).await;
    assert!(seen(&parts, &other, 60).await.is_some());
    assert_eq!(seen(&parts, &wide, 60).await, None);
}

#[tokio::test]
async fn many_windows_are_not_many_groups() {
    let mut world = World::new();
    world.options.flush_records = 100;
    world.options.wide_groups_max = 30;
    let parts = world.open().await;
    let sum = sum_meter(&parts).await;
    // Sixty windows of one group each hour.
    let events: Vec<_> = (0..60)
        .map(|id| crate::world::Event {
            id,
            value: 1,
            subject: "s".to_owned(),
            time_us: crate::world::NOW_US + id as i64 * 60_000_000,
        })
        .collect();
    crate::world::append_events(&parts, &events).await;
    world.drain(&parts).await.unwrap();
    assert!(parts.catalog.listing().await.unwrap().wide.is_empty());
    assert!(seen(&parts, &sum, 60).await.is_some());
}

#[tokio::test]
async fn a_refold_notices_it_too_and_lists_nothing() {
    for refold_rows in [1_000, 5] {
        let mut world = World::new();
        world.maintenance.wide_groups_max = 8;
        world.maintenance.refold_rows = refold_rows;
        let parts = world.open().await;
        append_to_subjects(&parts, 20).await;
        world.drain(&parts).await.unwrap();
        let sum = sum_meter(&parts).await;
        let steps = world.maintain(&parts).await;
        let noted = steps.iter().filter(|step| {
            matches!(step, Step::NotedWide { generation, groups } if *generation == sum.key() && *groups > 8)
        });
        assert_eq!(noted.count(), 1, "{steps:?}");
        assert!(!steps.iter().any(|step| matches!(step, Step::Refolded { .. })), "{steps:?}");
        assert!(crate::sight::stray_files(&world, &parts).await.is_empty());
    }
}
