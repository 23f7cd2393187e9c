//! The reference against numbers worked out by hand, so that it is believed for its own sake and not
//! because the product agrees with it.

use std::collections::BTreeMap;

use super::json::Json;
use super::model::{Aggregation, Events, Filter, Meter, Query, Row, WindowSize, micros};
use super::{answer, number, path, zone};

fn counted(text: &str) -> Option<String> {
    number::counted(text).map(|n| number::plain(&n))
}

#[test]
fn json_keeps_number_texts_and_the_last_of_two_keys() {
    let json = Json::parse(r#" {"a" : 1.50, "b":[true, null,-0.0e+5], "\u0061": "\ud83d\ude00\/\n"} "#);
    assert_eq!(json.text("a"), "😀/\n");
    assert_eq!(json.get("b").unwrap().items()[2], Json::Number("-0.0e+5".to_owned()));
    assert!(Json::try_parse("{\"a\":1,}").is_err());
    assert!(Json::try_parse("[1] 2").is_err());
}

#[test]
fn every_spelling_of_a_value() {
    let spellings = [
        ("5", Some("5")),
        ("2.5", Some("2.5")),
        ("-1", Some("-1")),
        ("1e3", Some("1000")),
        ("+4", Some("4")),
        (".5", Some("0.5")),
        ("5.", Some("5")),
        ("-0", Some("0")),
        ("1.50E-2", Some("0.015")),
        ("1e-31", Some("0")),
        ("5e-31", Some("0")),
        ("15e-31", Some("0.000000000000000000000000000002")),
        ("51e-32", Some("0.000000000000000000000000000001")),
        ("1e-999999999999999999999", Some("0")),
        ("0e999999999999999999999", Some("0")),
        ("1e999999999999999999999", None),
        ("1e33", None),
        ("-1e33", None),
        ("999999999999999999999999999999999", Some("999999999999999999999999999999999")),
        ("", None),
        (".", None),
        ("e5", None),
        ("1e", None),
        ("1e+", None),
        ("+-1", None),
        (" 5", None),
        ("5 ", None),
        ("0x10", None),
        ("1_000", None),
        ("NaN", None),
        ("Inf", None),
        ("null", None),
        ("٣", None),
    ];
    for (text, value) in spellings {
        assert_eq!(counted(text).as_deref(), value, "{text:?}");
    }
}

#[test]
fn averages_have_28_significant_digits_half_even() {
    let average = |sum: &str, count| number::plain(&number::average(&number::counted(sum).unwrap(), count));
    assert_eq!(average("1", 3), "0.3333333333333333333333333333");
    assert_eq!(average("2", 3), "0.6666666666666666666666666667");
    assert_eq!(average("-200", 3), "-66.66666666666666666666666667");
    assert_eq!(average("1", 4), "0.25");
    assert_eq!(average("0", 7), "0");
    assert_eq!(average("1e-30", 3), "0.0000000000000000000000000000003333333333333333333333333333");
    assert_eq!(average("100000000000000000000000000000000", 3), "33333333333333333333333333330000");
    // The 29th digit is a lone 5: down to an even neighbour, up from an odd one.
    assert_eq!(average("2000000000000000000000000001", 2), "1000000000000000000000000000");
    assert_eq!(average("2000000000000000000000000003", 2), "1000000000000000000000000002");
}

#[test]
fn paths_of_every_spelling_and_the_first_match() {
    let data =
        Json::parse(r#"{"a":{"b":1},"a b":2,"a-b":3,"l":[{"x":null,"y":[]},{"y":5},{"y":6}],"":{"":7}}"#);
    let at = |text: &str| path::find(&data, &path::steps(text)).cloned();
    let number = |text: &str| Some(Json::Number(text.to_owned()));
    assert_eq!(at("$.a.b"), number("1"));
    assert_eq!(at("$['a b']"), number("2"));
    assert_eq!(at("$[\"a b\"]"), number("2"));
    assert_eq!(at("$.\"a-b\""), number("3"));
    assert_eq!(at("$.l[1].y"), number("5"));
    assert_eq!(at("$.l[*].y"), number("5"));
    assert_eq!(at("$.l[*].x"), Some(Json::Null));
    assert_eq!(at("$.l[7]"), None);
    assert_eq!(at("$.A"), None);
    assert_eq!(at("$.a[*]"), None);
    assert_eq!(at("$.a"), None);
    assert_eq!(at("$['']['']"), number("7"));
}

#[test]
fn windows_of_odd_days() {
    let second = |text: &str| micros(text) / 1_000_000;
    let check = |time: &str, size, zone_name: &str, start: &str, end: &str| {
        let window = zone::window(second(time), size, zone::zone(zone_name));
        assert_eq!(window, (second(start), second(end)), "{time} {size:?} {zone_name}");
    };
    use WindowSize::{Day, Hour, Minute, Month};
    // 23 and 25 hours.
    check("2013-03-10T12:00:00Z", Day, "America/New_York", "2013-03-10T05:00:00Z", "2013-03-11T04:00:00Z");
    check("2013-11-03T12:00:00Z", Day, "America/New_York", "2013-11-03T04:00:00Z", "2013-11-04T05:00:00Z");
    check("2013-11-03T05:30:00Z", Hour, "America/New_York", "2013-11-03T05:00:00Z", "2013-11-03T06:00:00Z");
    check("2013-11-03T06:30:00Z", Hour, "America/New_York", "2013-11-03T06:00:00Z", "2013-11-03T07:00:00Z");
    check("2024-05-01T00:45:00Z", Hour, "Asia/Kolkata", "2024-05-01T00:30:00Z", "2024-05-01T01:30:00Z");
    // No midnight: the day begins at one o'clock.
    check("2018-11-04T12:00:00Z", Day, "America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z");
    // Clocks go from two back to half past one: that hour is an hour and a half long. Half a year later
    // they skip the first half of the hour of two.
    let lord_howe = "Australia/Lord_Howe";
    check("2024-04-06T15:15:00Z", Hour, lord_howe, "2024-04-06T14:00:00Z", "2024-04-06T15:30:00Z");
    check("2024-10-05T15:45:00Z", Hour, lord_howe, "2024-10-05T15:30:00Z", "2024-10-05T16:00:00Z");
    // Far ahead, by today's rules.
    check("2099-07-01T12:00:00Z", Day, "America/New_York", "2099-07-01T04:00:00Z", "2099-07-02T04:00:00Z");
    check("2098-12-31T23:59:59Z", Month, lord_howe, "2098-12-31T13:00:00Z", "2099-01-31T13:00:00Z");
    // Clocks show the last hour of the day twice.
    let sao_paulo = "America/Sao_Paulo";
    check("2018-02-18T02:10:00Z", Hour, sao_paulo, "2018-02-18T02:00:00Z", "2018-02-18T03:00:00Z");
    check("2018-02-18T02:10:00Z", Day, sao_paulo, "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z");
    // 24.5 hours.
    check("2024-04-07T00:00:00Z", Day, "Australia/Lord_Howe", "2024-04-06T13:00:00Z", "2024-04-07T13:30:00Z");
    check(
        "2024-12-31T23:00:00Z",
        Month,
        "Australia/Lord_Howe",
        "2024-12-31T13:00:00Z",
        "2025-01-31T13:00:00Z",
    );
    // 44 minutes and 30 seconds behind, until a leap over midnight.
    check("1971-12-31T00:00:00Z", Minute, "Africa/Monrovia", "1971-12-30T23:59:30Z", "1971-12-31T00:00:30Z");
    check("1972-01-06T12:00:00Z", Day, "Africa/Monrovia", "1972-01-06T00:44:30Z", "1972-01-07T00:44:30Z");
    check("1972-01-07T12:00:00Z", Day, "Africa/Monrovia", "1972-01-07T00:44:30Z", "1972-01-08T00:00:00Z");
    check("1970-01-01T00:00:00Z", Day, "Africa/Monrovia", "1969-12-31T00:44:30Z", "1970-01-01T00:44:30Z");
}

fn event(id: &str, time: &str, subject: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","subject":"{subject}","time":"{time}","data":{data}}}"#
    )
}

fn five_events() -> Events {
    let mut events = Events::default();
    let day = "2024-02-29T";
    assert!(events.add(&event("1", &format!("{day}10:00:59.9Z"), "b", r#"{"v":"1.5","g":1.0}"#)));
    assert!(events.add(&event("2", &format!("{day}12:00:00+02:00"), "a", r#"{"v":2,"g":"1"}"#)));
    assert!(!events.add(&event("1", &format!("{day}11:00:00Z"), "z", r#"{"v":100}"#)));
    assert!(events.add(&event("3", &format!("{day}10:00:59.9Z"), "a", r#"{"v":"x","g":null}"#)));
    assert!(events.add(&event("4", &format!("{day}11:30:00Z"), "b", "null")));
    assert!(events.add(&event("5", &format!("{day}11:30:00Z"), "b", r#"{"v":[1],"g":"null"}"#)));
    events
}

fn meter(aggregation: Aggregation) -> Meter {
    let value_property = (aggregation != Aggregation::Count).then(|| "$.v".to_owned());
    Meter {
        slug: "m".to_owned(),
        event_type: "t".to_owned(),
        aggregation,
        value_property,
        group_by: BTreeMap::from([("g".to_owned(), "$.g".to_owned())]),
        event_from: None,
    }
}

fn values(aggregation: Aggregation, query: &Query) -> Vec<String> {
    answer(&five_events().accepted, &meter(aggregation), query).into_iter().map(|row| row.value).collect()
}

#[test]
fn seven_aggregations_and_a_copy_that_does_not_count() {
    let all = Query::default();
    assert_eq!(values(Aggregation::Sum, &all), ["3.5"]);
    assert_eq!(values(Aggregation::Count, &all), ["5"]);
    assert_eq!(values(Aggregation::Avg, &all), ["1.75"]);
    assert_eq!(values(Aggregation::Min, &all), ["1.5"]);
    assert_eq!(values(Aggregation::Max, &all), ["2"]);
    assert_eq!(values(Aggregation::Latest, &all), ["1.5"]);
    // "1.5", 2, "x", and one text for both the missing value and the array.
    assert_eq!(values(Aggregation::UniqueCount, &all), ["4"]);
}

#[test]
fn windows_groups_and_order() {
    let query = Query {
        window: Some(WindowSize::Hour),
        group_by: vec!["subject".to_owned(), "g".to_owned()],
        ..Query::default()
    };
    let rows = answer(&five_events().accepted, &meter(Aggregation::Count), &query);
    let short: Vec<_> = rows
        .iter()
        .map(|r| (r.window_start, r.subject.as_deref().unwrap(), r.group_by["g"].as_str(), r.value.as_str()))
        .collect();
    let ten = micros("2024-02-29T10:00:00Z") / 1_000_000;
    assert_eq!(
        short,
        [
            (ten, "a", "1", "1"),
            (ten, "a", "null", "1"),
            (ten, "b", "1", "1"),
            (ten + 3_600, "b", "", "1"),
            (ten + 3_600, "b", "null", "1"),
        ]
    );
    assert_eq!(values(Aggregation::Sum, &query), ["2", "1.5"]);
}

#[test]
fn bounds_are_whole_seconds_and_totals_say_their_minutes() {
    let second = |text: &str| micros(text) / 1_000_000;
    let from = Query { from_us: Some(micros("2024-02-29T10:00:59.95Z")), ..Query::default() };
    let rows = answer(&five_events().accepted, &meter(Aggregation::Count), &from);
    let row = Row {
        value: "4".to_owned(),
        window_start: second("2024-02-29T10:00:59Z"),
        window_end: second("2024-02-29T11:31:00Z"),
        subject: None,
        group_by: BTreeMap::new(),
    };
    assert_eq!(rows, [row]);
    let to = Query { to_us: Some(micros("2024-02-29T10:00:59.95Z")), ..Query::default() };
    let rows = answer(&five_events().accepted, &meter(Aggregation::Count), &to);
    assert_eq!((rows[0].value.as_str(), rows[0].window_start), ("1", second("2024-02-29T10:00:00Z")));
    let empty = Query { to_us: Some(micros("2000-01-01T00:00:00Z")), ..Query::default() };
    assert_eq!(values(Aggregation::Sum, &empty), [""; 0]);
    assert_eq!(values(Aggregation::UniqueCount, &empty), ["0"]);
    assert_eq!(values(Aggregation::Count, &Query { window: Some(WindowSize::Day), ..empty }), [""; 0]);
}

#[test]
fn a_subject_filter_groups_by_subject() {
    let query = Query { subjects: vec!["b".to_owned(), "none".to_owned()], ..Query::default() };
    let rows = answer(&five_events().accepted, &meter(Aggregation::Count), &query);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].subject.as_deref(), rows[0].value.as_str()), (Some("b"), "3"));
}

#[test]
fn filters_compare_texts() {
    let compare = |operator, operand: &str| Filter::Compare(operator, operand.to_owned());
    assert!(compare("$like", "a%c_").admits("abbcd"));
    assert!(!compare("$like", "a%c_").admits("abbc"));
    assert!(compare("$like", "_ß%").admits("größe".strip_prefix("gr").unwrap().trim()));
    assert!(compare("$ilike", "A%").admits("abc"));
    assert!(compare("$gt", "10").admits("9"));
    assert!(compare("$nlike", "%x%").admits(""));
    let both =
        Filter::And(vec![compare("$ne", "b"), Filter::Or(vec![compare("$eq", "a"), compare("$eq", "b")])]);
    assert!(both.admits("a") && !both.admits("b"));

    let mut query = Query {
        filter_group_by: BTreeMap::from([("g".to_owned(), vec!["1".to_owned()])]),
        ..Query::default()
    };
    assert_eq!(values(Aggregation::Sum, &query), ["3.5"]);
    query.filter_group_by.clear();
    query.advanced.insert("g".to_owned(), Filter::NotIn(vec!["1".to_owned(), "null".to_owned()]));
    assert_eq!(values(Aggregation::Count, &query), ["1"]);
}
