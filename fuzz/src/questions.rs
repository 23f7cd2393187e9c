//! Questions as sent: a query string, or a body if the input begins with a brace. Nothing panics, what is refused
//! is the client's to mend, the filters that come out are those that the JSON says (read a second time by
//! code of this file) and within their bounds, and a body that a query string can say as well means the
//! same in both.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use datafusion::prelude::ident;
use serde_json::{Map, Value};
use weir_meter::path::Path;
use weir_meter::{Aggregation, Meter, MeterId, Namespace};
use weir_query::{
    Compare, FILTER_DEPTH_MAX, FILTER_VALUE_BYTES_MAX, FILTER_VALUES_MAX, Filter, FilterBudget, NAMES_MAX,
    PROPERTIES_MAX, QueryError, UsageParams, UsageRequest,
};

static METER: LazyLock<Meter> = LazyLock::new(|| Meter {
    id: MeterId(1),
    generation: 1,
    namespace: Namespace::default(),
    slug: "tokens".to_owned(),
    name: "Tokens".to_owned(),
    description: None,
    metadata: None,
    event_type: "prompt".to_owned(),
    aggregation: Aggregation::Sum,
    value_property: Some("$.tokens".to_owned()),
    group_by: BTreeMap::from(
        [("model", "$.model"), ("region", "$.region")].map(|(k, v)| (k.to_owned(), v.to_owned())),
    ),
    event_from_us: None,
    created_revision: 1,
    deleted_revision: None,
    created_at_us: 0,
    updated_at_us: 0,
    deleted_at_us: None,
});

pub(crate) fn target(data: &[u8]) {
    if data.first() == Some(&b'{') {
        if let Ok(params) = UsageParams::from_json(data).inspect_err(blames_the_client) {
            if let Some(query) = as_query(&params) {
                assert_eq!(UsageParams::from_query(&query).ok().as_ref(), Some(&params), "{query}");
            }
            asked(params);
        }
        if let Ok(value) = serde_json::from_slice(data) {
            filter(&value);
        }
    } else if let Ok(text) = std::str::from_utf8(data)
        && let Ok(params) = UsageParams::from_query(text).inspect_err(blames_the_client)
    {
        assert_eq!(params.filter_properties, None);
        asked(params);
    }
}

fn blames_the_client(error: &QueryError) {
    assert_eq!(error.outcome(), "refused", "{error}");
}

fn asked(params: UsageParams) {
    let checked = params.check();
    let asked = UsageRequest::new(params.clone(), &METER).inspect_err(blames_the_client);
    let Ok(request) = asked else { return };
    assert!(checked.is_ok());
    for time_us in [request.from_us, request.to_us].into_iter().flatten() {
        assert_eq!(time_us % 1_000_000, 0);
    }
    if let (Some(from_us), Some(to_us)) = (request.from_us, request.to_us) {
        assert!(from_us < to_us);
    }
    if let Some(subjects) = &request.subjects {
        assert!(request.by_subject && !subjects.is_empty() && subjects.len() <= NAMES_MAX);
        assert!(subjects.is_sorted_by(|a, b| a < b));
        let asked = params.subject.as_ref().unwrap();
        assert!(subjects.iter().all(|subject| asked.contains(subject)));
    }
    assert!(request.group_by.len() <= METER.group_by.len());
    for (key, place) in &request.group_by {
        assert_eq!(METER.group_by.keys().nth(*place), Some(key));
    }
    assert!(request.properties.len() <= PROPERTIES_MAX);
    assert!(request.properties.iter().all(|path| Path::parse(path).is_ok()));
    // Each filter that was sent and says something is there once, at its place.
    let mut expected = Vec::new();
    for (key, values) in params.filter_group_by.iter().flatten().filter(|(_, values)| !values.is_empty()) {
        expected.push((place(key), Filter::In { values: values.clone(), negated: false }));
    }
    for (key, value) in params.advanced_meter_group_by_filters.iter().flatten() {
        expected.extend(said(value, 0).expect("taken").map(|filter| (place(key), filter)));
    }
    for (at, value) in params.filter_properties.iter().flat_map(Map::values).enumerate() {
        let filter = said(value, 0).expect("taken").expect("a filter that says something");
        expected.push((METER.group_by.len() + at, filter));
    }
    assert_eq!(request.filters, expected);
}

fn place(key: &str) -> usize {
    METER.group_by.keys().position(|k| k == key).expect("a key of the meter")
}

/// One filter by itself: taken exactly if the second reader takes it and it is within the bounds.
fn filter(value: &Value) {
    let parsed = Filter::parse(value, &mut FilterBudget::default());
    match (parsed, said(value, 0)) {
        (Ok(parsed), Some(expected)) => {
            assert_eq!(parsed, expected);
            if let Some(filter) = parsed {
                assert!(conditions(&filter) <= FILTER_VALUES_MAX);
                drop(filter.expression(&ident("Group")));
            }
        }
        (Ok(parsed), None) => panic!("taken, but says nothing that there is: {parsed:?}"),
        (Err(error), Some(_)) => {
            blames_the_client(&error);
            let over = ["conditions", "bytes"].iter().any(|word| error.to_string().contains(word));
            assert!(over, "refused, but keeps every rule: {error}");
        }
        (Err(error), None) => blames_the_client(&error),
    }
}

fn conditions(filter: &Filter) -> usize {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => 1 + parts.iter().map(conditions).sum::<usize>(),
        Filter::In { values, .. } => 1 + values.len(),
        Filter::Compare(_, text) | Filter::Like { pattern: text, .. } => {
            assert!(text.len() <= FILTER_VALUE_BYTES_MAX);
            1
        }
    }
}

/// What a FilterString says, from the contract: None if it is wrong, `Some(None)` if it says nothing.
fn said(value: &Value, depth: usize) -> Option<Option<Filter>> {
    let members = value.as_object().filter(|_| depth <= FILTER_DEPTH_MAX)?;
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let texts = |value: &Value| value.as_array()?.iter().map(text).collect::<Option<Vec<_>>>();
    let mut filters = Vec::new();
    for (operator, operand) in members {
        let known = "$eq $ne $gt $gte $lt $lte $like $nlike $ilike $nilike $in $nin $and $or";
        if !known.split(' ').any(|name| name == operator) {
            return None;
        }
        if !operand.is_null() {
            filters.push((operator.as_str(), operand));
        }
    }
    let (operator, operand) = match filters[..] {
        [] => return Some(None),
        [only] => only,
        _ => return None,
    };
    let compare = |compare| Some(Filter::Compare(compare, text(operand)?));
    let like = |negated, any_case| Some(Filter::Like { pattern: text(operand)?, negated, any_case });
    let parts = || {
        let parts =
            operand.as_array()?.iter().map(|part| said(part, depth + 1)).collect::<Option<Vec<_>>>()?;
        Some(parts.into_iter().flatten().collect::<Vec<_>>()).filter(|parts| !parts.is_empty())
    };
    let filter = match operator {
        "$eq" => compare(Compare::Equal),
        "$ne" => compare(Compare::NotEqual),
        "$gt" => compare(Compare::Greater),
        "$gte" => compare(Compare::GreaterOrEqual),
        "$lt" => compare(Compare::Less),
        "$lte" => compare(Compare::LessOrEqual),
        "$like" => like(false, false),
        "$nlike" => like(true, false),
        "$ilike" => like(false, true),
        "$nilike" => like(true, true),
        "$in" => texts(operand).map(|values| Filter::In { values, negated: false }),
        "$nin" => texts(operand).map(|values| Filter::In { values, negated: true }),
        "$and" => parts().map(Filter::All),
        _ => parts().map(Filter::Any),
    };
    filter.map(Some)
}

/// The same question as a query string, if it can be said as one: lists repeat their parameter, so an empty
/// list cannot, and properties are for bodies.
fn as_query(params: &UsageParams) -> Option<String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [
        ("clientId", &params.client_id),
        ("from", &params.from),
        ("to", &params.to),
        ("windowSize", &params.window_size),
        ("windowTimeZone", &params.window_time_zone),
    ] {
        query.extend_pairs(value.iter().map(|value| (name, value)));
    }
    for (name, values) in [
        ("subject", &params.subject),
        ("groupBy", &params.group_by),
        ("filterCustomerId", &params.filter_customer_id),
    ] {
        if values.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        query.extend_pairs(values.iter().flatten().map(|value| (name, value)));
    }
    if let Some(filters) = &params.filter_group_by {
        if filters.is_empty() || filters.values().any(Vec::is_empty) {
            return None;
        }
        let pairs = filters.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)));
        query.extend_pairs(pairs.map(|(key, value)| (format!("filterGroupBy[{key}]"), value)));
    }
    if let Some(filters) = &params.advanced_meter_group_by_filters {
        query.append_pair("advancedMeterGroupByFilters", &Value::Object(filters.clone()).to_string());
    }
    params.filter_properties.is_none().then(|| query.finish())
}
