//! EXPLAIN: where a question's numbers come from. A plan that changes shape shows here.

use weir_meter::Aggregation;
use weir_meter::zone::{WindowSize, zone};
use weir_query::{Compare, Filter, UsageRequest};

use crate::world::{NOW_US, Sent, World};

async fn world() -> World {
    let mut world = World::new().await;
    let event = |seconds: i64| Sent {
        event_type: "t",
        subject: "a".into(),
        time_us: NOW_US + seconds * 1_000_000,
        data: Some(r#"{"v": 1, "m": "x"}"#.into()),
    };
    for seconds in [0, 100, 200] {
        world.take(0, &[event(seconds)]);
        world.flush(true).await;
    }
    world
}

fn request() -> UsageRequest {
    UsageRequest {
        from_us: Some(NOW_US),
        to_us: Some(NOW_US + 205_000_000),
        window_size: Some(WindowSize::Day),
        zone: Some(zone("America/New_York").unwrap()),
        subjects: Some(vec!["a".into()]),
        by_subject: true,
        group_by: vec![("model".into(), 0)],
        filters: vec![(0, Filter::Compare(Compare::NotEqual, "it's".into()))],
    }
}

#[tokio::test]
async fn the_latest_is_ordered_by_its_whole_key() {
    let mut world = World::new().await;
    let meter = world.meter("m", Aggregation::Latest, Some("$.v"), &[("model", "$.m")]).await;
    world.freeze().await;
    let event = Sent {
        event_type: "t",
        subject: "a".into(),
        time_us: NOW_US + 200_000_000,
        data: Some(r#"{"v": 1, "m": "x"}"#.into()),
    };
    world.take(0, std::slice::from_ref(&event));
    world.flush(true).await;
    world.take(0, &[event]);
    insta::assert_snapshot!(world.service.explain(&meter, &request()).await.unwrap());
}

#[tokio::test]
async fn a_unique_count_reads_members_too() {
    let world = world().await;
    let meter = world.meter("m", Aggregation::UniqueCount, Some("$.v"), &[("model", "$.m")]).await;
    insta::assert_snapshot!(world.service.explain(&meter, &request()).await.unwrap());
}
