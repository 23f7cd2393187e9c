//! A month in one number: once its segments are merged, it is read from windows of an hour, by themselves.

use tokio::task::spawn_blocking;
use weir_tests::http::Api;
use weir_tests::maintenance;
use weir_tests::plain::{Read, ask_all, event, meter, send, values};
use weir_tests::reference::Aggregation;
use weir_tests::server::Options;

/// 2026-03-01T00:00:00Z
const MARCH: i64 = 1_772_323_200;
const SECONDS: i64 = 31 * 86_400;
const SUBJECTS: i64 = 3;
/// Seconds between a subject's events.
const STEP: i64 = 360;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_months_total_is_read_from_hours() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--flush-interval", "1m", "--flush-events", "1000", "--compaction-fanout", "4"];
    let options = Options::new(&folder.path().join("data"), &flags);
    let server = options.start();
    let api = Api::new(&server.url);
    api.create_meter(&meter("sum", Aggregation::Sum, &[])).await;
    api.create_meter(&meter("distinct", Aggregation::UniqueCount, &[])).await;
    let events: Vec<String> = (0..SECONDS / STEP)
        .flat_map(|n| (0..SUBJECTS).map(move |subject| (n, subject)))
        .map(|(n, subject)| {
            let data = format!(r#"{{"value":{}}}"#, n % 100 + subject);
            event(&format!("{n}/{subject}"), &format!("s{subject}"), MARCH + n * STEP, &data)
        })
        .collect();
    send(&api, &events).await;
    let data = options.data.clone();
    let listing = spawn_blocking(move || maintenance::until_quiet(&data)).await.unwrap();
    let rows = |size: u64| -> u64 {
        listing.iter().filter(|s| s.kind == "windows" && s.window_size == size).map(|s| s.rows).sum()
    };
    let (minutes, hours) = (rows(60), rows(3_600));
    assert!(
        hours > 0 && hours * 4 < minutes,
        "{minutes} minute and {hours} hour windows in {}",
        maintenance::summary(&listing)
    );

    let events_of = |subject: i64| (0..SECONDS / STEP).map(move |n| n % 100 + subject);
    let sums: Vec<String> =
        (0..SUBJECTS).map(|subject| events_of(subject).sum::<i64>().to_string()).collect();
    let whole = "windowSize=MONTH&groupBy=subject&from=2026-03-01T00:00:00Z&to=2026-04-01T00:00:00Z";
    for question in [whole, "windowSize=MONTH&groupBy=subject", "groupBy=subject"] {
        let reply = ask_all(&api, "sum", question).await;
        assert_eq!(values(&reply), sums, "{question}");
        let read = Read::of(&reply);
        assert_eq!(read.events, 0, "{question}: {read:?}");
        // What was not merged yet is read by the minute.
        assert!(read.windows * 3 < minutes, "{question}: {read:?} of {minutes} minutes, {hours} hours");
        let distinct = ask_all(&api, "distinct", question).await;
        assert_eq!(values(&distinct), ["100", "100", "100"], "{question}");
        assert_eq!(Read::of(&distinct).events, 0, "{question}");
    }

    // Half an hour off, the hours are of no use; the minutes are.
    let kolkata = "windowSize=MONTH&windowTimeZone=Asia/Kolkata";
    let reply = ask_all(&api, "sum", kolkata).await;
    let begins_at = |n: i64| n * STEP + 19_800 < SECONDS;
    let part = |inside: bool| -> i64 {
        (0..SUBJECTS)
            .flat_map(events_of)
            .enumerate()
            .filter(|(index, _)| begins_at(*index as i64 % (SECONDS / STEP)) == inside)
            .map(|(_, value)| value)
            .sum()
    };
    assert_eq!(values(&reply), [part(true).to_string(), part(false).to_string()], "{}", reply.body);
    assert_eq!(Read::of(&reply).events, 0);
    server.stop();
    maintenance::check(&options.data);
}
