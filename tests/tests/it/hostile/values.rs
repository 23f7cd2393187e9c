//! Events that are taken: their values may be of no use to a meter, which the event then says.

use super::rows::{Table, alone, good, good_proto, proto_data, protos, row, with_data};
use weir_proto::cloudevents::CloudEvent;

#[rustfmt::skip]
pub(super) fn table() -> Table {
    // The same values over both transports, under ids that begin with the row's.
    let both = |name, id: &'static str, values: &[&str], text: &'static str| {
        let data = |value: &str| format!(r#"{{"value":{value}}}"#);
        let http = values.iter().enumerate().map(|(n, value)| alone(&with_data(&format!("{id}-h{n}"), &data(value)))).collect();
        let grpc = values.iter().enumerate().map(|(n, value)| protos(vec![proto_data(&format!("{id}-g{n}"), &data(value))])).collect();
        row(name).http("204", &[], http).grpc("OK", &[], grpc).stores(2 * values.len() as u64).reports(id, text)
    };
    let digits = "7".repeat(2_000);
    let fraction = format!("0.{}", "1".repeat(65));
    vec![
        both("a value that is no number", "word", &["\"seven\"", "\"\"", "\"NaN\"", "\"Infinity\"", "\"0x10\"", "\"1_000\"", "true", "{}", "[1]"], "value"),
        both("a value of 10^33 or more", "large", &["1e33", "-1e33", "1e308", "1e309", "\"1e999999999\"", "1000000000000000000000000000000000"], "value"),
        both("a number of over 1,000 bytes as a value", "long", &[&digits, &format!("\"{digits}\""), &format!("-{digits}.{digits}")], "value"),
        both("a value with more than 30 digits behind the point", "fine", &[&fraction, &format!("\"{fraction}\""), "1e-31"], "30"),
        row("a type that no meter reads")
            .http("204", &[], vec![alone(&good("unheard-h").replace("request", "unheard"))])
            .grpc("OK", &[], vec![protos(vec![CloudEvent { r#type: "unheard".to_owned(), ..good_proto("unheard-g") }])])
            .reports("unheard", "no meter found for event type: unheard"),
        row("`data` is null, or absent")
            .http("204", &[], vec![alone(&with_data("null-h1", "null")), alone(&with_data("null-h2", "null").replace(",\"data\":null", ""))])
            .grpc("OK", &[], vec![protos(vec![proto_data("null-g1", "null")]), protos(vec![CloudEvent { data: None, ..good_proto("null-g2") }])])
            .stores(4).reports("null-", "null and missing value property"),
        row("a key twice inside `data`: the last one counts")
            .http("204", &[], vec![alone(&with_data("twice-h", r#"{"value":1e40,"value":2,"\u0076alue":3}"#))])
            .grpc("OK", &[], vec![protos(vec![proto_data("twice-g", r#"{"value":1e40,"value":2,"\u0076alue":3}"#)])])
            .stores(2),
        row("huge numbers that nobody reads, -0, escaped NUL, 64 levels")
            .http("204", &[], accepted().iter().enumerate().map(|(n, data)| alone(&with_data(&format!("odd-h{n}"), data))).collect())
            .grpc("OK", &[], accepted().iter().enumerate().map(|(n, data)| protos(vec![proto_data(&format!("odd-g{n}"), data)])).collect())
            .stores(2 * accepted().len() as u64),
    ]
}

fn accepted() -> Vec<String> {
    vec![
        format!(r#"{{"value":1,"other":{}}}"#, "9".repeat(100_000)),
        r#"{"value":1,"other":[1e309,-1e-400,123456789012345678901234567890]}"#.to_owned(),
        r#"{"value":-0}"#.to_owned(),
        r#"{"value":"-0.0"}"#.to_owned(),
        "{\"value\":1,\"other\":\"\\u0000\",\"\\u0000\":1}".to_owned(),
        format!(r#"{{"value":1,"other":{}{}}}"#, "[".repeat(62), "]".repeat(62)),
    ]
}
