//! Both ways to ask a usage question, and what is refused about them.

use weir_meter::{Aggregation, MeterId, Namespace};

use super::*;
use crate::filter::Compare;

fn meter() -> Meter {
    Meter {
        id: MeterId(1),
        generation: 1,
        namespace: Namespace::default(),
        slug: "tokens".into(),
        name: "tokens".into(),
        description: None,
        metadata: None,
        event_type: "prompt".into(),
        aggregation: Aggregation::Sum,
        value_property: Some("$.tokens".into()),
        group_by: [("model", "$.model"), ("kind", "$.kind")].map(|(k, p)| (k.into(), p.into())).into(),
        event_from_us: None,
        created_revision: 1,
        deleted_revision: None,
        created_at_us: 0,
        updated_at_us: 0,
        deleted_at_us: None,
    }
}

fn get(query: &str) -> Result<UsageRequest, String> {
    UsageParams::from_query(query)
        .and_then(|params| UsageRequest::new(params, &meter()))
        .map_err(|e| e.to_string())
}

fn post(body: &str) -> Result<UsageRequest, String> {
    UsageParams::from_json(body.as_bytes())
        .and_then(|params| UsageRequest::new(params, &meter()))
        .map_err(|e| e.to_string())
}

#[test]
fn a_query_string_repeats_and_uses_brackets() {
    let request =
        get("subject=b%2Cc&subject=a&groupBy=model&groupBy=kind&groupBy=model&filterGroupBy[model]=gpt%204\
         &filterGroupBy%5Bkind%5D=&windowSize=DAY&windowTimeZone=Europe%2FBerlin&unknown=1\
         &from=2024-01-01T00:00:00.900Z&to=2024-01-01T00:00:01Z")
        .unwrap();
    assert_eq!(request.subjects, Some(vec!["a".into(), "b,c".into()]));
    assert!(request.by_subject);
    assert_eq!(request.group_by, [("model".into(), 1), ("kind".into(), 0)]);
    assert_eq!(
        request.filters,
        [
            (0, Filter::In { values: vec![String::new()], negated: false }),
            (1, Filter::In { values: vec!["gpt 4".into()], negated: false }),
        ]
    );
    assert_eq!(request.window_size, Some(WindowSize::Day));
    assert!(request.zone.is_some());
    assert_eq!(request.from_us, Some(1_704_067_200_000_000));
    assert_eq!(request.to_us, Some(1_704_067_201_000_000));
}

#[test]
fn a_body_takes_lists_and_nulls() {
    let request = post(
        r#"{"subject": [], "filterGroupBy": {"model": ["a", "b"], "kind": []}, "from": null, "more": 1,
            "groupBy": ["subject"]}"#,
    )
    .unwrap();
    assert_eq!(request.subjects, None);
    assert!(request.by_subject);
    assert_eq!(request.filters, [(1, Filter::In { values: vec!["a".into(), "b".into()], negated: false })]);
    assert!(post("{}").unwrap().is_total());
}

#[test]
fn advanced_filters_come_as_json() {
    let request = get("advancedMeterGroupByFilters=%7B%22model%22:%7B%22$ne%22:%22x%22%7D%7D").unwrap();
    assert_eq!(request.filters, [(1, Filter::Compare(Compare::NotEqual, "x".into()))]);
}

#[test]
fn mistakes_in_query_strings_are_told() {
    for (query, what) in [
        ("from=2024-01-01T00:00:00Z&to=2024-01-01T00:00:00.5Z", "from must be before to"),
        ("from=yesterday", "from is not a time"),
        ("from=2024-01-01T00:00:00Z&from=2024-01-01T00:00:00Z", "from is given twice"),
        ("windowSize=WEEK", "unknown windowSize"),
        ("windowTimeZone=Mars%2FOlympus", "unknown windowTimeZone"),
        ("groupBy=colour", "invalid group by: colour; the meter has "),
        ("groupBy=customer_id", "customers"),
        ("filterCustomerId=1", "customers"),
        ("filterGroupBy[colour]=x", "invalid group by filter"),
        ("filterGroupBy%5Bmodel=x", "filterGroupBy[key]=value"),
        ("filterGroupByModel=x", "filterGroupBy[key]=value"),
        ("filterGroupBy=%7B%27model%27:%27x%27%7D", "filterGroupBy[key]=value"),
        ("filterGroupBy[model]=x&advancedMeterGroupByFilters=%7B%22kind%22:%7B%7D%7D", "together"),
        ("advancedMeterGroupByFilters=%5B%5D", "JSON object"),
        ("advancedMeterGroupByFilters=%7B%22colour%22:%7B%7D%7D", "invalid group by filter"),
        ("clientId=", "clientId"),
        ("clientId=1234567890123456789012345678901234567", "clientId"),
    ] {
        let error = get(query).unwrap_err();
        assert!(error.contains(what), "{query}: {error}");
    }
    assert!(get(&"subject=x&".repeat(NAMES_MAX + 1)).unwrap_err().contains("at most"));
}

#[test]
fn mistakes_in_bodies_are_told() {
    let error = post(r#"{"from": "2024-01-01T00:00:00Z", "subject": ["a", 5]}"#).unwrap_err();
    assert!(error.contains("subject[1]: invalid type: integer `5`, expected a string"), "{error}");
    for body in [
        "",
        "[]",
        "[null,null,null,null,null,null,null,null,null,null]",
        "{",
        r#"{"subject": "a"}"#,
        r#"{"filterGroupBy": {"model": "a"}}"#,
    ] {
        assert!(post(body).unwrap_err().contains("not a meter query"), "{body}");
    }
}
