//! Rows about bodies.

use super::super::{Row, post, row};
use super::QUERY;

pub(super) fn bodies() -> Vec<Row> {
    let surrogate = r#"{"subject":["\ud800"]}"#;
    let deep = format!(
        r#"{{"advancedMeterGroupByFilters":{{"model":{}{}}}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let echo = format!(r#"{{"from":{{"{}":1}}}}"#, "k".repeat(9_000));
    let wrong = format!(r#"{{"subject":"{}"}}"#, "s".repeat(9_000));
    vec![
        row(
            "a body that is no JSON object, or is cut off",
            400,
            "invalid-body",
            "the body is not a meter query",
            [
                post(QUERY, ""),
                post(QUERY, "[]"),
                post(QUERY, "null"),
                post(QUERY, "{"),
                post(QUERY, r#"{"from":"#),
                post(QUERY, r#"{"subject":["a"}"#),
                post(QUERY, "{} {}"),
                post(QUERY, b"{\"subject\":[\"\xff\"]}".to_vec()),
                post(QUERY, surrogate),
                post(QUERY, "\u{feff}{}"),
            ],
        ),
        row(
            "a member of another type",
            400,
            "invalid-body",
            "invalid type",
            [
                post(QUERY, r#"{"subject":"a"}"#),
                post(QUERY, r#"{"subject":[5]}"#),
                post(QUERY, r#"{"from":5}"#),
                post(QUERY, r#"{"filterGroupBy":{"model":"x"}}"#),
                post(QUERY, r#"{"groupBy":{}}"#),
                post(QUERY, r#"{"filterProperties":[]}"#),
                post(QUERY, echo),
                post(QUERY, wrong),
            ],
        ),
        row(
            "a member twice",
            400,
            "invalid-body",
            "duplicate field",
            [post(QUERY, r#"{"subject":["a"],"subject":["b"]}"#)],
        ),
        row("a body that is nested very deep", 400, "invalid-body", "recursion limit", [post(QUERY, deep)]),
        row(
            "a member with a slip of the pen",
            400,
            "invalid-parameter",
            "write it",
            [post(QUERY, r#"{"subjects":["a"]}"#), post(QUERY, r#"{"window_size":"DAY"}"#)],
        ),
        row(
            "any other unknown member",
            200,
            "",
            "\"data\"",
            [post(QUERY, r#"{"more":{"subject":[1]},"":null}"#)],
        ),
        row(
            "a body of more than `query_body_bytes_max`",
            413,
            "body-too-large",
            "more than 65536 bytes",
            [post(QUERY, " ".repeat(65_537))],
        ),
        row(
            "a compressed body",
            415,
            "unsupported-content-encoding",
            "send it plain",
            [
                post(QUERY, "{}").with("content-encoding", "gzip"),
                post(QUERY, "{}").with("content-encoding", "br"),
            ],
        ),
        row(
            "a content type that is not JSON, or two",
            400,
            "invalid-content-type",
            "send application/json",
            [
                post(QUERY, "{}").without_type().with("content-type", "text/plain"),
                post(QUERY, "{}").without_type().with("content-type", "application/x-www-form-urlencoded"),
                post(QUERY, "{}").without_type().with("content-type", ""),
                post(QUERY, "{}").with("content-type", "application/json"),
            ],
        ),
        row(
            "no content type, or JSON with parameters",
            200,
            "",
            "\"data\"",
            [
                post(QUERY, "{}").without_type(),
                post(QUERY, "{}").without_type().with("content-type", "application/json; charset=utf-8"),
            ],
        ),
    ]
}
