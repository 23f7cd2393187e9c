//! Random queries of a meter.

use rand::Rng as _;
use rand::seq::SliceRandom as _;

use super::events::{SUBJECTS, TEXTS};
use super::times::{Times, ZONES};
use super::{Rng8, pick};
use crate::reference::{Filter, Meter, Query, WindowSize};

const OPERATORS: [&str; 10] =
    ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$like", "$nlike", "$ilike", "$nilike"];
/// Patterns without a backslash: what that escapes is not part of the contract.
const PATTERNS: [&str; 7] = ["%", "a%", "%r%", "_", "gpt%TURBO", "__", "1%"];
const FILTER_DEPTH_MAX: u32 = 3;

/// A query that the contract allows.
pub fn query(rng: &mut Rng8, meter: &Meter, times: &Times) -> Query {
    let mut bounds = [times.moment_us(rng), times.moment_us(rng)];
    bounds.sort_unstable();
    if bounds[0] / 1_000_000 == bounds[1] / 1_000_000 {
        bounds[0] = (bounds[0] - 61_000_000).max(0);
        bounds[1] = bounds[0] + 61_000_000;
    }
    let mut group_by: Vec<String> = meter.group_by.keys().filter(|_| rng.random_bool(0.5)).cloned().collect();
    if rng.random_bool(0.3) {
        group_by.push("subject".to_owned());
    }
    group_by.shuffle(rng);
    let mut query = Query {
        from_us: rng.random_bool(0.5).then_some(bounds[0]),
        to_us: rng.random_bool(0.5).then_some(bounds[1]),
        window: rng.random_bool(0.7).then(|| WindowSize::ALL[rng.random_range(0..4)]),
        zone: rng.random_bool(0.7).then(|| pick(rng, &ZONES)),
        group_by,
        ..Query::default()
    };
    if rng.random_bool(0.3) {
        query.subjects = SUBJECTS.iter().filter(|_| rng.random_bool(0.4)).map(|s| (*s).to_owned()).collect();
    }
    if rng.random_bool(0.15) {
        for _ in 0..rng.random_range(1..=2) {
            query.properties.insert(super::meters::group_path(rng), filter(rng, FILTER_DEPTH_MAX));
        }
    }
    // Only one of the two kinds of filter on groups may stand in a request.
    let kind = rng.random_range(0..4);
    for key in meter.group_by.keys() {
        if kind == 0 && rng.random_bool(0.6) {
            let values = (0..rng.random_range(0..4)).map(|_| text(rng)).collect();
            query.filter_group_by.insert(key.clone(), values);
        } else if kind == 1 && rng.random_bool(0.6) {
            query.advanced.insert(key.clone(), filter(rng, FILTER_DEPTH_MAX));
        }
    }
    query
}

fn filter(rng: &mut Rng8, depth: u32) -> Filter {
    match rng.random_range(0..8) {
        0 if depth > 0 => Filter::And((0..rng.random_range(1..3)).map(|_| filter(rng, depth - 1)).collect()),
        1 if depth > 0 => Filter::Or((0..rng.random_range(1..3)).map(|_| filter(rng, depth - 1)).collect()),
        2 => Filter::In((0..rng.random_range(1..4)).map(|_| text(rng)).collect()),
        3 => Filter::NotIn((0..rng.random_range(1..4)).map(|_| text(rng)).collect()),
        _ => {
            let operator = pick(rng, &OPERATORS);
            let operand =
                if operator.ends_with("like") { pick(rng, &PATTERNS).to_owned() } else { text(rng) };
            Filter::Compare(operator, operand)
        }
    }
}

/// A text that a group may have; an empty one is refused in filters.
fn text(rng: &mut Rng8) -> String {
    loop {
        let text = pick(rng, &TEXTS);
        if !text.is_empty() {
            return text.to_owned();
        }
    }
}
