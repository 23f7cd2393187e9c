//! Every outcome of a swap, and what becomes of the segments it replaced.

use std::sync::Arc;

use weir_catalog::{Catalog, CatalogError, Commit, Listing, Swap, SwapOutcome};
use weir_meter::segment::{Generations, NewSegment, Segment, SegmentKind};
use weir_meter::{OffsetRange, SegmentId};

use crate::place::{
    Place, at, draft, flush, hours, members, meter_id, namespace, range, ready, rows, segment, windows,
    writer,
};

const NOTHING: Generations = Generations::AllBut(Vec::new());

fn replace(remove: &[u128], add: &[NewSegment]) -> Swap {
    Swap {
        writer: writer(1),
        remove: remove.iter().copied().map(segment).collect(),
        add: add.to_vec(),
        now_us: at(20),
    }
}

/// Rows of which some are gone.
fn thinned(id: u128, ranges: &[OffsetRange], dropped: u64) -> NewSegment {
    let whole = rows(id, ranges);
    NewSegment { row_count: whole.row_count - dropped, dropped_rows: dropped, ..whole }
}

fn conflict(result: Result<SwapOutcome, CatalogError>) -> String {
    match result {
        Err(CatalogError::Conflict(text)) => text,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

fn ids(segments: &[Arc<Segment>]) -> Vec<SegmentId> {
    let mut ids: Vec<_> = segments.iter().map(|segment| segment.new.segment).collect();
    ids.sort();
    ids
}

fn numbers(numbers: &[u128]) -> Vec<SegmentId> {
    numbers.iter().copied().map(segment).collect()
}

/// Partition 0 holds rows 1, 2 and 3 of ten offsets each with windows 11, 12, 13 and members 21, 22, 23
/// of the one meter; partition 1 holds rows 4 of ten.
async fn filled(place: &dyn Place) -> Arc<dyn Catalog> {
    let catalog = ready(place).await;
    catalog.create_meter(&namespace("default"), draft("first"), meter_id(1), at(1)).await.unwrap();
    for number in 0..3_u64 {
        let (id, offsets) = (u128::from(number) + 1, range(0, number * 10, number * 10 + 10));
        let caches = windows(id + 10, &[offsets], 1, NOTHING);
        let commit = Commit {
            segments: vec![
                rows(id, &[offsets]),
                caches.clone(),
                members(NewSegment { segment: segment(id + 20), ..caches }),
            ],
            ..flush(writer(1), id, offsets)
        };
        catalog.commit(commit).await.unwrap();
    }
    catalog.commit(flush(writer(1), 4, range(1, 0, 10))).await.unwrap();
    catalog
}

async fn assert_unchanged(place: &dyn Place, catalog: &dyn Catalog, before: &Listing) {
    for after in [catalog.listing().await.unwrap(), place.open().await.listing().await.unwrap()] {
        assert_eq!(after.segments, before.segments);
        assert_eq!(after.retired, before.retired);
        assert_eq!(after.frontiers, before.frontiers);
    }
}

pub(crate) async fn a_swap_puts_segments_in_the_place_of_others(place: &dyn Place) {
    let catalog = filled(place).await;
    let before = catalog.listing().await.unwrap();
    // Across partitions, and with ranges that come in no order.
    let merged = NewSegment { level: 1, ..rows(101, &[range(1, 0, 10), range(0, 0, 20)]) };
    let swap = replace(&[1, 2, 4], std::slice::from_ref(&merged));
    assert_eq!(catalog.swap(swap).await.unwrap(), SwapOutcome::Swapped);
    let after = catalog.listing().await.unwrap();
    assert_eq!(ids(&after.segments), numbers(&[3, 11, 12, 13, 21, 22, 23, 101]));
    assert_eq!(after.frontiers, before.frontiers);
    assert!(after.retired.is_empty(), "old positions read the new rows");
    let listed = after.segments.iter().find(|s| s.new.segment == segment(101)).unwrap();
    assert_eq!((listed.writer, listed.listed_at_us, listed.delisted_at_us), (writer(1), at(20), None));
    assert_eq!(listed.new.coverage.ranges, [range(0, 0, 20), range(1, 0, 10)]);
    assert_eq!(listed.new.level, 1);
    assert_eq!(ids(&before.segments).len(), 10, "a listing never changes");

    let both = [range(0, 0, 20)];
    let caches = windows(111, &both, 1, NOTHING);
    let swap = replace(
        &[11, 12, 21, 22],
        &[
            caches.clone(),
            members(NewSegment { segment: segment(112), ..caches.clone() }),
            hours(NewSegment { segment: segment(113), ..caches.clone() }),
            hours(members(NewSegment { segment: segment(114), ..caches })),
        ],
    );
    assert_eq!(catalog.swap(swap).await.unwrap(), SwapOutcome::Swapped);
    let after = catalog.listing().await.unwrap();
    assert_eq!(ids(&after.segments), numbers(&[3, 13, 23, 101, 111, 112, 113, 114]));
    assert_eq!(ids(&after.retired), numbers(&[11, 12, 21, 22]));
    for old in &after.retired {
        let listed = before.segments.iter().find(|s| s.new.segment == old.new.segment).unwrap();
        let retired = Segment { delisted_at_us: Some(at(20)), ..Segment::clone(listed) };
        assert_eq!(**old, retired, "as it was, but for its end");
    }
    let mut kept = numbers(&[1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 101, 111, 112, 113, 114]);
    kept.sort();
    assert_eq!(catalog.kept_segments().await.unwrap(), kept, "also rows that a query may still read");
    assert_unchanged(place, &*catalog, &after).await;
}

pub(crate) async fn a_swap_may_only_add_or_only_remove_caches(place: &dyn Place) {
    let catalog = filled(place).await;
    let swap = replace(&[12, 22], &[]);
    assert_eq!(catalog.swap(swap).await.unwrap(), SwapOutcome::Swapped);
    // A refold of what is now open, and of what another meter has never had.
    let second =
        catalog.create_meter(&namespace("default"), draft("second"), meter_id(2), at(2)).await.unwrap();
    let swap = replace(
        &[],
        &[
            windows(112, &[range(0, 10, 20)], 1, NOTHING),
            windows(113, &[range(0, 0, 30), range(1, 2, 8)], 2, Generations::Only(vec![second.key()])),
        ],
    );
    assert_eq!(catalog.swap(swap).await.unwrap(), SwapOutcome::Swapped);
    let listing = catalog.listing().await.unwrap();
    assert_eq!(ids(&listing.segments), numbers(&[1, 2, 3, 4, 11, 13, 21, 23, 112, 113]));
    assert_unchanged(place, &*catalog, &listing).await;
}

pub(crate) async fn what_is_not_listed_cannot_be_removed(place: &dyn Place) {
    let catalog = filled(place).await;
    let swap = replace(&[1, 2], &[rows(101, &[range(0, 0, 20)])]);
    assert_eq!(catalog.swap(swap.clone()).await.unwrap(), SwapOutcome::Swapped);
    let before = catalog.listing().await.unwrap();
    assert_eq!(catalog.swap(swap).await.unwrap(), SwapOutcome::NotListed { segment: segment(1) });
    for (remove, missing) in [(&[3, 99][..], 99), (&[3, 2][..], 2), (&[13, 1][..], 1)] {
        let swap = replace(remove, &[rows(102, &[range(0, 0, 30)])]);
        assert_eq!(catalog.swap(swap).await.unwrap(), SwapOutcome::NotListed { segment: segment(missing) });
    }
    assert_unchanged(place, &*catalog, &before).await;
}

pub(crate) async fn rows_are_swapped_for_the_same_offsets(place: &dyn Place) {
    let catalog = filled(place).await;
    let before = catalog.listing().await.unwrap();
    let (two, three) = (range(0, 0, 20), range(0, 0, 30));
    for (swap, reason) in [
        (replace(&[1], &[]), "does not bring"),
        (replace(&[], &[rows(101, &[range(0, 0, 10)])]), "does not remove"),
        (replace(&[11], &[rows(101, &[range(0, 0, 10)])]), "does not remove"),
        (replace(&[1], &[windows(101, &[range(0, 0, 10)], 1, Generations::Only(vec![]))]), "does not bring"),
        (replace(&[1, 2], &[rows(101, &[three])]), "exactly"),
        (replace(&[1, 2, 3], &[rows(101, &[two])]), "exactly"),
        (replace(&[1, 3], &[rows(101, &[two])]), "exactly"),
        (replace(&[1, 2], &[rows(101, &[range(0, 0, 9), range(0, 10, 20)])]), "exactly"),
        (replace(&[1], &[rows(101, &[range(1, 0, 10)])]), "exactly"),
        (replace(&[1, 4], &[rows(101, &[range(0, 0, 10), range(1, 0, 9)])]), "exactly"),
    ] {
        let text = conflict(catalog.swap(swap).await);
        assert!(text.contains(reason), "{text} should say {reason}");
    }
    assert_unchanged(place, &*catalog, &before).await;
    let twice = replace(&[1, 2], &[rows(101, &[range(0, 0, 12)]), rows(102, &[range(0, 8, 20)])]);
    let overlap = SwapOutcome::Overlap { segment: segment(102), listed: segment(101) };
    assert_eq!(catalog.swap(twice).await.unwrap(), overlap);
    assert_unchanged(place, &*catalog, &before).await;
    let pieces = [range(0, 25, 30), range(0, 0, 5), range(1, 0, 10), range(0, 5, 25)];
    let cut = replace(&[1, 2, 3, 4], &[rows(101, &pieces[..2]), rows(102, &pieces[2..])]);
    assert_eq!(catalog.swap(cut).await.unwrap(), SwapOutcome::Swapped);
}

pub(crate) async fn rows_that_are_gone_are_counted(place: &dyn Place) {
    let catalog = filled(place).await;
    let two = range(0, 0, 20);
    let count = |rows, dropped| NewSegment {
        row_count: rows,
        dropped_rows: dropped,
        ..crate::place::rows(101, &[two])
    };
    for (rows, dropped) in [(19, 0), (20, 1), (21, 0), (0, 0), (0, 19), (u64::MAX, 20), (20, u64::MAX)] {
        let text = conflict(catalog.swap(replace(&[1, 2], &[count(rows, dropped)])).await);
        assert!(text.contains("20 offsets") || text.contains("63 bits"), "{text}");
    }
    let caches = NewSegment { dropped_rows: 1, ..windows(101, &[two], 1, NOTHING) };
    assert!(conflict(catalog.swap(replace(&[11, 12], &[caches])).await).contains("drops 1 rows"));
    assert_eq!(catalog.swap(replace(&[1, 2], &[count(13, 7)])).await.unwrap(), SwapOutcome::Swapped);
    let listing = place.open().await.listing().await.unwrap();
    let stored = listing.segments.iter().find(|s| s.new.segment == segment(101)).unwrap();
    assert_eq!((stored.new.row_count, stored.new.dropped_rows), (13, 7));

    let again = |dropped| replace(&[101, 3], &[thinned(102, &[range(0, 0, 30)], dropped)]);
    let text = conflict(catalog.swap(again(6)).await);
    assert!(text.contains("7 are gone and it says 6"), "{text}");
    assert_eq!(catalog.swap(again(30)).await.unwrap(), SwapOutcome::Swapped);

    let offsets = range(0, 30, 40);
    let flushed = Commit { segments: vec![thinned(5, &[offsets], 1)], ..flush(writer(1), 5, offsets) };
    match catalog.commit(flushed).await {
        Err(CatalogError::Conflict(text)) => assert!(text.contains("comes from a flush"), "{text}"),
        other => panic!("{other:?}"),
    }
    let short = NewSegment { row_count: 9, ..rows(5, &[offsets]) };
    let flushed = Commit { segments: vec![short], ..flush(writer(1), 5, offsets) };
    match catalog.commit(flushed).await {
        Err(CatalogError::Conflict(text)) => assert!(text.contains("covers 10 offsets"), "{text}"),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn swapped_windows_overlap_nothing_that_stays(place: &dyn Place) {
    let catalog = filled(place).await;
    let before = catalog.listing().await.unwrap();
    let overlap = |new, old| SwapOutcome::Overlap { segment: segment(new), listed: segment(old) };
    let all = range(0, 0, 30);
    // 13 stays; then the two new ones meet each other; then what stays is of the same meter by name.
    let first = catalog.meter(&namespace("default"), "first").await.unwrap().unwrap().key();
    for (swap, expected) in [
        (replace(&[11, 12], &[windows(111, &[all], 1, NOTHING)]), overlap(111, 13)),
        (
            replace(
                &[11, 12, 13],
                &[windows(111, &[all], 1, NOTHING), windows(112, &[range(0, 29, 30)], 1, NOTHING)],
            ),
            overlap(112, 111),
        ),
        (
            replace(&[], &[windows(111, &[range(0, 3, 4)], 1, Generations::Only(vec![first]))]),
            overlap(111, 11),
        ),
        (replace(&[11], &[members(windows(111, &[range(0, 3, 4)], 1, NOTHING))]), overlap(111, 21)),
    ] {
        assert_eq!(catalog.swap(swap).await.unwrap(), expected);
    }
    assert_unchanged(place, &*catalog, &before).await;
    // The other size, and another generation, meet nothing.
    let fits = [
        hours(windows(111, &[all], 1, NOTHING)),
        windows(112, &[all], 1, Generations::AllBut(vec![first])),
        windows(113, &[range(0, 10, 20)], 1, NOTHING),
    ];
    assert_eq!(catalog.swap(replace(&[12], &fits)).await.unwrap(), SwapOutcome::Swapped);
}

pub(crate) async fn contradictory_swaps_are_refused(place: &dyn Place) {
    let catalog = filled(place).await;
    let before = catalog.listing().await.unwrap();
    let one = range(0, 0, 10);
    let only = Generations::Only(Vec::new());
    let mut without_size = windows(101, &[one], 1, NOTHING);
    without_size.coverage.window_size_s = 0;
    let foreign_epoch = OffsetRange { epoch: 1, ..one };
    for (swap, reason) in [
        (replace(&[], &[]), "does neither"),
        (replace(&[1, 1], &[rows(101, &[one])]), "removes segment"),
        (replace(&[11], &[windows(101, &[one], 2, NOTHING)]), "revision 2"),
        (replace(&[11], &[windows(11, &[one], 1, NOTHING)]), "listed before"),
        (replace(&[11], &[windows(3, &[one], 1, NOTHING)]), "listed before"),
        (replace(&[11], &[without_size]), "windows of 0 s"),
        (replace(&[11], &[windows(101, &[], 1, NOTHING)]), "covers no offsets"),
        (replace(&[11], &[windows(101, &[range(0, 4, 4)], 1, NOTHING)]), "is empty"),
        (replace(&[], &[windows(101, &[range(0, 30, 31)], 1, only.clone())]), "frontier stands at 30"),
        (replace(&[], &[windows(101, &[range(1, 0, 11)], 1, only.clone())]), "frontier stands at 10"),
        (replace(&[], &[windows(101, &[range(2, 0, 1)], 1, only.clone())]), "frontier stands at 0"),
        (replace(&[], &[windows(101, &[foreign_epoch], 1, only.clone())]), "frontier stands at 0"),
        (
            replace(
                &[],
                &[windows(101, &[one], 1, only.clone()), windows(101, &[range(0, 10, 12)], 1, only)],
            ),
            "twice",
        ),
    ] {
        let text = conflict(catalog.swap(swap).await);
        assert!(text.contains(reason), "{text} should say {reason}");
    }
    assert_unchanged(place, &*catalog, &before).await;
}

pub(crate) async fn a_closed_writer_swaps_nothing(place: &dyn Place) {
    let catalog = filled(place).await;
    let before = catalog.listing().await.unwrap();
    let swap = replace(&[1, 2], &[rows(101, &[range(0, 0, 20)])]);
    let unknown = Swap { writer: writer(9), ..swap.clone() };
    assert!(matches!(catalog.swap(unknown).await, Err(CatalogError::NotFound(_))));
    catalog.close_writer(writer(1), at(15)).await.unwrap();
    assert_eq!(catalog.swap(swap).await.unwrap(), SwapOutcome::WriterClosed);
    assert_unchanged(place, &*catalog, &before).await;
}

pub(crate) async fn one_of_two_racing_swaps_wins(place: &dyn Place) {
    let catalog = filled(place).await;
    catalog.open_writer(writer(2), at(0)).await.unwrap();
    let mut current = 1;
    for round in 0..20_u128 {
        let race = |who: u128| {
            let catalog = Arc::clone(&catalog);
            let id = 200 + round * 2 + who;
            let added = rows(id, &[range(0, 0, 10)]);
            let swap = Swap { writer: writer(who), ..replace(&[current], &[added]) };
            tokio::spawn(async move { (id, catalog.swap(swap).await.unwrap()) })
        };
        let (a, b) = (race(1), race(2));
        let outcomes = [a.await.unwrap(), b.await.unwrap()];
        let won: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome == SwapOutcome::Swapped).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        let lost = SwapOutcome::NotListed { segment: segment(current) };
        assert!(outcomes.iter().any(|(_, outcome)| *outcome == lost), "{outcomes:?}");
        current = won[0].0;
        let listed = catalog.listing().await.unwrap();
        let over = |s: &&Arc<Segment>| {
            s.new.kind == SegmentKind::Rows && s.new.coverage.ranges[0] == range(0, 0, 10)
        };
        let here: Vec<_> = listed.segments.iter().filter(over).map(|s| s.new.segment).collect();
        assert_eq!(here, [segment(current)]);
    }
}

pub(crate) async fn what_was_replaced_is_forgotten_in_time(place: &dyn Place) {
    let catalog = filled(place).await;
    let at_time = |swap: Swap, second| Swap { now_us: at(second), ..swap };
    let first = replace(
        &[1, 2, 11, 21],
        &[rows(101, &[range(0, 0, 20)]), windows(111, &[range(0, 0, 10)], 1, NOTHING)],
    );
    assert_eq!(catalog.swap(at_time(first, 30)).await.unwrap(), SwapOutcome::Swapped);
    let second = replace(&[111, 12, 22, 4], &[rows(102, &[range(1, 0, 10)])]);
    assert_eq!(catalog.swap(at_time(second, 31)).await.unwrap(), SwapOutcome::Swapped);
    let before = catalog.listing().await.unwrap();
    assert_eq!(ids(&before.retired), numbers(&[11, 12, 21, 22, 111]));

    assert!(catalog.forget_segments(at(30)).await.unwrap().is_empty(), "not before that time");
    let forgotten = catalog.forget_segments(at(31)).await.unwrap();
    let mut gone: Vec<_> = forgotten.iter().map(|s| s.new.segment).collect();
    gone.sort();
    assert_eq!(gone, numbers(&[1, 2, 11, 21]));
    assert!(forgotten.iter().all(|s| s.delisted_at_us == Some(at(30)) && s.writer == writer(1)));
    let one = forgotten.iter().find(|s| s.new.segment == segment(2)).unwrap();
    assert_eq!(one.new, rows(2, &[range(0, 10, 20)]), "with what it covered, so that its file is found");

    let after = catalog.listing().await.unwrap();
    assert_eq!(ids(&after.retired), numbers(&[12, 22, 111]));
    assert_eq!(after.segments, before.segments);
    let kept = catalog.kept_segments().await.unwrap();
    assert_eq!(kept, numbers(&[3, 4, 12, 13, 22, 23, 101, 102, 111]));
    assert!(catalog.forget_segments(at(31)).await.unwrap().is_empty(), "once");
    assert_unchanged(place, &*catalog, &after).await;
    // What is listed is never forgotten, however old.
    let forgotten = catalog.forget_segments(i64::MAX).await.unwrap();
    assert_eq!(forgotten.len(), 4);
    let listing = catalog.listing().await.unwrap();
    assert!(listing.retired.is_empty() && listing.segments == before.segments);
    assert_unchanged(place, &*catalog, &listing).await;
}
