//! Merged windows and members against a map that adds everything up at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::AtomicBool;

use arrow::array::Array as _;
use arrow::datatypes::i256;
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use weir_meter::segment::{Coverage, Generations};
use weir_meter::window::{FOLD_VERSION, LatestKey, Values, WindowKey, WindowKeyRef, WindowSet, WindowState};
use weir_meter::{Decimal, Generation, Namespace};

use super::*;
use crate::convert::{MemberRow, WindowRow};
use crate::testing::{
    self, NAMESPACES, generation, generations, greatest_decimal, plain_row, range, windows,
};
use crate::{Merge, Retention};

const HOUR_US: i64 = 3_600_000_000;

/// A piece with one row, the one at `offset`, and these windows.
fn piece(offset: u64, windows: WindowSet) -> PieceSnapshot {
    PieceSnapshot {
        ranges: vec![range(0, offset, offset + 1)],
        rows: vec![Arc::new(vec![plain_row(offset)])],
        windows,
        ..testing::plain_piece(1)
    }
}

pub(super) fn coverage(inputs: &[Arc<Segment>], window_size_s: u32) -> Coverage {
    Coverage {
        ranges: inputs.iter().flat_map(|input| input.new.coverage.ranges.clone()).collect(),
        revision: 8,
        fold_version: FOLD_VERSION,
        window_size_s,
        generations: Generations::AllBut(Vec::new()),
    }
}

/// Everything, as it is.
pub(super) fn plain_merge(inputs: Vec<Arc<Segment>>, window_size_s: u32) -> Merge {
    Merge {
        kind: inputs[0].new.kind,
        coverage: coverage(&inputs, window_size_s),
        inputs,
        level: 1,
        generations: generations(),
        retention: Retention::default(),
        stop: Arc::default(),
    }
}

pub(super) async fn merged(fixture: &Fixture, merge: Merge) -> Result<Arc<Segment>, StoreError> {
    Ok(listed(vec![fixture.store.merge(WRITER, merge).await?]).remove(0))
}

/// All rows of a segment in their order, every cell as text.
pub(super) fn lines_of(fixture: &Fixture, segment: &Segment) -> Vec<String> {
    if segment.new.location.is_empty() {
        return Vec::new();
    }
    let file = fs::File::open(fixture.path(segment)).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.build().unwrap().flat_map(|batch| lines(&batch.unwrap())).collect()
}

pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
    let value = |row: usize| {
        let cells = batch.columns().iter().map(|c| {
            if c.is_null(row) { "null".to_owned() } else { array_value_to_string(c.as_ref(), row).unwrap() }
        });
        cells.collect::<Vec<_>>().join("|")
    };
    (0..batch.num_rows()).map(value).collect()
}

pub(super) fn files_in(fixture: &Fixture) -> BTreeSet<String> {
    ["rows", "windows", "members"]
        .into_iter()
        .flat_map(|kind| fs::read_dir(fixture.dir.path().join(kind)).unwrap())
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect()
}

type Key = (Namespace, Generation, String, i64, Vec<String>);

/// Time, record time, epoch, partition and offset.
type Latest = (i64, i64, u32, u32, u64);

/// What a window is, added up in the most obvious way.
#[derive(Clone, Default)]
struct Sum {
    events: i64,
    counted: i64,
    sum: i256,
    /// Of numbers above and below 0 alone: no order of adding can leave what both stay within.
    extremes: (i256, i256),
    min: Option<i256>,
    max: Option<i256>,
    latest: Option<(Latest, i256)>,
    minutes: Option<(i64, i64)>,
}

impl Sum {
    fn add(&mut self, state: &WindowState) {
        self.events += state.events;
        self.counted += state.counted;
        let number = state.sum().unscaled();
        self.sum = self.sum.wrapping_add(number);
        if number > i256::ZERO {
            self.extremes.0 = self.extremes.0.checked_add(number).unwrap_or(i256::MAX);
        } else {
            self.extremes.1 = self.extremes.1.checked_add(number).unwrap_or(i256::MIN);
        }
        let values = state.values.as_deref();
        self.min = self.min.into_iter().chain(values.map(|values| values.min.unscaled())).min();
        self.max = self.max.into_iter().chain(values.map(|values| values.max.unscaled())).max();
        let latest = values.map(|values| {
            let (key, value) = values.latest;
            let at = key.at;
            let key = (key.time_us, key.record_time_us, at.epoch, at.partition, at.offset);
            (key, value.unscaled())
        });
        // Of two with one key (only random ones can have that) either may win.
        self.latest = match (self.latest, latest) {
            (Some(mine), Some(other)) if other.0 > mine.0 => Some(other),
            (None, other) => other,
            (mine, _) => mine,
        };
        let (first, last) = self.minutes.unwrap_or((i64::MAX, i64::MIN));
        self.minutes = Some((first.min(state.first_minute_us), last.max(state.last_minute_us)));
    }

    fn state(&self) -> WindowState {
        let key = |(time_us, record_time_us, epoch, partition, offset)| LatestKey {
            time_us,
            record_time_us,
            at: weir_meter::Coordinates { epoch, partition, offset },
        };
        let (first_minute_us, last_minute_us) = self.minutes.unwrap();
        WindowState {
            events: self.events,
            counted: self.counted,
            values: self.latest.map(|(at, latest)| {
                Box::new(Values {
                    sum: Decimal::from_unscaled(self.sum),
                    min: Decimal::from_unscaled(self.min.unwrap()),
                    max: Decimal::from_unscaled(self.max.unwrap()),
                    latest: (key(at), Decimal::from_unscaled(latest)),
                })
            }),
            first_minute_us,
            last_minute_us,
        }
    }
}

/// What stays of one piece's keys.
fn output_key(
    namespace: &Namespace,
    generation: Generation,
    key: WindowKeyRef<'_>,
    size_us: i64,
    merge: &Wishes,
) -> Option<Key> {
    let start = key.start_us.div_euclid(size_us) * size_us;
    let kept = merge.generations.contains(&generation)
        && merge.floors.get(namespace).is_none_or(|floor| start >= *floor);
    let groups = key.groups.iter().map(|group| group.to_string()).collect();
    kept.then(|| (namespace.clone(), generation, key.subject.to_string(), start, groups))
}

#[derive(Clone, Debug)]
struct Wishes {
    generations: BTreeSet<Generation>,
    floors: BTreeMap<Namespace, i64>,
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let generations = prop::collection::btree_set((0..4_u32).prop_map(generation), 0..=4);
    let floors = prop::collection::btree_map(
        (0..2_usize).prop_map(|n| Namespace::new(NAMESPACES[n])),
        (-2..3_i64).prop_map(|hour| hour * HOUR_US),
        0..2,
    );
    (prop_oneof![2 => Just((0..4).map(generation).collect()), 1 => generations], floors)
        .prop_map(|(generations, floors)| Wishes { generations, floors })
}

/// Lines of what should be in the merged file; None if a sum may leave its range.
fn expected(
    pieces: &[PieceSnapshot],
    kind: SegmentKind,
    size_s: u32,
    wishes: &Wishes,
) -> (Vec<String>, bool) {
    let size_us = i64::from(size_s) * 1_000_000;
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    let mut members: BTreeMap<(Key, u128), i64> = BTreeMap::new();
    for piece in pieces {
        for (generation, of_meter) in &piece.windows.meters {
            let namespace = &piece.generations[generation];
            for (key, state) in of_meter.windows.iter() {
                if let Some(key) = output_key(namespace, *generation, key, size_us, wishes) {
                    sums.entry(key).or_default().add(state);
                }
            }
            for (key, member, holders) in of_meter.members() {
                if let Some(key) = output_key(namespace, *generation, key, size_us, wishes) {
                    *members.entry((key, member)).or_default() += holders;
                }
            }
        }
    }
    let owned = |key: &Key| WindowKey {
        subject: key.2.as_str().into(),
        start_us: key.3,
        groups: key.4.iter().map(|group| group.as_str().into()).collect(),
    };
    let bound = greatest_decimal().unscaled();
    let safe = sums.values().all(|sum| sum.extremes.0 <= bound && sum.extremes.1 >= bound.wrapping_neg());
    let mut found = Vec::new();
    if kind == SegmentKind::Windows {
        for (key, sum) in &sums {
            let (window, state) = (owned(key), sum.state());
            let row = WindowRow {
                namespace: &key.0,
                generation: key.1,
                window_size_s: size_s,
                key: window.borrowed(),
                state: &state,
            };
            if safe {
                found.extend(lines(&convert::windows_to_batch(&[row], &schema::windows()).unwrap()));
            }
        }
    } else {
        for ((key, member), holders) in &members {
            let window = owned(key);
            let row = MemberRow {
                namespace: &key.0,
                generation: key.1,
                window_size_s: size_s,
                key: window.borrowed(),
                member: *member,
                holders: *holders,
            };
            found.extend(lines(&convert::members_to_batch(&[row], &schema::members()).unwrap()));
        }
    }
    (found, safe)
}

/// Where groups of neighbours end, on each of two levels.
fn cuts() -> impl Strategy<Value = [Vec<bool>; 2]> {
    let level = || prop::collection::vec(any::<bool>(), 6);
    (level(), level()).prop_map(|(a, b)| [a, b])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_grouping_gives_the_sum_of_all(
        sets in prop::collection::vec(windows(60), 1..6),
        cuts in cuts(),
        hours_from_level in 0..3_usize,
        wishes in wishes(),
    ) {
        block_on(async {
            let fixture = Fixture::new();
            let pieces: Vec<PieceSnapshot> =
                sets.into_iter().enumerate().map(|(at, set)| piece(at as u64, set)).collect();
            for kind in [SegmentKind::Windows, SegmentKind::Members] {
                let mut segments = Vec::new();
                for piece in &pieces {
                    segments.push(of_kind(&fixture.write(piece).await, kind));
                }
                let mut failed = false;
                for (level, cuts) in cuts.iter().enumerate() {
                    let size = if level >= hours_from_level { 3_600 } else { 60 };
                    let mut next = Vec::new();
                    let mut group = Vec::new();
                    for (segment, cut) in segments.iter().zip(cuts.iter().cycle()) {
                        group.push(Arc::clone(segment));
                        if *cut {
                            next.push(std::mem::take(&mut group));
                        }
                    }
                    next.extend((!group.is_empty()).then_some(group));
                    segments.clear();
                    for group in next {
                        match merged(&fixture, plain_merge(group, size)).await {
                            Ok(segment) => segments.push(segment),
                            Err(StoreError::Inconsistent(_)) => failed = true,
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                let size = if hours_from_level < 3 { 3_600 } else { 60 };
                let everything = Wishes { generations: (0..4).map(generation).collect(), floors: BTreeMap::new() };
                let (_, safe) = expected(&pieces, kind, size, &everything);
                if failed {
                    prop_assert!(!safe && kind == SegmentKind::Windows);
                    continue;
                }
                let mut last = plain_merge(segments, size);
                last.retention.floors = wishes.floors.clone();
                last.generations = Arc::new(
                    generations().iter().filter(|(g, _)| wishes.generations.contains(g)).map(|(g, n)| (*g, n.clone())).collect(),
                );
                last.level = 5;
                let (lines, _) = expected(&pieces, kind, size, &wishes);
                let before = files_in(&fixture);
                let segment = match merged(&fixture, last.clone()).await {
                    Ok(segment) => segment,
                    Err(error) => {
                        prop_assert!(!safe && matches!(error, StoreError::Inconsistent(_)), "{}", error);
                        prop_assert_eq!(files_in(&fixture), before);
                        continue;
                    }
                };
                if !safe {
                    continue;
                }
                prop_assert_eq!(lines_of(&fixture, &segment), lines.clone());
                let new = &segment.new;
                prop_assert_eq!((new.level, new.row_count, new.dropped_rows), (5, lines.len() as u64, 0));
                prop_assert_eq!(&new.coverage, &last.coverage);
                prop_assert_eq!(new.location.is_empty(), lines.is_empty());
                prop_assert_eq!(files_in(&fixture).len(), before.len() + usize::from(!lines.is_empty()));
                let starts = || lines.iter().map(|line| line.split('|').nth(5).unwrap().parse::<i64>().unwrap());
                prop_assert_eq!(new.time_range_us, starts().min().zip(starts().max()));
                fixture.store.verify(&[segment], true).await.unwrap();
            }
            Ok(())
        })?;
    }
}

/// One window of one generation.
fn one_window(value: Decimal, groups: &[&str]) -> WindowSet {
    let mut set = WindowSet::default();
    let of_meter = Arc::make_mut(set.meters.entry(generation(0)).or_default());
    let key = WindowKeyRef { subject: "Ann", start_us: 60_000_000, groups };
    let (place, state) = of_meter.windows.place(key);
    state.add_event(60_000_000);
    let at = weir_meter::Coordinates { epoch: 1, partition: 0, offset: 0 };
    state.add_value(value, LatestKey { time_us: 1, record_time_us: 1, at }).unwrap();
    of_meter.add_member(place, 3);
    set
}

async fn two_windows(fixture: &Fixture, values: [Decimal; 2]) -> Vec<Arc<Segment>> {
    let mut segments = Vec::new();
    for (offset, value) in values.into_iter().enumerate() {
        let written = fixture.write(&piece(offset as u64, one_window(value, &["eu"]))).await;
        segments.push(of_kind(&written, SegmentKind::Windows));
    }
    segments
}

#[test]
fn a_sum_that_leaves_its_range_is_named_and_leaves_no_file() {
    block_on(async {
        let fixture = Fixture::new();
        let one = Decimal::from_unscaled(i256::ONE);
        let inputs = two_windows(&fixture, [greatest_decimal(), one]).await;
        let before = files_in(&fixture);
        let error = merged(&fixture, plain_merge(inputs, 3_600)).await.unwrap_err().to_string();
        assert!(
            error.contains("\"Ann\"") && error.contains("eu") && error.contains("Decimal(76, 30)"),
            "{error}"
        );
        assert_eq!(files_in(&fixture), before);
    });
}

#[test]
fn what_cannot_be_right_is_refused() {
    block_on(async {
        let fixture = Fixture::new();
        let one = Decimal::from_unscaled(i256::ONE);
        let inputs = two_windows(&fixture, [one, one]).await;
        let members = of_kind(&fixture.write(&piece(7, one_window(one, &[]))).await, SegmentKind::Members);
        let good = plain_merge(inputs.clone(), 3_600);
        let hours = merged(&fixture, good.clone()).await.unwrap();
        let before = files_in(&fixture);
        let with = |change: fn(&mut Merge)| {
            let mut merge = good.clone();
            change(&mut merge);
            merge
        };
        let mut mixed = good.clone();
        mixed.inputs.push(members);
        let mut sizes = good.clone();
        sizes.inputs.push(Arc::clone(&hours));
        for bad in [
            plain_merge(inputs.clone(), 90),
            plain_merge(inputs.clone(), 0),
            plain_merge(vec![Arc::clone(&hours)], 60),
            with(|merge| merge.coverage.ranges.truncate(1)),
            with(|merge| merge.coverage.fold_version += 1),
            mixed,
            sizes,
        ] {
            let error = merged(&fixture, bad).await.unwrap_err();
            assert!(matches!(error, StoreError::Inconsistent(_)), "{error}");
        }
        let stopped = Merge { stop: Arc::new(AtomicBool::new(true)), ..good };
        assert!(matches!(merged(&fixture, stopped).await, Err(StoreError::Stopped)));
        assert_eq!(files_in(&fixture), before);
    });
}

#[test]
fn damage_is_not_merged_away() {
    block_on(async {
        let fixture = Fixture::new();
        let one = Decimal::from_unscaled(i256::ONE);
        let inputs = two_windows(&fixture, [one, one]).await;
        let path = fixture.path(&inputs[1]);
        let mut bytes = fs::read(&path).unwrap();
        // Within the first page; a middle would lie between the blocks and the footer.
        bytes[60] ^= 1;
        fs::write(&path, bytes).unwrap();
        let before = files_in(&fixture);
        let error = merged(&fixture, plain_merge(inputs.clone(), 60)).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        fs::remove_file(&path).unwrap();
        let error = merged(&fixture, plain_merge(inputs, 60)).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert_eq!(files_in(&fixture).len(), before.len() - 1);
    });
}

#[test]
fn segments_without_rows_merge_into_one_without() {
    block_on(async {
        let fixture = Fixture::new();
        let mut inputs = Vec::new();
        for offset in 0..3 {
            let written = fixture.write(&piece(offset, WindowSet::default())).await;
            inputs.push(of_kind(&written, SegmentKind::Members));
        }
        let segment = merged(&fixture, plain_merge(inputs, 3_600)).await.unwrap();
        assert_eq!((segment.new.row_count, segment.new.location.as_str()), (0, ""));
        assert_eq!(segment.new.coverage.ranges.len(), 3);
        assert_eq!(segment.new.time_range_us, None);
    });
}
