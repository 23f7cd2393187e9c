//! Waiting for a position, and the position of everything.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use weir_catalog::{Catalog as _, MeterUpdate};
use weir_meter::Aggregation;
use weir_proto::{Position, PositionKey, PositionKind};
use weir_query::QueryOptions;
use weir_store::Store as _;

use crate::world::{NOW_US, Sent, World};

const METER: &str = r#"{"slug": "n", "eventType": "t", "aggregation": "COUNT"}"#;

fn event() -> Sent {
    Sent { event_type: "t", subject: "a".into(), time_us: NOW_US, data: None }
}

fn token(world: &World, kind: PositionKind, offset: u64, incarnation: u128, namespace: &str) -> String {
    let position =
        Position { kind, incarnation, epoch: world.epoch, offsets: vec![(0, offset)], revision: 0 };
    PositionKey::new(world.catalog.installation().position_key).seal(&position, namespace, [7; 12])
}

async fn ask(world: &World, token: &str) -> (StatusCode, String) {
    let headers = [("weir-position", token)];
    let (status, _, body) = world.request(Method::GET, "/api/v1/meters/n/query", &headers, "").await;
    (status, body)
}

#[tokio::test]
async fn a_query_waits_for_its_position() {
    let options = QueryOptions { position_wait: Duration::from_millis(200), ..QueryOptions::default() };
    let mut world = World::with(options).await;
    world.request(Method::POST, "/api/v1/meters", &[], METER).await;
    let incarnation = world.catalog.installation().incarnation;
    let one = token(&world, PositionKind::AtLeast, 1, incarnation, "default");
    let (status, body) = ask(&world, &one).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(body.contains("urn:weir:problem:position-not-visible"), "{body}");
    let (answer, ()) = tokio::join!(ask(&world, &one), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let range = weir_meter::OffsetRange { epoch: world.epoch, partition: 0, from: 0, to: 1 };
        world.store.head().set_visible(vec![range]);
    });
    assert_eq!(answer.0, StatusCode::OK);
    world.store.head().set_visible(Vec::new());
    world.take(0, &[event()]);
    let (status, body) = ask(&world, &one).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(r#""value":1,"#), "{body}");
}

#[tokio::test]
async fn positions_from_elsewhere_are_refused() {
    let world = World::new().await;
    world.request(Method::POST, "/api/v1/meters", &[], METER).await;
    let incarnation = world.catalog.installation().incarnation;
    for token in [
        "nonsense".to_owned(),
        token(&world, PositionKind::AtLeast, 0, incarnation ^ 1, "default"),
        token(&world, PositionKind::AtLeast, 0, incarnation, "other"),
    ] {
        let (status, body) = ask(&world, &token).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body.contains("urn:weir:problem:invalid-position"), "{body}");
    }
}

#[tokio::test]
async fn the_position_of_everything_can_be_asked_with() {
    let mut world = World::new().await;
    world.request(Method::POST, "/api/v1/meters", &[], METER).await;
    world.take(1, &[event(), event()]);
    let (status, body) = world.get("/api/v1/position").await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&body).unwrap();
    let token = answer["position"].as_str().unwrap();
    let key = PositionKey::new(world.catalog.installation().position_key);
    let position = key.open(token, "default").unwrap();
    assert_eq!((position.epoch, position.offsets), (world.epoch, vec![(1, 2)]));
    let (status, body) = ask(&world, token).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(r#""value":2,"#), "{body}");
}

#[tokio::test]
async fn nothing_is_answered_before_a_restart_has_caught_up() {
    let options = QueryOptions { position_wait: Duration::from_millis(100), ..QueryOptions::default() };
    let mut world = World::with(options).await;
    world.request(Method::POST, "/api/v1/meters", &[], METER).await;
    world.take(0, &[event()]);
    world.begin_again(2);
    for path in ["/api/v1/meters/n/query", "/api/v1/events"] {
        let (status, _, body) = world.request(Method::GET, path, &[], "").await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{path} {body}");
    }
    world.take(0, &[event()]);
    let (status, _, body) = world.request(Method::GET, "/api/v1/meters/n/query", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test]
async fn an_answer_can_be_had_again_in_json_and_csv() {
    let mut world = World::new().await;
    world.request(Method::POST, "/api/v1/meters", &[], METER).await;
    world.take(0, &[event()]);
    world.take(1, &[event(), event()]);
    let path = "/api/v1/meters/n/query?windowSize=DAY&groupBy=subject";
    for accept in ["application/json", "text/csv"] {
        let (_, headers, first) = world.request(Method::GET, path, &[("accept", accept)], "").await;
        let token = headers["weir-position"].to_str().unwrap().to_owned();
        world.take(0, &[event()]);
        world.flush(accept == "text/csv").await;
        world.take(1, &[event()]);
        let asked = [("accept", accept), ("weir-position", token.as_str())];
        let (status, headers, again) = world.request(Method::GET, path, &asked, "").await;
        assert_eq!(status, StatusCode::OK, "{again}");
        assert_eq!((again, headers["weir-position"].to_str().unwrap()), (first.clone(), token.as_str()));
        let (_, headers, now) = world.request(Method::GET, path, &[("accept", accept)], "").await;
        assert!(now != first && headers["weir-position"].to_str().unwrap() != token);
    }
    let (_, body) = ask(&world, &world.service.current_position(&world.namespace).await.unwrap()).await;
    assert!(body.contains(r#""value":7,"#), "{body}");
}

#[tokio::test]
async fn an_exact_position_is_waited_for_and_names_its_meter() {
    let options = QueryOptions { position_wait: Duration::from_millis(100), ..QueryOptions::default() };
    let mut world = World::with(options).await;
    world.request(Method::POST, "/api/v1/meters", &[], METER).await;
    world.take(0, &[event(), event()]);
    let incarnation = world.catalog.installation().incarnation;
    let revision = world.catalog.listing().await.unwrap().revision;
    let at = |offset, revision| {
        let offsets = vec![(0, offset)];
        let position =
            Position { kind: PositionKind::Exactly, incarnation, epoch: world.epoch, offsets, revision };
        PositionKey::new(world.catalog.installation().position_key).seal(&position, "default", [8; 12])
    };
    for (offset, revision, status) in [
        (1, revision, StatusCode::OK),
        (3, revision, StatusCode::GATEWAY_TIMEOUT),
        (1, revision + 1, StatusCode::GATEWAY_TIMEOUT),
        (1, 0, StatusCode::NOT_FOUND),
    ] {
        let (got, body) = ask(&world, &at(offset, revision)).await;
        assert_eq!(got, status, "{body}");
        assert!(got != StatusCode::OK || body.contains(r#""value":1,"#), "{body}");
    }
    // The events below it, too.
    let headers = [("weir-position", at(1, revision))];
    let headers = headers.each_ref().map(|(name, token)| (*name, token.as_str()));
    let (_, _, body) = world.request(Method::GET, "/api/v1/events", &headers, "").await;
    assert_eq!(body.matches("\"event\":").count(), 1, "{body}");
}

#[tokio::test]
async fn a_position_names_the_meter_of_its_time() {
    let mut world = World::new().await;
    let meter = world.meter("n", Aggregation::Sum, Some("$.v"), &[("model", "$.m")]).await;
    world.freeze().await;
    let data = Some(r#"{"v": 5, "m": "x", "r": "eu"}"#.to_owned());
    world.take(0, &[Sent { data, ..event() }]);
    world.flush(true).await;
    let ask = async |world: &World, name: &str, position: Option<&str>| {
        let path = format!("/api/v1/meters/{name}/query?groupBy=model");
        let headers: Vec<_> = position.map(|position| ("weir-position", position)).into_iter().collect();
        let (status, headers, body) = world.request(Method::GET, &path, &headers, "").await;
        (status, headers.get("weir-position").map(|token| token.to_str().unwrap().to_owned()), body)
    };
    let id = meter.id.to_string();
    let (_, token, body) = ask(&world, "n", None).await;
    assert!(body.contains(r#""value":5,"#) && body.contains(r#""groupBy":{"model":"x"}"#), "{body}");

    let group_by = [("region".to_owned(), "$.r".to_owned())].into();
    let update = MeterUpdate { group_by, ..MeterUpdate::default() };
    world.catalog.update_meter(&world.namespace, "n", update, NOW_US).await.unwrap();
    for name in ["n", &id] {
        assert_eq!(ask(&world, name, None).await.0, StatusCode::BAD_REQUEST, "the key is gone");
        assert_eq!(ask(&world, name, token.as_deref()).await, (StatusCode::OK, token.clone(), body.clone()));
    }
    world.catalog.delete_meter(&world.namespace, "n", NOW_US).await.unwrap();
    assert_eq!(ask(&world, "n", None).await.0, StatusCode::NOT_FOUND);
    world.meter("n", Aggregation::Count, None, &[("model", "$.m")]).await;
    let (_, _, now) = ask(&world, "n", None).await;
    assert!(now.contains(r#""value":1,"#), "{now}");
    world.freeze().await;
    world.take(0, &[event()]);
    world.flush(true).await;
    world.compact(2).await;
    for name in ["n", &id] {
        assert_eq!(ask(&world, name, token.as_deref()).await, (StatusCode::OK, token.clone(), body.clone()));
        world.forget().await;
    }
}
