//! States against plain lists of events, and tables against the standard library's map.

use proptest::prelude::*;

use super::*;
use crate::decimal::Parsed;

fn decimal(text: &str) -> Decimal {
    match Decimal::parse_json_number(text) {
        Parsed::Exact(decimal) => decimal,
        other => panic!("{text} {other:?}"),
    }
}

#[derive(Clone, Debug)]
struct Sample {
    time_us: i64,
    record_time_us: i64,
    value: Option<i32>,
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample = (0..5 * MINUTE_US, 0..3_i64, prop::option::weighted(0.8, -50..50)).prop_map(
        |(time_us, record_time_us, value)| Sample {
            time_us: time_us / 7_000_000 * 7_000_000,
            record_time_us,
            value,
        },
    );
    prop::collection::vec(sample, 0..30)
}

fn latest_key(index: usize, sample: &Sample) -> LatestKey {
    let at = Coordinates { epoch: 1, partition: (index % 2) as u32, offset: index as u64 };
    LatestKey { time_us: sample.time_us, record_time_us: sample.record_time_us, at }
}

fn fold(samples: &[(usize, &Sample)]) -> WindowState {
    let mut state = WindowState::default();
    for (index, sample) in samples {
        state.add_event(sample.time_us);
        if let Some(value) = sample.value {
            state.add_value(decimal(&value.to_string()), latest_key(*index, sample)).unwrap();
        }
    }
    state
}

proptest! {
    /// A state is what a list of its events says, and heaps of events add up in any split and order.
    #[test]
    fn states_merge(samples in samples(), heaps in prop::collection::vec(0..4_usize, 30), order in Just([0_usize, 1, 2, 3]).prop_shuffle()) {
        let all: Vec<(usize, &Sample)> = samples.iter().enumerate().collect();
        let whole = fold(&all);
        let mut merged = WindowState::default();
        for heap in order {
            let part: Vec<_> = all.iter().filter(|(index, _)| heaps[*index] == heap).copied().collect();
            merged.merge(&fold(&part)).unwrap();
        }
        prop_assert_eq!(&merged, &whole);

        let values: Vec<(LatestKey, i32)> = all.iter().filter_map(|(i, s)| Some((latest_key(*i, s), s.value?))).collect();
        prop_assert_eq!(whole.events, samples.len() as i64);
        prop_assert_eq!(whole.counted, values.len() as i64);
        prop_assert_eq!(whole.sum.to_string(), values.iter().map(|(_, v)| v).sum::<i32>().to_string());
        prop_assert_eq!(whole.min.map(|d| d.to_string()), values.iter().map(|(_, v)| *v).min().map(|v| v.to_string()));
        prop_assert_eq!(whole.max.map(|d| d.to_string()), values.iter().map(|(_, v)| *v).max().map(|v| v.to_string()));
        let latest = values.iter().max_by_key(|(key, _)| *key);
        prop_assert_eq!(whole.latest.map(|(_, d)| d.to_string()), latest.map(|(_, v)| v.to_string()));
        if let (Some(first), Some(last)) = (samples.iter().map(|s| s.time_us).min(), samples.iter().map(|s| s.time_us).max()) {
            prop_assert_eq!(whole.first_minute_us, first / MINUTE_US * MINUTE_US);
            prop_assert_eq!(whole.last_minute_us, last / MINUTE_US * MINUTE_US);
        }
    }

    #[test]
    fn tables_are_maps(keys in prop::collection::vec(("[ab]{0,2}", 0..3_i64, prop::collection::vec("[ab]{0,2}", 0..3)), 0..60)) {
        let mut table: WindowTable<u32> = WindowTable::default();
        let mut map: std::collections::HashMap<WindowKey, u32> = std::collections::HashMap::new();
        for (subject, start_us, groups) in &keys {
            let key = WindowKeyRef { subject, start_us: *start_us, groups };
            let owned = key.to_key();
            // Look-ups by borrowed and by owned keys must meet in the same entry.
            if start_us % 2 == 0 { *table.entry(key) += 1 } else { *table.entry_shared(&owned) += 1 }
            *map.entry((*owned).clone()).or_default() += 1;
            prop_assert_eq!(table.get(key), map.get(&*owned));
        }
        prop_assert_eq!(table.len(), map.len());
        for (key, value) in table.iter() {
            prop_assert_eq!(map.get(&**key), Some(value));
        }
    }

    #[test]
    fn borrowed_and_owned_keys_hash_alike(subject in ".{0,5}", start_us: i64, groups in prop::collection::vec(".{0,5}", 0..4)) {
        let hashes = DefaultHashBuilder::default();
        let key = WindowKeyRef { subject: &subject, start_us, groups: &groups };
        prop_assert_eq!(hashes.hash_one(key), hashes.hash_one(key.to_key()));
        prop_assert!(key.equivalent(&key.to_key()));
    }
}

#[test]
fn an_overflow_changes_nothing() {
    let huge = Decimal::from_unscaled(arrow_buffer::i256::from_string(&"9".repeat(76)).unwrap());
    let sample = Sample { time_us: 0, record_time_us: 0, value: None };
    let mut state = WindowState::default();
    state.add_event(5);
    state.add_value(huge, latest_key(1, &sample)).unwrap();
    let before = state.clone();
    assert_eq!(state.add_value(decimal("1"), latest_key(2, &sample)), Err(SumOverflow));
    assert_eq!(state.merge(&before), Err(SumOverflow));
    assert_eq!(state, before);
}

#[test]
fn times_before_1970_floor_to_their_minute() {
    let mut state = WindowState::default();
    state.add_event(-1);
    assert_eq!((state.first_minute_us, state.last_minute_us), (-MINUTE_US, -MINUTE_US));
}

#[test]
fn members_count_their_holders() {
    let groups: [&str; 0] = [];
    let key = WindowKeyRef { subject: "s", start_us: 0, groups: &groups };
    let (mut a, mut b) = (MeterWindows::default(), MeterWindows::default());
    a.add_member(key, 1);
    a.add_member(key, 1);
    b.add_member(key, 1);
    b.add_member(key, 2);
    a.merge(&b).unwrap();
    let members = a.members.get(key).unwrap();
    assert_eq!((members.get(&1), members.get(&2), members.len()), (Some(&3), Some(&1), 2));
}
