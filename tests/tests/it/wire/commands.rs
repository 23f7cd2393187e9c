//! The other commands of the binary, as a newcomer types them.

use std::fs;

use weir_tests::reference::json::Json;
use weir_tests::server::run;

use super::{event, fresh, value};

/// Runs a command that must succeed, and returns its stdout.
fn succeed(args: &[&str]) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "weir {args:?} ended with {}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_send_query() {
    let fresh = fresh();
    let url = fresh.server.url.clone();
    let file = fresh.options.data.with_file_name("events.ndjson");
    let lines: Vec<String> = (0..2_500)
        .map(|n| {
            event(
                &n.to_string(),
                "2026-01-01T12:00:00Z",
                &format!(r#"{{"value":"0.{n}","model":"m{}"}}"#, n % 2),
            )
        })
        .collect();
    fs::write(&file, lines.join("\n")).unwrap();
    let commands = tokio::task::spawn_blocking(move || {
        let at = ["--url", url.as_str()];
        let with = |args: &[&str]| succeed(&[args, &at].concat());
        with(&[
            "meters",
            "create",
            "values",
            "--event-type",
            "request",
            "--aggregation",
            "sum",
            "--value",
            "$.value",
            "--group-by",
            "model=$.model",
        ]);
        // Twice: what was taken counts once.
        with(&["send", file.to_str().unwrap(), "--batch", "700"]);
        with(&["send", file.to_str().unwrap()]);
        let list = with(&["meters", "list"]);
        let json = with(&["query", "values", "--group-by", "model", "--format", "json"]);
        let csv = with(&["query", "values", "--window", "day", "--tz", "Asia/Tokyo", "--format", "csv"]);
        (list, json, csv)
    });
    let (list, json, csv) = commands.await.unwrap();
    assert!(list.contains("values") && list.contains("SUM"), "{list}");
    // 0.0 … 0.9, 0.10 … 0.99, 0.100 … 0.999, 0.1000 … 0.2499, even and odd: sums by hand in the wide.
    let sum = |numbers: &dyn Fn(u64) -> bool| -> u64 {
        (0..2_500_u64).filter(|n| numbers(*n)).map(|n| n * 10_u64.pow(4 - n.to_string().len() as u32)).sum()
    };
    let decimal = |scaled: u64| {
        let text = format!("{}.{:04}", scaled / 10_000, scaled % 10_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let rows = Json::parse(&json);
    let rows = rows.get("data").unwrap().items();
    assert_eq!(rows.len(), 2, "{json}");
    assert_eq!(value(&rows[0]), decimal(sum(&|n| n % 2 == 0)));
    assert_eq!(value(&rows[1]), decimal(sum(&|n| n % 2 == 1)));
    let total = decimal(sum(&|_| true));
    assert!(csv.contains(&total), "{total} in {csv}");
    assert!(csv.contains("2026-01-01"), "{csv}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_explained() {
    let fresh = fresh();
    let url = fresh.server.url.clone();
    let (missing, absent) = tokio::task::spawn_blocking(move || {
        (run(&["query", "nothing", "--url", &url]), run(&["query", "nothing", "--url", "http://127.0.0.1:1"]))
    })
    .await
    .unwrap();
    assert!(!missing.status.success() && !absent.status.success());
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("nothing"), "{said}");
    let said = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert!(missing.stdout.is_empty() && absent.stdout.is_empty());
}

#[test]
fn the_demo_tells_known_totals() {
    let out = succeed(&["demo", "--exit", "--listen", "127.0.0.1:0"]);
    let after = out.split_once("Flights in all").unwrap_or_else(|| panic!("no total: {out}")).1;
    assert_eq!(after.lines().nth(1).map(str::trim), Some("28,834"), "{out}");
    // The night of 10 March, when New York's clocks went forward.
    assert!(out.contains("23h"), "{out}");
}
