//! Rows about queries that are too large, in one way or another.

use serde_json::json;

use super::super::{Row, get, post, row};
use super::{all, asked, posted};

pub(super) fn sizes() -> Vec<Row> {
    let years = "windowSize=MINUTE&from=1970-01-01T00:00:00Z&to=2100-12-31T00:00:00Z";
    let all_of = json!({ "filterProperties": { "$.model": { "$ne": "none" } } }).to_string();
    let minutes = json!({ "windowSize": "MINUTE", "filterProperties": { "$.model": { "$ne": "none" } } });
    vec![
        row(
            "minutes over years, where at most `query_result_rows_max` have events",
            200,
            "",
            "\"windowStart\"",
            [asked(&format!("{years}&filterGroupBy[model]=m7"))],
        ),
        row(
            "an answer of more than `query_result_rows_max` rows, by windows or groups",
            400,
            "result-too-large",
            "the answer has more than 20 rows",
            all([
                years,
                "windowSize=MINUTE",
                "groupBy=model",
                "windowSize=MINUTE&windowTimeZone=Pacific/Kiritimati",
            ]),
        ),
        row(
            "an answer of more than `query_result_bytes_max` bytes",
            400,
            "result-too-large",
            "the answer has more than 16384 bytes",
            [
                get("/api/v1/meters/long/query?groupBy=model"),
                get("/api/v1/meters/long/query?groupBy=model").with("accept", "text/csv"),
            ],
        ),
        row(
            "more than `query_events_max` events to read one by one",
            400,
            "query-too-large",
            "more than 100 events would have to be read one by one",
            [
                post("/api/v1/meters/many/query", all_of),
                get("/api/v1/meters/many/query").with("weir-read-from", "rows"),
            ],
        ),
        row(
            "more than `query_windows_max` windows or distinct values to fold of events",
            400,
            "query-too-large",
            "more than 30 windows or distinct values",
            [posted(minutes)],
        ),
        row(
            "a query that needs more than `query_memory_max`",
            400,
            "query-too-large",
            "one query may hold",
            [get("/api/v1/meters/only/query?groupBy=subject&windowSize=MINUTE").when_full()],
        ),
    ]
}
