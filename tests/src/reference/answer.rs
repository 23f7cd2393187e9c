//! The answer to a query: every event is looked at, sorted into its window and group, and each group's
//! values become one number.

use std::collections::{BTreeMap, BTreeSet};

use num_rational::BigRational;
use num_traits::Zero as _;

use super::json::Json;
use super::model::{Aggregation, Event, Meter, Number, Query, Row, WindowSize};
use super::{number, path, zone};

const SECOND_US: i64 = 1_000_000;

/// A row's place: window (none without windows), subject, group values in the order asked for.
type Place = (Option<(i64, i64)>, Option<String>, Vec<String>);

/// The rows that a query of this meter must return, in order.
pub fn answer(events: &[Event], meter: &Meter, query: &Query) -> Vec<Row> {
    let from = query.from_us.map(|us| us.div_euclid(SECOND_US));
    let to = query.to_us.map(|us| us.div_euclid(SECOND_US));
    let by_subject = !query.subjects.is_empty() || query.group_by.iter().any(|k| k == "subject");
    let keys: Vec<&String> = query.group_by.iter().filter(|k| *k != "subject").collect();

    let mut places: BTreeMap<Place, Vec<&Event>> = BTreeMap::new();
    for event in events.iter().filter(|event| selects(meter, query, event, from, to)) {
        let second = event.time_us.div_euclid(SECOND_US);
        let window =
            query.window.map(|size| zone::window(second, size, zone::zone(query.zone.unwrap_or("UTC"))));
        let subject = by_subject.then(|| event.subject.clone());
        let groups = keys.iter().map(|key| group_text(at(event, &meter.group_by[*key]))).collect();
        places.entry((window, subject, groups)).or_default().push(event);
    }

    let mut rows = Vec::new();
    for ((window, subject, groups), events) in &places {
        let Some(value) = aggregate(meter, events) else { continue };
        let (window_start, window_end) = window.unwrap_or_else(|| total_window(events, from, to));
        let group_by = keys.iter().map(|key| (*key).clone()).zip(groups.iter().cloned()).collect();
        rows.push(Row { value, window_start, window_end, subject: subject.clone(), group_by });
    }
    // Without windows a row's start is known only now.
    rows.sort_by_key(|row| {
        let groups: Vec<String> = keys.iter().map(|key| row.group_by[*key].clone()).collect();
        (row.window_start, row.subject.clone(), groups)
    });

    let counts = matches!(meter.aggregation, Aggregation::Count | Aggregation::UniqueCount);
    if rows.is_empty() && counts && query.window.is_none() && !by_subject && keys.is_empty() {
        rows.push(Row {
            value: "0".to_owned(),
            window_start: from.unwrap_or(0),
            window_end: to.unwrap_or(from.unwrap_or(0).div_euclid(60) * 60 + 60),
            subject: None,
            group_by: BTreeMap::new(),
        });
    }
    rows
}

fn selects(meter: &Meter, query: &Query, event: &Event, from: Option<i64>, to: Option<i64>) -> bool {
    event.event_type == meter.event_type
        && meter.event_from.is_none_or(|from| event.time_us >= from * SECOND_US)
        && from.is_none_or(|from| event.time_us >= from * SECOND_US)
        && to.is_none_or(|to| event.time_us < to * SECOND_US)
        && (query.subjects.is_empty() || query.subjects.contains(&event.subject))
        && query.filter_group_by.iter().all(|(key, values)| {
            values.is_empty() || values.contains(&group_text(at(event, &meter.group_by[key])))
        })
        && query.advanced.iter().all(|(key, f)| f.admits(&group_text(at(event, &meter.group_by[key]))))
        && query.properties.iter().all(|(path, f)| f.admits(&group_text(at(event, path))))
}

/// Without windows: from the minute of the first event to the end of the last one's, in UTC, each
/// replaced by the query's own bound.
fn total_window(events: &[&Event], from: Option<i64>, to: Option<i64>) -> (i64, i64) {
    let utc = zone::zone("UTC");
    let minute = |event: &&Event| zone::window(event.time_us.div_euclid(SECOND_US), WindowSize::Minute, utc);
    let first = events.iter().map(|e| minute(e).0).min().unwrap();
    let last = events.iter().map(|e| minute(e).1).max().unwrap();
    (from.unwrap_or(first), to.unwrap_or(last))
}

/// The number of one place, as its digits; None if these events make no row.
fn aggregate(meter: &Meter, events: &[&Event]) -> Option<String> {
    let property = || meter.value_property.as_deref().unwrap();
    match meter.aggregation {
        Aggregation::Count => return Some(events.len().to_string()),
        Aggregation::UniqueCount => {
            let members: BTreeSet<String> =
                events.iter().filter_map(|event| member_text(at(event, property()))).collect();
            return Some(members.len().to_string());
        }
        _ => {}
    }
    let values: Vec<(i64, Number)> =
        events.iter().filter_map(|event| Some((event.time_us, counted(at(event, property()))?))).collect();
    let sum: Number = values.iter().fold(BigRational::zero(), |sum, (_, value)| sum + value);
    let numbers = || values.iter().map(|(_, value)| value);
    let value = match meter.aggregation {
        Aggregation::Min => numbers().min()?.clone(),
        Aggregation::Max => numbers().max()?.clone(),
        // Of the values with the greatest time, max_by_key takes the one that arrived last.
        Aggregation::Latest => values.iter().max_by_key(|(time, _)| *time)?.1.clone(),
        _ if values.is_empty() => return None,
        Aggregation::Avg => number::average(&sum, values.len()),
        _ => sum,
    };
    Some(number::plain(&value))
}

fn at<'e>(event: &'e Event, property: &str) -> Option<&'e Json> {
    path::find(event.data.as_ref()?, &path::steps(property))
}

/// What SUM, AVG, MIN, MAX and LATEST count.
fn counted(value: Option<&Json>) -> Option<Number> {
    match value? {
        Json::Number(text) | Json::String(text) => number::counted(text),
        _ => None,
    }
}

/// What a group-by shows.
fn group_text(value: Option<&Json>) -> String {
    match value {
        Some(Json::Null) => "null".to_owned(),
        Some(Json::Bool(value)) => value.to_string(),
        Some(Json::Number(text)) => number::normalised(text),
        Some(Json::String(text)) => text.clone(),
        None | Some(Json::Array(_) | Json::Object(_)) => String::new(),
    }
}

/// What UNIQUE_COUNT tells apart; None where it counts nothing.
fn member_text(value: Option<&Json>) -> Option<String> {
    Some(group_text(value)).filter(|text| text != "null")
}
