//! Every route of the table in `docs/access.md` with every kind of key: what the table says is open is open, and
//! everything else is closed.

use std::time::Duration;

use weir_tests::http::{Api, JSON, Reply};
use weir_tests::server::Options;

use super::{Key, make, make_tenant, method};

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// An HTTP method, or `gRPC`.
    pub(super) method: String,
    pub(super) path: String,
    needs: String,
}

impl Route {
    pub(super) fn is_grpc(&self) -> bool {
        self.method == "gRPC"
    }

    /// With an id in the place of its parameter.
    pub(super) fn path_of(&self, id: &str) -> String {
        self.path.replace("{meter}", id).replace("{key}", id)
    }
}

/// The table of the document; a unit test compares it with the server's own.
pub(super) fn routes() -> Vec<Route> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access.md");
    let document = std::fs::read_to_string(path).unwrap();
    let rows = document.lines().skip_while(|line| !line.starts_with("| method | route | needs |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let routes: Vec<Route> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            Route {
                method: cells[1].to_owned(),
                path: cells[2].trim_matches('`').to_owned(),
                needs: cells[3].to_owned(),
            }
        })
        .collect();
    assert!(routes.len() > 20, "{routes:?}");
    routes
}

/// Sends something harmless there.
async fn knock(api: &Api, route: &Route) -> Reply {
    if route.is_grpc() {
        let path =
            route.path.replace("{*rest}", if route.path.contains("Ingest") { "Ingest" } else { "Check" });
        return api.post(&path, "application/grpc", vec![0_u8; 5]).await;
    }
    let kind = [("content-type", JSON)];
    api.send(method(&route.method), &route.path_of("aaaaaaaaaaaaaaaa"), &kind, b"{}".to_vec()).await
}

/// Which refusal it is, if it is one of those that keys decide.
fn refusal(route: &Route, reply: &Reply) -> Option<u16> {
    if route.is_grpc() && reply.status == 200 {
        return match reply.header("grpc-status") {
            "16" => Some(401),
            "7" => Some(403),
            _ => None,
        };
    }
    [401, 403].into_iter().find(|status| *status == reply.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_opens_to_the_keys_that_the_table_names_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let of = |scope: &str| make(folder.path(), scope, &["--namespace", "ours", "--scope", scope]);
    let mut keys: Vec<(&str, Option<Key>)> =
        ["ingest", "query", "admin"].into_iter().map(|scope| (scope, Some(of(scope)))).collect();
    keys.push(("operator", Some(make(folder.path(), "operator", &["--operator"]))));
    let brief =
        make(folder.path(), "brief", &["--namespace", "ours", "--scope", "query", "--expires-in", "1s"]);
    keys.push(("expired", Some(brief.clone())));
    let revoked = make_tenant(folder.path(), "ours");
    super::done(&["keys", "revoke", &revoked.id, "--data-dir", &folder.path().display().to_string()]);
    keys.push(("revoked", Some(revoked)));
    keys.push(("none", None));
    let server = Options::new(folder.path(), &[]).start();
    let nobody = Api::new(&server.url);
    let expiring = nobody.with_key(&brief.text);
    while expiring.get("/api/v1/meters").await.status != 401 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut refusals = 0;
    for route in routes() {
        for (held, key) in &keys {
            let api = key.as_ref().map_or_else(|| nobody.clone(), |key| nobody.with_key(&key.text));
            let reply = knock(&api, &route).await;
            let nobody_in_particular = ["expired", "revoked", "none"].contains(held);
            let expected = match route.needs.as_str() {
                "nothing" => None,
                _ if nobody_in_particular => Some(401),
                "any key" => None,
                "admin, or an operator's key" => (!["admin", "operator"].contains(held)).then_some(403),
                scope => (scope != *held).then_some(403),
            };
            assert_eq!(
                refusal(&route, &reply),
                expected,
                "{held}: {route:?}: {} {}",
                reply.status,
                reply.body
            );
            if let (Some(403), false) = (expected, route.is_grpc()) {
                let needed = route.needs.split(',').next().unwrap();
                assert!(
                    reply.body.contains(&format!("`{needed}`")),
                    "the missing scope is named: {}",
                    reply.body
                );
            }
            refusals += usize::from(expected.is_some());
        }
    }
    assert!(refusals > 90, "{refusals}");
    server.stop();
}
