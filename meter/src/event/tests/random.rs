//! Random events against a reader that looks at the tree they were written from.

use proptest::prelude::*;

use super::super::*;
use crate::json::tests::model::{Model, Writer, models, objects, strings};
use crate::time::parse_rfc3339;

/// Members that are mostly right, sometimes wrong, in any order, sometimes missing or there twice.
fn members() -> impl Strategy<Value = Vec<(String, Model)>> {
    let text = |text: &str| Model::String(text.to_owned());
    let right = vec![
        ("id", text("1")),
        ("source", text("/s")),
        ("specversion", text("1.0")),
        ("type", text("t")),
        ("subject", text("u\u{e9}\"")),
    ];
    let extra = prop_oneof![
        3 => objects().prop_map(|data| ("data".to_owned(), data)),
        1 => Just(("data".to_owned(), Model::Null)),
        3 => Just(("time".to_owned(), text("2024-01-31T10:00:00.25+01:00"))),
        1 => Just(("time".to_owned(), text("2024-01-31"))),
        1 => Just(("datacontenttype".to_owned(), text("application/json"))),
        1 => Just(("data_base64".to_owned(), text("AA=="))),
        4 => ("[a-z_]{1,6}", strings()).prop_map(|(name, value)| (name, Model::String(value))),
        2 => ("[a-z]{1,6}", models()),
        1 => (prop::sample::select(vec!["id", "source", "specversion", "type", "subject", "time", "dataschema"]), models())
            .prop_map(|(name, value)| (name.to_owned(), value)),
    ];
    (
        Just(right),
        prop::collection::vec(extra, 0..5),
        prop::option::weighted(0.2, any::<prop::sample::Index>()),
    )
        .prop_map(|(right, extra, without)| {
            let mut members: Vec<(String, Model)> =
                right.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(extra).collect();
            if let Some(without) = without {
                members.remove(without.index(members.len()));
            }
            members
        })
        .prop_shuffle()
}

fn only<'m>(members: &'m [(String, Model)], name: &str) -> Option<&'m Model> {
    members.iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

/// The rules, said again without reading text.
fn valid(members: &[(String, Model)]) -> bool {
    let filled = |value: &Model| matches!(value, Model::String(text) if !text.is_empty());
    let twice = members.iter().enumerate().any(|(i, (name, _))| members[..i].iter().any(|(n, _)| n == name));
    let required = ["id", "source", "specversion", "type", "subject"];
    !twice
        && required.iter().all(|name| only(members, name).is_some_and(filled))
        && members.iter().all(|(name, value)| match (name.as_str(), value) {
            ("data", value) => matches!(value, Model::Object(_) | Model::Null),
            (_, Model::Array(_) | Model::Object(_)) => false,
            (_, Model::Number(text)) if text.len() > 1_024 => false,
            (_, Model::String(text)) if text.len() > 1_024 => false,
            ("time" | "datacontenttype" | "dataschema" | "data_base64", Model::Null) => true,
            ("time", Model::String(text)) => parse_rfc3339(text).is_ok(),
            ("datacontenttype", Model::String(text)) => text == "application/json",
            ("specversion", Model::String(text)) => text == "1.0" || text == "0.3",
            ("dataschema", value) => filled(value),
            ("time" | "datacontenttype" | "data_base64", _) => false,
            _ => true,
        })
}

fn check(event: &Event<'_>, members: &[(String, Model)]) -> Result<(), TestCaseError> {
    let text = |name: &str| match only(members, name) {
        Some(Model::String(text)) => text.clone(),
        other => panic!("{name} {other:?}"),
    };
    prop_assert_eq!(&*event.id, text("id"));
    prop_assert_eq!(&*event.source, text("source"));
    prop_assert_eq!(&*event.event_type, text("type"));
    prop_assert_eq!(&*event.subject, text("subject"));
    let time_us = match only(members, "time") {
        Some(Model::String(text)) => parse_rfc3339(text).ok(),
        _ => None,
    };
    prop_assert_eq!(event.time_us, time_us);
    let attributes: Vec<&(String, Model)> = members.iter().filter(|(name, _)| name != "data").collect();
    prop_assert_eq!(event.attributes.len(), attributes.len());
    for ((name, value), (expected_name, expected)) in event.attributes.iter().zip(attributes) {
        prop_assert_eq!(&**name, expected_name);
        match (value, expected) {
            (AttributeValue::Text(text), Model::String(expected)) => prop_assert_eq!(&**text, expected),
            (AttributeValue::Raw(raw), Model::Number(expected)) => prop_assert_eq!(*raw, expected.as_bytes()),
            (AttributeValue::Raw(raw), Model::Bool(expected)) => {
                prop_assert_eq!(std::str::from_utf8(raw).unwrap(), expected.to_string())
            }
            (AttributeValue::Raw(raw), Model::Null) => prop_assert_eq!(*raw, b"null"),
            other => prop_assert!(false, "{other:?}"),
        }
    }
    let object = matches!(only(members, "data"), Some(Model::Object(_)));
    prop_assert_eq!(event.data.is_some(), object);

    // What is handed on as spans reads back as the same event, and as JSON.
    prop_assert_eq!(&read_event(event.json).unwrap(), event);
    if let Some(data) = event.data {
        let (first, last) = (data.first().copied(), data.last().copied());
        prop_assert_eq!((first, last), (Some(b'{'), Some(b'}')));
        prop_assert!(serde_json::from_slice::<&serde_json::value::RawValue>(data).is_ok());
    }
    let others = event.other_attributes().unwrap();
    let others: serde_json::Map<String, serde_json::Value> = match serde_json::from_slice(&others) {
        Ok(others) => others,
        Err(error) => {
            prop_assert!(error.to_string().contains("number out of range"), "{error}");
            return Ok(());
        }
    };
    let columns = ["id", "source", "type", "subject", "time", "data"];
    let expected: Vec<&str> =
        members.iter().map(|(n, _)| n.as_str()).filter(|n| !columns.contains(n)).collect();
    prop_assert_eq!(others.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn reads_what_the_tree_says(batch in prop::collection::vec(members(), 1..4), seed: u64) {
        let model = Model::Array(batch.iter().cloned().map(Model::Object).collect());
        let body = Writer::write(&model, seed);
        match read_events(body.as_bytes(), BodyShape::Batch, &EventLimits::default()) {
            Ok(events) => {
                prop_assert_eq!(events.len(), batch.len());
                for (event, members) in events.iter().zip(&batch) {
                    prop_assert!(valid(members), "{}", body);
                    check(event, members)?;
                }
            }
            Err(error) => {
                let first_bad = batch.iter().position(|members| !valid(members));
                prop_assert_eq!(error.index, first_bad, "{} {}", error, body);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(members in members(), seed: u64, cut in any::<prop::sample::Index>(), byte: u8, mode in 0..3) {
        let mut body = Writer::write(&Model::Object(members), seed).into_bytes();
        let at = cut.index(body.len());
        match mode {
            0 => body.truncate(at),
            1 => body[at] = byte,
            _ => body.insert(at, byte),
        }
        if let Ok(events) = read_events(&body, BodyShape::OneOrBatch, &EventLimits::default()) {
            for event in events {
                prop_assert_eq!(&read_event(event.json).unwrap(), &event);
            }
        }
    }
}
