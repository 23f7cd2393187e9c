//! When keys are asked for, by where the server listens and what it was told.

use reqwest::Method;
use weir_tests::http::{Api, JSON};
use weir_tests::server::Options;

use super::{api, failed, make_tenant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_others_can_reach_does_not_start_open() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let there = data.display().to_string();
    let everywhere = ["serve", "--listen", "0.0.0.0:0", "--data-dir", &there];
    for attempt in 0..2 {
        let refused = failed(&everywhere);
        for way_out in ["weir keys create", "127.0.0.1", "--insecure-open"] {
            assert!(refused.contains(way_out), "{refused}");
        }
        if attempt == 0 {
            assert!(!data.exists(), "nothing is made");
            // Also where a server has run on loopback before.
            Options::new(&data, &[]).start().stop();
        }
    }
    let server = Options::new(&data, &["--insecure-open"]).start();
    let api = Api::new(&server.url);
    api.get("/api/v1/meters").await.expect(200);
    let body = r#"{"name":"mine","scopes":["admin"]}"#;
    let refused = api.post("/api/v1/keys", JSON, body).await.expect_problem(403);
    assert!(refused.contains("insecure_open"), "{refused}");
    server.stop();
    make_tenant(&data, "ours");
    let (_, said) = Options::new(&data, &["--insecure-open"]).try_start().unwrap_err();
    assert!(said.contains("start without insecure_open"), "{said}");
    assert!(said.contains("insecure_open") && !said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_is_open_until_the_first_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = Options::new(folder.path(), &[]).start();
    let nobody = Api::new(&server.url);
    let somebody = nobody.with_key("whatever an SDK was given");
    somebody.get("/api/v1/meters").await.expect(200);
    let kind = [("content-type", "text/plain")];
    let body = r#"{"name":"mine","scopes":["query"]}"#;
    let form = nobody.send(Method::POST, "/api/v1/keys", &kind, body.into()).await;
    form.expect_problem(400);
    let made = nobody.post("/api/v1/keys", JSON, body).await.expect(201);
    let mine = super::key_of(&made);
    assert_eq!(made.json().text("namespace"), "default");
    nobody.get("/api/v1/meters").await.expect_problem(401);
    somebody.get("/api/v1/meters").await.expect_problem(401);
    api(&server, &mine).get("/api/v1/meters").await.expect(200);
    nobody.get("/healthz/live").await.expect(200);
    nobody.get("/version").await.expect(200);
    server.stop();
}
