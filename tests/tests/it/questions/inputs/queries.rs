//! Rows about queries of a meter, by address and by body.

use serde_json::json;

use super::super::encoded;
use super::{Given, Row, Sent, at, get, post, row};

const QUERY: &str = "/api/v1/meters/sum/query";

/// A query by address.
fn asked(parameters: &str) -> Sent {
    get(format!("{QUERY}?{parameters}"))
}

fn all<'a>(parameters: impl IntoIterator<Item = &'a str>) -> Vec<Sent> {
    parameters.into_iter().map(asked).collect()
}

/// The same filter in the address and in a body.
fn filtered(filter: &serde_json::Value) -> Vec<Sent> {
    let filters = json!({ "model": filter });
    vec![
        asked(&format!("advancedMeterGroupByFilters={}", encoded(&filters.to_string()))),
        posted(json!({ "advancedMeterGroupByFilters": filters })),
        posted(json!({ "filterProperties": { "$.model": filter } })),
    ]
}

fn posted(body: serde_json::Value) -> Sent {
    post(QUERY, body.to_string())
}

fn nested(depth: usize) -> serde_json::Value {
    (0..depth).fold(json!({ "$eq": "x" }), |inner, _| json!({ "$and": [inner] }))
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

fn filters() -> Vec<Row> {
    let long = json!({ "$eq": "x".repeat(1_025) });
    let paths = |count: usize| -> serde_json::Value {
        (0..count)
            .map(|n| (format!("$.p{n}"), json!({ "$eq": "x" })))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let invalid = |input, names, sent: Vec<Sent>| row(input, 400, "invalid-filter", names, sent);
    vec![
        invalid(
            "a filter on a key that the meter does not have",
            "invalid group by filter: ",
            vec![
                asked("filterGroupBy[colour]=x"),
                asked("filterGroupBy[]=x"),
                asked("filterGroupBy[subject]=acme"),
                posted(json!({"filterGroupBy": {"colour": []}})),
                posted(json!({"advancedMeterGroupByFilters": {"k".repeat(9_000): {"$eq": "x"}}})),
            ],
        ),
        invalid(
            "`filterGroupBy` without brackets",
            "filterGroupBy[key]=value",
            all([
                "filterGroupBy=x",
                "filterGroupBymodel=x",
                "filterGroupBy[model=x",
                "filterGroupBy={'model':'x'}",
            ]),
        ),
        invalid(
            "a name that looks like a filter and is none",
            "unknown filter",
            vec![
                asked("filter=x"),
                asked("filterSubject=x"),
                asked("advancedMeterFilters={}"),
                asked("FilterGroupBy[model]=x"),
                posted(json!({"filterSubject": "x"})),
                posted(json!({"filter": null})),
            ],
        ),
        invalid(
            "both kinds of filters",
            "must not be given together",
            vec![asked(
                "filterGroupBy[model]=x&advancedMeterGroupByFilters=%7B%22model%22:%7B%22$eq%22:%22x%22%7D%7D",
            )],
        ),
        invalid(
            "`advancedMeterGroupByFilters` that is no JSON object",
            "is not a JSON object of filters",
            all([
                "advancedMeterGroupByFilters=x",
                "advancedMeterGroupByFilters=[]",
                "advancedMeterGroupByFilters=",
                "advancedMeterGroupByFilters=%7B",
                "advancedMeterGroupByFilters=%7B%7D%7B%7D",
            ]),
        ),
        invalid(
            "an unknown operator, also one that is null",
            "unknown operator",
            [
                filtered(&json!({"$regex": "x"})),
                filtered(&json!({"$eq": "x", "$where": null})),
                filtered(&json!({"eq".repeat(3_000): "x"})),
            ]
            .concat_sent(),
        ),
        invalid(
            "two operators in one filter",
            "multiple operators set",
            filtered(&json!({"$eq": "x", "$ne": "y"})),
        ),
        invalid(
            "an operand that is no string, or empty",
            "compare",
            [
                filtered(&json!({"$eq": 1})),
                filtered(&json!({"$eq": ""})),
                filtered(&json!({"$in": [null]})),
                filtered(&json!({"$gt": {}})),
            ]
            .concat_sent(),
        ),
        invalid(
            "`$in`, `$and` and the like of no list",
            "takes a list",
            [filtered(&json!({"$in": "x"})), filtered(&json!({"$and": {}}))].concat_sent(),
        ),
        invalid(
            "`$and` and `$or` of nothing",
            "at least one filter",
            [filtered(&json!({"$and": []})), filtered(&json!({"$or": [{}]}))].concat_sent(),
        ),
        invalid(
            "filters that are nested more than 32 deep",
            "nested more than 32 deep",
            filtered(&nested(33)),
        ),
        invalid(
            "more than 1,000 conditions",
            "more than 1000 conditions",
            vec![
                posted(json!({"advancedMeterGroupByFilters": {"model": {"$in": vec!["x"; 1_001]}}})),
                posted(json!({"advancedMeterGroupByFilters": {"model": {"$or": vec![json!({}); 1_001]}}})),
                posted(json!({"filterGroupBy": {"model": vec![""; 1_001]}})),
            ],
        ),
        invalid(
            "a value of more than 1,024 bytes",
            "1025 bytes, at most 1024",
            vec![
                posted(json!({"advancedMeterGroupByFilters": {"model": long}})),
                asked(&format!("filterGroupBy[model]={}", "x".repeat(1_025))),
            ],
        ),
        invalid(
            "`filterProperties` in an address",
            "belongs in the JSON body of a POST",
            all(["filterProperties={}"]),
        ),
        invalid(
            "`filterProperties` with a path that is none",
            "filterProperties",
            vec![
                posted(json!({"filterProperties": {"region": {"$eq": "x"}}})),
                posted(json!({"filterProperties": {"$..a": {"$eq": "x"}}})),
                posted(json!({"filterProperties": {"$['a'": {"$eq": "x"}}})),
                posted(json!({"filterProperties": {(format!("$.{}", "p".repeat(5_000))): {"$eq": "x"}}})),
            ],
        ),
        invalid(
            "`filterProperties` on more than 10 properties",
            "at most 10",
            vec![posted(json!({"filterProperties": paths(11)}))],
        ),
        invalid(
            "`filterProperties` with a filter that says nothing",
            "says nothing",
            vec![
                posted(json!({"filterProperties": {"$.a": {}}})),
                posted(json!({"filterProperties": {"$.a": {"$eq": null}}})),
            ],
        ),
    ]
}

fn positions(given: &Given) -> Vec<Row> {
    let changed = |place: usize| {
        let mut token = given.position.clone().into_bytes();
        token[place] = if token[place] == b'x' { b'y' } else { b'x' };
        token
    };
    let whole = given.position.len();
    let invalid = |input, names, positions: Vec<Vec<u8>>| {
        row(input, 400, "invalid-position", names, positions.into_iter().map(|p| at(get(QUERY), p)))
    };
    vec![
        invalid(
            "a position that is shorter than any",
            "none has fewer than 78",
            ["", "zzzz", "nonsense", "null", "A"].map(|text| text.as_bytes().to_vec()).to_vec(),
        ),
        invalid(
            "a position in other letters, or cut off",
            "is not unpadded base64url, or was cut off",
            vec![
                "!".repeat(100).into_bytes(),
                "a b".repeat(40).into_bytes(),
                format!("{}==", given.position).into_bytes(),
            ],
        ),
        invalid(
            "a position of more than 4,096 characters",
            "no position has more than 4096",
            vec!["A".repeat(5_000).into_bytes()],
        ),
        invalid(
            "a text that begins unlike a position",
            "does not begin as those of this version of Weir do",
            vec!["z".repeat(100).into_bytes(), changed(0)],
        ),
        invalid(
            "a position that was changed on the way",
            "was changed on the way",
            vec![changed(10), changed(40), changed(whole - 10), given.position[..whole / 4 * 4 - 4].into()],
        ),
        invalid(
            "a position of another server",
            "was not made by this installation for this namespace",
            vec![given.foreign.clone().into_bytes()],
        ),
        invalid(
            "a position with bytes that are no text",
            "characters that no position has",
            vec![b"\xff\xfe".to_vec(), "pösition".into()],
        ),
        row(
            "`Weir-Position` or `Weir-Read-From` twice",
            400,
            "invalid-parameter",
            "header is given twice",
            [
                at(at(get(QUERY), given.position.as_str()), given.position.as_str()),
                get(QUERY).with("weir-read-from", "rows").with("weir-read-from", "segments"),
            ],
        ),
        row(
            "an unknown `Weir-Read-From`",
            400,
            "invalid-parameter",
            "is rows, segments, or left away",
            [
                get(QUERY).with("weir-read-from", "head"),
                get(QUERY).with("weir-read-from", "ROWS"),
                get(QUERY).with("weir-read-from", ""),
            ],
        ),
        row(
            "`segments` where windows do not suffice",
            409,
            "rows-needed",
            "leave Weir-Read-From away",
            [asked("from=2026-01-01T00:00:31Z").with("weir-read-from", "segments")],
        ),
    ]
}

fn bodies() -> Vec<Row> {
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

fn sizes() -> Vec<Row> {
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

trait ConcatSent {
    fn concat_sent(self) -> Vec<Sent>;
}

impl<const N: usize> ConcatSent for [Vec<Sent>; N] {
    fn concat_sent(self) -> Vec<Sent> {
        self.into_iter().flatten().collect()
    }
}
