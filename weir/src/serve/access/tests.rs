//! The layer around routes that tell who they take the caller for, on a real catalog and a clock that is set.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use tempfile::TempDir;
use tower::ServiceExt as _;
use weir_catalog::KeyLimits;
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};

use super::*;
use crate::environment::OsEntropy;
use crate::serve::http::router;

const SECOND_US: i64 = 1_000_000;

#[derive(Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Edge {
    folder: TempDir,
    catalog: Arc<SqliteCatalog>,
    clock: Arc<SetClock>,
    access: Arc<Access>,
    routes: Router,
}

/// The namespace that a handler is told, and what it may take of events.
async fn told(request: Request) -> String {
    let namespace = request.extensions().get::<Namespace>().map(ToString::to_string);
    let limited = request.extensions().get::<EventAllowance>().is_some();
    format!("{} {limited}", namespace.unwrap_or("nobody".to_owned()))
}

async fn catalog_in(folder: &TempDir, clock: &Arc<SetClock>) -> SqliteCatalog {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let path = folder.path().join("catalog.db");
    SqliteCatalog::open(&path, SqliteOptions::default(), clock, Arc::new(OsEntropy::default())).await.unwrap()
}

async fn edge(openness: Openness) -> Edge {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(SetClock::default()));
    clock.0.store(1_000 * SECOND_US, Ordering::Relaxed);
    let catalog = Arc::new(catalog_in(&folder, &clock).await);
    let access = Access::open(
        Arc::clone(&catalog) as Arc<dyn Catalog>,
        Arc::clone(&clock) as Arc<dyn Clock>,
        openness,
    );
    let access = Arc::new(access.await.unwrap());
    let services = Router::new()
        .route("/api/v1/events", get(told).post(told))
        .route("/api/v1/meters", post(told).patch(told))
        .route("/api/v1/keys", get(told))
        .route("/api/v1/undecided", get(told));
    let grpc = Router::new().route("/weir.v1.IngestService/{*rest}", post(told));
    let health = Router::new().route("/healthz/live", get(told));
    let routes = router(services, grpc, health, Arc::clone(&access), Arc::new(OsEntropy::default()));
    Edge { folder, catalog, clock, access, routes }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Edge {
    fn forward(&self, us: i64) {
        self.clock.0.fetch_add(us, Ordering::Relaxed);
    }

    async fn make(&self, change: impl FnOnce(&mut NewKey)) -> (Token, String) {
        let token = Token::random(&OsEntropy::default()).unwrap();
        let mut key = NewKey {
            id: token.id().clone(),
            secret_hash: token.hash(),
            grant: Grant::Tenant {
                namespace: Namespace::new("acme"),
                scopes: [Scope::Ingest].into_iter().collect(),
            },
            name: "test".to_owned(),
            limits: KeyLimits::default(),
            expires_us: None,
        };
        change(&mut key);
        let somebody = Caller::Key(Grant::Operator);
        self.access.create(&somebody, key, self.clock.now_us()).await.unwrap();
        let header = format!("Bearer {}", token.reveal());
        (token, header)
    }

    async fn ask(&self, method: Method, path: &str, authorization: &[&str]) -> Answer {
        self.ask_as(method, path, authorization, None).await
    }

    async fn ask_as(&self, method: Method, path: &str, authorization: &[&str], kind: Option<&str>) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path).header("host", "here");
        for value in authorization {
            request = request.header(header::AUTHORIZATION, *value);
        }
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let response = self.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn send(&self, authorization: &str) -> Answer {
        self.ask(Method::POST, "/api/v1/events", &[authorization]).await
    }
}

impl Answer {
    fn detail(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        problem["detail"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_key_stands_for_its_namespace() {
    let edge = edge(Openness::Never).await;
    let (_, ours) = edge.make(|_| ()).await;
    let (_, theirs) = edge
        .make(|key| {
            key.grant = Grant::Tenant { namespace: Namespace::new("theirs"), scopes: Scopes::all() };
            key.limits.events_per_s = NonZeroU32::new(5);
        })
        .await;
    assert_eq!(edge.send(&ours).await.body, "acme false");
    assert_eq!(edge.send(&theirs).await.body, "theirs true");
    assert_eq!(edge.ask(Method::GET, "/api/v1/events", &[&theirs]).await.body, "theirs true");
    // However the scheme is written.
    assert_eq!(edge.send(&ours.replace("Bearer", "bearer")).await.body, "acme false");
    let (_, operator) = edge.make(|key| key.grant = Grant::Operator).await;
    assert_eq!(edge.ask(Method::GET, "/api/v1/keys", &[&operator]).await.body, "nobody false");
    let refused = edge.send(&operator).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    insta::assert_snapshot!(refused.detail(), @"this needs a key of a namespace with the scope `ingest`; the key that was sent is an operator's, which manages keys and does nothing else");
}

#[tokio::test]
async fn what_is_not_in_force_is_refused_in_one_sentence() {
    let edge = edge(Openness::Never).await;
    let soon = edge.clock.now_us() + 10 * SECOND_US;
    let (_, expiring) = edge.make(|key| key.expires_us = Some(soon)).await;
    let (revoked_token, revoked) = edge.make(|_| ()).await;
    let unknown = format!("Bearer {}", Token::random(&OsEntropy::default()).unwrap().reveal());
    // The id of one, the secret of another.
    let (token, _) = edge.make(|_| ()).await;
    let mixed = format!("Bearer {}", token.with_secret_of(&revoked_token).reveal());
    assert_eq!(edge.send(&expiring).await.status, StatusCode::OK);
    edge.forward(10 * SECOND_US - 1);
    assert_eq!(edge.send(&expiring).await.status, StatusCode::OK);
    edge.forward(1);
    assert_eq!(edge.send(&revoked).await.status, StatusCode::OK);
    assert!(edge.access.revoke(&KeysOf::Everyone, revoked_token.id(), 1).await.unwrap());
    for header in [&expiring, &revoked, &unknown, &mixed] {
        let refused = edge.send(header).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert_eq!(refused.headers[header::WWW_AUTHENTICATE], "Bearer");
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused.detail(), @"the key is not in force: it is unknown here, has expired, or was revoked");
        }
        assert!(refused.body.contains(r#""type":"urn:weir:problem:unauthorized""#), "{}", refused.body);
    }
}

#[tokio::test]
async fn what_is_no_key_is_told_so_without_repeating_it() {
    let edge = edge(Openness::Never).await;
    let (_, good) = edge.make(|_| ()).await;
    let missing = edge.ask(Method::POST, "/api/v1/events", &[]).await;
    insta::assert_snapshot!(missing.detail(), @"this server asks for a key; send one as `Authorization: Bearer weir_…`, over gRPC as the metadata `authorization`");
    assert_eq!(missing.headers[header::WWW_AUTHENTICATE], "Bearer");
    let cut = &good[..good.len() - 1];
    let basic = good.replace("Bearer", "Basic");
    let bare = good.replace("Bearer ", "");
    for wrong in [&[cut][..], &[&basic], &[&bare], &[""], &["Bearer"], &["Bearer "], &[&good, &good]] {
        let refused = edge.ask(Method::POST, "/api/v1/events", wrong).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert!(!refused.body.contains(&good[40..60]), "{}", refused.body);
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused.detail(), @"the Authorization header does not hold `Bearer` and a key: not a key: one has 81 characters, begins with `weir_` and ends with a checksum; was it cut or mistyped?");
        }
    }
}

#[tokio::test]
async fn grpc_says_the_same() {
    let edge = edge(Openness::Never).await;
    let (_, query_only) = edge
        .make(|key| {
            let scopes = [Scope::Query].into_iter().collect();
            key.grant = Grant::Tenant { namespace: Namespace::new("acme"), scopes };
        })
        .await;
    let (_, good) = edge.make(|_| ()).await;
    let path = "/weir.v1.IngestService/Ingest";
    let grpc = Some("application/grpc");
    for (header, code, sentence) in [
        (&[][..], "16", "this server asks for a key"),
        (
            &[query_only.as_str()][..],
            "7",
            "this needs a key with the scope `ingest`; the key that was sent has: query",
        ),
    ] {
        let refused = edge.ask_as(Method::POST, path, header, grpc).await;
        assert_eq!(refused.status, StatusCode::OK);
        assert_eq!(refused.headers["grpc-status"], code);
        let message =
            refused.headers["grpc-message"].to_str().unwrap().replace("%20", " ").replace("%60", "`");
        assert!(message.starts_with(sentence), "{message}");
        assert!(refused.headers.contains_key("grpc-status-details-bin"));
    }
    assert_eq!(edge.ask_as(Method::POST, path, &[&good], grpc).await.body, "acme false");
}

#[tokio::test]
async fn routes_are_closed_unless_somebody_has_decided() {
    let keyed = edge(Openness::Never).await;
    let (_, header) = keyed
        .make(|key| key.grant = Grant::Tenant { namespace: Namespace::new("acme"), scopes: Scopes::all() })
        .await;
    let open = edge(Openness::Loopback).await;
    for (edge, sent) in [(&keyed, &[header.as_str()][..]), (&open, &[][..])] {
        assert_eq!(edge.ask(Method::GET, "/api/v1/undecided", sent).await.status, StatusCode::FORBIDDEN);
        let method = edge.ask(Method::PATCH, "/api/v1/meters", sent).await;
        assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(method.headers[header::ALLOW], "GET,HEAD,POST");
        assert_eq!(edge.ask(Method::GET, "/api/v1/nothing", sent).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(open.ask(Method::POST, "/api/v1/meters", &[]).await.body, "default false");
    for path in ["/healthz/live", "/version"] {
        assert_eq!(keyed.ask(Method::GET, path, &[]).await.status, StatusCode::OK);
        assert_eq!(keyed.ask(Method::GET, path, &["nonsense"]).await.status, StatusCode::OK);
    }
    for path in ["/api/v1/nothing", "/api/v1/undecided", "/"] {
        assert_eq!(keyed.ask(Method::GET, path, &[]).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn the_first_key_closes_what_was_open_for_good() {
    for openness in [Openness::Loopback, Openness::Everywhere] {
        let edge = edge(openness).await;
        assert!(edge.access.is_open());
        assert_eq!(edge.send("whatever SDKs send").await.body, "default false");
        assert_eq!(edge.access.may_create(&Caller::Anybody), openness == Openness::Loopback);
        let (token, header) = edge.make(|_| ()).await;
        assert_eq!(edge.send("whatever SDKs send").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(edge.send(&header).await.body, "acme false");
        edge.access.revoke(&KeysOf::Everyone, token.id(), 1).await.unwrap();
        assert_eq!(edge.ask(Method::POST, "/api/v1/events", &[]).await.status, StatusCode::UNAUTHORIZED);
        // Whoever was let in before there was a key makes no second one.
        let key = NewKey {
            id: "abcdefghabcdefgh".parse().unwrap(),
            secret_hash: token.hash(),
            grant: Grant::Operator,
            name: "late".to_owned(),
            limits: KeyLimits::default(),
            expires_us: None,
        };
        assert!(matches!(edge.access.create(&Caller::Anybody, key, 1).await, Err(CatalogError::Conflict(_))));
    }
}

#[tokio::test]
async fn changes_of_another_process_are_seen() {
    let edge = edge(Openness::Loopback).await;
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::clone(&edge.access).follow(stop.clone()));
    let other = catalog_in(&edge.folder, &edge.clock).await;
    let token = Token::random(&OsEntropy::default()).unwrap();
    let key = NewKey {
        id: token.id().clone(),
        secret_hash: token.hash(),
        grant: Grant::Tenant { namespace: Namespace::new("acme"), scopes: Scopes::all() },
        name: "other".to_owned(),
        limits: KeyLimits::default(),
        expires_us: None,
    };
    other.keys().create(key, 1).await.unwrap();
    let header = format!("Bearer {}", token.reveal());
    while edge.send(&header).await.body != "acme false" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    other.keys().revoke(&KeysOf::Everyone, token.id(), 2).await.unwrap();
    while edge.send(&header).await.status != StatusCode::UNAUTHORIZED {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn revoking_counts_even_if_the_keys_cannot_be_read_again() {
    let edge = edge(Openness::Never).await;
    let (token, header) = edge.make(|_| ()).await;
    let (_, other) = edge.make(|_| ()).await;
    // A row that no program has written: nothing can be read until it is gone.
    let path = edge.folder.path().join("catalog.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut raw = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("INSERT INTO api_keys SELECT 'aaaaaaaaaaaaaaaa', 'x', 'nonsense', 'n', secret_hash, NULL, NULL, 0, NULL, NULL, NULL FROM api_keys LIMIT 1")
        .execute(&mut raw)
        .await
        .unwrap();
    edge.access.revoke(&KeysOf::Everyone, token.id(), 1).await.unwrap();
    assert!(edge.catalog.keys().table(None).await.is_err());
    assert_eq!(edge.send(&header).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(edge.send(&other).await.status, StatusCode::OK, "what was read last stays in force");
}

#[tokio::test]
async fn a_key_asks_as_often_as_it_may() {
    let edge = edge(Openness::Never).await;
    let (_, header) = edge
        .make(|key| {
            key.limits = KeyLimits { requests_per_s: NonZeroU32::new(3), events_per_s: NonZeroU32::new(10) };
        })
        .await;
    let (_, other) = edge.make(|_| ()).await;
    for _ in 0..3 {
        assert_eq!(edge.send(&header).await.status, StatusCode::OK);
    }
    let refused = edge.send(&header).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert!(refused.body.contains(r#""limit":"requests_per_s""#), "{}", refused.body);
    let grpc = edge
        .ask_as(Method::POST, "/weir.v1.IngestService/Ingest", &[&header], Some("application/grpc"))
        .await;
    assert_eq!(
        (&grpc.headers["grpc-status"], &grpc.headers["retry-after"]),
        (&"8".parse().unwrap(), &"1".parse().unwrap())
    );
    for _ in 0..20 {
        assert_eq!(edge.send(&other).await.status, StatusCode::OK, "limits of keys are their own");
    }
    // What is left stays when other keys change.
    assert_eq!(edge.send(&header).await.status, StatusCode::TOO_MANY_REQUESTS);
    edge.forward(SECOND_US / 2);
    assert_eq!(edge.send(&header).await.status, StatusCode::OK);
    assert_eq!(edge.send(&header).await.status, StatusCode::TOO_MANY_REQUESTS);
}
