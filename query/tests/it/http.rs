//! The wire: what SDKs compare to the letter.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_meter::Aggregation;
use weir_query::QueryOptions;

use crate::world::{NOW_US, Sent, World};

const S: i64 = 1_000_000;

const TOKENS: &str = r#"{"slug": "tokens", "eventType": "t", "aggregation": "SUM", "valueProperty": "$.n",
    "groupBy": {"model": "$.model", "kind": "$.kind"}, "unknown": 1, "id": "mine"}"#;

fn sent(subject: &str, seconds: i64, data: &str) -> Sent {
    Sent {
        event_type: "t",
        subject: subject.to_owned(),
        time_us: NOW_US + seconds * S,
        data: Some(data.to_owned()),
    }
}

async fn world_with_events() -> World {
    let mut world = World::new().await;
    let (status, _, _) = world.request(Method::POST, "/api/v1/meters", &[], TOKENS).await;
    assert_eq!(status, StatusCode::CREATED);
    world.freeze().await;
    world.take(
        0,
        &[
            sent("a", 5, r#"{"n": "12345678901234567890.123456789012345678", "model": "x", "kind": "in"}"#),
            sent("a", 70, r#"{"n": 0.1, "model": "y,\"z\"", "kind": null}"#),
            sent("b", 3_600, r#"{"n": 0.2, "model": "x"}"#),
        ],
    );
    world.flush(true).await;
    world
}

#[tokio::test]
async fn a_meter_lives_and_ends() {
    let world = World::new().await;
    let (status, headers, body) = world.request(Method::POST, "/api/v1/meters", &[], TOKENS).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(headers["content-type"], "application/json");
    let meter: Value = serde_json::from_str(&body).unwrap();
    let id = meter["id"].as_str().unwrap().to_owned();
    assert_ne!(id, "mine");
    assert_eq!(meter["name"], "tokens");
    assert_eq!(meter["createdAt"], "2024-01-01T00:00:00Z");
    assert_eq!(meter["groupBy"], json!({"kind": "$.kind", "model": "$.model"}));

    let (status, _, body) = world.request(Method::POST, "/api/v1/meters", &[], TOKENS).await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    for by in ["tokens", &id] {
        let (status, body) = world.get(&format!("/api/v1/meters/{by}")).await;
        assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (StatusCode::OK, meter.clone()));
    }
    let (status, body) = world.get("/api/v1/meters").await;
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (StatusCode::OK, json!([meter])));

    let path = format!("/api/v1/meters/{id}");
    for _ in 0..2 {
        let (status, _, body) = world.request(Method::DELETE, &path, &[], "").await;
        assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
    }
    let (status, body) = world.get(&path).await;
    assert_eq!(status, StatusCode::OK);
    assert!(serde_json::from_str::<Value>(&body).unwrap()["deletedAt"].is_string());
    let (status, headers, body) = world.request(Method::GET, "/api/v1/meters/tokens", &[], "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["detail"],
        "not found error: meter not found: tokens"
    );
    assert_eq!(world.get("/api/v1/meters").await.1, "[]");
    let (status, _, _) = world.request(Method::POST, "/api/v1/meters", &[], TOKENS).await;
    assert_eq!(status, StatusCode::CREATED, "the slug is free again");
}

#[tokio::test]
async fn bad_meters_are_refused() {
    let world = World::new().await;
    for body in [
        "",
        "[]",
        r#"{"slug": "m", "eventType": "t"}"#,
        r#"{"slug": "m", "eventType": "t", "aggregation": "sum"}"#,
        r#"{"slug": "m", "eventType": "t", "aggregation": "SUM"}"#,
        r#"{"slug": "m", "eventType": "t", "aggregation": "COUNT", "valueProperty": "$.x"}"#,
        r#"{"slug": "M m", "eventType": "t", "aggregation": "COUNT"}"#,
        r#"{"slug": "m", "eventType": "", "aggregation": "COUNT"}"#,
        r#"{"slug": "m", "eventType": "t", "aggregation": "SUM", "valueProperty": "$..x"}"#,
        r#"{"slug": "m", "eventType": "t", "aggregation": "COUNT", "groupBy": {"a-b": "$.x"}}"#,
    ] {
        let (status, headers, answer) = world.request(Method::POST, "/api/v1/meters", &[], body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        assert_eq!(headers["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    let world = world_with_events().await;
    let (status, headers, body) =
        world.request(Method::GET, "/api/v1/meters/tokens/query?windowSize=HOUR", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["weir-read"].to_str().unwrap().starts_with("windows=3, events=0, bytes="));
    assert_eq!(
        body,
        concat!(
            r#"{"windowSize":"HOUR","data":["#,
            r#"{"value":12345678901234567890.223456789012345678,"windowStart":"2024-01-01T00:00:00Z","#,
            r#""windowEnd":"2024-01-01T01:00:00Z","subject":null,"groupBy":{}},"#,
            r#"{"value":0.2,"windowStart":"2024-01-01T01:00:00Z","#,
            r#""windowEnd":"2024-01-01T02:00:00Z","subject":null,"groupBy":{}}]}"#
        )
    );
}

#[tokio::test]
async fn both_ways_to_ask_give_one_answer() {
    let world = world_with_events().await;
    let query = "subject=a&filterGroupBy%5Bmodel%5D=x&groupBy=model&groupBy=kind\
        &from=2024-01-01T00:00:00Z&to=2024-01-01T00:00:06Z&windowTimeZone=Asia%2FKolkata";
    let (status, by_query) = world.get(&format!("/api/v1/meters/tokens/query?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{by_query}");
    let body = r#"{"subject": ["a"], "filterGroupBy": {"model": ["x"]}, "groupBy": ["model", "kind"],
        "from": "2024-01-01T00:00:00Z", "to": "2024-01-01T00:00:06Z", "windowTimeZone": "Asia/Kolkata"}"#;
    let (status, headers, by_body) =
        world.request(Method::POST, "/api/v1/meters/tokens/query", &[], body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(by_body, by_query);
    // The minute that `to` cuts is answered from rows.
    assert!(headers["weir-read"].to_str().unwrap().starts_with("windows=0, events=3, "), "{headers:?}");
    assert!(by_query.contains(
        r#""windowStart":"2024-01-01T05:30:00+05:30","windowEnd":"2024-01-01T05:30:06+05:30","subject":"a","groupBy":{"model":"x","kind":"in"}"#
    ), "{by_query}");
}

#[tokio::test]
async fn csv_is_quoted_and_complete() {
    let world = world_with_events().await;
    let path = "/api/v1/meters/tokens/query?groupBy=subject&groupBy=model&groupBy=kind";
    let (status, headers, body) = world.request(Method::GET, path, &[("accept", "text/csv")], "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "text/csv");
    assert_eq!(headers["content-disposition"], "attachment; filename=tokens.csv");
    assert_eq!(
        body,
        "window_start,window_end,subject,model,kind,value\n\
         2024-01-01T00:00:00Z,2024-01-01T00:01:00Z,a,x,in,12345678901234567890.123456789012345678\n\
         2024-01-01T00:01:00Z,2024-01-01T00:02:00Z,a,\"y,\"\"z\"\"\",null,0.100000\n\
         2024-01-01T01:00:00Z,2024-01-01T01:01:00Z,b,x,,0.200000\n"
    );
}

#[tokio::test]
async fn nothing_counted_is_zero_or_no_row() {
    let world = World::new().await;
    let count = r#"{"slug": "n", "eventType": "t", "aggregation": "COUNT", "groupBy": {"m": "$.m"}}"#;
    assert_eq!(world.request(Method::POST, "/api/v1/meters", &[], count).await.0, StatusCode::CREATED);
    assert_eq!(world.request(Method::POST, "/api/v1/meters", &[], TOKENS).await.0, StatusCode::CREATED);
    let (_, body) = world.get("/api/v1/meters/n/query").await;
    assert_eq!(
        body,
        r#"{"data":[{"value":0,"windowStart":"1970-01-01T00:00:00Z","windowEnd":"1970-01-01T00:01:00Z","subject":null,"groupBy":{}}]}"#
    );
    for (meter, query) in [("tokens", ""), ("n", "?windowSize=DAY"), ("n", "?groupBy=m"), ("n", "?subject=a")]
    {
        let (status, body) = world.get(&format!("/api/v1/meters/{meter}/query{query}")).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["data"], json!([]), "{meter} {query}");
    }
}

#[tokio::test]
async fn a_meter_counts_events_older_than_itself() {
    let mut world = World::new().await;
    world.take(0, &[sent("a", 1, r#"{"n": 1}"#)]);
    world.flush(true).await;
    world.take(1, &[sent("a", 2, r#"{"n": 2}"#)]);
    assert_eq!(world.request(Method::POST, "/api/v1/meters", &[], TOKENS).await.0, StatusCode::CREATED);
    let (_, headers, body) = world.request(Method::GET, "/api/v1/meters/tokens/query", &[], "").await;
    assert!(body.contains(r#""value":3,"#), "{body}");
    assert!(headers["weir-read"].to_str().unwrap().starts_with("windows=0, events=2, "), "{headers:?}");
}

#[tokio::test]
async fn distinct_values_are_counted_across_segments_and_the_head() {
    let mut world = World::new().await;
    world.meter("users", Aggregation::UniqueCount, Some("$.u"), &[]).await;
    world.freeze().await;
    world.take(0, &[sent("a", 1, r#"{"u": 1}"#), sent("a", 2, r#"{"u": "2"}"#)]);
    world.take(1, &[sent("b", 3, r#"{"u": "1"}"#)]);
    world.flush(true).await;
    world.take(0, &[sent("a", 4, r#"{"u": 2}"#), sent("a", 70, r#"{"u": 3}"#)]);
    for (query, values) in
        [("", vec![3]), ("?groupBy=subject", vec![3, 1]), ("?windowSize=MINUTE", vec![2, 1])]
    {
        let path = format!("/api/v1/meters/users/query{query}");
        let (_, headers, body) = world.request(Method::GET, &path, &[], "").await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        let got: Vec<&Value> = answer["data"].as_array().unwrap().iter().map(|row| &row["value"]).collect();
        assert_eq!(
            got,
            values.iter().map(|value| json!(value)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
        assert!(headers["weir-read"].to_str().unwrap().contains("events=0,"), "{headers:?}");
    }
}

#[tokio::test]
async fn bounds_are_told() {
    let options = QueryOptions { result_rows_max: 1, rows_folded_max: 1, ..QueryOptions::default() };
    let mut world = World::with(options).await;
    world.take(0, &[sent("a", 1, r#"{"n": 1}"#), sent("b", 2, r#"{"n": 1}"#)]);
    assert_eq!(world.request(Method::POST, "/api/v1/meters", &[], TOKENS).await.0, StatusCode::CREATED);
    let (status, body) = world.get("/api/v1/meters/tokens/query").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("urn:weir:problem:query-too-large"), "{body}");
    world.freeze().await;
    let (status, body) = world.get("/api/v1/meters/tokens/query?subject=a").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    world.take(0, &[sent("a", 3_600, r#"{"n": 1}"#), sent("a", 7_200, r#"{"n": 1}"#)]);
    let path = "/api/v1/meters/tokens/query?windowSize=HOUR&from=2024-01-01T01:00:00Z";
    let (status, body) = world.get(path).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("urn:weir:problem:result-too-large"), "{body}");
}

#[tokio::test]
async fn late_and_crowded_out_queries_are_told_apart() {
    // No query ever gets its turn: one waits until it is too late, or may not even wait.
    let late = QueryOptions {
        concurrent_queries_max: 0,
        deadline: Duration::from_millis(20),
        ..QueryOptions::default()
    };
    let crowded = QueryOptions { waiting_queries_max: 0, ..late.clone() };
    for (options, status, kind) in [
        (late, StatusCode::GATEWAY_TIMEOUT, "query-deadline"),
        (crowded, StatusCode::SERVICE_UNAVAILABLE, "query-overload"),
    ] {
        let world = World::with(options).await;
        world.request(Method::POST, "/api/v1/meters", &[], TOKENS).await;
        let (got, headers, body) = world.request(Method::GET, "/api/v1/meters/tokens/query", &[], "").await;
        assert_eq!(got, status);
        assert!(body.contains(&format!("urn:weir:problem:{kind}")), "{body}");
        assert_eq!(headers.contains_key("retry-after"), status == StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn refusals_are_problems() {
    let world = world_with_events().await;
    for (path, status, what) in [
        ("/api/v1/meters/nix/query", StatusCode::NOT_FOUND, "not found error: meter not found: nix"),
        ("/api/v1/meters/nix/query?windowSize=x", StatusCode::BAD_REQUEST, "windowSize"),
        ("/api/v1/meters/tokens/query?groupBy=colour", StatusCode::BAD_REQUEST, "invalid group by: colour"),
        ("/api/v1/meters/%FF/query", StatusCode::BAD_REQUEST, ""),
        ("/api/v1/meters?page=0", StatusCode::BAD_REQUEST, "page"),
    ] {
        let (got, headers, body) = world.request(Method::GET, path, &[], "").await;
        assert_eq!(got, status, "{path}: {body}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(body.contains(what), "{path}: {body}");
    }
    let (status, _, _) = world.request(Method::POST, "/api/v1/meters/tokens/query", &[], "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let large = " ".repeat(QueryOptions::default().body_bytes_max + 1);
    let (status, headers, body) =
        world.request(Method::POST, "/api/v1/meters/tokens/query", &[], &large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert!(body.contains("1048576 bytes"), "{body}");
}
