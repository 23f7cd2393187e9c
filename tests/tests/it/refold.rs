//! A meter that is made, or whose group-by changes, after its events: its answers are right from the first
//! moment, read from events; meanwhile its windows are made, through kills, and then answers read no event.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_tests::http::Api;
use weir_tests::maintenance;
use weir_tests::plain::{Read, ask_all, event, meter, send, total, values};
use weir_tests::reference::Aggregation;
use weir_tests::reference::json::Json;
use weir_tests::server::Options;

/// 2026-02-01T00:00:00Z
const FEBRUARY: i64 = 1_769_904_000;
const EVENTS: i64 = 50_000;
const LIMIT: Duration = Duration::from_secs(60);

fn events() -> Vec<String> {
    (0..EVENTS)
        .map(|n| {
            let data = format!(r#"{{"value":"0.{n}","model":"m{}","region":"r{}"}}"#, n % 4, n % 3);
            event(&n.to_string(), &format!("s{}", n % 10), FEBRUARY + n * 17 % 600_000, &data)
        })
        .collect()
}

/// Windows of a meter: of how many events there are some, and how many events there are.
async fn progress(api: &Api, name: &str) -> (u64, u64) {
    let progress = api.get(&format!("/api/v1/info/progress/{name}")).await.expect(200).json();
    let number = |key: &str| match progress.get(key) {
        Some(Json::Number(text)) => text.parse().unwrap(),
        other => panic!("{key} is {other:?} in {progress:?}"),
    };
    assert_eq!(number("failed"), 0, "{progress:?}");
    (number("success"), number("total"))
}

/// The answers that a meter must give at every moment, by the key it groups by.
async fn expect_right(api: &Api, name: &str, key: &str, groups: i64) {
    let by_group = ask_all(api, name, &format!("groupBy={key}")).await;
    let wanted: Vec<String> =
        (0..groups).map(|group| (0..EVENTS).filter(|n| n % groups == group).count().to_string()).collect();
    assert_eq!(values(&by_group), wanted, "{name} by {key}");
    assert_eq!(total(&ask_all(api, name, "").await), EVENTS.to_string(), "{name}");
}

/// Asks until there are windows of everything. Returns how many different states were seen on the way.
async fn until_folded(api: &Api, name: &str, key: &str, groups: i64) -> usize {
    let until = Instant::now() + LIMIT;
    let mut seen = Vec::new();
    loop {
        let (success, all) = progress(api, name).await;
        assert!(
            success <= all && seen.last().is_none_or(|last| *last <= success),
            "{success} after {seen:?}"
        );
        if seen.last() != Some(&success) {
            seen.push(success);
        }
        expect_right(api, name, key, groups).await;
        if success == all {
            return seen.len();
        }
        assert!(Instant::now() < until, "{name}: windows of {success} of {all} events after {LIMIT:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_of_earlier_events_is_right_at_once_and_cheap_soon() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--flush-interval", "100ms", "--flush-events", "5000", "--refold-events", "4000"];
    let options = Options::new(&folder.path().join("data"), &flags);
    let mut server = options.start();
    let mut api = Api::new(&server.url);
    api.get("/api/v1/info/progress/late").await.expect_problem(404);
    // The rows are at rest without any windows, as no meter wants them.
    send(&api, &events()).await;
    let at_rest = Instant::now() + LIMIT;
    api.create_meter(&meter("early", Aggregation::Count, &[])).await;
    while progress(&api, "early").await.1 < EVENTS as u64 {
        assert!(Instant::now() < at_rest, "{:?} events at rest", progress(&api, "early").await);
        sleep(Duration::from_millis(50)).await;
    }

    api.create_meter(&meter("late", Aggregation::Count, &[("model", "$.model")])).await;
    expect_right(&api, "late", "model", 4).await;
    let states = until_folded(&api, "late", "model", 4).await;
    assert!(states >= 2, "all of it was folded before anybody looked");
    let read = Read::of(&ask_all(&api, "late", "groupBy=model").await);
    assert!(read.events == 0 && read.windows > 0, "{read:?}");

    // Another group-by is another generation: nothing of it is folded yet, and it is right, too.
    let changed = meter("late", Aggregation::Count, &[("region", "$.region")]);
    api.update_meter("late", &changed).await;
    expect_right(&api, "late", "region", 3).await;

    // Killed in the middle of it, again and again.
    for _ in 0..4 {
        sleep(Duration::from_millis(100)).await;
        tokio::task::spawn_blocking(|| server.kill()).await.unwrap();
        server = options.start();
        api = Api::new(&server.url);
        expect_right(&api, "late", "region", 3).await;
        assert_eq!(progress(&api, "late").await.1, EVENTS as u64);
    }
    until_folded(&api, "late", "region", 3).await;
    let read = Read::of(&ask_all(&api, "late", "groupBy=region").await);
    assert!(read.events == 0 && read.windows > 0, "{read:?}");
    server.stop();
    maintenance::check(&options.data);
}
