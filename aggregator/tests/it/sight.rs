//! What the listed segments say, read the slow way, and what the events would make of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal256Type, Int64Type};
use futures::TryStreamExt as _;
use weir_aggregator::Parts;
use weir_meter::Meter;
use weir_meter::segment::SegmentKind;
use weir_store::{RowSource, WindowScan};

use crate::world::{Event, World};

/// By subject and start: events, the sum of the values, and the distinct values.
pub(crate) type Windows = BTreeMap<(String, i64), (i64, u64, usize)>;

/// What the events make, one after the other.
pub(crate) fn expected(events: &[Event], size_s: i64) -> Windows {
    let mut windows: BTreeMap<(String, i64), Vec<u64>> = BTreeMap::new();
    for event in events {
        let start_us = event.time_us - event.time_us.rem_euclid(size_s * 1_000_000);
        windows.entry((event.subject.clone(), start_us)).or_default().push(event.value);
    }
    let sum = |values: Vec<u64>| {
        (values.len() as i64, values.iter().sum(), values.iter().collect::<HashSet<_>>().len())
    };
    windows.into_iter().map(|(key, values)| (key, sum(values))).collect()
}

/// What the listed windows of one size say of a meter. None if they do not cover each offset below the
/// frontier exactly once.
pub(crate) async fn seen(parts: &Parts, meter: &Meter, size_s: u32) -> Option<Windows> {
    let listing = parts.catalog.listing().await.unwrap();
    let of = |kind: SegmentKind| {
        let covering = listing.segments.iter().filter(move |s| {
            let coverage = &s.new.coverage;
            s.new.kind == kind && coverage.window_size_s == size_s && coverage.covers(meter)
        });
        covering.cloned().collect::<Vec<_>>()
    };
    for kind in [SegmentKind::Windows, SegmentKind::Members] {
        let mut covered: Vec<(u32, u64)> = of(kind)
            .iter()
            .flat_map(|s| s.new.coverage.ranges.clone())
            .flat_map(|r| (r.from..r.to).map(move |offset| (r.partition, offset)))
            .collect();
        covered.sort_unstable();
        let mut below: Vec<(u32, u64)> = listing
            .frontiers
            .iter()
            .flat_map(|f| (0..f.next_offset).map(move |offset| (f.partition, offset)))
            .collect();
        below.sort_unstable();
        if covered != below {
            return None;
        }
    }
    let scan = |kind, columns: Vec<&'static str>| WindowScan {
        sources: of(kind).into_iter().map(RowSource::Segment).collect(),
        namespace: meter.namespace.clone(),
        generation: meter.key(),
        window_size_s: size_s,
        subjects: None,
        starts_us: None,
        columns,
        counters: Default::default(),
    };
    let windows = scan(SegmentKind::Windows, vec!["subject", "window_start", "events", "sum"]);
    let members = scan(SegmentKind::Members, vec!["subject", "window_start", "member"]);
    let windows: Vec<RecordBatch> = parts.store.scan_windows(windows).try_collect().await.unwrap();
    let members: Vec<RecordBatch> = parts.store.scan_members(members).try_collect().await.unwrap();
    let mut distinct: BTreeMap<(String, i64), BTreeSet<Vec<u8>>> = BTreeMap::new();
    for batch in &members {
        let member = batch.column_by_name("member").unwrap().as_fixed_size_binary().clone();
        for (row, key) in keys(batch).into_iter().enumerate() {
            distinct.entry(key).or_default().insert(member.value(row).to_vec());
        }
    }
    let mut seen = Windows::new();
    for batch in &windows {
        let events = batch.column_by_name("events").unwrap().as_primitive::<Int64Type>().clone();
        let sums = batch.column_by_name("sum").unwrap().as_primitive::<Decimal256Type>().clone();
        for (row, key) in keys(batch).into_iter().enumerate() {
            let whole = sums.value_as_string(row);
            let sum: u64 = whole.split('.').next().unwrap().parse().unwrap();
            let window = seen.entry(key).or_insert((0, 0, 0));
            *window = (window.0 + events.value(row), window.1 + sum, 0);
        }
    }
    for (key, members) in distinct {
        seen.get_mut(&key).expect("members have a window").2 = members.len();
    }
    Some(seen)
}

fn keys(batch: &RecordBatch) -> Vec<(String, i64)> {
    let subjects = batch.column_by_name("subject").unwrap().as_string::<i32>().clone();
    let starts = batch.column_by_name("window_start").unwrap().as_primitive::<Int64Type>().clone();
    (0..batch.num_rows()).map(|row| (subjects.value(row).to_owned(), starts.value(row))).collect()
}

/// Files of the store that the catalog does not know.
pub(crate) async fn stray_files(world: &World, parts: &Parts) -> Vec<String> {
    let kept: Vec<String> =
        parts.catalog.kept_segments().await.unwrap().iter().map(ToString::to_string).collect();
    let mut stray = Vec::new();
    for kind in ["rows", "windows", "members"] {
        for entry in fs::read_dir(world.path("store").join(kind)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !kept.iter().any(|id| name.contains(id.as_str())) {
                stray.push(format!("{kind}/{name}"));
            }
        }
    }
    stray
}
