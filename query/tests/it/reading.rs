//! What an answer is read from: forced by the request, widened by filters on any property, bounded.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_meter::Aggregation;
use weir_query::QueryOptions;

use crate::world::{NOW_US, Sent, World};

const QUERY: &str = "/api/v1/meters/tokens/query";

fn sent(seconds: i64, data: &str) -> Sent {
    Sent {
        event_type: "t",
        subject: "a".into(),
        time_us: NOW_US + seconds * 1_000_000,
        data: Some(data.into()),
    }
}

async fn world(options: QueryOptions) -> World {
    let mut world = World::with(options).await;
    world.meter("tokens", Aggregation::Sum, Some("$.n"), &[("model", "$.model")]).await;
    world.meter("users", Aggregation::UniqueCount, Some("$.user.name"), &[]).await;
    world.freeze().await;
    world.take(
        0,
        &[
            sent(1, r#"{"n": 1, "model": "x", "user": {"name": "ann"}, "ok": true}"#),
            sent(2, r#"{"n": 2, "model": "y", "user": {"name": "bob"}, "ok": false}"#),
            sent(70, r#"{"n": 4, "model": "x", "user": {"name": "ann"}}"#),
            sent(71, r#"{"n": 8, "model": "y", "user": null, "ok": null}"#),
        ],
    );
    world.flush(true).await;
    world
}

#[tokio::test]
async fn a_request_says_what_it_is_read_from() {
    let world = world(QueryOptions::default()).await;
    let ask = async |from: &str, query: &str| {
        let headers = [("weir-read-from", from)];
        world.request(Method::GET, &format!("{QUERY}?{query}"), &headers, "").await
    };
    for (from, read) in [("rows", "windows=0, events=4, "), ("segments", ", events=0, ")] {
        let (status, headers, body) = ask(from, "windowSize=MINUTE").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert!(headers["weir-read"].to_str().unwrap().contains(read), "{from}: {headers:?}");
        assert!(body.contains(r#""value":12,"#), "{body}");
    }
    let (status, headers, body) = ask("segments", "from=2024-01-01T00:00:02Z&to=2024-01-01T00:02:00Z").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert!(body.contains("urn:weir:problem:rows-needed"), "{body}");
    let open = "4 offsets at times 2024-01-01T00:00:02Z..2024-01-01T00:01:00Z";
    assert!(body.contains(open), "{body}");
    let (status, _, body) = ask("head", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("Weir-Read-From"), "{body}");
}

#[tokio::test]
async fn any_property_can_be_filtered_on() {
    let world = world(QueryOptions::default()).await;
    let ask = async |meter: &str, body: Value| {
        let path = format!("/api/v1/meters/{meter}/query");
        let (status, headers, answer) = world.request(Method::POST, &path, &[], &body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert!(headers["weir-read"].to_str().unwrap().starts_with("windows=0, events=4, "), "{headers:?}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let rows = answer["data"].as_array().unwrap().clone();
        rows.iter().map(|row| (row["groupBy"].clone(), row["value"].as_i64().unwrap())).collect::<Vec<_>>()
    };
    let none = json!({});
    for (filters, total) in [
        (json!({"$.user.name": {"$eq": "ann"}}), 5),
        (json!({"$['user'].name": {"$ne": "ann"}}), 10),
        (json!({"$.ok": {"$in": ["true", "false"]}}), 3),
        (json!({"$.ok": {"$eq": "null"}}), 8),
        (json!({"$.user.name": {"$in": ["ann", "bob"]}, "$.ok": {"$eq": "false"}}), 2),
        (json!({"$.n": {"$like": "_"}}), 15),
    ] {
        assert_eq!(
            ask("tokens", json!({"filterProperties": filters})).await,
            [(none.clone(), total)],
            "{filters}"
        );
    }
    let body = json!({
        "filterProperties": {"$.user.name": {"$eq": "ann"}},
        "filterGroupBy": {"model": ["x", "y"]},
        "groupBy": ["model"],
        "windowSize": "MINUTE",
    });
    assert_eq!(ask("tokens", body).await, [(json!({"model": "x"}), 1), (json!({"model": "x"}), 4)]);
    // An event without a user is a user without a name.
    assert_eq!(ask("users", json!({"filterProperties": {"$.ok": {"$ne": "true"}}})).await, [(none, 3)]);
}

#[tokio::test]
async fn mistakes_in_filters_on_properties_are_told() {
    let world = world(QueryOptions::default()).await;
    let many: serde_json::Map<String, Value> =
        (0..=weir_query::PROPERTIES_MAX).map(|n| (format!("$.p{n}"), json!({"$eq": "x"}))).collect();
    for (filters, what) in [
        (
            json!({"user": {"$eq": "x"}}),
            "filterProperties: \\\"user\\\" at character 1: a path starts with $",
        ),
        (json!({"$.user": {"$is": "x"}}), "filterProperties \\\"$.user\\\": "),
        (json!({"$.user": "x"}), "a filter must be an object"),
        (json!(many), "at most 10 are allowed"),
    ] {
        let body = json!({"filterProperties": filters}).to_string();
        let (status, _, answer) = world.request(Method::POST, QUERY, &[], &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.contains("urn:weir:problem:invalid-filter") && answer.contains(what), "{answer}");
    }
    let (status, body) = world.get(&format!("{QUERY}?filterProperties=%7B%7D")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn what_rows_make_is_bounded_in_bytes() {
    // A window of a short subject and model takes a little more than 400.
    for (most, status) in [(2_000, StatusCode::OK), (1_000, StatusCode::BAD_REQUEST)] {
        let world = world(QueryOptions { folded_bytes_max: most, ..QueryOptions::default() }).await;
        let path = format!("{QUERY}?windowSize=MINUTE");
        let (got, _, body) = world.request(Method::GET, &path, &[("weir-read-from", "rows")], "").await;
        assert_eq!(got, status, "{body}");
        if status != StatusCode::OK {
            assert!(
                body.contains("urn:weir:problem:query-too-large") && body.contains("1000 bytes"),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn a_filter_that_is_not_understood_is_never_left_out() {
    let world = world(QueryOptions::default()).await;
    for query in [
        "filterProperties[$.model]=x",
        "filterproperties=x",
        "advancedMeterGroupByFilters[model]=x",
        "filterGroupby[model]=x",
    ] {
        let (status, body) = world.get(&format!("{QUERY}?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
    }
    for body in [
        r#"{"filterproperties": {"$.model": {"$eq": "x"}}}"#,
        r#"{"filterProperties": {"$.model": {}}}"#,
        r#"{"filters": {}}"#,
    ] {
        let (status, _, answer) = world.request(Method::POST, QUERY, &[], body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        assert!(answer.contains("filter"), "{answer}");
    }
}

#[tokio::test]
async fn windows_that_cannot_be_read_are_answered_from_rows() {
    let mut world = World::new().await;
    world.meter("n", Aggregation::UniqueCount, Some("$.v"), &[]).await;
    world.freeze().await;
    let event = |value: u32| Sent {
        event_type: "t",
        subject: "s".to_owned(),
        time_us: NOW_US,
        data: Some(format!("{{\"v\": {value}}}")),
    };
    world.take(0, &[event(1), event(2), event(1)]);
    world.flush(true).await;
    let value = async |world: &World| world.usage("n", "").await.unwrap().rows[0].value.clone();
    assert_eq!(value(&world).await, "2");
    for kind in ["members", "windows"] {
        for file in std::fs::read_dir(world.temporary.path().join("store").join(kind)).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        assert_eq!(value(&world).await, "2", "without {kind}");
    }
    let (status, _, body) =
        world.request(Method::GET, "/api/v1/meters/n/query", &[("weir-read-from", "segments")], "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
}
