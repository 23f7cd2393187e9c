//! Folding against a slow reference: every window is computed again from the list of its events.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::decimal::{Decimal, Parsed};
use crate::ids::MeterId;
use crate::window::{MINUTE_US, MeterWindows};

fn meter(id: u128, aggregation: Aggregation, value: Option<&str>, group_by: &[(&str, &str)]) -> Meter {
    Meter {
        id: MeterId(id),
        generation: 1,
        namespace: Namespace::new("ns"),
        slug: format!("m{id}"),
        name: String::new(),
        description: None,
        metadata: None,
        event_type: "t".to_owned(),
        aggregation,
        value_property: value.map(str::to_owned),
        group_by: group_by.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        event_from_us: None,
        created_revision: 1,
        deleted_revision: None,
        created_at_us: 0,
        updated_at_us: 0,
        deleted_at_us: None,
    }
}

fn meters() -> Vec<Meter> {
    let mut late = meter(4, Aggregation::Count, None, &[]);
    late.event_from_us = Some(2 * MINUTE_US);
    let mut elsewhere = meter(5, Aggregation::Count, None, &[]);
    elsewhere.namespace = Namespace::new("other");
    let mut other_type = meter(6, Aggregation::Count, None, &[]);
    other_type.event_type = "u".to_owned();
    vec![
        meter(1, Aggregation::Sum, Some("$.v"), &[("g", "$.g"), ("h", "$.h")]),
        meter(2, Aggregation::UniqueCount, Some("$.v"), &[("g", "$.g")]),
        meter(3, Aggregation::Latest, Some("$['v']"), &[]),
        late,
        elsewhere,
        other_type,
    ]
}

#[derive(Clone, Debug)]
struct Sample {
    subject: String,
    time_us: i64,
    data: Option<String>,
}

/// The texts of a value, the number it counts as and the member it counts as.
const VALUES: [(&str, Option<&str>, Option<&str>); 9] = [
    ("1.5", Some("1.5"), Some("1.5")),
    ("1.50", Some("1.5"), Some("1.5")),
    ("\"2\"", Some("2"), Some("2")),
    ("-3", Some("-3"), Some("-3")),
    ("null", None, None),
    ("\"null\"", None, None),
    ("\"x\"", None, Some("x")),
    ("{}", None, Some("")),
    ("1e40", None, Some("10000000000000000000000000000000000000000")),
];

fn samples() -> impl Strategy<Value = Vec<(Sample, usize, usize)>> {
    let sample = ("[ab]", 0..4 * MINUTE_US, 0..VALUES.len(), 0..3_usize).prop_map(
        |(subject, time_us, value, group)| {
            let group_text = ["", ",\"g\":\"p\"", ",\"g\":1.0"][group];
            let data = Some(format!("{{\"v\":{}{group_text}}}", VALUES[value].0));
            (Sample { subject, time_us, data }, value, group)
        },
    );
    prop::collection::vec(sample, 0..40)
}

fn at(index: usize) -> Coordinates {
    Coordinates { epoch: 1, partition: 0, offset: index as u64 }
}

fn fold(folder: &Folder, samples: &[(usize, &Sample)]) -> (WindowSet, FoldCounts) {
    let namespace = Namespace::new("ns");
    let (mut scratch, mut set, mut sum) =
        (FoldScratch::default(), WindowSet::default(), FoldCounts::default());
    for (index, sample) in samples {
        let event = FoldEvent {
            namespace: &namespace,
            event_type: "t",
            subject: &sample.subject,
            time_us: sample.time_us,
            record_time_us: 0,
            at: at(*index),
            data: sample.data.as_deref().map(str::as_bytes),
        };
        let start = sample.time_us / MINUTE_US * MINUTE_US;
        let counts = folder.fold(&event, start, &mut scratch, &mut set);
        sum.ignored_values += counts.ignored_values;
        sum.rounded_values += counts.rounded_values;
        sum.overflowed_values += counts.overflowed_values;
    }
    (set, sum)
}

fn add(windows: &mut MeterWindows, others: &MeterWindows) {
    for (key, state) in others.windows.iter() {
        windows.windows.entry(key).merge(state).unwrap();
    }
    for (key, member, holders) in others.members() {
        let (place, _) = windows.windows.place(key);
        for _ in 0..holders {
            windows.add_member(place, member);
        }
    }
}

/// Meter, subject, window start and group values.
type Key = (u128, String, i64, Vec<String>);

/// Events, counted, sum, latest, members with their holders.
type Shown = BTreeMap<Key, (i64, i64, String, Option<String>, BTreeSet<(u128, i64)>)>;

fn show(set: &WindowSet) -> Shown {
    let mut shown = Shown::new();
    for (generation, windows) in &set.meters {
        for (key, state) in windows.windows.iter() {
            let groups: Vec<&str> = key.groups.iter().map(|g| &**g).collect();
            let of_window = windows.members().filter(|(of, ..)| of.to_key() == key.to_key());
            let members = of_window.map(|(_, member, holders)| (member, holders)).collect();
            shown.insert(
                (
                    generation.meter.0,
                    key.subject.to_string(),
                    key.start_us,
                    groups.iter().map(|g| (*g).to_owned()).collect(),
                ),
                (
                    state.events,
                    state.counted,
                    state.sum().to_string(),
                    state.values.as_ref().map(|values| values.latest.1.to_string()),
                    members,
                ),
            );
        }
    }
    shown
}

fn reference(samples: &[(Sample, usize, usize)], key: HashKey) -> Shown {
    let mut events: BTreeMap<Key, Vec<(usize, &Sample, usize)>> = BTreeMap::new();
    for (index, (sample, value, group)) in samples.iter().enumerate() {
        let start = sample.time_us / MINUTE_US * MINUTE_US;
        let group = ["", "p", "1"][*group].to_owned();
        let mut put = |meter: u128, groups: Vec<String>| {
            events
                .entry((meter, sample.subject.clone(), start, groups))
                .or_default()
                .push((index, sample, *value));
        };
        put(1, vec![group.clone(), String::new()]);
        put(2, vec![group]);
        put(3, vec![]);
        if sample.time_us >= 2 * MINUTE_US {
            put(4, vec![]);
        }
    }
    events
        .into_iter()
        .map(|(window, events)| {
            let number = |value: usize| VALUES[value].1.filter(|_| matches!(window.0, 1 | 3));
            let numbers: Vec<&str> = events.iter().filter_map(|(_, _, value)| number(*value)).collect();
            let sum = numbers.iter().fold(Decimal::default(), |sum, text| {
                let Parsed::Exact(number) = Decimal::parse_json_number(text) else { panic!() };
                sum.checked_add(number).unwrap()
            });
            let latest = events
                .iter()
                .filter_map(|(index, sample, value)| Some((sample.time_us, *index, number(*value)?)))
                .max()
                .map(|(_, _, text)| text.to_owned());
            let texts: Vec<&str> = events
                .iter()
                .filter(|_| window.0 == 2)
                .filter_map(|(_, _, value)| VALUES[*value].2)
                .collect();
            let distinct: BTreeSet<&str> = texts.iter().copied().collect();
            let members = distinct
                .iter()
                .map(|text| (key.member(text), texts.iter().filter(|t| *t == text).count() as i64))
                .collect();
            let counted = (numbers.len() + texts.len()) as i64;
            (window, (events.len() as i64, counted, sum.to_string(), latest, members))
        })
        .collect()
}

proptest! {
    #[test]
    fn folds_like_the_reference_in_any_split(samples in samples(), heap_of in prop::collection::vec(any::<bool>(), 40)) {
        let key = HashKey::new([9; 16]);
        let folder = Folder::new(&meters(), key).unwrap();
        let all: Vec<(usize, &Sample)> = samples.iter().map(|(s, _, _)| s).enumerate().collect();
        let (whole, counts) = fold(&folder, &all);
        let expected = reference(&samples, key);
        prop_assert_eq!(&show(&whole), &expected);

        let of_value = |value: usize| 2 * u64::from(VALUES[value].1.is_none()) + u64::from(VALUES[value].2.is_none());
        prop_assert_eq!(counts.ignored_values, samples.iter().map(|(_, value, _)| of_value(*value)).sum::<u64>());

        let (left, right): (Vec<_>, Vec<_>) = all.into_iter().partition(|(index, _)| heap_of[*index]);
        let (mut merged, _) = fold(&folder, &right);
        let (other, _) = fold(&folder, &left);
        for (generation, windows) in &other.meters {
            add(Arc::make_mut(merged.meters.entry(*generation).or_default()), windows);
        }
        prop_assert_eq!(show(&merged), expected);
    }
}

#[test]
fn nothing_inside_an_event_makes_folding_fail() {
    let folder = Folder::new(&meters(), HashKey::new([9; 16])).unwrap();
    let data =
        [None, Some("{"), Some(""), Some("[]"), Some("{\"v\":1e999999999999}"), Some("{\"v\":1.5e-30}")];
    let samples: Vec<Sample> = data
        .iter()
        .map(|d| Sample { subject: "s".to_owned(), time_us: 0, data: d.map(str::to_owned) })
        .collect();
    let all: Vec<(usize, &Sample)> = samples.iter().enumerate().collect();
    let (set, counts) = fold(&folder, &all);
    assert_eq!((counts.ignored_values, counts.rounded_values, counts.overflowed_values), (10, 2, 0));
    let groups: [&str; 0] = [];
    let latest = &set.meters[&Generation { meter: MeterId(3), generation: 1 }];
    let state = latest.windows.get(WindowKeyRef { subject: "s", start_us: 0, groups: &groups }).unwrap();
    assert_eq!((state.events, state.counted), (6, 1));
    assert_eq!(state.sum().to_string(), format!("0.{}2", "0".repeat(29)));
}

#[test]
fn a_clone_keeps_its_numbers() {
    let folder = Folder::new(&meters(), HashKey::new([9; 16])).unwrap();
    let sample = Sample { subject: "s".to_owned(), time_us: 0, data: Some("{\"v\":1}".to_owned()) };
    let (mut set, _) = fold(&folder, &[(0, &sample)]);
    let before = set.clone();
    let shown = show(&before);
    let namespace = Namespace::new("ns");
    let event = FoldEvent {
        namespace: &namespace,
        event_type: "t",
        subject: "s",
        time_us: 0,
        record_time_us: 0,
        at: at(1),
        data: None,
    };
    folder.fold(&event, 0, &mut FoldScratch::default(), &mut set);
    assert_eq!(show(&before), shown);
    assert_ne!(show(&set), shown);
}

#[test]
fn a_stored_path_that_is_no_path_is_told() {
    assert!(Folder::new(&[meter(1, Aggregation::Sum, Some("$..v"), &[])], HashKey::new([0; 16])).is_err());
    let folder = Folder::new(&meters(), HashKey::new([0; 16])).unwrap();
    assert_eq!(folder.generations().len(), 6);
    assert!(folder.generations().is_sorted());
}
