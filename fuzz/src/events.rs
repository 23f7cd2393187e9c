//! Bodies of events. The second reader sees the tree that serde_json makes and says the rules again: a body
//! is taken exactly if all its events keep them, with the same fields, and else refused at the index of
//! the first event that does not.

use serde_json::value::RawValue;
use weir_meter::event::{
    AttributeValue, BodyShape, Event, EventLimits, InvalidEvents, read_event, read_events,
};
use weir_meter::hash::HashKey;
use weir_meter::time::parse_rfc3339;

use crate::json::{self, Tree};

/// The default bounds, and some that short inputs meet.
const LIMITS: [EventLimits; 2] = [
    EventLimits {
        batch_events_max: 10_000,
        event_bytes_max: 900_000,
        attribute_bytes_max: 1_024,
        depth_max: 64,
        attributes_max: 128,
    },
    EventLimits {
        batch_events_max: 3,
        event_bytes_max: 160,
        attribute_bytes_max: 12,
        depth_max: 4,
        attributes_max: 8,
    },
];

/// A valid event is longer than this.
const EVENT_BYTES_MIN: usize = 60;

pub(crate) fn target(data: &[u8]) {
    let tree = std::str::from_utf8(data).ok().and_then(json::raw);
    for limits in &LIMITS {
        for shape in [BodyShape::One, BodyShape::Batch, BodyShape::OneOrBatch] {
            let read = read_events(data, shape, limits);
            match &read {
                Ok(events) => events.iter().for_each(reads_again),
                Err(refusal) => says_where(refusal, data, limits),
            }
            let expected = tree.ok_or(Refused::Somewhere).and_then(|tree| expect(tree, shape, limits));
            compare(&read, &expected);
        }
    }
    // A record of the log is read without the bounds of a request, and never so that it fails otherwise.
    if let Ok(event) = read_event(data) {
        reads_again(&event);
    }
}

/// What the second reader says of a body that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The first event that breaks a rule.
    At(usize),
    /// The body as a whole is wrong.
    Whole,
    /// The text is not JSON: its reader stops wherever it notices.
    Somewhere,
}

type Members<'a> = Vec<(String, &'a RawValue, Tree)>;

fn expect<'a>(
    body: &'a RawValue,
    shape: BodyShape,
    limits: &EventLimits,
) -> Result<Vec<(&'a RawValue, Members<'a>)>, Refused> {
    let first = body.get().as_bytes().first();
    let (events, single) = match (first, shape) {
        (Some(b'{'), BodyShape::One | BodyShape::OneOrBatch) => (vec![body], true),
        (Some(b'['), BodyShape::Batch | BodyShape::OneOrBatch) => {
            (json::elements(body).ok_or(Refused::Somewhere)?, false)
        }
        // What is inside is not looked at, so it may be no JSON as well.
        _ => return Err(Refused::Whole),
    };
    if events.is_empty() && shape == BodyShape::OneOrBatch {
        return Err(Refused::Whole);
    }
    let mut read = Vec::new();
    for (index, event) in events.into_iter().enumerate() {
        let refused = if single { Refused::Whole } else { Refused::At(index) };
        if index == limits.batch_events_max {
            return Err(refused);
        }
        let members =
            json::members(event).filter(|_| event.get().len() <= limits.event_bytes_max).ok_or(refused)?;
        let with_tree = |(name, value): (String, &'a RawValue)| {
            // The event itself is one level.
            let tree = json::tree(value).filter(|tree| json::depth(tree) < limits.depth_max)?;
            Some((name, value, tree))
        };
        let members: Members<'_> =
            members.into_iter().map(with_tree).collect::<Option<_>>().ok_or(refused)?;
        if !valid(&members, limits) {
            return Err(refused);
        }
        read.push((event, members));
    }
    Ok(read)
}

/// The rules for an event, on its tree.
fn valid(members: &Members<'_>, limits: &EventLimits) -> bool {
    let filled = |value: &Tree| matches!(value, Tree::Text(text) if !text.is_empty());
    let twice =
        members.iter().enumerate().any(|(at, (name, ..))| members[..at].iter().any(|(n, ..)| n == name));
    let has = |name: &str| members.iter().any(|(n, _, value)| n == name && filled(value));
    let attributes = members.iter().filter(|(name, ..)| name != "data").count();
    !twice
        && attributes <= limits.attributes_max
        && ["id", "source", "specversion", "type", "subject"].into_iter().all(has)
        && members.iter().all(|(name, raw, value)| match (name.as_str(), value) {
            ("data", value) => matches!(value, Tree::Object(_) | Tree::Null),
            (name, _) if name.len() > limits.attribute_bytes_max => false,
            (_, Tree::Array(_) | Tree::Object(_)) => false,
            (_, Tree::Number(_)) if raw.get().len() > limits.attribute_bytes_max => false,
            (_, Tree::Text(text)) if text.len() > limits.attribute_bytes_max => false,
            ("time" | "datacontenttype" | "dataschema" | "data_base64", Tree::Null) => true,
            ("time", Tree::Text(text)) => parse_rfc3339(text).is_ok(),
            ("datacontenttype", Tree::Text(text)) => text == "application/json",
            ("specversion", Tree::Text(text)) => text == "1.0" || text == "0.3",
            ("dataschema" | "id" | "source" | "type" | "subject", value) => filled(value),
            ("time" | "datacontenttype" | "data_base64", _) => false,
            _ => true,
        })
}

fn compare(
    read: &Result<Vec<Event<'_>>, InvalidEvents>,
    expected: &Result<Vec<(&RawValue, Members<'_>)>, Refused>,
) {
    match (read, expected) {
        (Ok(events), Ok(expected)) => {
            assert_eq!(events.len(), expected.len());
            for (event, (raw, members)) in events.iter().zip(expected) {
                same(event, raw, members);
            }
        }
        (Err(refusal), Err(Refused::At(index))) => assert_eq!(refusal.index, Some(*index), "{refusal}"),
        (Err(refusal), Err(Refused::Whole)) => assert_eq!(refusal.index, None, "{refusal}"),
        (Err(_), Err(Refused::Somewhere)) => {}
        (Err(refusal), Ok(_)) => panic!("refused, but keeps every rule: {refusal}"),
        (Ok(events), Err(refused)) => panic!("{} events taken, expected {refused:?}", events.len()),
    }
}

fn same(event: &Event<'_>, raw: &RawValue, members: &Members<'_>) {
    let text = |name: &str| {
        members.iter().find_map(|(n, _, value)| match value {
            Tree::Text(text) if n == name => Some(text.as_str()),
            _ => None,
        })
    };
    assert_eq!(event.json, raw.get().as_bytes());
    assert_eq!(Some(&*event.id), text("id"));
    assert_eq!(Some(&*event.source), text("source"));
    assert_eq!(Some(&*event.event_type), text("type"));
    assert_eq!(Some(&*event.subject), text("subject"));
    assert_eq!(event.time_us, text("time").and_then(|text| parse_rfc3339(text).ok()));
    let data = members.iter().find(|(name, _, value)| name == "data" && *value != Tree::Null);
    assert_eq!(event.data, data.map(|(_, raw, _)| raw.get().as_bytes()));

    let attributes: Vec<_> = members.iter().filter(|(name, ..)| name != "data").collect();
    assert_eq!(event.attributes.len(), attributes.len());
    for ((name, value), (expected, raw, tree)) in event.attributes.iter().zip(attributes) {
        assert_eq!(name, expected);
        match (value, tree) {
            (AttributeValue::Text(text), Tree::Text(expected)) => assert_eq!(text, expected),
            (AttributeValue::Raw(bytes), _) => assert_eq!(*bytes, raw.get().as_bytes()),
            other => panic!("{other:?}"),
        }
    }

    let columns = ["id", "source", "type", "subject", "time", "data"];
    let expected: Vec<(&str, &Tree)> = members
        .iter()
        .filter(|(name, ..)| !columns.contains(&name.as_str()))
        .map(|(name, _, tree)| (name.as_str(), tree))
        .collect();
    // There is one at least: the version.
    let others = String::from_utf8(event.other_attributes().expect("other attributes")).expect("UTF-8");
    let others = json::raw(&others).and_then(json::tree).expect("other attributes are JSON");
    let Tree::Object(others) = others else { panic!("{others:?}") };
    assert_eq!(others.iter().map(|(name, tree)| (name.as_str(), tree)).collect::<Vec<_>>(), expected);
}

/// What ingest lets in is read by the aggregator as the same event, with the same content.
fn reads_again(event: &Event<'_>) {
    let again = read_event(event.json).expect("an event that was read is read again");
    assert_eq!(&again, event);
    let key = HashKey::new([7; 16]);
    assert_eq!(key.content(&again), key.content(event));
}

/// A refusal names an event that can be there, and repeats no megabytes.
fn says_where(refusal: &InvalidEvents, body: &[u8], limits: &EventLimits) {
    if let Some(index) = refusal.index {
        assert!(index <= limits.batch_events_max, "{refusal}");
        assert!(index == 0 || index * EVENT_BYTES_MIN <= body.len(), "{refusal}");
    }
    assert!(!refusal.reason.is_empty() && refusal.detail().len() < 1_000, "{refusal}");
}
