//! How much a key may do in a second, and that what is refused leaves nothing.

use tonic::Code;
use tonic::metadata::MetadataValue;
use weir_tests::grpc;
use weir_tests::http::BATCH;
use weir_tests::plain::{ask_all, event, meter, total};
use weir_tests::process::{Metrics, TELEMETRY};
use weir_tests::reference::Aggregation;
use weir_tests::server::Options;

use super::{EVERYTHING, api, make, make_tenant};

fn batch(from: u32, events: u32) -> Vec<String> {
    (from..from + events).map(|id| event(&id.to_string(), "s", 1_700_000_000, r#"{"value":1}"#)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_sends_as_much_as_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let slow = [&["--namespace", "ours", "--events-per-second", "1"][..], &EVERYTHING].concat();
    let slow = make(folder.path(), "slow", &slow);
    let busy = [&["--namespace", "ours", "--requests-per-second", "1"][..], &EVERYTHING].concat();
    let busy = make(folder.path(), "busy", &busy);
    let free = make_tenant(folder.path(), "ours");
    let server = Options::new(folder.path(), &TELEMETRY).start();
    let admin = api(&server, &free);
    admin.create_meter(&meter("n", Aggregation::Count, &[])).await;

    // More than a second's worth passes at first, and the next waits for it: a thousand seconds.
    let sender = api(&server, &slow);
    sender.ingest(&batch(0, 1_000)).await;
    let refused = sender.post("/api/v1/events", BATCH, format!("[{}]", batch(1_000, 2).join(","))).await;
    let seconds: u32 = refused.header("retry-after").parse().unwrap();
    assert!((900..=1_000).contains(&seconds), "{seconds}");
    assert!(refused.body.contains("urn:weir:problem:rate-limited") && refused.body.contains("events_per_s"));
    assert!(refused.expect_problem(429).contains("none of this request's events is stored"));
    let mut client = grpc::connect(&server.url).await;
    let mut request = tonic::Request::new(grpc::request(&batch(1_000, 2)));
    let bearer: MetadataValue<_> = format!("Bearer {}", slow.text).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let status = client.ingest(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.metadata().get("retry-after").is_some());
    // An invalid batch is told what is wrong with it, and costs nothing.
    sender.post("/api/v1/events", BATCH, "[{}]").await.expect_problem(400);
    assert_eq!(total(&ask_all(&admin, "n", "").await), "1000");
    // Another key of the same namespace is not held up.
    admin.ingest(&batch(1_000, 2)).await;
    assert_eq!(total(&ask_all(&admin, "n", "").await), "1002");

    let asker = api(&server, &busy);
    let mut refused = None;
    for _ in 0..200 {
        let reply = asker.get("/api/v1/meters").await;
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
        reply.expect(200);
    }
    let refused = refused.expect("more than one request in a second");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.expect_problem(429).contains("requests_per_s"));
    let metrics = Metrics::of(&server).await;
    assert_eq!(metrics.sum("weir_http_refused_total", r#"limit="events_per_s""#), 2.0);
    assert!(metrics.sum("weir_http_refused_total", r#"limit="requests_per_s""#) >= 1.0);
    server.stop();
}
