//! The index against a slow reference: a list of everything that was ever accepted, searched from end to
//! end. It is driven through seals, merges, commits, restarts, power cuts and damage.

mod damage;
mod files;
mod long;
mod world;

use proptest::prelude::*;

use world::{Shape, World};

/// What may happen to an index.
#[derive(Clone, Debug)]
enum Step {
    /// A record of an identity, with a content, and how far the log's clock has moved.
    Record {
        identity: u8,
        content: u8,
        moved_us: i64,
    },
    Seal,
    /// The flusher commits all that was taken.
    Commit,
    Tidy,
    Forget,
    Restart,
    RestartWithoutFiles,
    PowerCut {
        seed: u64,
    },
    /// A bit of some run's file is another, as reading finds out sooner or later.
    Flip {
        file: u8,
        byte: u16,
        bit: u8,
    },
}

/// Around the window of 100: a record exactly one window later, just inside and just outside.
const MOVES_US: [i64; 9] = [0, 0, 1, 1, 7, -20, 99, 100, 101];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0_u8..12, 0_u8..2, prop::sample::select(MOVES_US.to_vec()))
        .prop_map(|(identity, content, moved_us)| Step::Record { identity, content, moved_us });
    let step = prop_oneof![
        30 => record,
        6 => Just(Step::Seal),
        6 => Just(Step::Commit),
        4 => Just(Step::Tidy),
        1 => Just(Step::Forget),
        2 => Just(Step::Restart),
        1 => Just(Step::RestartWithoutFiles),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
        1 => any::<(u8, u16, u8)>().prop_map(|(file, byte, bit)| Step::Flip { file, byte, bit }),
    ];
    prop::collection::vec(step, 0..160)
}

fn play(steps: &[Step], shape: Shape) {
    let mut world = World::new(shape);
    for step in steps {
        match step {
            Step::Record { identity, content, moved_us } => {
                world.record(u128::from(*identity), u128::from(*content), *moved_us);
            }
            Step::Seal => world.seal(),
            Step::Commit => world.commit(),
            Step::Tidy => world.tidy(),
            Step::Forget => world.forget(),
            Step::Restart => world.restart(),
            Step::RestartWithoutFiles => {
                world.remove_files();
                world.restart();
            }
            Step::PowerCut { seed } => world.power_cut(*seed),
            Step::Flip { file, byte, bit } => world.flip(*file, *byte, *bit),
        }
    }
    world.restart();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_fate_is_that_of_one_endless_list(
        steps in steps(),
        entries_max in 1_usize..6,
        filtered in prop::bool::weighted(0.7),
    ) {
        play(&steps, Shape { entries_max, filtered, ..Shape::default() });
    }
}

/// F9 and F10: with filters that say yes to everything, at the edges of the window.
#[test]
fn the_window_ends_exactly_one_window_later_through_seals_merges_and_restarts() {
    for filtered in [true, false] {
        for gap_us in [99, 100, 101] {
            for (seals, restarts) in [(0, 0), (1, 0), (1, 1), (9, 0), (9, 1)] {
                let mut world = World::new(Shape { entries_max: 2, filtered, ..Shape::default() });
                assert!(world.record(7, 1, 0), "the first of its identity");
                for other in 0..seals {
                    world.seal();
                    world.commit();
                    world.record(1_000 + other, 1, 0);
                }
                world.tidy();
                if restarts > 0 {
                    world.commit();
                    world.restart();
                }
                let accepted_again = world.record(7, 1, gap_us);
                assert_eq!(accepted_again, gap_us >= 100, "{gap_us} {seals} {restarts} {filtered}");
            }
        }
    }
}

#[test]
fn the_newest_of_an_identity_stays_when_runs_are_merged() {
    for contents in [[1, 1], [1, 2], [2, 1]] {
        let mut world = World::new(Shape { entries_max: 2, ..Shape::default() });
        world.record(7, contents[0], 0);
        // So that the run with the first of them has not expired as a whole.
        world.record(100, 1, 50);
        for other in 0..12 {
            world.record(200 + other, 1, 1);
        }
        assert!(world.record(7, contents[1], 38), "a window later");
        world.record(300, 1, 0);
        world.commit();
        world.tidy();
        assert_eq!(world.index.counts().runs, 1);
        assert!(!world.record(7, contents[1], 99));
        world.restart();
    }
}

#[test]
fn what_a_merge_forgets_is_what_no_record_above_the_frontier_can_meet() {
    let mut world = World::new(Shape { entries_max: 1, ..Shape::default() });
    world.record(7, 1, 0);
    world.commit();
    // Folding is a window ahead of the frontier. Seen from there the identity has expired; seen from the
    // record after the frontier, which is taken again after a crash, it has not.
    world.record(8, 1, 50);
    world.record(7, 1, 0);
    world.record(9, 1, 60);
    world.seal();
    world.tidy();
    world.crash();
    assert_eq!(world.frontier(), 1);
}

#[test]
fn a_merge_claims_nothing_for_a_run_that_forgot_more_than_the_frontier_allows() {
    let mut world = World::new(Shape { entries_max: 8, ..Shape::default() });
    world.record(7, 1, 0);
    for other in 0..7 {
        world.record(100 + other, 1, if other == 0 { 50 } else { 0 });
    }
    let first = world.files();
    for other in 0..56 {
        world.record(200 + other, 1, 0);
    }
    world.commit();
    // Small tables, so that seven entries that are read back become runs.
    world.shape.entries_max = 4;
    world.restart();
    // Above the frontier: the first is a duplicate of what only the first run knows, and the last ones
    // come when that has expired.
    assert!(!world.record(7, 1, 10));
    for other in 0..4 {
        world.record(300 + other, 1, if other == 0 { 70 } else { 0 });
    }
    // The first run is read back, from where folding stands: without the identity that has expired there.
    world.disk.flip_bit(&first[0], 4_096 + 10, 1).unwrap();
    assert!(!world.record(100, 1, 0));
    world.tidy();
    world.crash();
}

#[test]
fn a_long_window_is_read_back_with_a_few_open_runs() {
    let mut world = World::new(Shape { entries_max: 4, ..Shape::default() });
    for identity in 0..600 {
        world.record(identity, 1, 0);
    }
    world.commit();
    world.remove_files();
    world.restart();
    // 150 tables: up to seven of each size, and one that was just written.
    assert!((8..=22).contains(&world.open_max), "{}", world.open_max);
    assert_eq!((world.files().len(), world.index.counts().runs), (1, 1));
    assert_eq!(world.index.counts().identities, 600);
}
