//! FilterString against an evaluator that is written from the contract and shares no code.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use datafusion::prelude::{SessionContext, ident};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(value: Value) -> Result<Option<Filter>, String> {
    Filter::parse(&value, &mut FilterBudget::default()).map_err(|e| e.to_string())
}

#[test]
fn each_operator_is_read() {
    assert_eq!(parse(json!({"$eq": "a"})), Ok(Some(Filter::Compare(Compare::Equal, "a".into()))));
    assert_eq!(
        parse(json!({"$nilike": "A%"})),
        Ok(Some(Filter::Like { pattern: "A%".into(), negated: true, any_case: true }))
    );
    assert_eq!(
        parse(json!({"$and": [{"$in": ["a", "b"]}, {"$or": [{"$lt": "c"}]}]})),
        Ok(Some(Filter::All(vec![
            Filter::In { values: vec!["a".into(), "b".into()], negated: false },
            Filter::Any(vec![Filter::Compare(Compare::Less, "c".into())]),
        ])))
    );
    assert_eq!(parse(json!({"$eq": null})), Ok(None));
    for operator in OPERATORS {
        let operand = match operator {
            "$in" | "$nin" => json!(["a"]),
            "$and" | "$or" => json!([{"$eq": "a"}]),
            _ => json!("a"),
        };
        let mut filter = serde_json::Map::new();
        filter.insert(operator.to_owned(), operand);
        assert!(matches!(parse(Value::Object(filter)), Ok(Some(_))), "{operator}");
    }
}

#[test]
fn each_mistake_is_told() {
    for (filter, what) in [
        (json!({"$eq": "a", "$ne": "b"}), "multiple operators set"),
        (json!({"$equals": "a"}), "unknown operator"),
        (json!({"$equals": null}), "unknown operator"),
        (json!({"$eq": ""}), "empty string"),
        (json!({"$eq": 5}), "compares with a string"),
        (json!({"$in": "a"}), "takes a list"),
        (json!({"$and": []}), "at least one filter"),
        (json!("a"), "must be an object"),
    ] {
        let error = parse(filter).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let nest = |depth| (0..depth).fold(json!({"$eq": "a"}), |inner, _| json!({"$and": [inner]}));
    assert!(parse(nest(FILTER_DEPTH_MAX)).is_ok());
    assert!(parse(nest(FILTER_DEPTH_MAX + 1)).unwrap_err().contains("nested"));
    assert!(parse(json!({"$in": vec!["a"; FILTER_VALUES_MAX + 1]})).unwrap_err().contains("conditions"));
    assert!(parse(json!({"$eq": "a".repeat(FILTER_VALUE_BYTES_MAX + 1)})).unwrap_err().contains("bytes"));
}

/// LIKE by trying every split.
fn like(value: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => value.is_empty(),
        ['%', rest @ ..] => (0..=value.len()).any(|at| like(&value[at..], rest)),
        ['\\', escaped, rest @ ..] => value.first() == Some(escaped) && like(&value[1..], rest),
        ['_', rest @ ..] => !value.is_empty() && like(&value[1..], rest),
        [letter, rest @ ..] => value.first() == Some(letter) && like(&value[1..], rest),
    }
}

fn matches(filter: &Filter, value: &str) -> bool {
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    match filter {
        Filter::Compare(compare, other) => {
            let (value, other) = (value.as_bytes(), other.as_bytes());
            match compare {
                Compare::Equal => value == other,
                Compare::NotEqual => value != other,
                Compare::Greater => value > other,
                Compare::GreaterOrEqual => value >= other,
                Compare::Less => value < other,
                Compare::LessOrEqual => value <= other,
            }
        }
        Filter::Like { pattern, negated, any_case } => {
            let fold = |text: &str| if *any_case { text.to_lowercase() } else { text.to_owned() };
            like(&chars(&fold(value)), &chars(&fold(pattern))) != *negated
        }
        Filter::In { values, negated } => values.iter().any(|v| v == value) != *negated,
        Filter::All(parts) => parts.iter().all(|part| matches(part, value)),
        Filter::Any(parts) => parts.iter().any(|part| matches(part, value)),
    }
}

fn a_filter() -> impl Strategy<Value = Filter> {
    let compare = prop_oneof![
        Just(Compare::Equal),
        Just(Compare::NotEqual),
        Just(Compare::Greater),
        Just(Compare::GreaterOrEqual),
        Just(Compare::Less),
        Just(Compare::LessOrEqual),
    ];
    let leaf = prop_oneof![
        (compare, "[aB'%]{1,2}").prop_map(|(compare, value)| Filter::Compare(compare, value)),
        (r"([abB%_'.]|\\%|\\_){1,4}", any::<bool>(), any::<bool>())
            .prop_map(|(pattern, negated, any_case)| Filter::Like { pattern, negated, any_case }),
        (prop::collection::vec("[aB']{1,2}", 0..3), any::<bool>())
            .prop_map(|(values, negated)| Filter::In { values, negated }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Filter::All),
            prop::collection::vec(inner, 1..4).prop_map(Filter::Any),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_expression_says_what_the_filter_says(
        filter in a_filter(), values in prop::collection::vec("[abB%_'.]{0,3}", 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let column: ArrayRef = Arc::new(StringArray::from(values.clone()));
        let batch = RecordBatch::try_from_iter([("Group", column)]).unwrap();
        let found: Vec<bool> = runtime.block_on(async {
            let frame = SessionContext::new().read_batch(batch).unwrap();
            let frame = frame.select([filter.expression(&ident("Group")).alias("found")]).unwrap();
            let batches = frame.collect().await.unwrap();
            batches.iter().flat_map(|batch| {
                let column = batch.column(0).as_any().downcast_ref::<BooleanArray>().unwrap();
                column.iter().map(|v| v.unwrap()).collect::<Vec<_>>()
            }).collect()
        });
        let expected: Vec<bool> = values.iter().map(|value| matches(&filter, value)).collect();
        prop_assert_eq!(found, expected);
    }
}
