//! Random meters.

use std::collections::BTreeMap;

use rand::Rng as _;

use super::events::TYPES;
use super::times::Times;
use super::{Rng8, pick};
use crate::reference::{Aggregation, Meter, path};

const VALUE_PATHS: [&str; 12] = [
    "$.n",
    "$.n",
    "$.n",
    "$.m",
    "$.nested.x",
    "$['a b']",
    "$[\"a b\"]",
    "$.\"a-b\"",
    "$.list[0].x",
    "$.list[*].y",
    "$['größe']",
    "$.s",
];
const GROUP_PATHS: [&str; 10] = [
    "$.s",
    "$.nested.s",
    "$.m",
    "$.list[1]",
    "$.list[*].x",
    "$.nested",
    "$.missing.at.all",
    "$['a-b']",
    "$.s.t",
    "$.nested['x']",
];
const GROUP_KEYS: [&str; 5] = ["model", "Model", "_a1", "zone", "subject_kind"];

/// A meter of this slug that the contract allows.
pub fn meter(rng: &mut Rng8, slug: &str, times: &Times) -> Meter {
    let aggregation = Aggregation::ALL[rng.random_range(0..7)];
    let value_property = (aggregation != Aggregation::Count).then(|| pick(rng, &VALUE_PATHS).to_owned());
    let mut meter = Meter {
        slug: slug.to_owned(),
        event_type: TYPES[[0, 0, 0, 1, 2][rng.random_range(0..5)]].to_owned(),
        aggregation,
        value_property,
        group_by: BTreeMap::new(),
        event_from: rng.random_bool(0.2).then(|| times.moment_us(rng).div_euclid(1_000_000)),
    };
    meter.group_by = group_by(rng, &meter);
    meter
}

/// Group-bys for a meter; none of their paths is the value's.
pub fn group_by(rng: &mut Rng8, meter: &Meter) -> BTreeMap<String, String> {
    let value = meter.value_property.as_deref().map(path::steps);
    let mut group_by = BTreeMap::new();
    for _ in 0..rng.random_range(0..4) {
        let path = pick(rng, &GROUP_PATHS);
        if value.as_ref() != Some(&path::steps(path)) {
            group_by.insert(pick(rng, &GROUP_KEYS).to_owned(), path.to_owned());
        }
    }
    group_by
}

/// A path that a meter may group by.
pub fn group_path(rng: &mut Rng8) -> String {
    pick(rng, &GROUP_PATHS).to_owned()
}
