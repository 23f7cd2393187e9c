//! Rows about filters, by address and by body.

use serde_json::json;

use super::super::super::encoded;
use super::super::{Row, Sent, row};
use super::{all, asked, posted};

/// The same filter in the address and in a body.
fn filtered(filter: &serde_json::Value) -> Vec<Sent> {
    let filters = json!({ "model": filter });
    vec![
        asked(&format!("advancedMeterGroupByFilters={}", encoded(&filters.to_string()))),
        posted(json!({ "advancedMeterGroupByFilters": filters })),
        posted(json!({ "filterProperties": { "$.model": filter } })),
    ]
}

fn nested(depth: usize) -> serde_json::Value {
    (0..depth).fold(json!({ "$eq": "x" }), |inner, _| json!({ "$and": [inner] }))
}

pub(super) fn filters() -> Vec<Row> {
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
            .into_iter()
            .flatten()
            .collect(),
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
            .into_iter()
            .flatten()
            .collect(),
        ),
        invalid(
            "`$in`, `$and` and the like of no list",
            "takes a list",
            [filtered(&json!({"$in": "x"})), filtered(&json!({"$and": {}}))].into_iter().flatten().collect(),
        ),
        invalid(
            "`$and` and `$or` of nothing",
            "at least one filter",
            [filtered(&json!({"$and": []})), filtered(&json!({"$or": [{}]}))].into_iter().flatten().collect(),
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
