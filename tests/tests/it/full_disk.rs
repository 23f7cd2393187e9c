//! The disk fills up: while events are appended, while they are brought to rest, before the server starts.
//! Clients are told to come again, questions are answered, and once there is room everything that was
//! acknowledged is there once, without anybody's doing.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use tokio::time::{Instant, sleep};
use tonic::Code;
use weir_tests::generate::Rng8;
use weir_tests::grpc;
use weir_tests::http::{Api, BATCH, Reply};
use weir_tests::maintenance::{path, succeed_in};
use weir_tests::plain::{ask, ask_all, event, meter, total};
use weir_tests::reference::Aggregation;
use weir_tests::server::{Options, Server};
use weir_tests::small_disk::SmallDisk;

/// 2026-06-01T00:00:00Z
const JUNE: i64 = 1_780_272_000;
const DISK_BYTES: u64 = 40 << 20;
const BATCH_EVENTS: u64 = 40;
/// Small files and few events at a time, so that everything that writes does so within the test.
const FLAGS: [&str; 8] = [
    "--flush-events",
    "400",
    "--log-segment-bytes",
    "256KiB",
    "--compaction-fanout",
    "2",
    "--partitions",
    "2",
];
const BATCHES_UNTIL_FULL_MAX: u64 = 2_000;
const LIMIT: Duration = Duration::from_secs(60);

/// Events that do not get smaller by being compressed.
fn batch(number: u64) -> Vec<String> {
    let mut rng = Rng8::seed_from_u64(number);
    (0..BATCH_EVENTS)
        .map(|n| {
            let text: String = (0..12).map(|_| format!("{:016x}", rng.random::<u64>())).collect();
            let data = format!(r#"{{"value":{},"text":"{text}"}}"#, number * BATCH_EVENTS + n);
            event(&format!("{number}-{n}"), &format!("s{}", n % 5), JUNE + (number * 7 % 3_000) as i64, &data)
        })
        .collect()
}

async fn post(api: &Api, number: u64) -> Reply {
    let body = format!("[{}]", batch(number).join(","));
    api.send(Method::POST, "/api/v1/events", &[("content-type", BATCH)], body.into()).await
}

/// Sends until a batch is refused, and returns how many were taken in all, with the refusal.
async fn send_until_refused(api: &Api, mut taken: u64) -> (u64, Reply) {
    let most = taken + BATCHES_UNTIL_FULL_MAX;
    while taken < most {
        let reply = post(api, taken).await;
        if reply.status != 204 {
            return (taken, reply);
        }
        taken += 1;
    }
    panic!("the disk is full, and {BATCHES_UNTIL_FULL_MAX} batches were taken");
}

/// What the meters must say of so many batches.
fn totals(batches: u64) -> [(&'static str, String); 2] {
    let events = batches * BATCH_EVENTS;
    [("count", events.to_string()), ("sum", (events * events.saturating_sub(1) / 2).to_string())]
}

async fn expect_all(api: &Api, batches: u64, when: &str) {
    for (slug, wanted) in totals(batches) {
        assert_eq!(total(&ask_all(api, slug, "").await), wanted, "{slug} {when}");
    }
}

/// Sends a batch again and again until it is taken.
async fn until_taken(api: &Api, number: u64) {
    let until = Instant::now() + LIMIT;
    loop {
        let reply = post(api, number).await;
        if reply.status == 204 {
            return;
        }
        assert_eq!(reply.status, 503, "{}", reply.body);
        assert!(Instant::now() < until, "there is room, and still: {}", reply.body);
        sleep(Duration::from_millis(50)).await;
    }
}

async fn until_ready(api: &Api) {
    let until = Instant::now() + LIMIT;
    loop {
        let reply = api.get("/healthz/ready").await;
        if reply.status == 200 && reply.json().text("flush") == "ok" {
            return;
        }
        assert!(Instant::now() < until, "there is room, and still: {}", reply.body);
        sleep(Duration::from_millis(50)).await;
    }
}

fn expect_refusal(reply: Reply, real: bool) {
    assert!(!reply.header("retry-after").is_empty(), "when to come again: {:?}", reply.headers);
    // Only a disk that is really full says so.
    let kind = reply.json().text("type").to_owned();
    assert!(!real || kind.ends_with("disk-full"), "{}", reply.body);
    let detail = reply.expect_problem(503);
    assert!(!detail.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_loses_nothing_and_goes_on_by_itself() {
    let disk = SmallDisk::new(DISK_BYTES);
    let mut options = Options::new(&disk.data(), &[&FLAGS[..], &["--flush-interval", "100ms"]].concat());
    options.wrapper = disk.wrapper();
    let server = options.start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("count", Aggregation::Count, &[])).await;
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;

    let mut taken = 0;
    // Nothing fits any more; the log fits a while longer; a flush or a merge begins and does not end.
    for left in [0, 40_000, 300_000, 1_500_000] {
        for _ in 0..12 {
            until_taken(&api, taken).await;
            taken += 1;
        }
        expect_all(&api, taken, "before").await;
        let before = taken;
        disk.leave(left, Some(&server));
        let (more, refusal) = send_until_refused(&api, taken).await;
        println!(
            "{left} bytes left: {} batches more, then {} {}",
            more - taken,
            refusal.status,
            refusal.body
        );
        taken = more;
        expect_refusal(refusal, disk.is_real());
        let told = api.get("/healthz/ready").await.expect(503);
        assert_ne!(told.json().text("log"), "ok", "{}", told.body);
        // A flush that failed has taken its files away, so there may be a little room again.
        match grpc::connect(&api.url).await.ingest(grpc::request(&batch(taken))).await {
            Ok(_) => taken += 1,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        // What is at rest and in memory can be asked.
        let answered = ask(&api, "count", "", &[]).await.expect(200);
        let counted: u64 = total(&answered).parse().unwrap();
        println!("  answers {counted} of {} events", taken * BATCH_EVENTS);
        // Of the batch that was refused, a part may have been written.
        assert!(counted >= before * BATCH_EVENTS && counted <= (taken + 1) * BATCH_EVENTS, "{taken} batches");
        api.get("/healthz/live").await.expect(200);

        sleep(Duration::from_millis(300)).await;
        disk.free(Some(&server));
        // What was refused may be there all the same, over HTTP or gRPC: it counts once.
        until_taken(&api, taken).await;
        taken += 1;
        expect_all(&api, taken, "after").await;
        until_ready(&api).await;
    }
    server.stop();
    succeed_in(&disk.wrapper(), &["check", &path(&disk.data()), "--windows"]);
    let server = options.start();
    expect_all(&Api::new(&server.url), taken, "after a restart").await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_of_a_full_disk_until_there_is_room() {
    let disk = SmallDisk::new(DISK_BYTES);
    // No flush that ends could make room.
    let flags = ["--partitions", "2", "--flush-interval", "1h"];
    let mut options = Options::new(&disk.data(), &flags);
    options.wrapper = disk.wrapper();
    let server = options.start();
    let api = Api::new(&server.url);
    until_ready(&api).await;
    disk.leave(0, Some(&server));
    let (taken, refusal) = send_until_refused(&api, 0).await;
    expect_refusal(refusal, disk.is_real());
    // Nobody sends anything any more, and it stays so.
    let until = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < until {
        let told = api.get("/healthz/ready").await.expect(503);
        let report = told.json();
        assert!(report.text("log").contains(&path(&disk.data())), "{}", told.body);
        assert_eq!(report.text("aggregator"), "ok", "{}", told.body);
        api.get("/healthz/live").await.expect(200);
        sleep(Duration::from_millis(100)).await;
    }
    disk.free(Some(&server));
    until_ready(&api).await;
    until_taken(&api, taken).await;
    api.get("/healthz/ready").await.expect(200);
    server.stop();
}

/// A server, or the sentence with which it refused to start.
fn start_or_say_why(options: &Options, when: &str) -> Option<Server> {
    match options.try_start() {
        Ok(server) => {
            println!("{when}: it starts");
            Some(server)
        }
        Err((status, log)) => {
            println!("{when}: {status}: {}", log.trim());
            assert!(
                status.code().is_some_and(|code| code != 0) && !log.contains("panicked"),
                "{when}: {status}\n{log}"
            );
            assert!(log.contains("rror"), "{when}: a sentence that says why: {log}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_on_a_full_disk_says_so_and_changes_nothing() {
    let disk = SmallDisk::new(DISK_BYTES);
    // A flush long ahead: the last events are in the log alone.
    let mut options = Options::new(&disk.data(), &[&FLAGS[..], &["--flush-interval", "1h"]].concat());
    disk.leave(0, None);
    options.wrapper = disk.wrapper();
    let (_, log) = options.try_start().expect_err("nothing can be kept there");
    println!("without data: {}", log.trim());
    assert!(log.contains(&path(&disk.data())) && !log.contains("because:"), "where: {log}");
    assert!(log.contains("room") || log.contains("No space left") || !disk.is_real(), "what to do: {log}");

    disk.free(None);
    options.wrapper = disk.wrapper();
    let server = options.start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("count", Aggregation::Count, &[])).await;
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;
    for number in 0..33 {
        until_taken(&api, number).await;
    }
    expect_all(&api, 33, "at first").await;
    server.kill();
    disk.leave(0, None);
    options.wrapper = disk.wrapper();
    for when in ["killed, with a log to fold", "once more"] {
        if let Some(server) = start_or_say_why(&options, when) {
            let api = Api::new(&server.url);
            let counted: u64 = total(&ask(&api, "count", "", &[]).await.expect(200)).parse().unwrap();
            assert!(counted <= 33 * BATCH_EVENTS);
            server.kill();
        }
    }
    disk.free(None);
    options.wrapper = disk.wrapper();
    let server = options.start();
    let api = Api::new(&server.url);
    expect_all(&api, 33, "with room").await;
    // They are still known.
    until_taken(&api, 5).await;
    expect_all(&api, 33, "with room and a retry").await;
    server.stop();
    succeed_in(&disk.wrapper(), &["check", &path(&disk.data()), "--windows"]);
}
