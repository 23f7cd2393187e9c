//! States against plain lists of events, and tables against the standard library's map.

use std::collections::BTreeMap;

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
        prop_assert_eq!(whole.sum().to_string(), values.iter().map(|(_, v)| v).sum::<i32>().to_string());
        let of_values = |pick: fn(&Values) -> Decimal| whole.values.as_ref().map(|values| pick(values).to_string());
        prop_assert_eq!(of_values(|v| v.min), values.iter().map(|(_, v)| *v).min().map(|v| v.to_string()));
        prop_assert_eq!(of_values(|v| v.max), values.iter().map(|(_, v)| *v).max().map(|v| v.to_string()));
        let latest = values.iter().max_by_key(|(key, _)| *key);
        prop_assert_eq!(of_values(|v| v.latest.1), latest.map(|(_, v)| v.to_string()));
        if let (Some(first), Some(last)) = (samples.iter().map(|s| s.time_us).min(), samples.iter().map(|s| s.time_us).max()) {
            prop_assert_eq!(whole.first_minute_us, first / MINUTE_US * MINUTE_US);
            prop_assert_eq!(whole.last_minute_us, last / MINUTE_US * MINUTE_US);
        }
    }

    /// What comes out is what the standard library's maps say, in order where order is asked for.
    #[test]
    fn tables_are_maps(keys in prop::collection::vec(("[ab]{0,2}", -1..2_i64, prop::collection::vec("[ab]{0,2}", 0..3), 0..3_u128), 0..80)) {
        let mut windows = MeterWindows::default();
        let (mut events, mut members) = (BTreeMap::new(), BTreeMap::new());
        for (subject, start_us, groups, member) in &keys {
            let key = WindowKeyRef { subject, start_us: *start_us, groups };
            let own = key.to_key();
            prop_assert_eq!(windows.windows.get(key).map(|state| state.events), events.get(&own).copied());
            let (place, state) = windows.windows.place(key);
            state.add_event(0);
            *events.entry(own.clone()).or_insert(0_i64) += 1;
            prop_assert_eq!(windows.windows.get(own.borrowed()).map(|state| state.events), events.get(&own).copied());
            let holders = members.entry((own, *member)).or_insert(0_i64);
            *holders += 1;
            prop_assert_eq!(windows.add_member(place, *member), *holders == 1);
        }
        prop_assert_eq!((windows.windows.len(), windows.member_count()), (events.len(), members.len()));
        prop_assert_eq!(windows.windows.is_empty(), keys.is_empty());
        let of_window = |(key, state): (WindowKeyRef<'_>, &WindowState)| (key.to_key(), state.events);
        let of_member = |(key, member, holders): (WindowKeyRef<'_>, _, _)| ((key.to_key(), member), holders);
        let any_order: BTreeMap<_, _> = windows.windows.iter().map(of_window).collect();
        prop_assert_eq!(&any_order, &events);
        let any_order: BTreeMap<_, _> = windows.members().map(of_member).collect();
        prop_assert_eq!(&any_order, &members);
        let in_order: Vec<_> = windows.windows.in_order().map(of_window).collect();
        prop_assert_eq!(in_order, events.into_iter().collect::<Vec<_>>());
        let in_order: Vec<_> = windows.members_in_order().map(of_member).collect();
        prop_assert_eq!(in_order, members.into_iter().collect::<Vec<_>>());
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
