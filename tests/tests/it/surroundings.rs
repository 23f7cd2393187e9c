//! What a server finds around it when it starts: how many files it may have open, and which variables there are.

use std::fs;

use weir_tests::http::Api;
use weir_tests::maintenance::path;
use weir_tests::plain::{ask_all, event, meter, send, total};
use weir_tests::reference::Aggregation;
use weir_tests::server::{Options, Server};

/// 2026-06-01T00:00:00Z
const JUNE: i64 = 1_780_272_000;
/// Everything that opens files does so within the test.
const FLAGS: [&str; 8] = [
    "--partitions",
    "2",
    "--flush-interval",
    "100ms",
    "--log-segment-bytes",
    "8KiB",
    "--compaction-fanout",
    "2",
];
/// What two partitions need, as `docs/operations.md` has it: 64, 8 for each, and 16 for connections.
const NEEDED: u64 = 96;

/// The words that start a server with a limit of open files: `-S` for the one that it may raise itself, nothing for
/// both.
fn open_files(which: &str, limit: u64) -> Vec<String> {
    let script = format!("ulimit {which} -n {limit}; exec \"$@\"");
    ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

async fn count_some(server: &Server) {
    let api = Api::new(&server.url);
    api.create_meter(&meter("count", Aggregation::Count, &[])).await;
    for round in 0..20 {
        let events: Vec<String> = (0..20)
            .map(|n| event(&format!("{round}-{n}"), &format!("s{n}"), JUNE + round, "{\"value\":1}"))
            .collect();
        send(&api, &events).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(total(&ask_all(&api, "count", "").await), "400");
    let reply = api.get("/healthz/ready").await.expect(200);
    assert_eq!(reply.json().text("flush"), "ok", "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_open_files_are_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(&folder.path().join("data"), &FLAGS);
    for limit in [48, NEEDED - 1] {
        options.wrapper = open_files("", limit);
        let Err((status, log)) = options.try_start() else { panic!("it starts with {limit} open files") };
        assert!(!status.success() && !log.contains("panicked"), "{limit}: {status}: {log}");
        for word in [&limit.to_string(), &NEEDED.to_string(), "2 partitions", "ulimit -n", "LimitNOFILE"] {
            assert!(log.contains(word), "{limit}: {word:?} is missing in {log}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{limit}: {}", path(folder.path()));
    }
    options.wrapper = open_files("", NEEDED);
    let server = options.start();
    count_some(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partitions_that_are_there_say_how_many_open_files_are_needed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    Options::new(&data, &["--partitions", "40"]).start().stop();
    // Nothing says so but the folder.
    let mut options = Options::new(&data, &["--flush-interval", "100ms"]);
    options.wrapper = open_files("", 399);
    let Err((_, log)) = options.try_start() else { panic!("it starts with 399 open files") };
    assert!(log.contains("at least 400 with 40 partitions") && !log.contains("panicked"), "{log}");
    options.wrapper = open_files("", 400);
    let server = options.start();
    count_some(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_open_files_is_raised_as_far_as_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(&folder.path().join("data"), &FLAGS);
    options.wrapper = open_files("-S", 48);
    let server = options.start();
    let limit = fs::read_to_string(format!("/proc/{}/limits", server.pid().as_raw_nonzero())).unwrap();
    let line = limit.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
    count_some(&server).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_without_effect_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(&folder.path().join("data"), &FLAGS);
    let variables = [
        ("WEIR_LISTN", "127.0.0.1:1"),
        ("WEIR_QUERY_CONCURRENCY", "3"),
        ("WEIR_SERVICE_HOST", "10.0.0.1"),
        ("WEIR_PORT", "tcp://10.0.0.1:80"),
    ];
    options.environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    options.phase_file = Some(folder.path().join("phase"));
    let server = options.start();
    let log = server.log();
    assert!(log.contains("WEIR_LISTN is no setting") && log.contains("did you mean WEIR_LISTEN?"), "{log}");
    for name in ["WEIR_QUERY_CONCURRENCY", "WEIR_SERVICE_HOST", "WEIR_PORT", "WEIR_PHASE_FILE"] {
        assert!(!log.contains(name), "{name} in {log}");
    }
    server.stop();
}
