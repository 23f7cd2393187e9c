//! The server as a process: how it stops, what it keeps, and who else may open its folder.

use weir_tests::http::Api;

use super::{event, fresh};

const NOON: &str = "2026-01-01T12:00:00Z";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_and_started_again_it_knows_everything() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    for n in 0..20 {
        fresh.api.ingest(&[event(&n.to_string(), NOON, r#"{"value":1}"#)]).await;
    }
    let super::Fresh { server, options, _folder, .. } = fresh;
    server.stop();
    let server = options.start();
    let again = super::Fresh { api: Api::new(&server.url), server, options, _folder };
    assert_eq!(again.total("sum").await, "20");
    // Identities are known, too.
    again.api.ingest(&[event("7", NOON, r#"{"value":1}"#), event("20", NOON, r#"{"value":1}"#)]).await;
    assert_eq!(again.total("sum").await, "21");
    assert_eq!(again.api.get("/api/v1/meters").await.expect(200).json().items().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_before_a_stop_is_kept() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let api = fresh.api.clone();
    let sender = tokio::spawn(async move {
        let mut taken = 0_u64;
        // Until the server is gone; a refusal says that it is about to be.
        loop {
            let batch = format!("[{}]", event(&taken.to_string(), NOON, "{}"));
            let headers = [("content-type", weir_tests::http::BATCH)];
            match api.try_send(reqwest::Method::POST, "/api/v1/events", &headers, batch.into()).await {
                Ok(reply) if reply.status == 204 => taken += 1,
                Ok(reply) => assert_eq!(reply.status, 503, "{}", reply.body),
                Err(_) => return taken,
            }
        }
    });
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    let super::Fresh { server, options, _folder, .. } = fresh;
    tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let taken = sender.await.unwrap();
    assert!(taken > 0);
    let server = options.start();
    let again = super::Fresh { api: Api::new(&server.url), server, options, _folder };
    let counted: u64 = again.total("count").await.parse().unwrap();
    // The last answer may have been lost on its way.
    assert!((taken..=taken + 1).contains(&counted), "{taken} were acknowledged, {counted} count");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_belongs_to_one_process() {
    let fresh = fresh();
    let (status, log) = fresh.options.try_start().expect_err("a second server in the same folder");
    assert!(!status.success(), "{status}");
    let folder = fresh.options.data.display().to_string();
    assert!(log.contains("error") && log.contains(&folder), "a sentence that names the folder: {log}");
    assert!(!log.contains("panicked"), "{log}");
    fresh.meter("COUNT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_answer() {
    let fresh = fresh();
    fresh.api.get("/healthz/live").await.expect(200);
    fresh.api.get("/healthz/ready").await.expect(200);
    fresh.api.get("/version").await.expect(200);
}
