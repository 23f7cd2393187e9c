//! Rows about making, changing, reading and listing meters.

use serde_json::{Value, json};

use super::{Given, Row, Sent, delete, get, post, put, row};

const METERS: &str = "/api/v1/meters";

fn made(change: Value) -> Sent {
    let mut meter = json!({"slug": "m", "eventType": "t", "aggregation": "SUM", "valueProperty": "$.v"});
    for (name, value) in change.as_object().unwrap() {
        meter[name] = value.clone();
    }
    post(METERS, meter.to_string())
}

fn grouped(key: &str, path: &str) -> Sent {
    made(json!({ "groupBy": { key: path } }))
}

fn wrong(input: &'static str, names: &'static str, sent: impl IntoIterator<Item = Sent>) -> Row {
    row(input, 400, "invalid-meter", names, sent)
}

pub(super) fn rows(given: &Given) -> Vec<Row> {
    let long = |count: usize| "x".repeat(count);
    let keys: Value = (0..21)
        .map(|n| (format!("k{n}"), json!(format!("$.k{n}"))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let entries: Value =
        (0..51).map(|n| (n.to_string(), json!(""))).collect::<serde_json::Map<_, _>>().into();
    let steps = format!("${}", ".a".repeat(33));
    vec![
        row(
            "a body that is no JSON object, or lacks a member",
            400,
            "invalid-body",
            "the body is not a meter",
            [
                post(METERS, ""),
                post(METERS, "[]"),
                post(METERS, "{"),
                post(METERS, r#"{"slug":"m"}"#),
                post(METERS, r#"{"slug":null,"eventType":"t","aggregation":"COUNT"}"#),
            ],
        ),
        row(
            "a member with a slip of the pen",
            400,
            "invalid-parameter",
            "write it",
            [
                made(json!({"group_by": {"a": "$.a"}})),
                made(json!({"valueproperty": "$.x"})),
                put("/api/v1/meters/sum", r#"{"groupby":{}}"#),
            ],
        ),
        wrong(
            "a slug with other than small letters, digits and single underscores",
            "slug: must be 1 to 64",
            ["", "Upper", "a__b", "_a", "a b", "a';DROP TABLE meters;--", "ѕum", "a\u{0}", &long(65)]
                .map(|slug| made(json!({"slug": slug}))),
        ),
        wrong(
            "an unknown aggregation",
            "aggregation: ",
            [made(json!({"aggregation": "sum"})), made(json!({"aggregation": long(9_000)}))],
        ),
        wrong(
            "a value where none belongs, or none where one does",
            "valueProperty: ",
            [
                made(json!({"aggregation": "COUNT"})),
                made(json!({"valueProperty": null})),
                made(json!({"valueProperty": ""})),
            ],
        ),
        wrong(
            "a path that is none: no `$`, a bare dash, wildcards, filters, slices",
            "at character",
            [
                made(json!({"valueProperty": "v"})),
                made(json!({"valueProperty": "$.a-b"})),
                made(json!({"valueProperty": "$..a"})),
                made(json!({"valueProperty": "$.*"})),
                made(json!({"valueProperty": "$.a[?(@.b)]"})),
                made(json!({"valueProperty": "$.a[-1]"})),
                made(json!({"valueProperty": "$.a[0:2]"})),
                made(json!({"valueProperty": "$.v'); DROP TABLE meters;--"})),
                grouped("a", "b"),
                grouped("a", "$['a"),
                grouped("a", "$['a\\n']"),
            ],
        ),
        wrong(
            "a path of more than 256 bytes or 32 steps",
            "a path has at most",
            [
                made(json!({"valueProperty": format!("$.{}", long(255))})),
                grouped("a", &format!("$.{}", long(50_000))),
                grouped("a", &steps),
            ],
        ),
        wrong(
            "a group-by key with other than letters, digits and underscores",
            "groupBy: a key must be 1 to 64",
            [
                grouped("", "$.a"),
                grouped("1a", "$.a"),
                grouped("a-b", "$.a"),
                grouped("a b", "$.a"),
                grouped("mоdel", "$.a"),
                grouped("a\"; --", "$.a"),
                grouped(&long(65), "$.a"),
                grouped(&long(40_000), "$.a"),
            ],
        ),
        wrong(
            "a group-by key `subject` or `customer_id`",
            "queries call something else by this name",
            [
                grouped("subject", "$.a"),
                grouped("customer_id", "$.a"),
                put("/api/v1/meters/sum", r#"{"groupBy":{"subject":"$.a"}}"#),
            ],
        ),
        wrong(
            "more than 20 group-by keys",
            "at most 20 keys",
            [made(json!({"groupBy": keys})), put("/api/v1/meters/sum", json!({"groupBy": keys}).to_string())],
        ),
        wrong(
            "a group-by by the value itself",
            "must not be the path of valueProperty",
            [grouped("a", "$['v']")],
        ),
        wrong(
            "a name, description or metadata that is empty or too long",
            "must have",
            [
                made(json!({"name": ""})),
                made(json!({"name": long(257)})),
                made(json!({"description": ""})),
                made(json!({"description": long(1_025)})),
                made(json!({"metadata": entries})),
                made(json!({"metadata": {long(65): ""}})),
                made(json!({"metadata": {"k": long(1_025)}})),
            ],
        ),
        wrong(
            "an event type that is empty or has more than 1,024 bytes",
            "eventType: must",
            [made(json!({"eventType": ""})), made(json!({"eventType": long(1_025)}))],
        ),
        wrong(
            "an `eventFrom` that is no time",
            "eventFrom: ",
            [made(json!({"eventFrom": "yesterday"})), made(json!({"eventFrom": "2016-12-31T23:59:60Z"}))],
        ),
        row("a slug that is taken", 409, "conflict", "exists already", [made(json!({"slug": "sum"}))]),
        row(
            "one more meter than `meters_max`",
            409,
            "too-many-meters",
            "delete one that is not needed any more",
            [made(json!({})).when_full()],
        ),
        row(
            "one more meter, or change of a group-by, than `meters_ever_max`",
            409,
            "too-many-meters",
            "ask the operator to raise",
            [put("/api/v1/meters/only", r#"{"groupBy":{"a":"$.a"}}"#).when_full()],
        ),
        row(
            "a change of a meter that is not there, or was deleted",
            404,
            "not-found",
            "meter not found",
            [
                put("/api/v1/meters/nothing", "{}"),
                delete("/api/v1/meters/nothing"),
                get("/api/v1/meters/nothing"),
                delete(format!("/api/v1/meters/{}", "x".repeat(9_000))),
                put(format!("/api/v1/meters/{}", given.deleted_id), "{}"),
            ],
        ),
        row(
            "a deleted meter, read or deleted again by its id",
            200,
            "",
            "deletedAt",
            [get(format!("/api/v1/meters/{}", given.deleted_id))],
        ),
        row(
            "a body of more than `query_body_bytes_max`",
            413,
            "body-too-large",
            "more than 65536 bytes",
            [post(METERS, " ".repeat(65_537)), put("/api/v1/meters/sum", " ".repeat(65_537))],
        ),
        row(
            "a compressed body",
            415,
            "unsupported-content-encoding",
            "send it plain",
            [
                made(json!({})).with("content-encoding", "gzip"),
                put("/api/v1/meters/sum", "{}").with("content-encoding", "zstd"),
            ],
        ),
        row(
            "a content type that is not JSON",
            400,
            "invalid-content-type",
            "send application/json",
            [
                made(json!({})).without_type().with("content-type", "text/plain"),
                put("/api/v1/meters/sum", "{}").without_type().with("content-type", "application/xml"),
            ],
        ),
        row(
            "a page, size or order of the list that is none",
            400,
            "invalid-parameter",
            "",
            [
                "page=0",
                "page=x",
                "page=1&page=2",
                "pageSize=1001",
                "pageSize=-1",
                "page=99999999999999999999",
                "order=asc",
                "orderBy=id",
                "orderBy=slug;--",
                "includeDeleted=1",
                "page_size=1",
                "orderby=key",
            ]
            .map(|query| get(format!("{METERS}?{query}"))),
        ),
    ]
}
