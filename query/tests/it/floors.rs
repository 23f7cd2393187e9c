//! What lies below a namespace's floor is invisible, and whoever asks for it is told.

use http::{Method, StatusCode};
use weir_catalog::Catalog as _;

use crate::world::{NOW_US, Sent, World};

const HOUR_US: i64 = 3_600_000_000;
const METER: &str = r#"{"slug": "n", "eventType": "t", "aggregation": "COUNT"}"#;
const QUERY: &str = "/api/v1/meters/n/query";

fn event(hours: i64) -> Sent {
    Sent { event_type: "t", subject: "a".into(), time_us: NOW_US + hours * HOUR_US + 1, data: None }
}

/// One event in each of four hours, the middle of which has been midnight.
async fn world_with_events() -> World {
    let mut world = World::new().await;
    assert_eq!(world.request(Method::POST, "/api/v1/meters", &[], METER).await.0, StatusCode::CREATED);
    world.freeze().await;
    world.take(0, &[event(-2), event(-1)]);
    world.flush(true).await;
    world.take(0, &[event(0), event(1)]);
    world
}

#[tokio::test]
async fn an_answer_begins_at_the_floor_and_says_so() {
    let world = world_with_events().await;
    let (_, headers, _) = world.request(Method::GET, QUERY, &[], "").await;
    assert!(!headers.contains_key("weir-floor"));
    world.catalog.raise_floor(&world.namespace, NOW_US - HOUR_US, NOW_US).await.unwrap();
    let (status, headers, body) = world.request(Method::GET, QUERY, &[], "").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(headers["weir-floor"], "2023-12-31T23:00:00Z");
    assert!(body.starts_with(r#"{"from":"2023-12-31T23:00:00Z","data":[{"value":3,"#), "{body}");
    for query in ["from=2023-12-31T23:00:00Z", "from=2023-12-31T23:30:00Z"] {
        let (status, headers, body) = world.request(Method::GET, &format!("{QUERY}?{query}"), &[], "").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert!(!headers.contains_key("weir-floor"), "it was asked for");
    }
    for query in ["from=2023-12-31T22:59:59Z", "to=2023-12-31T23:00:00Z"] {
        let (status, body) = world.get(&format!("{QUERY}?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body.contains("urn:weir:problem:below-floor"), "{body}");
        assert!(body.contains("from=2023-12-31T23:00:00Z or later"), "{body}");
    }
    let (_, body) = world.get("/api/v1/events").await;
    assert_eq!(body.matches("\"event\":").count(), 3, "{body}");
    let (_, body) = world.get("/api/v1/events?from=2023-12-31T00:00:00Z").await;
    assert_eq!(body.matches("\"event\":").count(), 3, "{body}");
}

#[tokio::test]
async fn a_floor_ends_what_older_positions_can_ask() {
    let world = world_with_events().await;
    let answers = async |query: &str, position: Option<&str>| {
        let headers: Vec<_> = position.map(|position| ("weir-position", position)).into_iter().collect();
        let (status, headers, body) =
            world.request(Method::GET, &format!("{QUERY}?{query}"), &headers, "").await;
        let position = headers.get("weir-position").map(|token| token.to_str().unwrap().to_owned());
        (status, position, body)
    };
    let above = "from=2023-12-31T23:00:00Z";
    let (_, all_position, _) = answers("", None).await;
    let (_, above_position, above_body) = answers(above, None).await;
    let floor = world.catalog.raise_floor(&world.namespace, NOW_US - HOUR_US, NOW_US).await.unwrap();
    for query in ["", "from=2023-12-31T22:00:00Z", "to=2023-12-31T22:30:00Z"] {
        let (status, _, body) = answers(query, all_position.as_deref()).await;
        assert_eq!(status, StatusCode::GONE, "{body}");
        assert!(body.contains("urn:weir:problem:below-floor"), "{body}");
        assert!(body.contains("from=2023-12-31T23:00:00Z"), "{body}");
    }
    let again = answers(above, above_position.as_deref()).await;
    assert_eq!(again, (StatusCode::OK, above_position, above_body));
    // A position of after the floor knows of it.
    let (_, position, body) = answers("", None).await;
    assert!(body.contains(r#""value":3,"#), "{body}");
    assert_eq!(answers("", position.as_deref()).await, (StatusCode::OK, position, body));
    assert!(floor.revision > 0);
}
