//! Events that are refused, one after the other.

use bytes::Bytes;
use prost_types::{Any, Timestamp};
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::CloudEventAttributeValue;
use weir_proto::cloudevents::cloud_event::Data;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;

use super::rows::{
    ARGUMENT, INVALID, Table, and, attribute, but, good, good_proto, post, proto_and, proto_data, protos,
    row, text, with_data,
};
use weir_tests::http::{BATCH, JSON};

fn proto_time(seconds: i64, nanos: i32) -> CloudEvent {
    proto_and("time", attribute(Attr::CeTimestamp(Timestamp { seconds, nanos })))
}

fn nested(depth: usize) -> String {
    // The event is the first level, `data` the second.
    format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth - 2), "]".repeat(depth - 2))
}

#[rustfmt::skip]
pub(super) fn table() -> Table {
    let required = ["id", "source", "type", "subject", "specversion"];
    let empty_proto = |name: &str| match name {
        "id" => CloudEvent { id: String::new(), ..good_proto("bad") },
        "source" => CloudEvent { source: String::new(), ..good_proto("bad") },
        "type" => CloudEvent { r#type: String::new(), ..good_proto("bad") },
        "specversion" => CloudEvent { spec_version: String::new(), ..good_proto("bad") },
        _ => CloudEvent { attributes: [].into(), ..good_proto("bad") },
    };
    let long = "x".repeat(1_025);
    let many: Vec<String> = (0..130).map(|n| format!(r#""ext{n}":1"#)).collect();
    let mut many_proto = good_proto("bad");
    many_proto.attributes.extend((0..130).map(|n| (format!("ext{n}"), attribute(Attr::CeInteger(1)))));
    let data = |data: &str| with_data("bad", data);
    let data_proto = |data: &str| proto_data("bad", data);
    let times = [
        "2026-01-01 12:00:00Z", "2026-01-01t12:00:00Z", "2026-01-01T12:00:00z", "2026-01-01T12:00Z",
        "2026-01-01T12:00:60Z", "2026-02-30T12:00:00Z", "2026-13-01T12:00:00Z", "2026-01-01T24:00:00Z",
        "2026-01-01T12:00:00", "2026-01-01", "1767268800", "now", "", "2026-01-01T12:00:00.Z",
        "2026-01-01T12:00:00+25:00", "\u{661}\u{662}26-01-01T12:00:00Z", "2026-01-01T12:00:00Z\\u0000",
    ];
    let million_keys: String = (0..1_000_000).map(|n| format!("\"{n}\":1,")).collect();
    let huge = [
        format!(r#"{{{million_keys}"z":1}}"#),
        format!(r#"{{"value":{}}}"#, "9".repeat(1_000_000)),
        format!(r#"{{"value":"{}"}}"#, "x".repeat(10_000_000)),
    ];
    let mut thousand: Vec<String> = (0..1_000).map(|n| good(&n.to_string())).collect();
    thousand[617] = thousand[617].replace(r#""subject":"acme""#, r#""subject":"""#);
    let mut thousand_proto: Vec<CloudEvent> = (0..1_000).map(|n| good_proto(&n.to_string())).collect();
    thousand_proto[617].attributes.insert("subject".to_owned(), text(""));
    let too_many = format!("[{}]", (0..10_001).map(|n| good(&n.to_string())).collect::<Vec<_>>().join(","));
    let thousand = format!("[{}]", thousand.join(","));
    vec![
        row("a required attribute is missing").bad_events(
            &["is missing"],
            required.iter().map(|name| but(name, "")).collect(),
            vec![empty_proto("subject")],
        ),
        row("a required attribute is empty, null or no string").bad_events(
            &["must be a non-empty string"],
            required.iter().flat_map(|name| ["\"\"", "null", "7", "true", "{}", "[]"].map(|v| but(name, &format!("\"{name}\":{v}")))).collect(),
            ["id", "source", "type", "specversion"].iter().map(|name| empty_proto(name))
                .chain([proto_and("subject", text("")), proto_and("subject", attribute(Attr::CeInteger(7)))]).collect(),
        ),
        row("an attribute is there twice").bad_events(
            &["\"id\""],
            vec![and(r#""id":"other""#), and(r#""\u0069d":"other""#)],
            vec![proto_and("id", text("other"))],
        ),
        row("an attribute is an object, an array or nothing").bad_events(
            &["\"region\": must"],
            vec![and(r#""region":{}"#), and(r#""region":["eu"]"#)],
            vec![proto_and("region", CloudEventAttributeValue { attr: None })],
        ),
        row("an attribute, or its name, is over 1,024 bytes").bad_events(
            &["at most 1024 bytes", "1025"],
            vec![but("id", &format!(r#""id":"{long}""#)), and(&format!(r#""region":"{long}""#)), and(&format!(r#""{long}":1"#)), and(&format!(r#""region":"{}é""#, "x".repeat(1_023)))],
            vec![CloudEvent { id: long.clone(), ..good_proto("bad") }, proto_and("region", text(&long)), proto_and(&long, text("eu"))],
        ),
        row("a number of over 1,024 digits is an attribute").bad_events(
            &["\"region\"", "at most 1024 bytes"],
            vec![and(&format!(r#""region":{}"#, "7".repeat(1_025)))],
            vec![proto_and("region", text(&"7".repeat(1_025)))],
        ),
        row("over 128 attributes").bad_events(&["at most 128 attributes"], vec![and(&many.join(","))], vec![many_proto]),
        row("`specversion` is neither 1.0 nor 0.3").bad_events(
            &["\"specversion\"", "must be \"1.0\" or \"0.3\""],
            ["2.0", "1", "1.0 ", "v1.0"].iter().map(|v| but("specversion", &format!(r#""specversion":"{v}""#))).collect(),
            vec![CloudEvent { spec_version: "2.0".to_owned(), ..good_proto("bad") }],
        ),
        row("`time` is not RFC 3339, or no time that exists").bad_events(
            &["\"time\""],
            times.iter().map(|time| but("time", &format!(r#""time":"{time}""#)))
                .chain(["1767268800", "true", "{}", "[]"].map(|v| but("time", &format!(r#""time":{v}"#)))).collect(),
            times.iter().map(|time| proto_and("time", text(time)))
                .chain([proto_and("time", attribute(Attr::CeInteger(7))), proto_time(0, -1), proto_time(i64::MAX, 0)]).collect(),
        ),
        row("`time` is before 1970 or after 2100").bad_events(
            &["\"time\""],
            ["1969-12-31T23:59:59Z", "2101-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"].iter().map(|t| but("time", &format!(r#""time":"{t}""#))).collect(),
            vec![proto_time(-1, 0), proto_time(4_133_980_800, 0)],
        ),
        row("`data` is a string, a number, a boolean or an array").bad_events(
            &["\"data\"", "must be a JSON object or null"],
            ["\"x\"", "\"{}\"", "5", "true", "[]", "[{}]"].iter().map(|d| data(d)).collect(),
            ["\"x\"", "\"{}\"", "5", "true", "[]", "[{}]"].iter().map(|d| data_proto(d)).collect(),
        ),
        row("`data` is not JSON: NaN, Infinity, 01, .5, a comma too many, half a surrogate pair").bad_events(
            &[],
            ["{\"value\":NaN}", "{\"value\":Infinity}", "{\"value\":-Infinity}", "{\"value\":01}", "{\"value\":.5}", "{\"value\":1.}", "{\"value\":0x1}", "{\"value\":1,}", "{value:1}", "{'value':1}", "{\"value\":\"\\ud800\"}", "{\"value\":\"\\udc00\"}", "{\"value\":\"\\ud800\\ud800\"}", "{\"value\":\"\u{1}\"}", "{\"value\":\"\u{0}\"}", "{\"value\":1}\u{0}"].iter().map(|d| data(d)).collect(),
            ["{\"value\":NaN}", "{\"value\":01}", "{\"value\":.5}", "{\"value\":1,}", "{\"value\":\"\\ud800\"}", "{\"value\":\"\u{0}\"}", "{} {}", "{},\"id\":\"other\"", "{", " "].iter().map(|d| data_proto(d)).collect(),
        ),
        row("`data_base64`, `proto_data`").bad_events(
            &["\"data"],
            vec![and(r#""data_base64":"e30=""#)],
            vec![CloudEvent { data: Some(Data::ProtoData(Any { type_url: "x".to_owned(), value: vec![1] })), ..good_proto("bad") }, proto_and("data_base64", text("e30="))],
        ),
        row("`datacontenttype` is not `application/json`").bad_events(
            &["\"datacontenttype\"", "application/json"],
            vec![and(r#""datacontenttype":"application/xml""#), and(r#""datacontenttype":7"#)],
            vec![proto_and("datacontenttype", text("application/xml"))],
        ),
        row("nesting over 64, up to 100,000 brackets").bad_events(
            &["nested at most 64 deep"],
            vec![data(&nested(65)), data(&nested(100_000)), data(&format!("{{\"a\":{}", "[".repeat(100_000)))],
            vec![data_proto(&nested(65)), data_proto(&nested(100_000))],
        ),
        row("an event over 900,000 bytes: a million keys, a number of 1 MB, a string of 10 MB").bad_events(
            &["at most 900000 bytes"],
            huge.iter().map(|d| data(d)).collect(),
            huge.iter().map(|d| data_proto(d)).chain([CloudEvent { data: Some(Data::BinaryData(Bytes::from(vec![b' '; 900_001]))), ..good_proto("bad") }]).collect(),
        ),
        row("one bad event among 1,000")
            .http(INVALID, &["event 617", "\"subject\""], vec![post(BATCH, thousand.clone()), post(JSON, thousand)])
            .grpc(ARGUMENT, &["event 617", "\"subject\""], vec![protos(thousand_proto)]),
        row("over 10,000 events")
            .http(INVALID, &["event 10000", "at most 10000 events"], vec![post(BATCH, too_many.clone()), post(JSON, too_many)])
            .grpc(ARGUMENT, &["event 10000", "at most 10000 events"], vec![protos((0..10_001).map(|n| good_proto(&n.to_string())).collect()), super::bodies::empty_events(4 << 20)]),
    ]
}
