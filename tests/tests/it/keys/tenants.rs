//! Two tenants on one server. Every route of the table in `docs/access.md`, with every id of the other tenant that
//! it takes: what comes back is to the byte what comes back for an id that never was, but for that id itself, and
//! the other tenant's data is afterwards what it was before. A route without an entry here fails the test.

use std::path::Path;

use reqwest::Method;
use weir_tests::grpc;
use weir_tests::http::{Api, BATCH, JSON, POSITION, READ, READ_FROM, Reply};
use weir_tests::plain::{ask, event, meter, total};
use weir_tests::process::TELEMETRY;
use weir_tests::reference::Aggregation;
use weir_tests::reference::model::micros;
use weir_tests::server::{Options, Server};

use super::scopes::{Route, routes};
use super::{Key, api, items, make, make_tenant, method, post};

/// Something that belongs to a tenant, and something of the same form that nobody ever had.
#[derive(Clone, Debug)]
struct Pair {
    what: &'static str,
    ours: String,
    nobodys: String,
}

/// A tenant with everything a tenant has.
struct Tenant {
    api: Api,
    key: Key,
    /// When its events happened.
    second: i64,
    meter_id: String,
    /// As ingest gives it, and as an answer does.
    positions: [String; 2],
}

/// Lists begin a day ago, and so do the events.
const EVENTS: &str = "/api/v1/events?limit=50";

/// Marks everything of the first tenant, so that it is found wherever it comes out; as long as the other one.
const OURS: &str = "tulip";
const NOBODYS: &str = "daisy";

fn marked(mark: &str, what: &str) -> String {
    format!("{mark}_{what}")
}

async fn fill(data: &Path, server_url: &str, key: Key, mark: &str) -> Tenant {
    assert!(data.exists());
    let api = Api::new(server_url).with_key(&key.text);
    let slug = marked(mark, "meter");
    let made = api.create_meter(&meter(&slug, Aggregation::Sum, &[("model", "$.model")])).await;
    let data = format!(r#"{{"value":7,"model":"{}"}}"#, marked(mark, "model"));
    // Just now, by the server's clock.
    let second = micros(made.text("createdAt")) / 1_000_000;
    let sent: Vec<String> = (0..5)
        .map(|n| event(&marked(mark, &format!("event{n}")), &marked(mark, "subject"), second, &data))
        .collect();
    let position = api.ingest(&sent).await;
    let answer = ask(&api, &slug, "", &[(POSITION, &position)]).await.expect(200);
    assert_eq!(total(&answer), "35");
    let positions = [position, answer.header(POSITION).to_owned()];
    Tenant { api, key, second, meter_id: made.text("id").to_owned(), positions }
}

/// Everything that a tenant can see of itself.
async fn all_of(tenant: &Tenant, mark: &str) -> Vec<String> {
    let slug = marked(mark, "meter");
    let mut seen = Vec::new();
    let at = [(POSITION, tenant.positions[1].as_str())];
    for path in [
        "/api/v1/meters?includeDeleted=true".to_owned(),
        format!("/api/v1/meters/{slug}"),
        format!("/api/v1/meters/{slug}/query?groupBy=subject&groupBy=model"),
        EVENTS.to_owned(),
        "/api/v1/keys?includeEnded=true".to_owned(),
    ] {
        let headers = if path.contains("/query") { &at[..] } else { &[] };
        seen.push(tenant.api.send(Method::GET, &path, headers, Vec::new()).await.expect(200).body);
    }
    seen
}

/// What of an answer may be compared: all of it but what names the request, the time, or the id that was asked for.
fn comparable(reply: &Reply, id: &str) -> String {
    let mut headers: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date", POSITION].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let body = reply.body.replace(id, "{id}");
    let body = match body.split_once("urn:request:") {
        Some((before, after)) => format!("{before}…{}", after.get(32..).unwrap_or_default()),
        None => body,
    };
    format!("{}\n{}\n{body}", reply.status, headers.join("\n"))
}

struct Sweep {
    theirs: Tenant,
    meters: Vec<Pair>,
    keys: Vec<Pair>,
    positions: Vec<Pair>,
    compared: usize,
}

impl Sweep {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.theirs.api.send(method, path, headers, body.as_bytes().to_vec()).await
    }

    /// Sends both, and fails unless the answers are the same.
    async fn same(&mut self, route: &Route, pair: &Pair, request: impl Fn(&str) -> Sent) -> Reply {
        let echoes = [pair.ours.clone(), pair.nobodys.clone()];
        self.same_but(route, pair, echoes, request).await
    }

    /// The same, where something else than the whole may come back.
    async fn same_but(
        &mut self,
        route: &Route,
        pair: &Pair,
        echoes: [String; 2],
        request: impl Fn(&str) -> Sent,
    ) -> Reply {
        let mut replies = Vec::new();
        for id in [&pair.ours, &pair.nobodys] {
            let sent = request(id);
            let headers: Vec<(&str, &str)> =
                sent.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            replies.push(self.send(method(&route.method), &sent.path, &headers, &sent.body).await);
        }
        let [ours, nobodys] = &replies[..] else { unreachable!() };
        let (one, other) = (comparable(ours, &echoes[0]), comparable(nobodys, &echoes[1]));
        assert_eq!(one, other, "{route:?} with {}", pair.what);
        assert!(!one.contains(OURS), "{route:?} with {}: {one}", pair.what);
        self.compared += 1;
        replies.remove(0)
    }

    /// Every id in the place of the route's parameter.
    async fn in_path(&mut self, route: &Route, pairs: Vec<Pair>, status: u16, body: &str) {
        for pair in pairs {
            let request = |id: &str| {
                Sent { path: route.path_of(id), body: body.to_owned(), ..Sent::default() }
                    .with("content-type", JSON)
            };
            self.same(route, &pair, request).await.expect(status);
        }
    }

    /// Their own route with something of ours besides.
    async fn with_values(&mut self, route: &Route, path: &str, values: &[(&'static str, &str)]) {
        for (what, text) in values {
            let value = |mark: &str| text.replace("{}", mark);
            let pair = Pair { what, ours: value(OURS), nobodys: value(NOBODYS) };
            let request = |id: &str| {
                let is_body = id.starts_with('{');
                let joint = if path.contains('?') { '&' } else { '?' };
                let path = if is_body { path.to_owned() } else { format!("{path}{joint}{id}") };
                Sent { path, body: if is_body { id.to_owned() } else { String::new() }, ..Sent::default() }
                    .with("content-type", JSON)
            };
            self.same_but(route, &pair, [OURS.to_owned(), NOBODYS.to_owned()], request).await;
        }
    }

    async fn at_positions(&mut self, route: &Route, path: &str) {
        for pair in self.positions.clone() {
            let body = if route.method == "POST" { "{}" } else { "" };
            let request = |id: &str| {
                Sent { path: path.to_owned(), body: body.to_owned(), ..Sent::default() }
                    .with("content-type", JSON)
                    .with(POSITION, id)
            };
            let refused = self.same(route, &pair, request).await;
            assert!(refused.expect_problem(400).contains("was not made by this installation"));
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Sent {
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Sent {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A token that no server has made: one of their own with another letter in it.
fn spoilt(token: &str) -> String {
    let middle = token.len() / 2;
    let letter = if &token[middle..=middle] == "A" { "B" } else { "A" };
    format!("{}{letter}{}", &token[..middle], &token[middle + 1..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_anothers_is_as_if_it_had_never_been() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs] = [OURS, "theirs"].map(|namespace| make_tenant(folder.path(), namespace));
    let spare = make(folder.path(), "spare", &["--namespace", OURS, "--scope", "query"]);
    let server = Options::new(folder.path(), &TELEMETRY).start();
    let mut ours = fill(folder.path(), &server.url, ours, OURS).await;
    let theirs = fill(folder.path(), &server.url, theirs, "theirs").await;
    let gone = meter(&marked(OURS, "gone"), Aggregation::Count, &[]);
    let gone = ours.api.create_meter(&gone).await.text("id").to_owned();
    ours.api.delete(&format!("/api/v1/meters/{gone}")).await.expect(204);
    let before = all_of(&ours, OURS).await;
    assert!(before.iter().all(|seen| seen.contains(OURS)), "{before:?}");

    let pair =
        |what, ours: &str, nobodys: &str| Pair { what, ours: ours.to_owned(), nobodys: nobodys.to_owned() };
    let mut sweep = Sweep {
        meters: vec![
            pair("the id of a meter", &ours.meter_id, "01HK153X3VZZZZZZZZZZZZZZZZ"),
            pair("the id of a deleted meter", &gone, "01HK153X3VYYYYYYYYYYYYYYYY"),
            pair("the slug of a meter", &marked(OURS, "meter"), &marked(NOBODYS, "meter")),
            pair("a subject", &marked(OURS, "subject"), &marked(NOBODYS, "subject")),
            pair("the id of an event", &marked(OURS, "event1"), &marked(NOBODYS, "event1")),
        ],
        keys: vec![
            pair("the id of a key", &ours.key.id, "aaaaaaaaaaaaaaaa"),
            pair("the id of a spare key", &spare.id, "bbbbbbbbbbbbbbbb"),
        ],
        positions: vec![
            pair("a position of ingest", &ours.positions[0], &spoilt(&ours.positions[0])),
            pair("a position of an answer", &ours.positions[1], &spoilt(&ours.positions[1])),
        ],
        theirs,
        compared: 0,
    };
    for route in routes() {
        sweep_route(&mut sweep, &route).await;
    }
    assert_eq!(all_of(&ours, OURS).await, before, "nothing has changed");
    // Again with everything at rest, where both tenants' rows lie in one file.
    server.stop();
    let server = Options::new(folder.path(), &TELEMETRY).start();
    for tenant in [&mut ours, &mut sweep.theirs] {
        tenant.api = api(&server, &tenant.key);
    }
    for route in routes() {
        sweep_route(&mut sweep, &route).await;
    }
    assert!(sweep.compared > 80, "{}", sweep.compared);
    late_meters_count_their_own(&sweep).await;
    send_as_theirs(&sweep, &server).await;
    assert_eq!(all_of(&ours, OURS).await, before, "nothing has changed");

    // What is measured names nobody.
    let telemetry = Api::new(server.telemetry.as_deref().unwrap());
    let metrics = telemetry.get("/metrics").await.expect(200).body;
    for name in [OURS, "theirs", ours.key.id.as_str(), ours.meter_id.as_str()] {
        assert!(!metrics.contains(name), "{name}");
    }
    server.stop();
}

async fn sweep_route(sweep: &mut Sweep, route: &Route) {
    let (meters, keys) = (sweep.meters.clone(), sweep.keys.clone());
    let own = marked("theirs", "meter");
    match (route.method.as_str(), route.path.as_str()) {
        // They take no id, and their answers no namespace.
        ("GET", "/healthz/live" | "/healthz/ready" | "/version") => {
            assert!(!sweep.send(Method::GET, &route.path, &[], "").await.expect(200).body.contains(OURS));
        }
        ("gRPC", "/grpc.health.v1.Health/{*rest}") => {}
        ("gRPC", path) if path.starts_with("/grpc.reflection.") => {}
        // Events with the ids of others' are sent after the sweep, as they do change something.
        ("POST", "/api/v1/events") | ("gRPC", "/weir.v1.IngestService/{*rest}") => {}
        ("GET", "/api/v1/events") => {
            let all = sweep.send(Method::GET, EVENTS, &[], "").await.expect(200);
            assert!(!all.body.contains(OURS) && all.body.contains("theirs_event0"), "{}", all.body);
            let values = [
                ("the id of an event", "id={}_event1"),
                ("a subject", "subject={}_subject"),
                ("both", "id={}_event1&subject={}_subject"),
            ];
            sweep.with_values(route, EVENTS, &values).await;
            sweep.at_positions(route, EVENTS).await;
        }
        ("GET", "/api/v1/meters") => {
            let living = sweep.send(Method::GET, "/api/v1/meters", &[], "").await.expect(200);
            assert!(items(&living).len() == 1 && !living.body.contains(OURS), "{}", living.body);
            let all =
                sweep.send(Method::GET, "/api/v1/meters?includeDeleted=true", &[], "").await.expect(200);
            for pair in meters.iter().filter(|pair| pair.what.starts_with("the id of a")) {
                assert!(!all.body.contains(&pair.ours), "{}", all.body);
            }
        }
        ("POST", "/api/v1/meters") => {
            // The same slug is free for everybody; ids and times differ from meter to meter.
            let body = |mark: &str| {
                format!(r#"{{"slug":"{mark}_meter","eventType":"request","aggregation":"COUNT"}}"#)
            };
            for mark in [OURS, NOBODYS] {
                sweep
                    .send(Method::POST, &route.path, &[("content-type", JSON)], &body(mark))
                    .await
                    .expect(201);
                let path = format!("/api/v1/meters/{mark}_meter");
                sweep.send(Method::DELETE, &path, &[], "").await.expect(204);
            }
            // Those two are theirs now, if only by their ids; what follows asks for the living ones.
        }
        ("GET" | "DELETE", "/api/v1/meters/{meter}") => sweep.in_path(route, meters, 404, "").await,
        ("PUT", "/api/v1/meters/{meter}") => sweep.in_path(route, meters, 404, r#"{"name":"taken"}"#).await,
        ("GET" | "POST", "/api/v1/meters/{meter}/query") => {
            let body = if route.method == "POST" { "{}" } else { "" };
            sweep.in_path(route, meters, 404, body).await;
            let path = route.path_of(&own);
            let values: &[(&str, &str)] = if route.method == "POST" {
                &[
                    ("a subject", r#"{"subject":["{}_subject"]}"#),
                    ("a group", r#"{"filterGroupBy":{"model":["{}_model"]},"groupBy":["subject"]}"#),
                    ("a property", r#"{"filterProperties":{"$.model":{"eq":"{}_model"}}}"#),
                    ("a customer", r#"{"filterCustomerId":["{}_customer"]}"#),
                ]
            } else {
                &[
                    ("a subject", "subject={}_subject"),
                    ("a group", "filterGroupBy[model]={}_model&groupBy=subject"),
                    ("a customer", "filterCustomerId={}_customer"),
                ]
            };
            sweep.with_values(route, &path, values).await;
            sweep.at_positions(route, &path).await;
            // What was read of files that both have rows in is told to neither.
            let all =
                sweep.send(Method::GET, &format!("{path}?groupBy=subject&groupBy=model"), &[], "").await;
            assert!(!all.clone().expect(200).body.contains(OURS), "{}", all.body);
            assert_eq!(all.header(READ), "");
        }
        ("GET", "/api/v1/position") => {
            let theirs = sweep.send(Method::GET, &route.path, &[], "").await.expect(200);
            assert!(!sweep.positions.iter().any(|pair| theirs.body.contains(&pair.ours)));
        }
        ("GET", "/api/v1/info/progress/{meter}") => sweep.in_path(route, meters, 404, "").await,
        ("GET", "/api/v1/keys") => {
            let all = sweep.send(Method::GET, "/api/v1/keys?includeEnded=true", &[], "").await.expect(200);
            assert!(items(&all).len() == 1 && !all.body.contains(OURS), "{}", all.body);
            sweep.with_values(route, "/api/v1/keys", &[("a namespace", "namespace={}")]).await;
        }
        ("POST", "/api/v1/keys") => {
            let body = r#"{"name":"x","scopes":["query"],"namespace":"{}"}"#;
            sweep.with_values(route, "/api/v1/keys", &[("a namespace", body)]).await;
        }
        ("POST", "/api/v1/keys/{key}/roll") => sweep.in_path(route, keys, 404, "{}").await,
        ("DELETE", "/api/v1/keys/{key}") => sweep.in_path(route, keys, 404, "").await,
        _ => {
            panic!("{route:?} is new: say here what it takes of another tenant's, and that it tells nothing")
        }
    }
}

/// A meter that comes after the events of both tenants is answered from rows.
async fn late_meters_count_their_own(sweep: &Sweep) {
    let api = &sweep.theirs.api;
    let late = meter("late", Aggregation::Sum, &[("model", "$.model")]);
    api.create_meter(&late).await;
    let position = api.position().await;
    for from in ["rows", "segments"] {
        let headers = [(POSITION, position.as_str()), (READ_FROM, from)];
        let slug = if from == "rows" { "late".to_owned() } else { marked("theirs", "meter") };
        let answer = ask(api, &slug, "groupBy=subject&groupBy=model", &headers).await.expect(200);
        assert_eq!(total(&answer), "35");
        assert!(!answer.body.contains(OURS), "{}", answer.body);
    }
}

/// Events with the ids that the other tenant's have: nobody's duplicates and nobody's conflicts.
async fn send_as_theirs(sweep: &Sweep, server: &Server) {
    let tenant = &sweep.theirs;
    let data = r#"{"value":100,"model":"m"}"#;
    let of =
        |n: u32| event(&marked(OURS, &format!("event{n}")), &marked(OURS, "subject"), tenant.second, data);
    let reply = tenant.api.post("/api/v1/events", BATCH, format!("[{}]", of(0))).await.expect(204);
    assert!(!reply.header(POSITION).is_empty());
    let mut client = grpc::connect(&server.url).await;
    let mut request = tonic::Request::new(grpc::request(&[of(1)]));
    request.metadata_mut().insert("authorization", format!("Bearer {}", tenant.key.text).parse().unwrap());
    let position = client.ingest(request).await.unwrap().into_inner().position;
    let slug = marked("theirs", "meter");
    let answer = ask(&tenant.api, &slug, "", &[(POSITION, &position)]).await.expect(200);
    assert_eq!(total(&answer), "235", "35 of their own, and both of these");
    let listed = tenant.api.get(&format!("{EVENTS}&subject={OURS}_subject")).await.expect(200);
    assert_eq!(items(&listed).len(), 2);
    assert!(!listed.body.contains("validationError"), "{}", listed.body);
    // A key of theirs, as the one whose place it takes.
    let made = post(&tenant.api, "/api/v1/keys", r#"{"name":"n","scopes":["query"]}"#).await.expect(201);
    let reader = super::key_of(&made);
    let seen = api(server, &reader).get(&format!("/api/v1/meters/{slug}")).await.expect(200);
    assert!(!seen.body.contains(OURS));
}
