//! Memory is short: the server is held to a little more than it needs when things are calm, and then many
//! clients come with the largest bodies there may be, and ask for as many groups as there are. Everybody is
//! answered or told to come again; and should the server not live through it, nothing that it had
//! acknowledged is lost.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use rustix::process::{Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use weir_tests::http::{self, Api, BATCH};
use weir_tests::maintenance;
use weir_tests::plain::{ask, event, meter, send};
use weir_tests::process;
use weir_tests::reference::{Aggregation, Query};
use weir_tests::server::Options;

use crate::settings;

/// 2026-06-01T00:00:00Z
const JUNE: i64 = 1_780_272_000;
/// Bounds that a small machine would set. Everything that clients can make grow is among them.
const FLAGS: [[&str; 2]; 13] = [
    ["--buffered-bytes-max", "64MiB"],
    ["--log-queue-bytes", "24MiB"],
    ["--flush-bytes", "8MiB"],
    ["--query-memory-max", "32MiB"],
    ["--query-memory-total-max", "64MiB"],
    ["--maintenance-memory-max", "48MiB"],
    ["--identities-in-memory", "100000"],
    ["--flush-events", "20000"],
    ["--flush-interval", "300ms"],
    ["--partitions", "1"],
    ["--query-concurrency", "2"],
    ["--query-deadline", "10s"],
    ["--shutdown-grace", "2s"],
];
/// What these add up to, as `docs/operations.md` has it: bodies on their way; events that wait for the disk,
/// the frame made of them, and what is kept for the log's reader; three pieces of the head and the files made
/// of one; questions; what goes on in the background; identities.
const SETTINGS: u64 =
    (64 + 4 * 24 + 4 * 8 + 64 + 48) * MIB + 4 * 20_000 * ROW_BYTES + 100_000 * IDENTITY_BYTES;
/// Of an event in the head, beside the event itself.
const ROW_BYTES: u64 = 400;
const IDENTITY_BYTES: u64 = 100;
/// Stacks, buffers, and what the allocator has not given back yet.
const SLACK: u64 = SETTINGS / 4;
const CALM_EVENTS: u64 = 10_000;
const SENDERS: u64 = 30;
const ASKERS: u64 = 6;
/// Of a body.
const EVENTS: u64 = 60;
const EVENT_BYTES: usize = 100_000;
const MIB: u64 = 1 << 20;
/// `WEIR_MEMORY_SECONDS` makes it longer.
const SECONDS: u64 = 3;
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// A body of about 6 MB. To make it must be quick: it is the server that should be busy.
fn body(batch: &str) -> Vec<u8> {
    let text = "x".repeat(EVENT_BYTES);
    let data = format!(r#"{{"value":1,"batch":"{batch}","text":"{text}"}}"#);
    let events: Vec<String> =
        (0..EVENTS).map(|n| event(&format!("{batch}-{n}"), "large", JUNE + n as i64, &data)).collect();
    format!("[{}]", events.join(",")).into_bytes()
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Told {
    taken: Vec<String>,
    statuses: BTreeMap<u16, u64>,
    unanswered: u64,
}

async fn send_large(url: String, client: u64, until: Instant) -> Told {
    let mut told = Told::default();
    let api = Api::new(&url);
    for number in 0.. {
        if Instant::now() > until || told.unanswered > 3 {
            break;
        }
        let batch = format!("{client}-{number}");
        let sent = api.try_send(Method::POST, "/api/v1/events", &[("content-type", BATCH)], body(&batch));
        match sent.await {
            Ok(reply) => {
                *told.statuses.entry(reply.status).or_default() += 1;
                assert!([204, 503, 429, 408].contains(&reply.status), "{}: {}", reply.status, reply.body);
                if reply.status == 204 {
                    told.taken.push(batch)
                } else {
                    sleep(Duration::from_millis(20)).await
                }
            }
            Err(_) => told.unanswered += 1,
        }
    }
    told
}

/// Asks for everything at once, again and again.
async fn ask_for_much(url: String, until: Instant) -> Told {
    let mut told = Told::default();
    let api = Api::new(&url);
    while Instant::now() < until && told.unanswered < 3 {
        let headers = [("weir-read-from", "rows")];
        let path = "/api/v1/meters/wide/query?groupBy=subject&groupBy=event&windowSize=MINUTE";
        match api.try_send(Method::GET, path, &headers, Vec::new()).await {
            Ok(reply) => *told.statuses.entry(reply.status).or_default() += 1,
            Err(_) => told.unanswered += 1,
        }
    }
    told
}

/// How a server came through.
#[derive(Debug)]
struct Came {
    /// What it ended with, if it did not live.
    ended: Option<ExitStatus>,
    taken: usize,
    /// Answers of 503.
    shed: u64,
    unanswered: u64,
}

/// Who sees to it that the server uses no more than this.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// The kernel gives it no more, whatever it is for; a fifth more than it has when it is calm, and the
    /// stacks of some threads.
    Given,
    /// It is killed when it holds more in memory than so many bytes beyond what it has when it is calm, as it
    /// would be where processes are kept in containers.
    Held(u64),
}

/// Lets everybody loose on a server with this limit, and fails unless everything it acknowledged counts
/// afterwards.
async fn overload(limit: Limit) -> Came {
    let seconds = settings::number("WEIR_MEMORY_SECONDS", SECONDS);
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(&folder.path().join("data"), FLAGS.as_flattened());
    // The allocator asks the kernel for what it needs, not for a GiB ahead: else no limit would be felt.
    options.environment.push(("MIMALLOC_ARENA_RESERVE".to_owned(), "4096".to_owned()));
    // And it gives back at once what is free: else it would keep as much again as is in use.
    options.environment.push(("MIMALLOC_PURGE_DELAY".to_owned(), "0".to_owned()));
    let mut server = options.start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("count", Aggregation::Count, &[("batch", "$.batch")])).await;
    api.create_meter(&meter("wide", Aggregation::Sum, &[("event", "$.event")])).await;
    let calm: Vec<String> = (0..CALM_EVENTS)
        .map(|n| {
            let data = format!(r#"{{"value":1,"batch":"calm","event":"e{n}"}}"#);
            event(&format!("calm-{n}"), &format!("s{}", n % 1_000), JUNE + n as i64, &data)
        })
        .collect();
    send(&api, &calm).await;
    ask(&api, "wide", "groupBy=subject", &[]).await.expect(200);
    let pid = server.pid();
    let (calm, data) = (process::rss_anon(pid).unwrap(), process::data(pid).unwrap());
    let most = match limit {
        Limit::Given => {
            let most = Some(data + calm / 5 + 16 * MIB);
            prlimit(Some(pid), Resource::Data, Rlimit { current: most, maximum: most }).unwrap();
            u64::MAX
        }
        Limit::Held(more) => calm + more,
    };
    let peak = Arc::new(AtomicU64::new(0));
    let watch = tokio::spawn({
        let peak = Arc::clone(&peak);
        async move {
            while let Some(held) = process::rss_anon(pid) {
                peak.fetch_max(held, Ordering::SeqCst);
                if held > most {
                    let _ = kill_process(pid, Signal::KILL);
                }
                sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let until = Instant::now() + Duration::from_secs(seconds);
    let senders: Vec<_> =
        (0..SENDERS).map(|n| tokio::spawn(send_large(server.url.clone(), n, until))).collect();
    let askers: Vec<_> = (0..ASKERS).map(|_| tokio::spawn(ask_for_much(server.url.clone(), until))).collect();
    let (mut taken, mut unanswered) = (Vec::new(), 0);
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    for task in senders.into_iter().chain(askers) {
        let told = timeout(ANSWER_LIMIT, task).await.expect("everybody is answered").unwrap();
        taken.extend(told.taken);
        unanswered += told.unanswered;
        for (status, count) in told.statuses {
            *statuses.entry(status).or_default() += count;
        }
    }
    let ended = server.ended();
    println!(
        "memory {limit:?}: calm {} MiB, peak {} MiB; answers {statuses:?}, {unanswered} requests without one; \
         ended: {ended:?}",
        calm / MIB,
        peak.load(Ordering::SeqCst) / MIB,
    );
    match ended {
        Some(_) => println!("{}", server.log()),
        None => spawn_blocking(|| server.kill()).await.unwrap(),
    }
    watch.await.unwrap();

    // With as much memory as it wants: what was acknowledged is there, whole batches and once.
    options.environment.clear();
    let server = options.start();
    let api = Api::new(&server.url);
    let query = Query { group_by: vec!["batch".to_owned()], ..Query::default() };
    let reply = api.get_at(&http::query_path("count", &query), &api.position().await).await.expect(200);
    let counts: BTreeMap<String, String> =
        http::rows(&reply).into_iter().map(|row| (row.group_by["batch"].clone(), row.value)).collect();
    assert_eq!(counts["calm"], CALM_EVENTS.to_string());
    for batch in &taken {
        assert_eq!(counts.get(batch), Some(&EVENTS.to_string()), "batch {batch} was acknowledged");
    }
    let whole = |(name, count): (&String, &String)| name == "calm" || *count == EVENTS.to_string();
    assert!(counts.iter().all(whole), "{counts:?}");
    server.stop();
    maintenance::check(&options.data);
    Came { ended, taken: taken.len(), shed: statuses.get(&503).copied().unwrap_or(0), unanswered }
}

/// Less than its settings allow it to use: it may well die of it, as of a power cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_fifth_more_than_it_needs_when_calm_nothing_is_lost() {
    let came = overload(Limit::Given).await;
    assert!(came.ended.is_some() || came.unanswered == 0, "{came:?}");
}

/// As much as its settings say: it sheds load and lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_what_its_bounds_add_up_to_it_sheds_load_and_lives() {
    let came = overload(Limit::Held(SETTINGS + SLACK)).await;
    assert!(came.ended.is_none() && came.unanswered == 0, "{came:?}");
    assert!(came.taken > 0 && came.shed > 0, "{came:?}");
}
