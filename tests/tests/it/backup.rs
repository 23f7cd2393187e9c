//! A backup is taken while clients send, and restored elsewhere: every event that was acknowledged before
//! it began is there once, those that came later once or not at all, and clients that send everything again
//! find it whole. The server that was backed up notices nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use weir_tests::http::{self, Api, POSITION};
use weir_tests::maintenance::{self, fail, path, succeed};
use weir_tests::plain::{ask, ask_all, event, meter, send, total};
use weir_tests::reference::{Aggregation, Query};
use weir_tests::server::Options;

/// 2026-04-01T00:00:00Z
const APRIL: i64 = 1_775_001_600;
const CLIENTS: u64 = 3;
const BATCH_EVENTS: u64 = 10;
const FLAGS: [&str; 8] =
    ["--flush-interval", "100ms", "--flush-events", "200", "--compaction-fanout", "2", "--partitions", "2"];

fn batch(client: u64, number: u64) -> Vec<String> {
    (0..BATCH_EVENTS)
        .map(|n| {
            let second = APRIL + ((number * 37 + n * 11) % 86_400) as i64;
            let data = format!(r#"{{"value":{n},"batch":"{client}-{number}"}}"#);
            event(&format!("{client}-{number}-{n}"), "s", second, &data)
        })
        .collect()
}

/// How many events of each batch count. Group values are texts, so this is by name.
async fn by_batch(api: &Api) -> BTreeMap<String, u64> {
    let position = api.position().await;
    let query = Query { group_by: vec!["batch".to_owned()], ..Query::default() };
    let reply = api.query("count", &query, true, &[(POSITION, &position)]).await.expect(200);
    http::rows(&reply)
        .into_iter()
        .map(|row| (row.group_by["batch"].clone(), row.value.parse().expect("a count")))
        .collect()
}

/// Each client's batches so far, as they are acknowledged.
type Acknowledged = Vec<watch::Receiver<u64>>;

fn send_until(
    stopped: &watch::Receiver<bool>,
    api: &Api,
) -> (Vec<tokio::task::JoinHandle<()>>, Acknowledged) {
    (0..CLIENTS)
        .map(|client| {
            let (count, counted) = watch::channel(0);
            let (api, stopped) = (api.clone(), stopped.clone());
            let sender = async move {
                let mut number = 0;
                while !*stopped.borrow() {
                    api.ingest(&batch(client, number)).await;
                    number += 1;
                    count.send_replace(number);
                }
            };
            (tokio::spawn(sender), counted)
        })
        .unzip()
}

fn counts(acknowledged: &Acknowledged) -> Vec<u64> {
    acknowledged.iter().map(|counted| *counted.borrow()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_among_clients_that_send_restores_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let options = Options::new(&data, &FLAGS);
    let server = options.start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("count", Aggregation::Count, &[("batch", "$.batch")])).await;
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;
    let (stop, stopped) = watch::channel(false);
    let (clients, acknowledged) = send_until(&stopped, &api);
    tokio::time::sleep(Duration::from_millis(1_500)).await;

    let earlier = ask_all(&api, "sum", "").await;
    let before = counts(&acknowledged);
    let backup = folder.path().join("backup");
    back_up(&data, &backup).await;
    let after = counts(&acknowledged);
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.send_replace(true);
    for client in clients {
        client.await.unwrap();
    }
    let sent = counts(&acknowledged);
    assert!(before.iter().all(|count| *count > 5), "the clients had hardly begun: {before:?}");
    assert!(after.iter().sum::<u64>() > before.iter().sum(), "nobody sent while the backup was taken");

    // The original goes on.
    let whole: BTreeMap<String, u64> = (0..CLIENTS)
        .flat_map(|client| (0..sent[client as usize]).map(move |n| (format!("{client}-{n}"), BATCH_EVENTS)))
        .collect();
    assert_eq!(by_batch(&api).await, whole);

    let restored = folder.path().join("restored");
    succeed(&["restore", &path(&backup), &path(&restored)]);
    maintenance::check(&restored);
    let options_there = Options::new(&restored, &FLAGS);
    let there = options_there.start();
    let api_there = Api::new(&there.url);
    let found = by_batch(&api_there).await;
    for (name, count) in &found {
        assert!(*count <= BATCH_EVENTS && whole.contains_key(name), "batch {name} has {count} events");
    }
    for (client, before) in before.iter().enumerate() {
        for number in 0..*before {
            let name = format!("{client}-{number}");
            assert_eq!(found.get(&name), Some(&BATCH_EVENTS), "batch {name} was acknowledged before");
        }
    }

    // What the original said about its positions is not true here.
    let detail =
        ask(&api_there, "sum", "", &[(POSITION, earlier.header(POSITION))]).await.expect_problem(400);
    assert!(detail.contains("osition"), "{detail}");
    let again = ask(&api, "sum", "", &[(POSITION, earlier.header(POSITION))]).await.expect(200);
    assert_eq!(again.body, earlier.body);

    // Clients that are not sure send everything again.
    for (client, count) in sent.iter().enumerate() {
        let events: Vec<String> = (0..*count).flat_map(|n| batch(client as u64, n)).collect();
        send(&api_there, &events).await;
    }
    assert_eq!(by_batch(&api_there).await, whole);
    let sum = (0..BATCH_EVENTS).sum::<u64>() * sent.iter().sum::<u64>();
    assert_eq!(total(&ask_all(&api_there, "sum", "").await), sum.to_string());
    there.stop();
    maintenance::check(&restored);
    server.stop();
    maintenance::check(&data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Options::new(&data, &FLAGS).start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("count", Aggregation::Count, &[])).await;
    send(&api, &batch(0, 0)).await;
    let at_rest = data.clone();
    spawn_blocking(move || maintenance::until_quiet(&at_rest)).await.unwrap();
    let backup = folder.path().join("backup");
    back_up(&data, &backup).await;
    let said = fail(&["backup", &path(&backup), "--data-dir", &path(&data)]);
    assert!(said.contains(&path(&backup)), "{said}");
    let said = fail(&["restore", &path(&backup), &path(&data)]);
    assert!(said.contains(&path(&data)), "{said}");
    let nowhere = path(&folder.path().join("nowhere"));
    let said = fail(&["restore", &nowhere, &path(&folder.path().join("new"))]);
    assert!(said.contains(&nowhere), "{said}");
    // A backup that lost a file must not pass for a whole one.
    let lost = a_file_below(&backup).expect("a backup has files");
    std::fs::remove_file(&lost).unwrap();
    fail(&["restore", &path(&backup), &path(&folder.path().join("new"))]);
    assert_eq!(total(&ask_all(&api, "count", "").await), BATCH_EVENTS.to_string());
    server.stop();
}

async fn back_up(data: &Path, target: &Path) {
    let (data, target) = (path(data), path(target));
    spawn_blocking(move || succeed(&["backup", &target, "--data-dir", &data])).await.unwrap();
}

/// Some Parquet file, wherever it lies.
fn a_file_below(folder: &Path) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { a_file_below(&path) } else { (path.extension()? == "parquet").then_some(path) }
    })
}
