//! A snapshot never changes, and never shows rows without their windows.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use weir_meter::window::WindowKeyRef;

use super::*;
use crate::testing::{generation, generations, plain_row, range, rows_of};

/// One window per row: so many events, so many rows.
fn fold(rows: &[Row], set: &mut WindowSet) {
    for row in rows {
        let subject = (row.at.offset % 5).to_string();
        let key = WindowKeyRef::<&str> { subject: &subject, start_us: 0, groups: &[] };
        Arc::make_mut(set.meters.entry(generation(0)).or_default()).windows.entry(key).add_event(1);
    }
}

fn events(snapshot: &HeadSnapshot) -> i64 {
    let windows = snapshot.pieces.iter().filter_map(|piece| piece.windows_of(generation(0)));
    windows.flat_map(|w| w.windows.iter().map(|(_, state)| state.events).collect::<Vec<_>>()).sum()
}

fn add(head: &Head, from: u64, count: u64) -> Result<(), HeadError> {
    head.add(range(0, from, from + count), (from..from + count).map(plain_row).collect(), fold)
}

#[derive(Clone, Debug)]
enum Step {
    Add(u64),
    Look,
    Cut,
    DropOldest,
}

proptest! {
    #[test]
    fn snapshots_stay_what_they_were(
        steps in prop::collection::vec(
            prop_oneof![
                4 => (1..20_u64).prop_map(Step::Add),
                2 => Just(Step::Look),
                1 => Just(Step::Cut),
                1 => Just(Step::DropOldest),
            ],
            1..40,
        ),
    ) {
        let head = Head::default();
        head.begin(1, generations(), Vec::new()).unwrap();
        let (mut next, mut dropped) = (0, 0);
        let mut frozen: Vec<Arc<PieceSnapshot>> = Vec::new();
        let mut looks = Vec::new();
        for step in steps {
            match step {
                Step::Add(count) => {
                    add(&head, next, count).unwrap();
                    next += count;
                }
                Step::Look => looks.push((head.snapshot_of(&[generation(0)]), dropped..next)),
                Step::Cut => {
                    frozen.extend(head.freeze());
                    head.begin(1, generations(), Vec::new()).unwrap();
                }
                Step::DropOldest if !frozen.is_empty() => {
                    let oldest = frozen.remove(0);
                    dropped = oldest.ranges[0].to;
                    head.drop_piece(&oldest);
                }
                Step::DropOldest => {}
            }
        }
        for (snapshot, offsets) in looks {
            let found: Vec<u64> = rows_of(&snapshot).iter().map(|row| row.at.offset).collect();
            prop_assert_eq!(found, offsets.clone().collect::<Vec<_>>());
            prop_assert_eq!(events(&snapshot), (offsets.end - offsets.start) as i64);
            let held: u64 = snapshot.pieces.iter().flat_map(|p| &p.ranges).map(OffsetRange::len).sum();
            prop_assert_eq!(held, offsets.end - offsets.start);
        }
        let expected = if next == 0 { vec![] } else { vec![range(0, 0, next)] };
        prop_assert_eq!(head.visible().borrow().to_vec(), expected);
    }
}

#[test]
fn readers_beside_folding_see_rows_and_windows_together() {
    const LOOKS: u64 = 200;
    // Nothing is dropped here, so folding must not run away from the readers.
    const ROWS_MAX: u64 = 30_000;
    let head = Head::default();
    head.begin(1, generations(), Vec::new()).unwrap();
    let looks = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while looks.fetch_add(1, Ordering::Relaxed) < LOOKS {
                    let visible = head.visible().borrow().first().map_or(0, |range| range.to);
                    let snapshot = head.snapshot_of(&[generation(0)]);
                    let rows = rows_of(&snapshot).len() as u64;
                    assert_eq!(rows as i64, events(&snapshot));
                    assert!(rows >= visible, "{visible} were said to be visible, {rows} were seen");
                }
            });
        }
        let mut next = 0;
        while looks.load(Ordering::Relaxed) < LOOKS {
            if next >= ROWS_MAX {
                std::thread::yield_now();
                continue;
            }
            add(&head, next, 3).unwrap();
            next += 3;
            if next % 99 == 0 {
                head.freeze().unwrap();
                head.begin(1, generations(), Vec::new()).unwrap();
            }
        }
    });
}

#[test]
fn looking_does_not_make_folding_copy_once_the_reader_is_gone() {
    let head = Head::default();
    head.begin(1, generations(), Vec::new()).unwrap();
    add(&head, 0, 10).unwrap();
    let place = |head: &Head| {
        Arc::as_ptr(head.snapshot_of(&[generation(0)]).pieces[0].windows_of(generation(0)).unwrap())
    };
    let before = place(&head);
    add(&head, 10, 10).unwrap();
    assert_eq!(before, place(&head));
    let held = head.snapshot_of(&[generation(0)]);
    add(&head, 20, 10).unwrap();
    assert_ne!(before, place(&head));
    assert_eq!(events(&held), 20);
}

#[test]
fn gaps_missing_rows_and_lost_pieces_are_refused() {
    let head = Head::default();
    assert_eq!(add(&head, 0, 1), Err(HeadError::NotActive));
    head.begin(1, generations(), Vec::new()).unwrap();
    let short = head.add(range(0, 0, 3), vec![plain_row(0)], fold);
    assert_eq!(short, Err(HeadError::RowCount { range: range(0, 0, 3), rows: 1 }));
    add(&head, 0, 3).unwrap();
    assert_eq!(add(&head, 4, 1), Err(HeadError::Gap { range: range(0, 4, 5), expected: 3 }));
    assert_eq!(head.begin(2, generations(), Vec::new()), Err(HeadError::NotFrozen));
    add(&head, 3, 1).unwrap();
    assert_eq!(events(&head.snapshot_of(&[generation(0)])), 4);
    assert_eq!(head.freeze().unwrap().row_count(), 4);
    assert!(head.freeze().is_none());
}

#[test]
fn a_fold_that_panics_tears_nothing() {
    let head = Head::default();
    head.begin(1, generations(), Vec::new()).unwrap();
    add(&head, 0, 3).unwrap();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        head.add(range(0, 3, 5), vec![plain_row(3), plain_row(4)], |rows, set| {
            fold(&rows[..1], set);
            panic!("in the middle");
        })
    }));
    assert!(broken.is_err());
    let snapshot = head.snapshot_of(&[generation(0)]);
    assert_eq!(rows_of(&snapshot).len() as i64, events(&snapshot));
    assert_eq!(add(&head, 3, 1), Err(HeadError::NotActive));
}

#[test]
fn clearing_takes_back_what_was_said_to_be_visible() {
    let head = Head::default();
    head.begin(1, generations(), Vec::new()).unwrap();
    add(&head, 0, 3).unwrap();
    head.clear();
    assert!(head.visible().borrow().is_empty());
    assert!(head.snapshot_of(&[generation(0)]).pieces.is_empty());
}

#[test]
fn a_snapshot_of_some_meters_leaves_the_others_to_change_in_place() {
    let head = Head::default();
    head.begin(1, generations(), Vec::new()).unwrap();
    add(&head, 0, 3).unwrap();
    let held = head.snapshot_of(&[]);
    assert_eq!(held.pieces[0].row_count(), 3);
    assert!(!held.pieces[0].covers(generation(0)), "whoever asks is sent to the rows");
    assert_eq!(events(&held), 0);
    let before = Arc::as_ptr(head.snapshot_of(&[generation(0)]).pieces[0].windows_of(generation(0)).unwrap());
    add(&head, 3, 2).unwrap();
    let after = Arc::as_ptr(head.snapshot_of(&[generation(0)]).pieces[0].windows_of(generation(0)).unwrap());
    assert_eq!(before, after, "nothing was copied");
    assert_eq!(held.pieces[0].row_count(), 3, "and the snapshot stays what it was");
}
