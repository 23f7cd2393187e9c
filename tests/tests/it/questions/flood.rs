//! A flood of expensive questions, from clients that repeat them, go away, or never read the answer, and a
//! flood of groups: ingest goes on, small questions of others are answered and right, and memory stays
//! under what the settings say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use weir_tests::http::{Api, JSON, Reply};
use weir_tests::plain::{event, meter, send, total};
use weir_tests::process::{Metrics, TELEMETRY, rss_anon};
use weir_tests::reference::Aggregation;
use weir_tests::server::Server;

use super::{Own, own};
use crate::settings;

const MIB: u64 = 1 << 20;
/// What all queries may hold together.
const QUERIES: u64 = 96 * MIB;
/// What one query takes on top that is not counted to the byte: decoded pages of Parquet files, windows of
/// the head, and what the allocator keeps. Two heavy and two light ones run at a time.
const BESIDE: u64 = 4 * 64 * MIB;
const FLAGS: [&str; 18] = [
    "--query-concurrency",
    "2",
    "--query-waiting-max",
    "6",
    "--query-memory-total-max",
    "96 MiB",
    "--query-memory-max",
    "48 MiB",
    "--query-light-bytes",
    "512 KiB",
    "--query-deadline",
    "5s",
    "--query-unread-wait",
    "2s",
    "--flush-events",
    "20000",
    "--wide-groups-max",
    "5000",
];
/// 2026-01-01T00:00:00Z.
const JANUARY: i64 = 1_767_225_600;
/// Events with a group each, few of them in any one hour.
const MANY: i64 = 60_000;
const A_MINUTE: i64 = 20;
/// Clients that ask what is expensive, again and again.
const FLOODERS: usize = 16;
/// Clients that ask for a large answer and do not read it.
const DEAF: usize = 6;
/// Batches of others meanwhile, each followed by a small question.
const BATCHES: i64 = 12;
const BATCH_EVENTS: i64 = 200;
/// A small question, as dashboards have them.
const SMALL: &str = "/api/v1/meters/small/query?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z";
/// Only catches what hangs.
const END: Duration = Duration::from_secs(120);

async fn a_server() -> Own {
    let server = own(&[FLAGS.as_slice(), &TELEMETRY].concat());
    let typed = |slug: &str, group_by: &[(&str, &str)]| {
        let mut meter = meter(slug, Aggregation::Sum, group_by);
        meter.event_type = slug.to_owned();
        meter
    };
    for made in [typed("many", &[("g", "$.g")]), typed("wide", &[("g", "$.g")]), typed("small", &[])] {
        server.api.create_meter(&made).await;
    }
    server
}

fn of_type(kind: &str, id: i64, second: i64) -> String {
    // Digits that no file makes smaller.
    let digits = (1..=4).fold(id as u128 + 1, |mixed, step| {
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).rotate_left(37) ^ step
    });
    let data = format!(r#"{{"value":1,"g":"{digits:032x} is a group of its own"}}"#);
    event(&format!("{kind}{id}"), "s", second, &data)
        .replace(r#""type":"request""#, &format!(r#""type":"{kind}""#))
}

/// What is expensive: every group of every minute, from windows and one event at a time.
fn expensive(n: usize) -> (Method, String, Vec<u8>) {
    let path = "/api/v1/meters/many/query".to_owned();
    let from = "from=1970-01-01T00:00:00Z&to=2100-01-01T00:00:00Z";
    let all_of =
        r#"{"windowSize":"MINUTE","groupBy":["g","subject"],"filterProperties":{"$.g":{"$ne":"x"}}}"#;
    match n % 3 {
        0 => (Method::GET, format!("{path}?{from}&windowSize=MINUTE&groupBy=g&groupBy=subject"), Vec::new()),
        1 => (Method::POST, path, all_of.into()),
        _ => (
            Method::GET,
            format!("{path}?groupBy=g&windowSize=MONTH&windowTimeZone=Asia/Kathmandu"),
            Vec::new(),
        ),
    }
}

async fn ask_expensive(api: &Api, n: usize) -> Result<Reply, reqwest::Error> {
    let (method, path, body) = expensive(n);
    api.try_send(method, &path, &[("content-type", JSON)], body).await
}

/// Statuses and problem types that the flood was answered with.
type Answers = BTreeMap<(u16, String), usize>;

async fn flood(api: Api, n: usize, over: Arc<AtomicBool>) -> Answers {
    let mut answers = Answers::new();
    let mut asked = n;
    while !over.load(Ordering::Relaxed) {
        asked += 1;
        if n.is_multiple_of(4) {
            // Goes away, and comes again.
            let _ = timeout(Duration::from_millis(150), ask_expensive(&api, asked)).await;
            continue;
        }
        let Ok(reply) = ask_expensive(&api, asked).await else {
            // What nobody reads in time is broken off; the client is slow as the machine is busy.
            *answers.entry((0, String::new())).or_insert(0) += 1;
            continue;
        };
        let kind = if reply.status == 200 { String::new() } else { reply.json().text("type").to_owned() };
        if reply.status == 503 {
            assert!(!reply.header("retry-after").is_empty(), "{}", reply.body);
            sleep(Duration::from_millis(20)).await;
        }
        *answers.entry((reply.status, kind)).or_insert(0) += 1;
    }
    answers
}

/// Asks for a large answer and reads nothing of it.
async fn deaf(url: &str) -> TcpStream {
    let mut socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    let (_, path, _) = expensive(0);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// The most memory that was seen until it is told to stop.
async fn watch_memory(server: &Server, over: &AtomicBool, most: &AtomicU64) {
    while !over.load(Ordering::Relaxed) {
        most.fetch_max(rss_anon(server.pid()).expect("the server runs"), Ordering::Relaxed);
        sleep(Duration::from_millis(5)).await;
    }
}

/// Sends batches and asks small questions about them; all of it must be taken and right.
async fn others(api: &Api) {
    for batch in 0..BATCHES {
        let ids = batch * BATCH_EVENTS..(batch + 1) * BATCH_EVENTS;
        let events: Vec<String> = ids.map(|id| of_type("small", id, JANUARY + id)).collect();
        let position = api.ingest(&events).await;
        let reply = api.get_at(SMALL, &position).await.expect(200);
        assert_eq!(total(&reply), ((batch + 1) * BATCH_EVENTS).to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_questions_hurts_nobody_else() {
    let server = a_server().await;
    let events: Vec<String> = (0..MANY).map(|n| of_type("many", n, JANUARY + n / A_MINUTE * 60)).collect();
    let position = send(&server.api, &events).await;
    let path = "/api/v1/meters/many/query";
    assert_eq!(total(&server.api.get_at(path, &position).await.expect(200)), MANY.to_string());
    let before = rss_anon(server.server.pid()).unwrap();

    let over = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..FLOODERS)
        .map(|n| tokio::spawn(flood(Api::new(&server.server.url), n, Arc::clone(&over))))
        .collect();
    let mut sockets = Vec::new();
    for _ in 0..DEAF {
        sockets.push(deaf(&server.server.url).await);
    }
    let most = AtomicU64::new(0);
    let quiet = async {
        timeout(END, others(&server.api)).await.expect("others are answered while the flood goes on");
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(watch_memory(&server.server, &over, &most), quiet);
    let mut answers = Answers::new();
    for flood in floods {
        for (answer, count) in flood.await.unwrap() {
            *answers.entry(answer).or_insert(0) += count;
        }
    }

    let most = most.into_inner();
    let bound = before + QUERIES + BESIDE;
    let said = format!("{} MiB before, {} MiB at most, {answers:?}", before / MIB, most / MIB);
    if settings::number("WEIR_TEST_TELL", 0) > 0 {
        eprintln!("{said}");
    }
    assert!(most < bound, "{} MiB is the bound: {said}", bound / MIB);
    for (status, kind) in answers.keys() {
        let last = kind.rsplit(':').next().unwrap();
        let known = matches!(
            (status, last),
            (0 | 200, "") | (400, "query-too-large") | (503, "query-overload") | (504, "query-deadline")
        );
        assert!(known, "{status} {kind}: {said}");
    }
    let refused: usize =
        answers.iter().filter(|((status, _), _)| *status == 503).map(|(_, count)| count).sum();
    let metrics = Metrics::of(&server.server).await;
    assert!(metrics.sum("weir_query_refused_total", "query_waiting_max") >= refused.min(1) as f64, "{said}");
    assert!(metrics.sum("weir_query_requests_total", "cancelled") > 0.0, "some went away: {said}");
    until_idle(&server.server).await;
    server.server.stop();
}

/// Nothing runs, waits or is held any more, also for those that never read.
async fn until_idle(server: &Server) {
    let idle = async {
        loop {
            let metrics = Metrics::of(server).await;
            let busy = metrics.sum("weir_query_running_requests", "")
                + metrics.sum("weir_query_waiting_requests", "")
                + metrics.sum("weir_query_memory_bytes", "");
            if busy == 0.0 {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(END, idle).await.expect("what queries held is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_ends_its_question() {
    let server = a_server().await;
    let events: Vec<String> =
        (0..MANY / 2).map(|n| of_type("many", n, JANUARY + n / A_MINUTE * 60)).collect();
    let position = send(&server.api, &events).await;
    server.api.get_at("/api/v1/meters/many/query", &position).await.expect(200);
    for _ in 0..5 {
        let gone = Metrics::of(&server.server).await.sum("weir_query_requests_total", "cancelled");
        let asked = timeout(Duration::from_millis(100), ask_expensive(&server.api, 1)).await;
        assert!(asked.is_err(), "it takes far longer than that");
        until_idle(&server.server).await;
        let metrics = Metrics::of(&server.server).await;
        assert_eq!(metrics.sum("weir_query_requests_total", "cancelled"), gone + 1.0);
        // Nobody reads on for it.
        let read = metrics.sum("weir_store_scanned_rows_total", "");
        sleep(Duration::from_millis(100)).await;
        let metrics = Metrics::of(&server.server).await;
        assert_eq!(metrics.sum("weir_store_scanned_rows_total", ""), read);
    }
    server.server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_groups_hurts_nobody_else() {
    let server = a_server().await;
    let before = rss_anon(server.server.pid()).unwrap();
    // More than 100,000 in the long form.
    let groups: i64 = settings::number("WEIR_FLOOD_GROUPS", 40_000);
    let over = AtomicBool::new(false);
    let most = AtomicU64::new(0);
    let flooding = async {
        let all: Vec<i64> = (0..groups).collect();
        for ids in all.chunks(5_000) {
            let events: Vec<String> = ids.iter().map(|n| of_type("wide", *n, JANUARY + n % 3_600)).collect();
            server.api.ingest(&events).await;
        }
    };
    let quiet = async {
        tokio::join!(flooding, others(&server.api));
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(watch_memory(&server.server, &over, &most), quiet);
    // All of them count, and the meter says what is wrong with it.
    let position = server.api.position().await;
    let reply = server.api.get_at("/api/v1/meters/wide/query", &position).await.expect(200);
    assert_eq!(total(&reply), groups.to_string());
    let noted = async {
        while server.api.get("/api/v1/meters/wide").await.expect(200).json().get("warning").is_none() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(END, noted).await.expect("a wide meter is noted");
    let most = most.into_inner();
    if settings::number("WEIR_TEST_TELL", 0) > 0 {
        eprintln!("{} MiB before, {} MiB at most", before / MIB, most / MIB);
    }
    // A head of 20,000 events, of which two may wait to be written, and their windows.
    assert!(most < before + 256 * MIB, "{} MiB before, {} MiB at most", before / MIB, most / MIB);
    let reply = server.api.get_at(SMALL, &position).await.expect(200);
    assert_eq!(total(&reply), (BATCHES * BATCH_EVENTS).to_string());
    server.server.stop();
}
