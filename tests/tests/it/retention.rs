//! Retention: events that are older than it go, and with them whatever could have been asked about them.
//! Nothing waits for days here: the events are old, so that a server which keeps a day finds them expired.
//!
//! With `WEIR_RETENTION_FILES=1` it also waits, for more than a minute, until the old files are gone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use tokio::time::{Instant, sleep};
use weir_tests::generate::Rng8;
use weir_tests::http::{Api, POSITION};
use weir_tests::maintenance;
use weir_tests::plain::{ask, ask_all, event, expect_kind, meter, rfc3339, send, total};
use weir_tests::reference::Aggregation;
use weir_tests::reference::model::micros;
use weir_tests::server::Options;

use crate::settings;

const DAY: i64 = 86_400;
const OLD: i64 = 4_000;
const NEW: i64 = 300;
const LIMIT: Duration = Duration::from_secs(120);
const FLAGS: [&str; 6] = ["--flush-interval", "100ms", "--flush-events", "1000", "--compaction-fanout", "2"];

/// The server's own idea of now, as it dates an event that has no time.
async fn now(api: &Api) -> i64 {
    let undated = r#"{"specversion":"1.0","id":"now","source":"plain","type":"clock","subject":"x"}"#;
    let position = api.ingest(&[undated.to_owned()]).await;
    let listed = api.get_at("/api/v1/events?id=now", &position).await.expect(200).json();
    micros(listed.items()[0].get("event").unwrap().text("time")) / 1_000_000
}

/// Bytes of the rows at rest that count.
fn bytes_of_rows(data: &Path) -> u64 {
    maintenance::segments(data).iter().filter(|s| s.kind == "rows").map(|s| s.bytes).sum()
}

/// Bytes of all files of rows, also of those that were replaced and are still kept.
fn bytes_of_files(data: &Path) -> u64 {
    let files = fs::read_dir(data.join("store/rows")).unwrap();
    // Whatever goes while it is counted is gone.
    files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
}

async fn until_below(most: u64, bytes: impl Fn() -> u64) {
    let until = Instant::now() + LIMIT;
    while bytes() >= most {
        assert!(Instant::now() < until, "{} bytes after {LIMIT:?}; it should be {most} at most", bytes());
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_the_retention_goes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Options::new(&data, &FLAGS).start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("sum", Aggregation::Sum, &[("model", "$.model")])).await;
    api.create_meter(&meter("count", Aggregation::Count, &[])).await;
    let now = now(&api).await;
    let old = |n: i64| {
        // What goes has to be more than the hashes that stay, and must not compress.
        let mut rng = Rng8::seed_from_u64(n as u64);
        let text: String = (0..10).map(|_| format!("{:016x}", rng.random::<u64>())).collect();
        let data = format!(r#"{{"value":{n},"model":"m{}","text":"{text}"}}"#, n % 2);
        event(&format!("old-{n}"), "s", now - 30 * DAY + n * 60, &data)
    };
    let new = |n: i64| event(&format!("new-{n}"), "s", now - 60 - n, r#"{"value":1,"model":"m0"}"#);
    send(&api, &(0..OLD).map(old).collect::<Vec<_>>()).await;
    send(&api, &(0..NEW).map(new).collect::<Vec<_>>()).await;
    let everything = ask_all(&api, "sum", "").await;
    assert_eq!(total(&everything), ((0..OLD).sum::<i64>() + NEW).to_string());
    assert_eq!(everything.header("weir-floor"), "", "nothing was deleted yet");
    // A colon and a plus never come, as these are whole seconds in UTC.
    let recent = format!("from={}", rfc3339((now - DAY / 2) / 60 * 60));
    let early = format!("from={}", rfc3339(now - 29 * DAY));
    let of_recent = ask_all(&api, "sum", &recent).await;
    assert_eq!(total(&of_recent), NEW.to_string());
    let of_early = ask_all(&api, "sum", &early).await;
    let (before, before_recent) =
        (everything.header(POSITION).to_owned(), of_recent.header(POSITION).to_owned());
    assert_ne!(total(&of_early), NEW.to_string());
    server.stop();
    let rows_before = bytes_of_rows(&data);

    let flags = [&FLAGS[..], &["--retention", "1d", "--query-deadline", "10s", "--segments-kept-for", "20s"]];
    let options = Options::new(&data, &flags.concat());
    let mut server = options.start();
    let mut api = Api::new(&server.url);
    let until = Instant::now() + LIMIT;
    while ask(&api, "sum", &early, &[]).await.status == 200 {
        assert!(Instant::now() < until, "no floor after {LIMIT:?}");
        sleep(Duration::from_millis(100)).await;
    }
    for restarted in [false, true] {
        if restarted {
            server.kill();
            server = options.start();
            api = Api::new(&server.url);
        }
        let reply = ask_all(&api, "sum", "").await;
        assert_eq!(total(&reply), NEW.to_string(), "restarted: {restarted}");
        let floor = micros(reply.header("weir-floor")) / 1_000_000;
        assert!(floor % 3_600 == 0 && (now - 2 * DAY..now - DAY / 2).contains(&floor), "{floor}, now {now}");
        assert_eq!(total(&ask_all(&api, "count", "").await), NEW.to_string());
        let detail = expect_kind(ask(&api, "sum", &early, &[]).await, 400, "below-floor");
        assert!(detail.contains("deleted") && detail.contains(&rfc3339(floor)), "{detail}");
        // What was answered before can be had again where nothing was taken away, and not elsewhere.
        let again = ask(&api, "sum", &recent, &[(POSITION, &before_recent)]).await.expect(200);
        assert_eq!(again.body, of_recent.body);
        let again = ask(&api, "sum", "", &[(POSITION, &before)]).await;
        expect_kind(again, 410, "below-floor");
    }

    // Too late for its day, and a copy of what has gone: both are taken, and neither counts.
    send(&api, &[event("too-late", "s", now - 10 * DAY, r#"{"value":7}"#), old(5), new(5)]).await;
    assert_eq!(total(&ask_all(&api, "count", "").await), NEW.to_string());

    until_below(rows_before / 2, || bytes_of_rows(&data)).await;
    if settings::number("WEIR_RETENTION_FILES", 0) > 0 {
        // What was replaced stays for a minute longer than it must, so this takes as long.
        until_below(rows_before / 2, || bytes_of_files(&data)).await;
    }
    assert_eq!(total(&ask_all(&api, "sum", "").await), NEW.to_string());
    server.stop();
    maintenance::check(&data);
    let server = options.start();
    assert_eq!(total(&ask_all(&Api::new(&server.url), "sum", "").await), NEW.to_string());
    server.stop();
}
