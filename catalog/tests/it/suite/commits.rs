//! Every outcome of a commit.

use std::sync::Arc;
use std::time::Duration;

use weir_catalog::{Catalog, CatalogError, Commit, CommitOutcome, Frontier};
use weir_meter::segment::{Generations, NewSegment};
use weir_meter::{Generation, OffsetRange};

use crate::place::{
    Place, at, draft, flush, hours, members, meter_id, namespace, range, ready, rows, segment, step, windows,
    writer,
};

const NOTHING: Generations = Generations::AllBut(Vec::new());

fn conflict(result: Result<CommitOutcome, CatalogError>) -> String {
    match result {
        Err(CatalogError::Conflict(text)) => text,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

async fn listed(catalog: &dyn Catalog) -> Vec<NewSegment> {
    catalog.listing().await.unwrap().segments.iter().map(|s| s.new.clone()).collect()
}

pub(crate) async fn a_flush_is_listed_and_moves_its_frontier(place: &dyn Place) {
    let catalog = ready(place).await;
    let before = catalog.listing().await.unwrap();
    assert!(before.frontiers.is_empty() && before.segments.is_empty());
    assert_eq!(before.frontier(0, 1), 0);

    let commit = flush(writer(1), 1, range(1, 0, 7));
    assert_eq!(catalog.commit(commit.clone()).await.unwrap(), CommitOutcome::Committed);
    let after = catalog.listing().await.unwrap();
    let moved = Frontier {
        epoch: 0,
        partition: 1,
        next_offset: 7,
        record_time_max_us: commit.moves[0].record_time_max_us,
        last_record_hash: commit.moves[0].last_record_hash,
    };
    assert_eq!(after.frontiers, [moved]);
    assert_eq!(after.segments.len(), 1);
    assert_eq!(after.segments[0].new, commit.segments[0]);
    assert_eq!(after.segments[0].writer, writer(1));
    assert_eq!(after.segments[0].listed_at_us, at(10));
    assert_eq!(catalog.kept_segments().await.unwrap(), [segment(1)]);
    assert!(before.segments.is_empty(), "a listing never changes");

    let next = flush(writer(1), 2, range(1, 7, 8));
    assert_eq!(catalog.commit(next).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(catalog.listing().await.unwrap().frontier(0, 1), 8);
}

pub(crate) async fn a_stale_flush_changes_nothing(place: &dyn Place) {
    let catalog = ready(place).await;
    catalog.commit(flush(writer(1), 1, range(0, 0, 5))).await.unwrap();
    for stale in [range(0, 0, 5), range(0, 4, 9), range(0, 6, 9), range(0, 0, 9)] {
        let outcome = catalog.commit(flush(writer(1), 2, stale)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::NotOwner { range: stale, frontier: 5 });
    }
    let ahead = range(1, 3, 4);
    let outcome = catalog.commit(flush(writer(1), 2, ahead)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::NotOwner { range: ahead, frontier: 0 });
    let listing = catalog.listing().await.unwrap();
    assert_eq!((listing.frontiers.len(), listing.segments.len()), (1, 1));
    assert_eq!(catalog.kept_segments().await.unwrap(), [segment(1)]);
}

pub(crate) async fn all_partitions_move_or_none(place: &dyn Place) {
    let catalog = ready(place).await;
    catalog.commit(flush(writer(1), 1, range(1, 0, 5))).await.unwrap();
    let both = |id, b: OffsetRange| Commit {
        moves: vec![step(range(0, 0, 3)), step(b)],
        segments: vec![rows(id, &[b, range(0, 0, 3)])],
        ..flush(writer(1), id, b)
    };
    let outcome = catalog.commit(both(2, range(1, 4, 9))).await.unwrap();
    assert_eq!(outcome, CommitOutcome::NotOwner { range: range(1, 4, 9), frontier: 5 });
    let listing = catalog.listing().await.unwrap();
    assert_eq!((listing.frontier(0, 0), listing.frontier(0, 1), listing.segments.len()), (0, 5, 1));

    assert_eq!(catalog.commit(both(2, range(1, 5, 9))).await.unwrap(), CommitOutcome::Committed);
    let listing = place.open().await.listing().await.unwrap();
    assert_eq!((listing.frontier(0, 0), listing.frontier(0, 1), listing.segments.len()), (3, 9, 2));
    assert_eq!(listing.segments[0].new.coverage.ranges, [range(0, 0, 3), range(1, 5, 9)]);
}

pub(crate) async fn one_of_two_racing_flushes_wins(place: &dyn Place) {
    let catalog = ready(place).await;
    catalog.open_writer(writer(2), at(0)).await.unwrap();
    for round in 0..20 {
        let offsets = range(0, round, round + 1);
        let race = |who: u128| {
            let catalog = Arc::clone(&catalog);
            let commit = flush(writer(who), u128::from(round) * 2 + who, offsets);
            tokio::spawn(async move { catalog.commit(commit).await.unwrap() })
        };
        let (a, b) = (race(1), race(2));
        let outcomes = [a.await.unwrap(), b.await.unwrap()];
        let lost = CommitOutcome::NotOwner { range: offsets, frontier: round + 1 };
        assert!(outcomes.contains(&CommitOutcome::Committed) && outcomes.contains(&lost), "{outcomes:?}");
    }
    assert_eq!(listed(&*catalog).await.len(), 20);
}

pub(crate) async fn a_closed_writer_commits_nothing(place: &dyn Place) {
    let catalog = ready(place).await;
    catalog.commit(flush(writer(1), 1, range(0, 0, 5))).await.unwrap();
    catalog.close_writer(writer(1), at(20)).await.unwrap();
    let outcome = catalog.commit(flush(writer(1), 2, range(0, 5, 6))).await.unwrap();
    assert_eq!(outcome, CommitOutcome::WriterClosed);
    assert_eq!(catalog.listing().await.unwrap().frontier(0, 0), 5);
    assert_eq!(listed(&*catalog).await.len(), 1, "what it listed while open still counts");
}

pub(crate) async fn an_unknown_writer_is_refused(place: &dyn Place) {
    let catalog = ready(place).await;
    let result = catalog.commit(flush(writer(9), 1, range(0, 0, 5))).await;
    assert!(matches!(result, Err(CatalogError::NotFound(text)) if text.contains("restored")));
    assert_eq!(catalog.listing().await.unwrap().frontier(0, 0), 0);
}

pub(crate) async fn rows_never_overlap(place: &dyn Place) {
    let catalog = ready(place).await;
    let mut commit = flush(writer(1), 1, range(0, 0, 10));
    commit.segments.push(rows(2, &[range(0, 9, 10)]));
    let outcome = catalog.commit(commit.clone()).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Overlap { segment: segment(2), listed: segment(1) });
    assert!(listed(&*catalog).await.is_empty());
    assert_eq!(catalog.listing().await.unwrap().frontier(0, 0), 0);

    commit.segments = vec![rows(1, &[range(0, 0, 9)]), rows(2, &[range(0, 9, 10)])];
    assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
}

pub(crate) async fn windows_overlap_by_generation_and_size(place: &dyn Place) {
    let catalog = ready(place).await;
    let all = range(0, 0, 10);
    let a = Generation { meter: meter_id(1), generation: 1 };
    let b = Generation { meter: meter_id(1), generation: 2 };
    let try_with = async |second: NewSegment| {
        let mut commit = flush(writer(1), 1, all);
        commit.moves.push(step(range(1, 0, 4)));
        commit.segments = vec![windows(1, &[range(0, 0, 8)], 0, Generations::Only(vec![a])), second];
        // A move that does not fit keeps every attempt from taking effect.
        commit.moves.push(step(range(2, 1, 2)));
        let refused = catalog.commit(commit.clone()).await.unwrap();
        assert_eq!(refused, CommitOutcome::NotOwner { range: range(2, 1, 2), frontier: 0 });
        commit.moves.pop();
        catalog.commit(commit).await.unwrap()
    };
    let overlap = CommitOutcome::Overlap { segment: segment(2), listed: segment(1) };
    let only_a = Generations::Only(vec![b, a]);
    assert_eq!(try_with(windows(2, &[range(1, 0, 4), range(0, 7, 9)], 0, only_a.clone())).await, overlap);
    assert_eq!(try_with(windows(2, &[all], 0, only_a.clone())).await, overlap);
    // No meter lives, so "all but none" covers no generation and meets nothing; nor do other
    // offsets, other sizes, other kinds and other generations.
    let mut commit = flush(writer(1), 1, all);
    commit.segments = vec![
        windows(1, &[range(0, 0, 8)], 0, Generations::Only(vec![a])),
        windows(2, &[all], 0, Generations::Only(vec![b])),
        windows(3, &[all], 0, NOTHING),
        windows(4, &[range(0, 8, 10)], 0, Generations::Only(vec![a])),
        hours(windows(5, &[all], 0, only_a.clone())),
        members(windows(6, &[all], 0, only_a)),
        rows(7, &[all]),
    ];
    assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(listed(&*catalog).await.len(), 7);
}

pub(crate) async fn all_but_is_resolved_at_its_revision(place: &dyn Place) {
    let catalog = ready(place).await;
    let default = namespace("default");
    let first = catalog.create_meter(&default, draft("first"), meter_id(1), at(1)).await.unwrap();
    catalog.delete_meter(&default, "first", at(2)).await.unwrap();
    let second = catalog.create_meter(&default, draft("second"), meter_id(2), at(3)).await.unwrap();
    let all = range(0, 0, 10);
    let pair = |a: NewSegment, b: NewSegment| Commit { segments: vec![a, b], ..flush(writer(1), 1, all) };
    let overlap = CommitOutcome::Overlap { segment: segment(2), listed: segment(1) };
    let but = |generation| Generations::AllBut(vec![generation]);
    // Revision 1 knows the first meter, revision 2 none, revision 3 the second.
    for (a, b) in [
        ((3, NOTHING), (3, NOTHING)),
        ((1, NOTHING), (0, Generations::Only(vec![first.key()]))),
        ((0, Generations::Only(vec![second.key()])), (3, NOTHING)),
        ((3, but(first.key())), (3, NOTHING)),
    ] {
        let commit = pair(windows(1, &[all], a.0, a.1), windows(2, &[all], b.0, b.1));
        assert_eq!(catalog.commit(commit).await.unwrap(), overlap);
    }
    let disjoint = [
        ((1, NOTHING), (3, NOTHING)),
        ((2, NOTHING), (3, Generations::Only(vec![second.key()]))),
        ((3, but(second.key())), (3, NOTHING)),
        ((1, but(first.key())), (1, Generations::Only(vec![first.key()]))),
    ];
    for (round, (a, b)) in disjoint.into_iter().enumerate() {
        let (round, id) = (round as u64, 10 + round as u128 * 2);
        let offsets = range(0, round * 10, round * 10 + 10);
        let commit = Commit {
            segments: vec![windows(id, &[offsets], a.0, a.1), windows(id + 1, &[offsets], b.0, b.1)],
            ..flush(writer(1), 1, offsets)
        };
        assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed, "round {round}");
    }
}

pub(crate) async fn contradictory_commits_are_refused(place: &dyn Place) {
    let catalog = ready(place).await;
    let good = flush(writer(1), 1, range(0, 0, 5));
    let with = |moves: &[OffsetRange], segments: Vec<NewSegment>| Commit {
        moves: moves.iter().copied().map(step).collect(),
        segments,
        ..good.clone()
    };
    let foreign_epoch = OffsetRange { epoch: 1, ..range(0, 0, 5) };
    let mut rows_with_size = rows(1, &[range(0, 0, 5)]);
    rows_with_size.coverage.window_size_s = 60;
    let mut windows_without = windows(1, &[range(0, 0, 5)], 0, NOTHING);
    windows_without.coverage.window_size_s = 0;
    let mut backwards = rows(1, &[range(0, 0, 5)]);
    backwards.time_range_us = Some((2, 1));
    for (commit, reason) in [
        (with(&[], vec![]), "at least one frontier"),
        (with(&[range(0, 5, 5)], vec![]), "empty"),
        (with(&[range(0, 5, 4)], vec![]), "empty"),
        (with(&[range(0, 0, 5), range(0, 5, 6)], vec![]), "twice"),
        (with(&[range(3, 0, 5)], vec![]), "3 partitions"),
        (with(&[foreign_epoch], vec![]), "epoch 1 was never opened"),
        (with(&[range(0, 0, 5)], vec![rows(1, &[])]), "covers no offsets"),
        (with(&[range(0, 0, 5)], vec![rows(1, &[range(0, 3, 3)])]), "empty"),
        (with(&[range(0, 0, 5)], vec![rows(1, &[range(0, 0, 6)])]), "does not move past"),
        (with(&[range(0, 0, 5)], vec![rows(1, &[range(1, 0, 5)])]), "does not move past"),
        (with(&[range(0, 0, 5)], vec![rows(1, &[range(0, 0, 3), range(0, 2, 5)])]), "twice"),
        (with(&[range(0, 0, 5)], vec![rows(1, &[range(0, 0, 2), range(0, 3, 5)])]), "only 4 of its 5"),
        (with(&[range(0, 0, 5)], vec![rows(1, &[range(0, 0, 2)]), rows(1, &[range(0, 2, 5)])]), "twice"),
        (with(&[range(0, 0, 5)], vec![rows_with_size]), "windows of 60 s"),
        (with(&[range(0, 0, 5)], vec![windows_without]), "windows of 0 s"),
        (with(&[range(0, 0, 5)], vec![backwards]), "ends before it begins"),
    ] {
        let text = conflict(catalog.commit(commit).await);
        assert!(text.contains(reason), "{text} should say {reason}");
    }
    assert_eq!(catalog.commit(good.clone()).await.unwrap(), CommitOutcome::Committed);
    let mut older = flush(writer(1), 2, range(0, 5, 6));
    older.moves[0].record_time_max_us = good.moves[0].record_time_max_us - 1;
    assert!(conflict(catalog.commit(older).await).contains("goes back"));
    assert_eq!(catalog.listing().await.unwrap().frontier(0, 0), 5);
}

pub(crate) async fn a_segment_is_listed_once(place: &dyn Place) {
    let catalog = ready(place).await;
    catalog.commit(flush(writer(1), 1, range(0, 0, 5))).await.unwrap();
    let text = conflict(catalog.commit(flush(writer(1), 1, range(0, 5, 6))).await);
    assert!(text.contains("listed before"), "{text}");
}

pub(crate) async fn a_flush_of_a_newer_revision_is_refused(place: &dyn Place) {
    let catalog = ready(place).await;
    let mut commit = flush(writer(1), 1, range(0, 0, 5));
    commit.segments.push(windows(2, &[range(0, 0, 5)], 1, NOTHING));
    let text = conflict(catalog.commit(commit.clone()).await);
    assert!(text.contains("revision 1"), "{text}");
    catalog.create_meter(&namespace("default"), draft("first"), meter_id(1), at(1)).await.unwrap();
    assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
}

pub(crate) async fn offsets_fit_the_database(place: &dyn Place) {
    let catalog = ready(place).await;
    let text = conflict(catalog.commit(flush(writer(1), 1, range(0, 0, 1 << 63))).await);
    assert!(text.contains("2^63"), "{text}");
    let most = range(0, 0, (1 << 63) - 1);
    let mut commit = flush(writer(1), 1, range(0, 0, 1));
    commit.moves[0].range = most;
    commit.segments = vec![rows(1, &[most])];
    assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
    let listing = place.open().await.listing().await.unwrap();
    assert_eq!(listing.frontier(0, 0), (1 << 63) - 1);
    assert_eq!(listing.segments[0].new.coverage.ranges, [most]);
}

pub(crate) async fn a_caller_that_gives_up_leaves_one_truth(place: &dyn Place) {
    let catalog = ready(place).await;
    for turn in 0..40_u64 {
        let licence = writer(100 + u128::from(turn));
        catalog.open_writer(licence, at(0)).await.unwrap();
        let from = catalog.listing().await.unwrap().frontier(0, 0);
        let commit = flush(licence, u128::from(turn), range(0, from, from + 1));
        let caller = tokio::spawn({
            let catalog = Arc::clone(&catalog);
            async move { catalog.commit(commit).await }
        });
        for _ in 0..turn {
            // Time for one statement, so that turns end at different ones; one of them at COMMIT.
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_micros(300));
        }
        caller.abort();
        let _ = caller.await;
        // The next write waits for whatever the abandoned one still does.
        catalog.close_writer(licence, at(1)).await.unwrap();
        let mut ids: Vec<_> = listed(&*catalog).await.iter().map(|s| s.segment).collect();
        ids.sort();
        assert_eq!(ids, catalog.kept_segments().await.unwrap(), "memory and tables differ");
        let listing = catalog.listing().await.unwrap();
        assert_eq!(listing.frontier(0, 0), listing.segments.len() as u64);
    }
}
