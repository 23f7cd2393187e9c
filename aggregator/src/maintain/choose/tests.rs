//! The chooser against a model that does its jobs on paper: it comes to an end, nothing is ever covered
//! twice or said to be covered without having been folded, and the number of segments stays low.

mod model;

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use weir_meter::segment::SegmentKind;

use self::model::{DAY_US, Model};
use super::*;

#[derive(Clone, Debug)]
enum Act {
    Flush(u64, u64),
    MakeMeter,
    EndMeter(usize),
    MakeWide(usize),
    /// Somebody loses a pair of windows and members.
    Drop(usize),
    /// So many jobs, while refolds fail or not.
    Work(usize, bool),
    Days(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..5_u64, 0..5_u64).prop_map(|(a, b)| Act::Flush(a, b)),
        2 => Just(Act::MakeMeter),
        1 => any::<prop::sample::Index>().prop_map(|i| Act::EndMeter(i.index(1_000))),
        1 => any::<prop::sample::Index>().prop_map(|i| Act::MakeWide(i.index(1_000))),
        1 => any::<prop::sample::Index>().prop_map(|i| Act::Drop(i.index(1_000))),
        4 => (1..6_usize, any::<bool>()).prop_map(|(jobs, failing)| Act::Work(jobs, failing)),
        1 => (1..4_i64).prop_map(Act::Days),
    ]
}

fn options(retain: bool, let_go: bool) -> MaintenanceOptions {
    MaintenanceOptions {
        fanout: 3,
        retention: retain.then(|| Duration::from_secs(5 * 86_400)),
        minute_windows_kept_for: let_go.then(|| Duration::from_secs(2 * 86_400)),
        refold_rows: 7,
        segment_rows_max: 60,
        ..MaintenanceOptions::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_everything_is_covered_once_in_the_end(
        acts in prop::collection::vec(act(), 1..60),
        retain: bool,
        let_go: bool,
    ) {
        let mut model = Model::new(options(retain, let_go));
        for act in acts {
            match act {
                Act::Flush(first, second) => model.flush(&[first, second]),
                Act::MakeMeter => model.make_meter(),
                Act::EndMeter(index) => model.end_meter(index),
                Act::MakeWide(index) => model.make_wide(index),
                Act::Drop(index) => model.drop_pair(index),
                Act::Work(jobs, failing) => {
                    let paused = failing.then_some(JobKind::Refold).into_iter().collect();
                    for _ in 0..jobs {
                        model.work(&paused);
                    }
                }
                Act::Days(days) => model.now_us += days * DAY_US,
            }
        }
        let jobs = model.work_to_the_end();
        prop_assert!(jobs < 2_000);
        model.check_all_is_covered();
        prop_assert_eq!(model.choose(&HashSet::new()).backlog, 0);
    }
}

#[test]
fn segments_stay_few_over_thousands_of_flushes() {
    for let_go in [false, true] {
        let mut model = Model::new(MaintenanceOptions {
            minute_windows_kept_for: let_go.then(|| Duration::from_secs(2 * 86_400)),
            ..MaintenanceOptions::default()
        });
        model.make_meter();
        let mut random = 7_u64;
        let mut most = 0;
        for _ in 0..3_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            model.flush(&[1 + (random >> 60), random >> 61]);
            model.now_us += DAY_US / 288;
            if (random >> 20).is_multiple_of(150) {
                model.make_meter();
            }
            if (random >> 30).is_multiple_of(300) {
                model.end_meter((random >> 40) as usize);
            }
            model.work_to_the_end();
            most = most.max(model.listing.segments.len());
        }
        model.check_all_is_covered();
        assert!(most < 300, "{most} listed segments");
        assert!(model.of(SegmentKind::Windows, 3_600) > 0, "hours were made");
        assert_eq!(model.minutes_are_whole(), !let_go);
    }
}

#[test]
fn floors_come_before_deletion_and_folding_before_compaction() {
    let mut model = Model::new(options(true, false));
    for _ in 0..7 {
        model.flush(&[3, 0]);
    }
    model.now_us += 8 * DAY_US;
    model.make_meter();
    let mut kinds = Vec::new();
    while let Some(kind) = model.work(&HashSet::new()) {
        kinds.push(kind);
    }
    kinds.dedup();
    assert_eq!(kinds[..2], [JobKind::Floor, JobKind::Refold]);
    let place = |kind| kinds.iter().position(|k| *k == kind).unwrap();
    assert!(place(JobKind::Rows) > place(JobKind::Refold), "{kinds:?}");
    assert!(place(JobKind::Retain) > place(JobKind::Rows), "{kinds:?}");
}

#[test]
fn the_newest_rows_are_folded_first_and_no_more_at_once_than_allowed() {
    let mut model = Model::new(options(false, false));
    for _ in 0..5 {
        model.flush(&[3, 0]);
    }
    model.make_meter();
    let Some(Job::Refold(refold)) = model.choose(&HashSet::new()).job else { panic!("no refold") };
    assert_eq!(refold.coverage.ranges, [model::range(0, 9, 15)]);
    assert!(!refold.streamed);
}

#[test]
fn a_large_segment_is_streamed_alone() {
    let mut model = Model::new(options(false, false));
    model.flush(&[2, 0]);
    model.flush(&[8, 0]);
    model.make_meter();
    let Some(Job::Refold(refold)) = model.choose(&HashSet::new()).job else { panic!("no refold") };
    assert!(refold.streamed);
    assert_eq!((refold.rows.len(), refold.coverage.ranges), (1, vec![model::range(0, 2, 10)]));
}

#[test]
fn what_failed_lets_the_others_go_on_but_never_merges_what_it_left_open() {
    let mut model = Model::new(options(false, false));
    model.make_meter();
    for _ in 0..3 {
        model.flush(&[3, 0]);
    }
    model.make_meter();
    let paused = HashSet::from([JobKind::Refold]);
    let choice = model.choose(&paused);
    assert_eq!(choice.job.map(|job| job.kind()), Some(JobKind::Rows));
    assert_eq!(choice.backlog, 9);
}

#[test]
fn hours_are_made_of_hours_where_all_have_them() {
    let mut model = Model::new(options(false, false));
    model.make_meter();
    let mut made_of = Vec::new();
    for _ in 0..9 {
        model.flush(&[3, 0]);
        while let Some(job) = model.choose(&HashSet::new()).job {
            if let Job::Rewrite(rewrite) = &job {
                let hours = rewrite.add.iter().filter(|output| output.coverage.window_size_s == 3_600);
                made_of.extend(
                    hours.flat_map(|output| &output.inputs).map(|input| input.new.coverage.window_size_s),
                );
            }
            model.apply(job);
        }
    }
    // Three times three flushes have minutes only; the three that come of them have hours.
    assert_eq!(made_of.iter().filter(|size| **size == 60).count(), 18);
    assert_eq!(made_of.iter().filter(|size| **size == 3_600).count(), 6);
}

/// Segments of a kind that a job reads, and the rows in all that it reads.
fn read_by(job: &Job) -> (usize, u64) {
    let mut inputs = job.inputs();
    inputs.sort_by_key(|input| input.new.segment);
    inputs.dedup_by_key(|input| input.new.segment);
    (inputs.len(), inputs.iter().map(|input| input.new.row_count).sum())
}

#[test]
fn windows_grow_only_so_far_and_get_their_hours() {
    let mut model = Model::new(MaintenanceOptions { segment_rows_max: 20, ..options(false, false) });
    model.make_meter();
    // One that is too large from the beginning.
    model.flush(&[12, 0]);
    for _ in 0..12 {
        model.flush(&[3, 0]);
    }
    while let Some(job) = model.choose(&HashSet::new()).job {
        if job.kind() == JobKind::Windows {
            let (segments, rows) = read_by(&job);
            assert!(segments == 2 || rows <= 20, "{segments} segments of {rows} rows");
        }
        model.apply(job);
    }
    model.check_all_is_covered();
    assert_eq!(model.of(SegmentKind::Windows, 60), 5);
    assert_eq!(model.of(SegmentKind::Windows, 3_600), 5, "each has hours");
}

#[test]
fn windows_without_members_do_not_keep_others_from_retention() {
    let mut model = Model::new(options(true, false));
    model.make_meter();
    for _ in 0..2 {
        model.flush(&[3, 0]);
    }
    model.now_us += 8 * DAY_US;
    assert_eq!(model.work(&HashSet::new()), Some(JobKind::Floor));
    let lost = model.listing.segments.iter().position(|s| s.new.kind == SegmentKind::Members).unwrap();
    model.listing.segments.remove(lost);
    let others = HashSet::from([JobKind::Refold, JobKind::Windows, JobKind::Rows, JobKind::Minutes]);
    let mut kinds = Vec::new();
    while let Some(job) = model.choose(&others).job {
        let Job::Rewrite(rewrite) = &job else { panic!("{job:?}") };
        kinds.push(rewrite.why);
        model.apply_unchecked(job);
    }
    let rows = Why::Retention(SegmentKind::Rows);
    assert_eq!(kinds, [rows, rows, Why::Retention(SegmentKind::Windows)]);
}
