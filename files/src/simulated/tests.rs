//! The simulated disk keeps what was synced, loses of the rest now this and now that, and does what a
//! test asks for.

use std::io::ErrorKind;
use std::path::Path;

use super::*;

fn rule(operation: Operation, effect: Effect) -> Rule {
    Rule { operation, path_contains: String::new(), skip: 0, times: 1, effect }
}

fn path(text: &str) -> &Path {
    Path::new(text)
}

#[test]
fn what_was_synced_survives_every_cut_and_nothing_else_has_to() {
    let (mut torn, mut whole, mut lost) = (0, 0, 0);
    for seed in 0..200 {
        let simulated = SimulatedDisk::new(seed);
        let disk = simulated.disk();
        disk.create_folders(path("/a/b")).unwrap();
        let file = disk.open(path("/a/b/f"), Open::CreateNew).unwrap();
        file.write_all_at(&[1; 1_000], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_folder(path("/a/b")).unwrap();
        file.write_all_at(&[2; 2_000], 1_000).unwrap();
        let left = simulated.reboot(seed).contents(path("/a/b/f")).unwrap();
        assert_eq!(left.get(..1_000), Some(&[1; 1_000][..]));
        assert!(left.len() <= 3_000 && left.iter().skip(1_000).all(|byte| [0, 2].contains(byte)));
        match left.iter().filter(|byte| **byte == 2).count() {
            0 => lost += 1,
            2_000 => whole += 1,
            _ => torn += 1,
        }
    }
    assert!(lost > 20 && whole > 20 && torn > 20, "{lost} {whole} {torn}");
}

#[test]
fn a_name_needs_its_folder_synced() {
    let mut kept = 0;
    for seed in 0..100 {
        let simulated = SimulatedDisk::new(seed);
        let disk = simulated.disk();
        disk.open(path("/f"), Open::CreateNew).unwrap().sync_all().unwrap();
        kept += usize::from(simulated.reboot(seed).contents(path("/f")).is_ok());
        disk.sync_folder(path("/")).unwrap_err();
    }
    assert!(kept > 10 && kept < 90, "{kept}");
}

#[test]
fn a_replaced_file_is_the_old_one_or_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for cut in 1..20 {
        for seed in 0..20 {
            let simulated = SimulatedDisk::new(seed);
            let disk = simulated.disk();
            disk.replace(path("/f"), b"old").unwrap();
            simulated.cut_after(cut);
            let replaced = disk.replace(path("/f"), b"newer");
            let left = simulated.reboot(seed).contents(path("/f")).unwrap();
            assert!(left == b"newer" || (replaced.is_err() && left == b"old"), "{left:?}");
            old += usize::from(left == b"old");
            new += usize::from(left == b"newer");
        }
    }
    assert!(old > 20 && new > 20);
}

#[test]
fn each_folder_on_the_way_is_durable() {
    for cut in 1..10 {
        let simulated = SimulatedDisk::new(cut);
        simulated.cut_after(cut);
        let made = simulated.disk().create_folders(path("/a/b/c"));
        assert!(made.is_err() || simulated.reboot(cut).disk().is_folder(path("/a/b/c")));
    }
}

#[test]
fn a_failed_sync_loses_what_a_later_one_does_not_bring_back() {
    for seed in 0..50 {
        let simulated = SimulatedDisk::new(seed);
        let disk = simulated.disk();
        let file = disk.open(path("/f"), Open::CreateNew).unwrap();
        disk.sync_folder(path("/")).unwrap();
        file.write_all_at(&[7; 100], 0).unwrap();
        simulated.add_rule(rule(Operation::SyncFile, Effect::Fail(ErrorKind::Other)));
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        assert_eq!(simulated.contents(path("/f")).unwrap(), [7; 100]);
        file.drop_cache();
        let shown = simulated.contents(path("/f")).unwrap();
        assert_eq!(simulated.reboot(seed).contents(path("/f")).unwrap(), shown);
        if shown != [7; 100] {
            return;
        }
    }
    panic!("every failed sync was whole");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let simulated = SimulatedDisk::new(1);
    let file = simulated.disk().open(path("/f"), Open::CreateNew).unwrap();
    simulated.set_space(Some(10));
    assert_eq!(file.write_all_at(&[1; 30], 0).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 10);
    simulated.set_space(None);
    file.write_all_at(&[1; 30], 0).unwrap();
}

#[test]
fn rules_catch_what_they_name_and_no_more() {
    let simulated = SimulatedDisk::new(1);
    let file = simulated.disk().open(path("/f"), Open::CreateNew).unwrap();
    let to_f = Rule { path_contains: "f".into(), skip: 1, ..rule(Operation::Write, Effect::Short) };
    simulated.add_rule(to_f);
    simulated.add_rule(Rule {
        path_contains: "g".into(),
        ..rule(Operation::Write, Effect::Fail(ErrorKind::Other))
    });
    file.write_all_at(&[1; 100], 0).unwrap();
    // The short one is written in two steps.
    let before = simulated.operations();
    file.write_all_at(&[2; 100], 0).unwrap();
    assert_eq!(simulated.operations() - before, 2);
    assert_eq!(simulated.contents(path("/f")).unwrap(), [2; 100]);
}

#[test]
fn without_power_nothing_answers() {
    let simulated = SimulatedDisk::new(1);
    let disk = simulated.disk();
    let file = disk.open(path("/f"), Open::CreateNew).unwrap();
    simulated.cut();
    assert!(file.len().is_err() && file.write_all_at(b"x", 0).is_err() && file.sync_data().is_err());
    assert!(disk.open(path("/f"), Open::Read).is_err() && disk.list(path("/")).is_err());
}
