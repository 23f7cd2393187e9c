//! A client that got no answer sends again, and not always the same way: the same batch, parts of it,
//! another order, over several connections at once, over gRPC, to a server that was killed meanwhile. Each
//! event counts once and everybody is told that it is there. The other way round, one identity with two
//! contents: the first one counts, and it can be seen that there was another.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use weir_tests::generate::Rng8;
use weir_tests::grpc::{self, Client};
use weir_tests::http::{self, Api};
use weir_tests::maintenance;
use weir_tests::plain::{ask_all, event, meter, send, total};
use weir_tests::process::{Metrics, TELEMETRY};
use weir_tests::raw::{self, Raw};
use weir_tests::reference::json::Json;
use weir_tests::reference::{Aggregation, Query};
use weir_tests::server::{Options, Server};

/// 2026-06-01T00:00:00Z
const JUNE: i64 = 1_780_272_000;
const BATCH_EVENTS: u64 = 24;
const FLAGS: [&str; 4] = ["--flush-interval", "200ms", "--partitions", "2"];
const LIMIT: Duration = Duration::from_secs(30);

/// The events of a batch.
fn batch(name: &str) -> Vec<String> {
    (0..BATCH_EVENTS)
        .map(|n| {
            let data = format!(r#"{{"value":{n},"event":"{name}-{n}"}}"#);
            event(&format!("{name}-{n}"), "s", JUNE + n as i64 * 61, &data)
        })
        .collect()
}

/// How often each event counts, by its name.
async fn counts(api: &Api, position: &str) -> BTreeMap<String, String> {
    let query = Query { group_by: vec!["event".to_owned()], ..Query::default() };
    let reply = api.get_at(&http::query_path("count", &query), position).await.expect(200);
    http::rows(&reply).into_iter().map(|row| (row.group_by["event"].clone(), row.value)).collect()
}

fn once(names: &[&str]) -> BTreeMap<String, String> {
    let of = |name: &&str| {
        let name = (*name).to_owned();
        (0..BATCH_EVENTS).map(move |n| (format!("{name}-{n}"), "1".to_owned()))
    };
    names.iter().flat_map(of).collect()
}

/// Sends a batch, waits until it is durable and counts, and goes away without having read the answer.
async fn send_and_leave(api: &Api, name: &str) {
    let mut connection = Raw::connect(&api.url).await;
    connection.send(raw::ingest(&batch(name)).as_bytes()).await;
    let until = Instant::now() + LIMIT;
    while !counts(api, &api.position().await).await.contains_key(&format!("{name}-0")) {
        assert!(Instant::now() < until, "the batch {name} was sent and does not count");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Every way of sending a batch again. Each must be told that its events are there.
async fn send_again(api: &Api, name: &str) {
    let events = batch(name);
    let mut rng = Rng8::seed_from_u64(9);
    let mut other_order = events.clone();
    other_order.shuffle(&mut rng);
    let mut grpc = grpc::connect(&api.url).await;

    api.ingest(&events).await;
    // Cut elsewhere, down to single events, and an event twice in one request.
    for part in events.chunks(7) {
        api.ingest(part).await;
    }
    for event in &events {
        api.ingest(std::slice::from_ref(event)).await;
    }
    api.ingest(&[&other_order[..], &other_order[..3]].concat()).await;
    grpc.ingest(grpc::request(&events)).await.unwrap();
    grpc.ingest(grpc::request(&other_order)).await.unwrap();
    at_once(api, &grpc, &[&events, &other_order]).await;
}

/// Sends each of these over several connections at the same time, over HTTP and gRPC.
async fn at_once(api: &Api, grpc: &Client, batches: &[&[String]]) {
    // A client of its own each: one would keep them on few connections.
    let over_http = batches.iter().cycle().take(6).map(|events| {
        let api = Api::new(&api.url);
        async move { api.ingest(events).await }
    });
    let over_grpc = batches.iter().cycle().take(4).map(|events| {
        let mut grpc = grpc.clone();
        async move { grpc.ingest(grpc::request(events)).await }
    });
    let (positions, taken) = tokio::join!(join_all(over_http), try_join_all(over_grpc));
    assert!(positions.iter().all(|position| !position.is_empty()));
    for answer in taken.unwrap() {
        assert_eq!(u64::from(answer.into_inner().events), BATCH_EVENTS);
    }
}

fn options(folder: &TempDir) -> Options {
    Options::new(&folder.path().join("data"), &[&FLAGS[..], &TELEMETRY].concat())
}

/// How many records met each fate since the server's start.
async fn fate(server: &Server, fate: &str) -> u64 {
    Metrics::of(server).await.sum("weir_aggregator_records_total", &format!("fate=\"{fate}\"")) as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_way_a_batch_is_sent_again_it_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let mut server = options.start();
    let mut api = Api::new(&server.url);
    api.create_meter(&meter("count", Aggregation::Count, &[("event", "$.event")])).await;
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;

    send_and_leave(&api, "lost-answer").await;
    send_again(&api, "lost-answer").await;
    // Nobody was first here.
    let grpc = grpc::connect(&api.url).await;
    at_once(&api, &grpc, &[&batch("at-once")]).await;
    let mut sent = vec!["lost-answer", "at-once"];
    assert_eq!(counts(&api, &api.position().await).await, once(&sent));

    // The server that knew is gone, with what it had in memory; or was asked to go.
    for (killed, name) in [(true, "killed"), (false, "stopped")] {
        send_and_leave(&api, name).await;
        sent.push(name);
        if killed {
            server.kill()
        } else {
            server.stop()
        }
        server = options.start();
        api = Api::new(&server.url);
        for name in &sent {
            send_again(&api, name).await;
        }
        assert_eq!(counts(&api, &api.position().await).await, once(&sent), "killed: {killed}");
        assert_eq!(fate(&server, "conflict").await, 0);
        assert!(fate(&server, "duplicate").await >= BATCH_EVENTS * sent.len() as u64);
    }
    let values: u64 = (0..BATCH_EVENTS).sum::<u64>() * sent.len() as u64;
    assert_eq!(total(&ask_all(&api, "sum", "").await), values.to_string());
    server.stop();
    maintenance::check(&options.data);
}

/// Later ones of an identity, each with something else in it.
fn conflicting() -> [String; 4] {
    let first = event("same", "s", JUNE, r#"{"value":5}"#);
    [
        event("same", "s", JUNE + 60, r#"{"value":5}"#),
        event("same", "s", JUNE, r#"{"value":7}"#),
        event("same", "another", JUNE, r#"{"value":5}"#),
        first.replace("request", "another"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_identity_the_first_content_counts_and_others_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let mut server = options.start();
    let mut api = Api::new(&server.url);
    api.create_meter(&meter("count", Aggregation::Count, &[])).await;
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;

    let first = event("same", "s", JUNE, r#"{"value":5}"#);
    // The source is a part of the identity.
    let of_another_source = first.replace("plain", "elsewhere");
    send(&api, &[first.clone(), of_another_source.clone()]).await;
    let [time, value, subject, kind] = conflicting();
    for restarted in [None, Some(true), Some(false)] {
        if let Some(killed) = restarted {
            if killed {
                server.kill()
            } else {
                server.stop()
            }
            server = options.start();
            api = Api::new(&server.url);
        }
        for event in [&time, &value, &subject, &kind, &first] {
            send(&api, std::slice::from_ref(event)).await;
        }
        let mut grpc = grpc::connect(&api.url).await;
        grpc.ingest(grpc::request(&[value.clone(), of_another_source.clone()])).await.unwrap();
        assert_eq!(total(&ask_all(&api, "count", "").await), "2", "{restarted:?}");
        assert_eq!(total(&ask_all(&api, "sum", "").await), "10", "{restarted:?}");
        // What a kill cut off before it was at rest is decided again, and the same.
        assert!(fate(&server, "conflict").await >= 5, "{restarted:?}");
        assert!(fate(&server, "duplicate").await >= 2, "{restarted:?}");
    }
    server.stop();
    maintenance::check(&options.data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_events_shows_the_content_that_counts() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&folder.path().join("data"), &FLAGS);
    let server = options.start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;
    let now = api.get("/version").await.header("date").to_owned();
    let now = chrono::DateTime::parse_from_rfc2822(&now).unwrap().timestamp() - 60;
    let first = event("same", "s", now, r#"{"value":5}"#);
    send(&api, std::slice::from_ref(&first)).await;
    let position = send(&api, &[event("same", "s", now, r#"{"value":7}"#), first]).await;
    let reply = api.get_at("/api/v1/events?id=same", &position).await.expect(200);
    let listed = reply.json();
    let values: Vec<Option<&Json>> =
        listed.items().iter().map(|item| item.get("event")?.get("data")?.get("value")).collect();
    assert_eq!(values, [Some(&Json::Number("5".to_owned()))], "{}", reply.body);
    server.stop();
}
