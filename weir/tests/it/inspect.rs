//! Segments, progress and changed meters, against a real server and against one that answers as told.

use axum::http::StatusCode;
use serde_json::{Value, json};
use weir::client::{Client, ClientError};
use weir::data::{AtRest, open_catalog};
use weir::meters::{Change, Format};
use weir::output::Style;
use weir::segments;
use weir_catalog::Catalog as _;

use crate::fake::Fake;
use crate::folder::{EVENTS, Folder, Server, sum_below};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_listed_beside_a_running_server() {
    let folder = Folder::filled().await;
    let server = Server::start(&folder.data).await;
    let catalog = open_catalog(&folder.place().catalog).await.unwrap();
    let listing = catalog.listing().await.unwrap();
    let document: Value = serde_json::from_str(&segments::json(&listing, false).unwrap()).unwrap();
    let listed = document["segments"].as_array().unwrap();
    assert_eq!(listed.len(), listing.segments.len());
    let sum = |kind: &str| -> u64 {
        listed.iter().filter(|s| s["kind"] == kind).map(|s| s["rows"].as_u64().unwrap()).sum()
    };
    assert_eq!(sum("rows"), EVENTS + 50);
    assert!(sum("windows") > 0 && sum("members") > 0);
    let totals: u64 =
        document["totals"].as_array().unwrap().iter().map(|t| t["segments"].as_u64().unwrap()).sum();
    assert_eq!(totals as usize, listed.len());
    let table = segments::table(&listing, true, Style::PLAIN);
    assert!(table.contains("rows: ") && table.contains("650 rows"), "{table}");
    assert!(table.contains("windows by minute") || table.contains("windows by hour"), "{table}");
    assert!(AtRest::open(&folder.place()).await.is_ok());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_meter_counts_on_and_tells_its_progress() {
    let folder = Folder::filled().await;
    let server = Server::start(&folder.data).await;
    let client = &server.client;
    let progress = async |name: &str| -> (u64, u64) {
        let progress: Value = serde_json::from_str(&client.progress(name).await.unwrap()).unwrap();
        assert_eq!(progress["failed"], 0);
        assert!(progress["updatedAt"].as_str().unwrap().ends_with('Z'));
        (progress["success"].as_u64().unwrap(), progress["total"].as_u64().unwrap())
    };
    assert_eq!(progress("amount").await, (EVENTS + 50, EVENTS + 50));
    let change = Change {
        name: Some("What it costs".to_owned()),
        group_by: Some([("kind".to_owned(), "$.kind".to_owned())].into()),
        ..Change::default()
    };
    weir::meters::update(client, "amount", &change, Format::Json).await.unwrap();
    let meter: Value = serde_json::from_str(&client.meter("amount").await.unwrap()).unwrap();
    assert_eq!((&meter["name"], &meter["groupBy"]), (&json!("What it costs"), &json!({"kind": "$.kind"})));
    assert_eq!(server.amount(None).await.0, sum_below(EVENTS));
    let (folded, total) = progress("amount").await;
    assert!(folded <= total && total == EVENTS + 50);
    weir::meters::show(client, "amount", Format::Table).await.unwrap();

    // What the API leaves out: the name goes back, the description stays, the groups are cleared.
    let described = json!({"description": "kept", "metadata": {"a": "b"}, "groupBy": {"model": "$.model"}});
    client.update_meter("amount", &described).await.unwrap();
    let meter: Value =
        serde_json::from_str(&client.update_meter("amount", &json!({})).await.unwrap()).unwrap();
    assert_eq!((&meter["name"], &meter["description"]), (&json!("amount"), &json!("kept")));
    assert_eq!((&meter["groupBy"], meter.get("metadata")), (&json!({}), None));
    for bad in [
        json!({"groupBy": {"a-b": "$.x"}}),
        json!({"groupBy": {"a": "$.n"}}),
        json!({"description": ""}),
        json!({"name": 7}),
        json!([]),
    ] {
        let refused = client.update_meter("amount", &bad).await;
        assert!(matches!(refused, Err(ClientError::Refused(ref p)) if p.status == 400), "{bad}: {refused:?}");
    }
    for refused in [client.update_meter("nothing", &json!({})).await, client.progress("nothing").await] {
        assert!(matches!(refused, Err(ClientError::Refused(ref p)) if p.status == 404), "{refused:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_named_stays_when_a_meter_is_changed() {
    let meter = json!({
        "id": "01HK153X3VZZZZZZZZZZZZZZZZ", "slug": "m", "name": "M", "description": "d", "metadata": {"k": "v"},
        "eventType": "t", "aggregation": "COUNT", "groupBy": {"a": "$.a"},
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z", "warning": "too many groups",
    });
    let answered = || (StatusCode::OK, Vec::new(), meter.to_string());
    let (fake, url) = Fake::start([answered(), answered(), answered(), answered()]).await;
    let client = Client::new(&url).unwrap();
    let change = Change { description: Some("new".to_owned()), ..Change::default() };
    weir::meters::update(&client, "m", &change, Format::Table).await.unwrap();
    let change = Change { group_by: Some([].into()), metadata: Some([].into()), ..Change::default() };
    weir::meters::update(&client, "m", &change, Format::Table).await.unwrap();
    let seen = fake.seen();
    assert_eq!(seen.iter().map(|s| s.method.as_str()).collect::<Vec<_>>(), ["GET", "PUT", "GET", "PUT"]);
    let body = |at: usize| -> Value { serde_json::from_str(&seen[at].body).unwrap() };
    let kept = json!({"name": "M", "description": "new", "metadata": {"k": "v"}, "groupBy": {"a": "$.a"}});
    assert_eq!(body(1), kept);
    assert_eq!(body(3), json!({"name": "M", "description": "d", "metadata": {}, "groupBy": {}}));
}

#[tokio::test]
async fn a_question_at_a_position_is_asked_at_it() {
    let empty = || (StatusCode::OK, Vec::new(), r#"{"data":[]}"#.to_owned());
    let (fake, url) = Fake::start([empty()]).await;
    let client = Client::new(&url).unwrap();
    let question = weir::query::Question::default();
    weir::query::run(&client, "m", &question, Some(" token "), Format::Csv).await.unwrap();
    let seen = fake.seen();
    assert_eq!(seen.len(), 1, "a position that is given is not asked for");
    assert_eq!(seen[0].position.as_deref(), Some("token"));
}
