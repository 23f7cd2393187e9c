//! EXPLAIN: where a question's numbers come from. A plan that changes shape shows here.

use weir_meter::Aggregation;
use weir_query::{Ask, UsageParams};

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

/// As text, the plan of a question that cuts its last minute.
async fn explain(world: &World, meter: &str, zone: &str) -> String {
    let query = format!(
        "from=2024-01-01T00:00:00Z&to=2024-01-01T00:03:25Z&windowSize=DAY&windowTimeZone={zone}&subject=a\
         &groupBy=model&advancedMeterGroupByFilters=%7B%22model%22:%7B%22$ne%22:%22it's%22%7D%7D"
    );
    let params = UsageParams::from_query(&query).unwrap();
    world.service.explain(&world.namespace, meter, params, Ask::default()).await.unwrap()
}

#[tokio::test]
async fn the_latest_is_ordered_by_its_whole_key() {
    let mut world = World::new().await;
    world.meter("m", Aggregation::Latest, Some("$.v"), &[("model", "$.m")]).await;
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
    insta::assert_snapshot!(explain(&world, "m", "America/New_York").await);
}

#[tokio::test]
async fn a_unique_count_reads_members_too() {
    let world = world().await;
    world.meter("m", Aggregation::UniqueCount, Some("$.v"), &[("model", "$.m")]).await;
    insta::assert_snapshot!(explain(&world, "m", "America/New_York").await);
}

#[tokio::test]
async fn hours_minutes_and_rows_answer_together() {
    let mut world = World::new().await;
    world.meter("m", Aggregation::Sum, Some("$.v"), &[]).await;
    world.freeze().await;
    let event = |seconds: i64| Sent {
        event_type: "t",
        subject: "a".into(),
        time_us: NOW_US + seconds * 1_000_000,
        data: Some(r#"{"v": 1}"#.into()),
    };
    for flush in 0..4 {
        world.take(0, &[event(flush), event(1_800 + flush), event(3_600 + flush), event(9_000)]);
        world.flush(true).await;
        if flush == 2 {
            world.compact(3).await;
        }
    }
    world.take(0, &[event(5)]);
    let query = "from=2024-01-01T00:00:00Z&to=2024-01-01T01:30:01Z&windowSize=DAY&windowTimeZone=";
    let explain = async |zone: &str| {
        let params = UsageParams::from_query(&format!("{query}{zone}")).unwrap();
        let plan = world.service.explain(&world.namespace, "m", params, Ask::default()).await.unwrap();
        plan.lines().filter(|line| line.contains("WindowScanExec")).map(str::trim).collect::<String>()
    };
    insta::assert_snapshot!("in_berlin", explain("Europe/Berlin").await);
    insta::assert_snapshot!("in_kolkata", explain("Asia/Kolkata").await);
    assert_eq!(world.usage("m", &format!("{query}Asia/Kolkata")).await.unwrap().rows[0].value, "13");
}
