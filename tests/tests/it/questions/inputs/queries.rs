//! Rows about queries of a meter: what is named in them, times and other parameters; the rest beside it.

mod bodies;
mod filters;
mod positions;
mod sizes;

use serde_json::json;

use super::{Given, Row, Sent, get, post, row};

use bodies::bodies;
use filters::filters;
use positions::positions;
use sizes::sizes;

const QUERY: &str = "/api/v1/meters/sum/query";

/// A query by address.
fn asked(parameters: &str) -> Sent {
    get(format!("{QUERY}?{parameters}"))
}

fn all<'a>(parameters: impl IntoIterator<Item = &'a str>) -> Vec<Sent> {
    parameters.into_iter().map(asked).collect()
}

fn posted(body: serde_json::Value) -> Sent {
    post(QUERY, body.to_string())
}

pub(super) fn rows(given: &Given) -> Vec<Row> {
    [named(given), times(), parameters(), filters(), positions(given), bodies(), sizes()]
        .into_iter()
        .flatten()
        .collect()
}

fn named(given: &Given) -> Vec<Row> {
    let long = "x".repeat(10_000);
    vec![
        row(
            "unknown meter",
            404,
            "not-found",
            "meter not found: nothing",
            [get("/api/v1/meters/nothing/query"), post("/api/v1/meters/nothing/query", "{}")],
        ),
        row(
            "a meter's name that is SQL, or very long",
            404,
            "not-found",
            "meter not found: ",
            [
                get("/api/v1/meters/sum'%3B%20DROP%20TABLE%20meters%3B--/query"),
                get("/api/v1/meters/sum%00/query"),
                get("/api/v1/meters/%D1%95um/query"),
                get(format!("/api/v1/meters/{long}/query")),
            ],
        ),
        row(
            "a meter's name that is not UTF-8",
            400,
            "invalid-request",
            "UTF-8",
            [get("/api/v1/meters/%FF/query")],
        ),
        row(
            "a deleted meter by its id",
            404,
            "not-found",
            "was deleted at",
            [get(format!("/api/v1/meters/{}/query", given.deleted_id))],
        ),
        row(
            "another method",
            405,
            "method-not-allowed",
            "Allow",
            [Sent { method: reqwest::Method::PATCH, ..get(QUERY) }],
        ),
    ]
}

fn times() -> Vec<Row> {
    let long = format!("windowTimeZone={}", "Mars/".repeat(3_000));
    vec![
        row(
            "`from` at or after `to`, as cut to seconds",
            400,
            "invalid-parameter",
            "from must be before to",
            all([
                "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
                "from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
                "from=2026-01-01T00:00:00.1Z&to=2026-01-01T00:00:00.9Z",
            ]),
        ),
        row(
            "a time without `T`, seconds or zone, or with letters",
            400,
            "invalid-parameter",
            "is not a time: not an RFC 3339 date-time",
            all([
                "from=yesterday",
                "to=",
                "from=2026-01-01",
                "from=2026-01-01%2000:00:00Z",
                "from=2026-01-01t00:00:00Z",
                "from=2026-01-01T00:00:00z",
                "from=2026-01-01T00:00Z",
                "to=2026-01-01T00:00:00",
                "from=1767225600",
                "from=2026-01-01T00:00:00+01:00",
                "from=2026-01-01T00:00:00Z%00",
            ]),
        ),
        row(
            "a time that no clock shows: second 60, hour 24, 30 February",
            400,
            "invalid-parameter",
            "there is no such day",
            all(["from=2026-02-30T00:00:00Z", "to=2025-02-29T00:00:00Z"]),
        ),
        row(
            "a second 60, an hour 24",
            400,
            "invalid-parameter",
            "23:59:59",
            all(["from=2016-12-31T23:59:60Z", "to=2026-01-01T24:00:00Z"]),
        ),
        row(
            "a time before 1970 or after 2100",
            400,
            "invalid-parameter",
            "outside 1970-01-01T00:00:00Z to 2100",
            all(["from=1969-12-31T23:59:59Z", "to=2101-01-01T00:00:00Z", "to=9999-12-31T23:59:59Z"]),
        ),
        row(
            "unknown `windowSize`",
            400,
            "invalid-parameter",
            "unknown windowSize",
            all([
                "windowSize=WEEK",
                "windowSize=day",
                "windowSize=",
                "windowSize=DAY%20",
                "windowSize=D%D0%90Y",
            ]),
        ),
        row(
            "unknown `windowTimeZone`, of any length",
            400,
            "invalid-parameter",
            "unknown windowTimeZone",
            all([
                "windowTimeZone=Mars/Olympus",
                "windowTimeZone=utc",
                "windowTimeZone=",
                "windowTimeZone=%2B01:00",
                "windowTimeZone=../../etc/passwd",
                "windowTimeZone=UTC';--",
                long.as_str(),
            ]),
        ),
    ]
}

fn parameters() -> Vec<Row> {
    let many = "subject=x&".repeat(101);
    let key = format!("groupBy={}", "k".repeat(20_000));
    vec![
        row(
            "a parameter twice that is taken once",
            400,
            "invalid-parameter",
            "is given twice",
            all([
                "from=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z",
                "windowSize=DAY&windowSize=DAY",
                "clientId=a&clientId=b",
                "windowTimeZone=UTC&windowTimeZone=UTC",
            ]),
        ),
        row(
            "a known name with a slip of the pen",
            400,
            "invalid-parameter",
            "write it",
            all([
                "subject[]=a",
                "Subject=a",
                "subjects=a",
                "group_by=model",
                "groupby=model",
                "window_size=DAY",
                "windowTimezone=UTC",
                "FROM=2026-01-01T00:00:00Z",
            ]),
        ),
        row(
            "any other unknown name",
            200,
            "",
            "\"data\"",
            all(["utm_source=x", "q=1", "a[b]=c", "=", "&&&", "%00=1"]),
        ),
        row(
            "`groupBy` of a key that the meter does not have",
            400,
            "invalid-group-by",
            "invalid group by: ",
            all([
                "groupBy=colour",
                "groupBy=Model",
                "groupBy=",
                "groupBy=model%20",
                "groupBy=group_0",
                "groupBy=m%D0%BEdel",
                "groupBy=model\"%20OR%201=1",
                key.as_str(),
            ]),
        ),
        row(
            "customers",
            400,
            "customers-unsupported",
            "use subject instead",
            all(["groupBy=customer_id", "filterCustomerId=1"]),
        ),
        row(
            "more than 100 subjects",
            400,
            "invalid-parameter",
            "at most 100",
            [
                asked(&many),
                posted(json!({ "subject": vec!["x"; 101] })),
                posted(json!({ "groupBy": vec!["model"; 101] })),
            ],
        ),
        row(
            "an empty `clientId`, or one of more than 36 characters",
            400,
            "invalid-parameter",
            "1 to 36",
            all(["clientId=", "clientId=0123456789012345678901234567890123456"]),
        ),
    ]
}
