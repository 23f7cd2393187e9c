//! Several tenants on one server: keys that are made, rolled and revoked, what each opens, how much each may
//! do, and that nobody sees or changes anything of another's.

mod limits;
mod places;
mod scopes;
mod tenants;

use std::path::Path;

use reqwest::Method;
use weir_tests::http::{Api, JSON, Reply};
use weir_tests::reference::json::Json;
use weir_tests::server::{Options, Server, command, run};

/// A key and its id.
#[derive(Clone, Debug)]
struct Key {
    id: String,
    text: String,
}

impl Key {
    fn of(text: &str) -> Self {
        let text = text.trim().to_owned();
        let id = text.split('_').nth(1).expect("a key has an id").to_owned();
        assert_eq!((text.len(), id.len()), (81, 16), "{text}");
        Self { id, text }
    }
}

/// Runs a command that must end well; returns what it says on stdout.
fn done(args: &[&str]) -> String {
    let output = run(args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out}{err}");
    out.into_owned()
}

/// Runs a command that must fail; returns what it says on stderr.
fn failed(args: &[&str]) -> String {
    let output = run(args);
    assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The same with a key in the environment.
fn with_key(key: &Key, args: &[&str]) -> (bool, String, String) {
    let output = command(args).env("WEIR_KEY", &key.text).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Makes a key in the folder of a server that is stopped.
fn make(data: &Path, name: &str, args: &[&str]) -> Key {
    let folder = data.display().to_string();
    Key::of(&done(&[&["keys", "create", name, "--data-dir", folder.as_str()], args].concat()))
}

/// Both ways to name several.
const EVERYTHING: [&str; 4] = ["--scope", "ingest,query", "--scope", "admin"];

/// A key with every scope.
fn make_tenant(data: &Path, namespace: &str) -> Key {
    make(data, namespace, &[&["--namespace", namespace][..], &EVERYTHING].concat())
}

fn api(server: &Server, key: &Key) -> Api {
    Api::new(&server.url).with_key(&key.text)
}

async fn post(api: &Api, path: &str, body: &str) -> Reply {
    api.post(path, JSON, body).await
}

fn key_of(reply: &Reply) -> Key {
    assert_eq!(reply.header("cache-control"), "no-store");
    Key::of(reply.json().text("key"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_used_rolled_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let operator = make(&data, "the first", &["--operator"]);
    let server = Options::new(&data, &["--log-level", "trace"]).start();
    let operators = api(&server, &operator);

    // Made over HTTP, for any namespace; it sees and makes those of its own.
    let body = r#"{"name":"acme","namespace":"acme","scopes":["ingest","query","admin"]}"#;
    let made = post(&operators, "/api/v1/keys", body).await.expect(201);
    let acme = key_of(&made);
    assert_eq!(made.json().text("id"), acme.id);
    let admin = api(&server, &acme);
    let sender = key_of(
        &post(&admin, "/api/v1/keys", r#"{"name":"sender","scopes":["ingest"],"eventsPerSecond":9}"#)
            .await
            .expect(201),
    );
    let listed = admin.get("/api/v1/keys").await.expect(200);
    let ids: Vec<String> = listed.json().items().iter().map(|key| key.text("id").to_owned()).collect();
    assert_eq!(ids.len(), 2, "the operator's is not among them: {}", listed.body);
    assert!(ids.contains(&acme.id) && ids.contains(&sender.id));
    assert!(!listed.body.contains(&acme.text[30..50]), "a key's text is told once");
    assert_eq!(operators.get("/api/v1/keys").await.expect(200).json().items().len(), 3);
    let refused =
        post(&admin, "/api/v1/keys", r#"{"name":"x","namespace":"other","scopes":["query"]}"#).await;
    assert!(refused.expect_problem(403).contains("own namespace"));
    let refused = post(&admin, "/api/v1/keys", r#"{"name":"x","operator":true}"#).await;
    refused.expect_problem(403);

    // Rolled with an overlap both work, without one only the new one does.
    let roll = |id: &str| format!("/api/v1/keys/{id}/roll");
    let second = key_of(&post(&admin, &roll(&sender.id), "{}").await.expect(201));
    let event = weir_tests::plain::event("1", "s", 1_700_000_000, r#"{"value":1}"#);
    for key in [&sender, &second] {
        api(&server, key).ingest(std::slice::from_ref(&event)).await;
    }
    let again = post(&admin, &roll(&sender.id), "{}").await.expect_problem(409);
    assert!(again.contains(&second.id), "{again}");
    let third = key_of(&post(&admin, &roll(&second.id), r#"{"overlapSeconds":0}"#).await.expect(201));
    api(&server, &third).ingest(std::slice::from_ref(&event)).await;
    let reply = post(&api(&server, &second), "/api/v1/events", &event).await;
    assert_eq!(reply.header("www-authenticate"), "Bearer");
    reply.expect_problem(401);

    // Revoked, it ends with the answer.
    assert_eq!(admin.delete(&format!("/api/v1/keys/{}", third.id)).await.expect(204).body, "");
    post(&api(&server, &third), "/api/v1/events", &event).await.expect_problem(401);
    admin.delete(&format!("/api/v1/keys/{}", third.id)).await.expect(204);
    let ended = admin.get("/api/v1/keys?includeEnded=true").await.expect(200).json();
    assert_eq!(ended.items().len(), 4);
    // A key may end itself.
    admin.delete(&format!("/api/v1/keys/{}", acme.id)).await.expect(204);
    admin.get("/api/v1/meters").await.expect_problem(401);

    // None of it is told by the server's own log.
    for key in [&operator, &acme, &sender, &second, &third] {
        assert!(!server.log().contains(&key.text[30..50]), "{}", server.log());
    }
    server.stop();
    weir_tests::maintenance::check(&data);
    let server = Options::new(&data, &[]).start();
    api(&server, &second).get("/api/v1/meters").await.expect_problem(401);
    api(&server, &sender).ingest(&[event]).await;
    server.stop();
}

/// Over the command line, in the folder and through the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_does_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let there = data.display().to_string();
    let operator = make(&data, "operator", &["--operator"]);
    let old = make(&data, "old", &["--scope", "ingest"]);
    let new = Key::of(&done(&["keys", "roll", &old.id, "--overlap", "0", "--data-dir", &there]));
    let list = done(&["keys", "list", "--data-dir", &there]);
    assert!(list.contains(&new.id) && list.contains("operator") && !list.contains(&old.id), "{list}");
    assert!(done(&["keys", "list", "--all", "--data-dir", &there]).contains(&old.id));
    done(&["keys", "revoke", &new.id, "--data-dir", &there]);
    let wrong = failed(&["keys", "revoke", "aaaaaaaaaaaaaaaa", "--data-dir", &there]);
    assert!(wrong.contains("there is no key"), "{wrong}");
    let wrong = failed(&["keys", "revoke", &operator.text, "--data-dir", &there]);
    assert!(wrong.contains("not the id of a key") && !wrong.contains(&operator.text), "{wrong}");
    assert!(!data.join("log").exists(), "nothing else is made before the first start");

    let server = Options::new(&data, &[]).start();
    let busy = failed(&["keys", "create", "x", "--scope", "query", "--data-dir", &there]);
    assert!(busy.contains("in use") && busy.contains("--url"), "{busy}");
    assert!(done(&["keys", "list", "--data-dir", &there]).contains(&operator.id), "also beside a server");
    let args = ["keys", "create", "acme", "--namespace", "acme", "--url", &server.url];
    let (fine, out, err) = with_key(&operator, &[&args[..], &EVERYTHING].concat());
    assert!(fine && !err.contains(out.trim()), "{out}{err}");
    let acme = Key::of(&out);
    let url = ["--url", server.url.as_str()];
    let (fine, out, err) = with_key(
        &acme,
        &[&["meters", "create", "n", "--event-type", "request", "--aggregation", "COUNT"][..], &url].concat(),
    );
    assert!(fine, "{out}{err}");
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, weir_tests::plain::event("1", "s", 1_700_000_000, r#"{"value":1}"#)).unwrap();
    let (fine, _, err) = with_key(&acme, &[&["send", &file.display().to_string()][..], &url].concat());
    assert!(fine, "{err}");
    let (fine, out, err) = with_key(&acme, &[&["query", "n", "--format", "csv"][..], &url].concat());
    assert!(fine && out.lines().count() == 2, "{out}{err}");
    let refused = failed(&[&["meters", "list"][..], &url].concat());
    assert!(refused.contains("WEIR_KEY"), "{refused}");
    let rolled = with_key(&acme, &[&["keys", "roll", &acme.id, "--overlap", "0"][..], &url].concat());
    let next = Key::of(&rolled.1);
    assert!(!with_key(&acme, &[&["keys", "list"][..], &url].concat()).0);
    assert!(with_key(&next, &[&["keys", "list"][..], &url].concat()).1.contains(&next.id));
    assert!(with_key(&next, &[&["keys", "revoke", &next.id][..], &url].concat()).0);
    assert!(!with_key(&next, &[&["keys", "list"][..], &url].concat()).0);
    // Settings know nothing of it.
    let (_, out, err) = with_key(&acme, &["config"]);
    assert!(!out.contains(&acme.text[10..]) && !err.contains("WEIR_KEY"), "{out}{err}");
    server.stop();
}

/// A body that holds a list.
fn items(reply: &Reply) -> Vec<Json> {
    reply.json().items().to_vec()
}

/// A method by its name.
fn method(name: &str) -> Method {
    name.parse().unwrap()
}
