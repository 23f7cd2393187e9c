//! Which events are let in, and what is said of the others.

mod random;

use super::*;

const GOOD: &str = r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u"}"#;

fn read(body: &str, shape: BodyShape) -> Result<Vec<Event<'_>>, String> {
    read_events(body.as_bytes(), shape, &EventLimits::default()).map_err(|error| error.to_string())
}

/// The good event with members added at its end.
fn with(members: &str) -> String {
    format!("{},{members}}}", &GOOD[..GOOD.len() - 1])
}

/// The good event with one member's value replaced.
fn replaced(name: &str, value: &str) -> String {
    let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(GOOD).unwrap();
    event.insert(name.to_owned(), serde_json::from_str(value).unwrap());
    serde_json::to_string(&event).unwrap()
}

fn refusal(body: &str) -> String {
    read(body, BodyShape::OneOrBatch).expect_err(body)
}

#[test]
fn reads_every_part_of_an_event() {
    let json = concat!(
        r#"{ "specversion" : "1.0", "id": "a\u0062", "source":"/x", "type":"t", "subject":"ü", "#,
        r#""time":"2024-01-31T10:00:00.5Z","datacontenttype":"application/json","dataschema":"urn:x","#,
        r#""traceparent":"00","n":1.50,"b":true,"z":null,"data" : {"k": [1, {"x": 1e400}]} }"#
    );
    let body = format!(" {json}\n");
    let [event] = &read(&body, BodyShape::One).unwrap()[..] else { panic!() };
    assert_eq!((&*event.id, &*event.source, &*event.event_type, &*event.subject), ("ab", "/x", "t", "ü"));
    assert_eq!(event.time_us, Some(1_706_695_200_500_000));
    assert_eq!(event.data, Some(&br#"{"k": [1, {"x": 1e400}]}"#[..]));
    assert_eq!(event.json, json.as_bytes());
    let names: Vec<&str> = event.attributes.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "specversion",
            "id",
            "source",
            "type",
            "subject",
            "time",
            "datacontenttype",
            "dataschema",
            "traceparent",
            "n",
            "b",
            "z"
        ]
    );
    assert_eq!(event.attributes[9].1, AttributeValue::Raw(b"1.50"));
    assert_eq!(event.attributes[11].1, AttributeValue::Raw(b"null"));
    assert_eq!(read_event(body.as_bytes()).as_ref(), Ok(event));
}

#[test]
fn other_attributes_are_as_sent() {
    let others = |members: &str| {
        let body = with(members);
        let event = read_event(body.as_bytes()).unwrap();
        String::from_utf8(event.other_attributes().unwrap()).unwrap()
    };
    assert_eq!(
        others(r#""x": 1.50 ,"time":null,"y":"z", "data":{}"#),
        r#"{"specversion":"1.0","x":1.50,"y":"z"}"#
    );
    assert_eq!(
        others(r#""x":"a\/\u0062","k\u0065y":1"#),
        r#"{"specversion":"1.0","x":"a\/\u0062","k\u0065y":1}"#
    );
    // Made by hand, with text that would break out of its quotes; the text as sent holds.
    let mut event = read_event(GOOD.as_bytes()).unwrap();
    event.attributes.push(("x".into(), AttributeValue::Text("\"".into())));
    assert_eq!(event.other_attributes().unwrap(), br#"{"specversion":"1.0"}"#);
    event.attributes.push(("\"".into(), AttributeValue::Raw(b"1")));
    event.attributes.swap_remove(5);
    assert_eq!(event.other_attributes().unwrap(), br#"{"specversion":"1.0"}"#);
    event.attributes.clear();
    assert_eq!(event.other_attributes(), None);
}

#[test]
fn shapes() {
    let array = format!("[{GOOD}, {GOOD}]");
    for (body, shape, count) in [
        (GOOD, BodyShape::One, Some(1)),
        (GOOD, BodyShape::Batch, None),
        (GOOD, BodyShape::OneOrBatch, Some(1)),
        (&array, BodyShape::One, None),
        (&array, BodyShape::Batch, Some(2)),
        (&array, BodyShape::OneOrBatch, Some(2)),
        ("[]", BodyShape::One, None),
        (" [ ] ", BodyShape::Batch, Some(0)),
        ("[]", BodyShape::OneOrBatch, None),
        ("5", BodyShape::OneOrBatch, None),
        ("null", BodyShape::Batch, None),
        ("", BodyShape::Batch, None),
        (" \n", BodyShape::One, None),
    ] {
        assert_eq!(read(body, shape).ok().map(|events| events.len()), count, "{body} {shape:?}");
    }
    assert!(refusal("[]").contains("no events found"));
    assert!(refusal("").contains("empty"));
    assert!(read(&array, BodyShape::One).unwrap_err().contains("cloudevents-batch+json"));
}

#[test]
fn one_value_and_nothing_after_it() {
    assert_eq!(
        refusal(&format!("{GOOD} {GOOD}")),
        format!("not valid JSON at byte {} of the body: nothing may follow the first value", GOOD.len() + 1)
    );
    assert!(refusal(&format!("[{GOOD}]]")).contains("nothing may follow"));
}

#[test]
fn required_attributes_are_strings_with_something_in_them() {
    for name in ["id", "source", "specversion", "type", "subject"] {
        let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(GOOD).unwrap();
        event.remove(name);
        let body = serde_json::to_string(&event).unwrap();
        assert_eq!(
            refusal(&body),
            format!("attribute {name:?}: is missing; every event has a non-empty string here")
        );
        for (value, found) in [
            ("\"\"", "empty"),
            ("null", "null"),
            ("5", "a number"),
            ("{}", "an object"),
            ("[]", "an array"),
            ("true", "a boolean"),
        ] {
            assert_eq!(
                refusal(&replaced(name, value)),
                format!("attribute {name:?}: must be a non-empty string, but is {found}")
            );
        }
    }
}

#[test]
fn rules_of_single_attributes() {
    for members in [
        r#""time":null"#,
        r#""data":null"#,
        r#""data":{}"#,
        r#""datacontenttype":null"#,
        r#""dataschema":null"#,
        r#""data_base64":null"#,
        r#""my_ext":1"#,
        r#""my-ext":"x""#,
        r#""":"x""#,
        r#""x":"\u0000\n""#,
        r#""x":false"#,
    ] {
        assert!(read(&with(members), BodyShape::One).is_ok(), "{members}");
    }
    assert!(read(&replaced("specversion", "\"0.3\""), BodyShape::One).is_ok());
    for (body, reason) in [
        (
            replaced("specversion", "\"2.0\""),
            r#"attribute "specversion": must be "1.0" or "0.3", but is "2.0""#,
        ),
        (
            with(r#""time":"yesterday""#),
            r#"attribute "time": "yesterday" is not an RFC 3339 date-time such as 2024-01-31T10:00:00Z: the date is YYYY-MM-DD"#,
        ),
        (
            with(r#""time":"1969-01-01T00:00:00Z""#),
            r#"attribute "time": "1969-01-01T00:00:00Z" is outside 1970-01-01T00:00:00Z to 2100-12-31T23:59:59.999999Z"#,
        ),
        (
            with(r#""time":5"#),
            r#"attribute "time": must be a date-time in a string or null, but is a number"#,
        ),
        (with(r#""data":"x""#), r#"attribute "data": must be a JSON object or null, but is a string"#),
        (with(r#""data":[]"#), r#"attribute "data": must be a JSON object or null, but is an array"#),
        (with(r#""data":7"#), r#"attribute "data": must be a JSON object or null, but is a number"#),
        (
            with(r#""datacontenttype":"application/xml""#),
            r#"attribute "datacontenttype": must be "application/json" or null, but is "application/xml""#,
        ),
        (
            with(r#""datacontenttype":"application/json; charset=utf-8""#),
            r#"attribute "datacontenttype": must be "application/json" or null, but is "application/json; charset=utf-8""#,
        ),
        (
            with(r#""datacontenttype":1"#),
            r#"attribute "datacontenttype": must be "application/json" or null, but is a number"#,
        ),
        (with(r#""dataschema":"""#), r#"attribute "dataschema": must be a non-empty string, but is empty"#),
        (
            with(r#""data_base64":"AA==""#),
            r#"attribute "data_base64": binary data is not accepted; send a JSON object as "data""#,
        ),
        (with(r#""x":{}"#), r#"attribute "x": must be a string, number, boolean or null, but is an object"#),
        (with(r#""x":1,"x":1"#), r#"attribute "x": is there twice; an attribute has one value"#),
        (with(r#""\u0069d":"2""#), r#"attribute "id": is there twice; an attribute has one value"#),
        (with(r#""data":null,"data":{}"#), r#"attribute "data": is there twice; an attribute has one value"#),
    ] {
        assert_eq!(refusal(&body), reason);
    }
}

#[test]
fn every_attribute_is_there_once() {
    let all = with(r#""time":null,"dataschema":"x","datacontenttype":null,"data":{},"ext":1"#);
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&all).unwrap();
    for (name, value) in members {
        let body = format!("{},\"{name}\":{value}}}", &all[..all.len() - 1]);
        assert_eq!(refusal(&body), format!("attribute {name:?}: is there twice; an attribute has one value"));
    }
}

#[test]
fn bounds_are_told() {
    let long = "x".repeat(1_024);
    assert!(read(&with(&format!(r#""e":"{long}""#)), BodyShape::One).is_ok());
    assert_eq!(
        refusal(&with(&format!(r#""e":"{long}y""#))),
        "attribute \"e\": an attribute has at most 1024 bytes, but this has 1025"
    );
    assert!(refusal(&replaced("id", &format!("\"{long}y\""))).contains("at most 1024 bytes"));
    assert!(refusal(&with(&format!(r#""{long}y":1"#))).len() < 200);
    assert!(read(&with(&format!(r#""data":{{"e":"{long}y"}}"#)), BodyShape::One).is_ok());

    let many: Vec<String> = (0..124).map(|index| format!("\"x{index}\":1")).collect();
    assert!(read(&with(&many[..123].join(",")), BodyShape::One).is_ok());
    assert!(refusal(&with(&many.join(","))).contains("at most 128 attributes"));

    let sized = |bytes: usize| {
        let empty = with(r#""data":{"e":""}"#);
        with(&format!(r#""data":{{"e":"{}"}}"#, "x".repeat(bytes - empty.len())))
    };
    assert!(read(&sized(900_000), BodyShape::One).is_ok());
    assert_eq!(refusal(&sized(900_001)), "an event has at most 900000 bytes, but this has 900001");
    assert!(read_event(sized(900_001).as_bytes()).is_ok());

    let batch = |count: usize| format!("[{}]", vec![GOOD; count].join(","));
    assert_eq!(read(&batch(10_000), BodyShape::Batch).unwrap().len(), 10_000);
    assert_eq!(
        refusal(&batch(10_001)),
        "event 10000: a batch has at most 10000 events; send the others in further requests"
    );

    let nested =
        |depth: usize| with(&format!(r#""data":{{"a":{}{}}}"#, "[".repeat(depth - 2), "]".repeat(depth - 2)));
    assert!(read(&nested(64), BodyShape::One).is_ok());
    assert!(read(&format!("[{}]", nested(64)), BodyShape::Batch).is_ok());
    assert_eq!(refusal(&nested(65)), "objects and arrays are nested at most 64 deep");
    assert!(refusal(&nested(100_000)).contains("nested"));
    assert!(refusal(&"[".repeat(1_000_000)).contains("must be a JSON object"));
    assert!(read_event(nested(65).as_bytes()).is_ok());
}

#[test]
fn the_first_bad_event_is_named() {
    let body = format!("[{GOOD},{GOOD},{},{{}}]", with(r#""time":"x""#));
    let error = read_events(body.as_bytes(), BodyShape::Batch, &EventLimits::default()).unwrap_err();
    assert_eq!((error.index, error.attribute.as_deref()), (Some(2), Some("time")));
    assert!(error.to_string().starts_with("event 2: attribute \"time\": \"x\" is not"));
    assert_eq!(
        refusal(&format!("[{GOOD},5]")),
        "event 1: an event must be a JSON object, but this is a number"
    );
    assert_eq!(
        refusal(&format!("[{GOOD},]")),
        format!("event 1: not valid JSON at byte {} of the body: a value belongs here", GOOD.len() + 2)
    );
    assert!(refusal(&format!("[{GOOD}")).contains("the text ends inside an array"));
    for body in ["[]", "", "5", &format!("{GOOD}{GOOD}"), &format!("{GOOD}]"), &GOOD[..GOOD.len() - 1]] {
        assert!(read_event(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn only_utf8() {
    let error = read_events(b"{\"id\":\"\xff\"}", BodyShape::One, &EventLimits::default()).unwrap_err();
    assert_eq!(error.reason, "the body must be UTF-8, but byte 7 begins no character");
    assert!(refusal("\u{feff}{}").contains("a value belongs here"));
    assert!(refusal(&with(r#""x":"\ud800""#)).contains("surrogate"));
}
