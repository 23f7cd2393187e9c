//! The very first start: making the file, its journal, its tables and its keys.

use weir_catalog::Catalog;

use super::Machine;

/// Cut at every single operation. Whatever is left, the next start makes a whole catalog of it, and one
/// that was open keeps its keys.
#[tokio::test]
async fn the_first_start_survives_a_cut_anywhere() {
    let mut operations = 0;
    for cut in 1.. {
        let machine = Machine::new(cut);
        machine.disk.cut_after(cut);
        let first = machine.open().await;
        if !machine.disk.is_cut() {
            operations = cut - 1;
            break;
        }
        for seed in 0..2 {
            let after = machine.reboot(cut * 10 + seed);
            let second = after.open().await.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(second.integrity().await, Vec::<String>::new(), "cut at {cut}");
            if let Ok(first) = &first {
                assert_eq!(second.installation(), first.installation(), "cut at {cut}");
            }
            second.close().await;
            let third = after.reboot(seed).open().await.unwrap();
            assert_eq!(third.installation(), second.installation(), "cut at {cut}");
        }
    }
    assert!(operations > 30, "a start has {operations} operations");
}

/// A catalog that was closed in good order is whole without its journal.
#[tokio::test]
async fn what_was_open_once_keeps_its_keys() {
    for seed in 0..20 {
        let machine = Machine::new(seed);
        let opened = machine.open().await.unwrap();
        if seed % 2 == 0 {
            opened.close().await;
        }
        let after = machine.reboot(seed);
        let again = after.open().await.unwrap();
        assert_eq!(again.installation(), opened.installation());
        assert_eq!(again.integrity().await, Vec::<String>::new());
    }
}
