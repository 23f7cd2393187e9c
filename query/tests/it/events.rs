//! The event list.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_meter::Aggregation;
use weir_query::QueryOptions;

use crate::world::{NOW_US, Sent, World};

fn sent(event_type: &'static str, subject: &str, seconds: i64, data: Option<&str>) -> Sent {
    Sent {
        event_type,
        subject: subject.to_owned(),
        time_us: NOW_US + seconds * 1_000_000,
        data: data.map(str::to_owned),
    }
}

async fn world_with_events() -> World {
    let mut world = World::new().await;
    world.meter("tokens", Aggregation::Sum, Some("$.n"), &[]).await;
    world.take(
        0,
        &[
            sent("t", "a", -100, Some(r#"{"n": 1.50, "z": 1}"#)),
            sent("t", "b", 50, Some(r#"{"m": 1}"#)),
            sent("u", "a", -31 * 86_400, None),
            sent("t", "a", -33 * 86_400, None),
        ],
    );
    world.flush(true).await;
    world.take(1, &[sent("t", "a", 50, Some(r#"{"n": 2}"#))]);
    world.flush(false).await;
    world.take(0, &[sent("t", "a", 10, Some(r#"{"n": 3}"#))]);
    world
}

async fn ids(world: &World, query: &str) -> Vec<String> {
    let (status, body) = world.get(&format!("/api/v1/events?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let events: Vec<Value> = serde_json::from_str(&body).unwrap();
    events.iter().map(|event| event["event"]["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_newest_come_first() {
    let world = world_with_events().await;
    assert_eq!(ids(&world, "").await, ["1-0", "0-1", "0-4", "0-0", "0-2"]);
    assert_eq!(ids(&world, "limit=2").await, ["1-0", "0-1"]);
    assert_eq!(ids(&world, "subject=b").await, ["0-1"]);
    assert_eq!(ids(&world, "id=0-").await, ["0-1", "0-4", "0-0", "0-2"]);
    assert_eq!(ids(&world, "id=-0&limit=1").await, ["1-0"]);
    assert_eq!(ids(&world, "from=2023-12-31T23:58:20Z&to=2024-01-01T00:00:50Z").await, ["0-4", "0-0"]);
    assert_eq!(ids(&world, "ingestedAtTo=2024-01-01T00:00:00Z").await, Vec::<String>::new());
    assert_eq!(ids(&world, "ingestedAtFrom=2024-01-01T00:00:00Z&limit=1").await, ["1-0"]);
}

#[tokio::test]
async fn an_event_is_listed_as_sent() {
    let world = world_with_events().await;
    let (_, body) = world.get("/api/v1/events?id=0-0").await;
    let times = r#""ingestedAt":"2024-01-01T00:00:00.001Z","storedAt":"2024-01-01T00:00:00.001005Z""#;
    assert_eq!(
        body,
        format!(
            "[{{\"event\":{{\"id\":\"0-0\",\"source\":\"test\",\"specversion\":\"1.0\",\"type\":\"t\",\
             \"subject\":\"a\",\"time\":\"2023-12-31T23:58:20Z\",\"datacontenttype\":\"application/json\",\
             \"data\":{{\"n\": 1.50, \"z\": 1}}}},{times}}}]"
        ),
    );
    let (_, body) = world.get("/api/v1/events?subject=b").await;
    let events: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(events[0]["validationError"], "invalid event: missing value property: \"$.n\"");
    let (_, body) = world.get("/api/v1/events?id=0-2").await;
    let events: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(events[0]["validationError"], "no meter found for event type: u");
    assert_eq!(events[0]["event"].get("data"), None);
    assert_eq!(events[0]["event"].get("datacontenttype"), None);
    assert_eq!(events[0].get("customerId"), None::<&Value>);
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!(json!(events[0]["storedAt"]).as_str().unwrap().len(), 27);
}

#[tokio::test]
async fn mistakes_are_told() {
    let world = World::new().await;
    for query in [
        "from=2023-11-01T00:00:00Z",
        "ingestedAtFrom=2023-11-01T00:00:00Z",
        "limit=0",
        "limit=101",
        "from=now",
        "customerId=01HK153X3VZZZZZZZZZZZZZZZZ",
        "clientId=",
        "from=2024-01-01T00:00:01Z&to=2024-01-01T00:00:01Z",
    ] {
        let (status, headers, body) =
            world.request(Method::GET, &format!("/api/v1/events?{query}"), &[], "").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        assert_eq!(headers["content-type"], "application/problem+json");
    }
}

/// A list that nobody has read yet takes its place in the memory of all queries.
#[tokio::test]
async fn what_is_listed_is_counted_until_it_was_sent() {
    let options =
        QueryOptions { memory_bytes_max: 1 << 20, memory_total_max: 1 << 20, ..QueryOptions::default() };
    let mut world = World::with(options).await;
    let data = format!(r#"{{"x": "{}"}}"#, "x".repeat(50 << 10));
    let events: Vec<Sent> = (0..8).map(|second| sent("t", "a", second, Some(&data))).collect();
    world.take(0, &events);
    let unread = world.respond(Method::GET, "/api/v1/events", &[], "").await;
    assert_eq!(unread.status(), StatusCode::OK);
    let (status, body) = world.get("/api/v1/events").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body:.200}");
    assert!(body.contains("urn:weir:problem:query-overload"), "{body}");
    drop(unread);
    tokio::task::yield_now().await;
    let (status, headers, body) = world.request(Method::GET, "/api/v1/events", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{body:.200}");
    assert_eq!(headers["content-length"], body.len().to_string());
    let listed: Vec<Value> = serde_json::from_str(&body).unwrap();
    let expected: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(listed.iter().map(|listed| &listed["event"]["data"]).collect::<Vec<_>>(), [&expected; 8]);
}
