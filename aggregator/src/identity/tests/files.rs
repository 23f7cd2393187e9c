//! What lies in the folder at start: what is used, what is deleted, what is left alone.

use std::path::{Path, PathBuf};

use weir_files::simulated::{Effect, Operation, Rule, SimulatedDisk};
use weir_files::{Disk, Open};
use weir_meter::{ContentHash, IdentityHash, InstallationId, OffsetRange};

use super::world::{FOLDER, Shape, World, origin};
use crate::identity::filter::{self, Filter};
use crate::identity::format::Origin;
use crate::identity::{IdentityIndex, IndexError, IndexFolder, Standing};

fn folder(disk: &Disk, origin: Origin) -> IndexFolder {
    IndexFolder::with_shape(disk.clone(), Path::new(FOLDER), origin, 1, true).unwrap()
}

/// A run of one entry per offset.
fn sealed(disk: &Disk, origin: Origin, partition: u32, (from, to): (u64, u64), now_us: i64) {
    let folder = folder(disk, origin);
    folder.load(&[]).unwrap();
    let mut index = IdentityIndex::sealed_in(100, &folder, partition, from, 1_000);
    for offset in from..to {
        index.accept(IdentityHash(u128::from(offset)), ContentHash(1), now_us);
    }
    index.seal(to, now_us).unwrap();
}

#[test]
fn runs_of_others_or_above_the_frontier_are_deleted_and_strangers_stay() {
    let at = |partition, frontier| Standing { partition, frontier, horizon_us: 900 };
    let mine = origin();
    let cases = [
        ("mine", mine, 0, (0, 10), 1_000_i64, true),
        ("up to the frontier", mine, 0, (0, 50), 1_000, true),
        ("above the frontier", mine, 0, (40, 51), 1_000, false),
        ("forgot more than the frontier allows", mine, 0, (0, 10), 1_001, false),
        (
            "another installation",
            Origin { installation: InstallationId(9), ..mine },
            0,
            (0, 10),
            1_000,
            false,
        ),
        ("before a restore", Origin { incarnation: 9, ..mine }, 0, (0, 10), 1_000, false),
        ("another epoch", Origin { epoch: 9, ..mine }, 0, (0, 10), 1_000, false),
        ("another partition", mine, 1, (0, 5), 1_000, true),
        ("a partition too many", mine, 2, (0, 5), 1_000, false),
    ];
    for (what, origin, partition, offsets, now_us, used) in cases {
        let simulated = SimulatedDisk::new(1);
        let disk = simulated.disk();
        sealed(&disk, origin, partition, offsets, now_us);
        for stranger in ["notes.txt", "e3-p0-17.run", "e3-p0-00000000000000000017.run.draft"] {
            disk.open(&Path::new(FOLDER).join(stranger), Open::CreateNew).unwrap();
        }
        let loaded = folder(&disk, mine).load(&[at(0, 50), at(1, 5)]).unwrap();
        assert_eq!(loaded.iter().map(Vec::len).sum::<usize>(), usize::from(used), "{what}");
        let mut left: Vec<PathBuf> = simulated.files();
        left.retain(|path| !path.to_string_lossy().contains("-0000"));
        assert_eq!(left, [Path::new("/index/e3-p0-17.run"), Path::new("/index/notes.txt")], "{what}");
        assert_eq!(simulated.files().len(), 2 + usize::from(used), "{what}");
        // What was deleted stays away, also without power.
        assert_eq!(simulated.reboot(5).files().iter().filter(|p| p.ends_with(".draft")).count(), 0);
    }
}

#[test]
fn a_run_that_others_were_merged_into_takes_their_place() {
    let mut world = World::new(Shape { entries_max: 1, ..Shape::default() });
    for identity in 0..8 {
        world.record(identity, 1, 0);
    }
    world.commit();
    // The process dies after the merged run has its name, before the others are gone.
    let rule = |times| Rule {
        operation: Operation::Remove,
        path_contains: FOLDER.into(),
        skip: 0,
        times,
        effect: Effect::Fail(std::io::ErrorKind::Other),
    };
    world.disk.add_rule(rule(u64::MAX));
    world.tidy();
    assert_eq!((world.files().len(), world.index.counts().runs), (9, 1));
    world.disk.clear_rules();
    world.crash();
    assert_eq!((world.files().len(), world.index.counts().runs), (1, 1));
}

#[test]
fn a_seal_without_room_keeps_the_identities_in_memory_and_leaves_nothing_behind() {
    let mut world = World::new(Shape { entries_max: 10, ..Shape::default() });
    for identity in 0..9 {
        world.record(identity, 1, 0);
    }
    for room in [0, 1_000, 5_000, 12_300] {
        world.disk.set_space(Some(room));
        let error = world.index.seal(9, 1_000).unwrap_err();
        assert!(matches!(error, IndexError::Write { .. }), "{error}");
        assert_eq!(world.files().len(), 0, "the draft is gone");
        assert!(!world.record(3, 1, 0), "it is remembered");
    }
    world.disk.set_space(None);
    world.seal();
    assert_eq!((world.files().len(), world.index.counts().runs), (1, 1));
    world.commit();
    world.restart();
}

#[test]
fn every_cut_of_the_power_leaves_an_index_that_decides_the_same() {
    let play = |world: &mut World| {
        for n in 0..40_u128 {
            world.record(n % 17, 1, 10);
            if n % 5 == 4 {
                world.commit();
                world.tidy();
            }
        }
    };
    let mut all = World::new(Shape { entries_max: 2, ..Shape::default() });
    play(&mut all);
    let operations = all.disk.operations();
    assert!(operations > 60, "{operations}");
    for cut in 0..operations {
        let mut world = World::new(Shape { entries_max: 2, ..Shape::default() });
        world.disk.cut_after(cut);
        // Without power the process ends somewhere.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&mut world)));
        world.power_cut(cut);
        for n in 0..17 {
            world.record(n, 1, 1);
        }
        world.commit();
        world.restart();
    }
}

#[test]
fn entries_that_all_expired_leave_no_file_and_are_not_read_back() {
    let mut world = World::new(Shape { entries_max: 100, ..Shape::default() });
    world.record(1, 1, 0);
    world.record(2, 1, 200);
    world.record(1, 1, 200);
    world.seal();
    assert_eq!(world.index.counts().identities, 1);
    world.commit();
    world.record(1, 1, 100);
    world.commit();
    world.tidy();
    assert_eq!(world.files().len(), 0, "expired whole");
    assert_eq!(world.index.uncovered(origin().epoch, 0, 4), Vec::<OffsetRange>::new());
}

#[test]
fn a_run_that_has_expired_by_half_is_written_again_without_it() {
    let mut world = World::new(Shape { entries_max: 100, ..Shape::default() });
    for n in 0..50 {
        world.record(n, 1, 1);
    }
    world.seal();
    world.record(60, 1, 75);
    world.commit();
    let files = world.files();
    world.tidy();
    assert_ne!(world.files(), files);
    assert_eq!(world.index.counts().identities, 1 + 25);
    world.restart();
    assert_eq!(world.index.counts().runs, 1);
}

#[test]
fn filters_of_every_size_hold_all_their_keys() {
    for size in (0..300).chain([1_000, 4_095, 4_096, 4_097, 10_000]) {
        let keys: Vec<u64> = (0..size).map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        let mut sorted = keys.clone();
        // Each twice: identities that differ in their lower half only.
        sorted.extend(&keys);
        sorted.sort_unstable();
        let filter = Filter::build(&mut sorted);
        let filter = Filter::from_bytes(filter.shape(), &filter.to_bytes()).unwrap();
        assert!(keys.iter().all(|key| filter.contains(*key)), "{size}");
        assert!(size < 2 || matches!(filter, Filter::Fuse(_)), "{size}");
    }
}

#[test]
fn no_shape_of_a_filter_can_make_it_look_past_its_end() {
    let built = Filter::build(&mut (0..500).collect());
    let (shape, bytes) = (built.shape(), built.to_bytes());
    let wrong = [
        filter::Shape { segment_length: 0, ..shape },
        filter::Shape { segment_length: 3, ..shape },
        filter::Shape { segment_count_length: 0, ..shape },
        filter::Shape { segment_count_length: u32::MAX, ..shape },
        filter::Shape { segment_length: 1 << 31, ..shape },
        filter::Shape { fingerprints: shape.fingerprints + 1, ..shape },
    ];
    for shape in wrong {
        assert!(Filter::from_bytes(shape, &bytes).is_none(), "{shape:?}");
    }
    assert!(Filter::from_bytes(shape, &bytes[1..]).is_none());
}

fn failing(operation: Operation, times: u64) -> Rule {
    let effect = Effect::Fail(std::io::ErrorKind::Other);
    Rule { operation, path_contains: FOLDER.into(), skip: 0, times, effect }
}

#[test]
fn an_error_that_says_nothing_about_a_run_stops_the_start_and_keeps_the_run() {
    let at = [Standing { partition: 0, frontier: 10, horizon_us: 900 }];
    for operation in [Operation::Open, Operation::Read, Operation::List] {
        let simulated = SimulatedDisk::new(1);
        let disk = simulated.disk();
        sealed(&disk, origin(), 0, (0, 10), 1_000);
        let folder = folder(&disk, origin());
        simulated.add_rule(failing(operation, 1));
        let error = folder.load(&at).unwrap_err();
        assert!(matches!(error, IndexError::Start { .. }), "{operation:?}: {error}");
        assert!(error.to_string().contains("remove the folder /index while Weir is stopped"), "{error}");
        assert_eq!(simulated.files().len(), 1, "{operation:?}");
        assert_eq!(folder.load(&at).unwrap()[0].len(), 1, "{operation:?}");
    }
}

#[test]
fn a_start_goes_on_only_once_what_it_refuses_is_gone_for_certain() {
    // Above the frontier.
    let at = [Standing { partition: 0, frontier: 9, horizon_us: 900 }];
    for operation in [Operation::Remove, Operation::SyncFolder] {
        let simulated = SimulatedDisk::new(1);
        let disk = simulated.disk();
        sealed(&disk, origin(), 0, (0, 10), 1_000);
        let folder = folder(&disk, origin());
        simulated.add_rule(failing(operation, 2));
        for _ in 0..2 {
            let error = folder.load(&at).unwrap_err();
            assert!(error.to_string().contains("remove the folder /index while Weir is stopped"), "{error}");
        }
        assert_eq!(folder.load(&at).unwrap()[0].len(), 0);
        assert_eq!(simulated.reboot(7).files(), Vec::<PathBuf>::new(), "{operation:?}");
    }
}

#[test]
fn a_run_whose_name_cannot_be_made_durable_is_gone_again() {
    let mut world = World::new(Shape { entries_max: 10, ..Shape::default() });
    for identity in 0..9 {
        world.record(identity, 1, 0);
    }
    world.disk.add_rule(failing(Operation::SyncFolder, 1));
    world.index.seal(9, 1_000).unwrap_err();
    assert_eq!(world.files(), Vec::<PathBuf>::new());
    world.seal();
    assert_eq!((world.files().len(), world.index.counts().runs), (1, 1));
    world.commit();
    world.restart();
}

#[test]
fn a_run_that_expires_while_it_is_merged_is_let_go_of_once() {
    let mut world = World::new(Shape { entries_max: 1, ..Shape::default() });
    for identity in 0..8 {
        world.record(identity, 1, 0);
    }
    let merge = world.index.begin_merge(8, 1_000).unwrap();
    world.record(100, 1, 100);
    let expired = world.index.expire(8, 1_100);
    assert_eq!(expired.len(), 8);
    expired.iter().for_each(|run| world.folder.remove(run));
    let merged = merge.run(&tokio_util::sync::CancellationToken::new()).unwrap();
    world.index.end_merge(&merged);
    merged.inputs.iter().for_each(|run| world.folder.remove(run));
    world.commit();
    world.restart();
    assert!(world.record(3, 1, 0));
}
