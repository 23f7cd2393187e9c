//! Positions: an answer names what it includes, and whoever sends that back gets the same bytes, whatever
//! has come, been merged, changed or deleted since.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use weir_tests::http::{Api, POSITION, READ_FROM};
use weir_tests::maintenance;
use weir_tests::plain::{Read, ask, ask_all, event, expect_kind, meter, rfc3339, send, total};
use weir_tests::reference::Aggregation;
use weir_tests::server::{Options, Server};

/// 2026-01-01T00:00:00Z
const NEW_YEAR: i64 = 1_767_225_600;
const QUICK: [&str; 6] = ["--flush-interval", "100ms", "--flush-events", "200", "--compaction-fanout", "2"];

fn start(folder: &tempfile::TempDir, more: &[&str]) -> (Options, Server, Api) {
    let options = Options::new(&folder.path().join("data"), &[&QUICK[..], more].concat());
    let server = options.start();
    let api = Api::new(&server.url);
    (options, server, api)
}

/// Events of two models and three subjects over two days; the number is also the value.
fn events(numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers
        .map(|n| {
            let data = format!(r#"{{"value":{n},"model":"m{}","region":"r{}"}}"#, n % 2, n % 5);
            event(&n.to_string(), &format!("s{}", n % 3), NEW_YEAR + n * 7_919 % 172_800, &data)
        })
        .collect()
}

/// A client's batches, so that there is an end of them on a busy machine, too.
const BATCHES_MAX: usize = 100;

const QUESTIONS: [&str; 6] = [
    "",
    "windowSize=HOUR&groupBy=model",
    "windowSize=DAY&windowTimeZone=Asia/Kolkata&groupBy=subject",
    "windowSize=MINUTE&subject=s1",
    "from=2026-01-01T03:00:17Z&to=2026-01-02T11:59:59Z&groupBy=model&groupBy=subject",
    "filterGroupBy[model]=m1&windowSize=MONTH",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_can_be_had_again_whatever_came_since() {
    let folder = tempfile::tempdir().unwrap();
    let (options, mut server, mut api) = start(&folder, &["--partitions", "2"]);
    let sum = meter("usage", Aggregation::Sum, &[("model", "$.model")]);
    let id = api.create_meter(&sum).await.text("id").to_owned();
    send(&api, &events(0..400)).await;
    let mut kept = Vec::new();
    for question in QUESTIONS {
        let reply = ask_all(&api, "usage", question).await;
        kept.push((question, reply.header(POSITION).to_owned(), reply.body));
    }

    for step in 0..6 {
        match step {
            0 => {
                send(&api, &events(400..900)).await;
            }
            1 => {
                let other = meter("usage", Aggregation::Sum, &[("region", "$.region")]);
                api.update_meter("usage", &other).await;
                ask(&api, "usage", "groupBy=model", &[]).await.expect_problem(400);
                assert_eq!(total(&ask_all(&api, "usage", "").await), (0..900).sum::<i64>().to_string());
            }
            2 => {
                api.delete("/api/v1/meters/usage").await.expect(204);
                ask(&api, "usage", "", &[]).await.expect_problem(404);
            }
            3 => {
                let again = meter("usage", Aggregation::Count, &[("model", "$.model")]);
                api.create_meter(&again).await;
                assert_eq!(total(&ask_all(&api, "usage", "").await), "900");
            }
            4 => {
                server.kill();
                server = options.start();
                api = Api::new(&server.url);
            }
            _ => {
                let data = options.data.clone();
                let listing = spawn_blocking(move || maintenance::until_quiet(&data)).await.unwrap();
                assert!(
                    listing.iter().any(|segment| segment.level > 0),
                    "nothing was merged: {}",
                    maintenance::summary(&listing)
                );
            }
        }
        for (question, position, body) in &kept {
            for name in ["usage", &id] {
                let reply = ask(&api, name, question, &[(POSITION, position)]).await.expect(200);
                assert_eq!(reply.body, *body, "step {step}, {name}?{question}");
                assert_eq!(
                    reply.header(POSITION),
                    position,
                    "an answer as of a position is of that position"
                );
            }
        }
    }
    server.stop();
    maintenance::check(&options.data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_among_clients_that_send_can_be_had_again() {
    let folder = tempfile::tempdir().unwrap();
    let (options, server, api) = start(&folder, &["--partitions", "3"]);
    api.create_meter(&meter("count", Aggregation::Count, &[])).await;
    api.create_meter(&meter("usage", Aggregation::Sum, &[("model", "$.model")])).await;
    let (stop, stopped) = watch::channel(false);
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let (api, stopped) = (api.clone(), stopped.clone());
            tokio::spawn(async move {
                let mut from = client * 1_000_000;
                for _ in 0..BATCHES_MAX {
                    if *stopped.borrow() {
                        break;
                    }
                    api.ingest(&events(from..from + 20)).await;
                    from += 20;
                    // Folding and merging have to come along, in a build without optimisations.
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                from - client * 1_000_000
            })
        })
        .collect();
    let mut kept = Vec::new();
    let mut before = 0;
    for n in 0..60 {
        let (name, question) = [("count", ""), ("usage", QUESTIONS[1]), ("usage", QUESTIONS[4])][n % 3];
        let reply = ask(&api, name, question, &[]).await.expect(200);
        if n % 3 == 0 {
            let count: u64 = total(&reply).parse().unwrap();
            assert!(count >= before, "{before} events were visible, now {count}");
            before = count;
        }
        kept.push((name, question, reply.header(POSITION).to_owned(), reply.body));
        // Some at once, all of them at the end.
        let (name, question, position, body) = &kept[n / 2];
        let again = ask(&api, name, question, &[(POSITION, position)]).await.expect(200);
        assert_eq!(again.body, *body, "{name}?{question}, number {n}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send_replace(true);
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    assert_eq!(total(&ask_all(&api, "count", "").await), sent.to_string());
    let data = options.data.clone();
    spawn_blocking(move || maintenance::until_quiet(&data)).await.unwrap();
    for (name, question, position, body) in &kept {
        let again = ask(&api, name, question, &[(POSITION, position)]).await.expect(200);
        assert_eq!(again.body, *body, "{name}?{question}, at the end");
    }
    let different: std::collections::BTreeSet<&String> = kept.iter().map(|(_, _, _, body)| body).collect();
    assert!(different.len() > 20, "only {} answers differ; nobody was sending", different.len());
    server.stop();
    maintenance::check(&options.data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_and_damaged_positions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (_, server, api) = start(&folder, &[]);
    let (_, other_server, other) = start(&elsewhere, &[]);
    for api in [&api, &other] {
        api.create_meter(&meter("count", Aggregation::Count, &[])).await;
        send(api, &events(0..10)).await;
    }
    let own = ask_all(&api, "count", "").await.header(POSITION).to_owned();
    let foreign = ask_all(&other, "count", "").await.header(POSITION).to_owned();
    let mut turned: Vec<char> = own.chars().collect();
    let middle = turned.len() / 2;
    turned[middle] = if turned[middle] == 'A' { 'B' } else { 'A' };
    let turned: String = turned.into_iter().collect();
    for wrong in [foreign.as_str(), &own[..own.len() - 4], &turned, "x", &"A".repeat(2_000)] {
        let detail = ask(&api, "count", "", &[(POSITION, wrong)]).await.expect_problem(400);
        assert!(detail.contains("osition"), "{detail}");
    }
    ask(&api, "count", "", &[(POSITION, &own)]).await.expect(200);
    server.stop();
    other_server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_says_where_it_read_and_can_be_told_where_to() {
    let folder = tempfile::tempdir().unwrap();
    let (options, server, api) = start(&folder, &[]);
    api.create_meter(&meter("usage", Aggregation::Sum, &[("model", "$.model")])).await;
    send(&api, &events(0..500)).await;
    let data = options.data.clone();
    spawn_blocking(move || maintenance::until_quiet(&data)).await.unwrap();

    let rows = [(READ_FROM, "rows")];
    let segments = [(READ_FROM, "segments")];
    for question in QUESTIONS {
        let by_itself = ask(&api, "usage", question, &[]).await.expect(200);
        let by_rows = ask(&api, "usage", question, &rows).await.expect(200);
        assert_eq!(by_rows.body, by_itself.body, "{question}");
        let read = Read::of(&by_rows);
        assert!(read.windows == 0 && read.events > 0 && read.bytes > 0, "{question}: {read:?}");
        let by_segments = ask(&api, "usage", question, &segments).await;
        // Seconds cut a minute; everything else is whole minutes.
        if question.contains(":17Z") {
            assert!(Read::of(&by_itself).events > 0, "{question}");
            expect_kind(by_segments, 409, "rows-needed");
        } else {
            assert_eq!(by_segments.expect(200).body, by_itself.body, "{question}");
            let read = Read::of(&by_itself);
            assert!(read.windows > 0 && read.events == 0 && read.segments > 0, "{question}: {read:?}");
        }
    }
    // A property that is no group-by is in no window.
    let body = r#"{"filterProperties":{"$.region":{"$eq":"r3"}}}"#;
    let filtered = weir_tests::plain::ask_json(&api, "usage", body, &[]).await.expect(200);
    assert_eq!(total(&filtered), (0..500).filter(|n| n % 5 == 3).sum::<i64>().to_string());
    assert_eq!(Read::of(&filtered).windows, 0);
    expect_kind(weir_tests::plain::ask_json(&api, "usage", body, &segments).await, 409, "rows-needed");
    // One that no event has.
    let body =
        format!(r#"{{"from":"{}","filterProperties":{{"$.nothing":{{"$eq":"x"}}}}}}"#, rfc3339(NEW_YEAR));
    let none = weir_tests::plain::ask_json(&api, "usage", &body, &[]).await.expect(200);
    assert_eq!(none.json().get("data").unwrap().items().len(), 0, "{}", none.body);

    ask(&api, "usage", "", &[(READ_FROM, "somewhere")]).await.expect_problem(400);
    server.stop();
}
