//! The five meters on the events' type, one of each common aggregation, with three, none or one group keys.

/// Bodies of `POST /api/v1/meters`.
pub const METERS: [&str; 5] = [
    r#"{"slug":"tokens","eventType":"prompt","aggregation":"SUM","valueProperty":"$.tokens","groupBy":{"model":"$.model","kind":"$.kind","route":"$.route"}}"#,
    r#"{"slug":"requests","eventType":"prompt","aggregation":"COUNT","groupBy":{"route":"$.route"}}"#,
    r#"{"slug":"duration","eventType":"prompt","aggregation":"AVG","valueProperty":"$.duration_ms","groupBy":{"model":"$.model"}}"#,
    r#"{"slug":"slowest","eventType":"prompt","aggregation":"MAX","valueProperty":"$.duration_ms"}"#,
    r#"{"slug":"users","eventType":"prompt","aggregation":"UNIQUE_COUNT","valueProperty":"$.user"}"#,
];

/// For the report.
pub fn meter_names() -> &'static str {
    "SUM by 3 keys, COUNT by 1, AVG by 1, MAX, UNIQUE_COUNT"
}

/// The meter that is asked whether an event is visible.
pub fn probe_meter() -> &'static str {
    "requests"
}
