//! The event list, and events whose time the server sets.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use reqwest::Method;
use weir_tests::http::POSITION;
use weir_tests::reference::json::Json;
use weir_tests::reference::model::micros;

use super::{Fresh, event, fresh};

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

async fn list(fresh: &Fresh, parameters: &str) -> Vec<Json> {
    let position = fresh.api.position().await;
    let headers = [(POSITION, position.as_str())];
    let path = format!("/api/v1/events?{parameters}");
    fresh.api.send(Method::GET, &path, &headers, Vec::new()).await.expect(200).json().items().to_vec()
}

fn ids(listed: &[Json]) -> Vec<&str> {
    listed.iter().map(|item| item.get("event").unwrap().text("id")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newest_first_with_what_is_wrong_with_them() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    let now = Utc::now();
    let at = |minutes: i64| rfc3339(now - Duration::minutes(minutes));
    let (first, second) = (at(30), at(20));
    fresh.api.ingest(&[event("first", &first, r#"{"value":1.50}"#)]).await;
    fresh
        .api
        .ingest(&[
            event("second", &second, "{}"),
            event("third", &at(40), "null"),
            event("other", &at(10), "{}").replace("request", "unheard"),
            event("first", &at(1), "{}"),
        ])
        .await;
    let listed = list(&fresh, "").await;
    assert_eq!(ids(&listed), ["other", "second", "first", "third"]);
    let errors: Vec<Option<&Json>> = listed.iter().map(|item| item.get("validationError")).collect();
    let error = |index: usize| listed[index].text("validationError");
    assert!(error(0).contains("no meter found for event type: unheard"), "{errors:?}");
    assert!(error(1).contains("missing value property: \"$.value\""), "{errors:?}");
    assert!(error(3).contains("null and missing value property"), "{errors:?}");
    let event = listed[2].get("event").unwrap();
    assert_eq!(event.text("time"), first);
    assert_eq!(event.text("specversion"), "1.0");
    assert_eq!(
        (event.text("type"), event.text("subject"), event.text("source")),
        ("request", "acme", "test")
    );
    assert_eq!(event.get("data").unwrap().get("value"), Some(&Json::Number("1.50".to_owned())));
    for key in ["ingestedAt", "storedAt"] {
        let age = now.timestamp_micros() - micros(listed[2].text(key));
        assert!(age.abs() < 60_000_000, "{key} is {}", listed[2].text(key));
    }

    assert_eq!(ids(&list(&fresh, "limit=1").await), ["other"]);
    assert_eq!(ids(&list(&fresh, "id=ir").await), ["first", "third"]);
    assert!(list(&fresh, "subject=acm").await.is_empty());
    assert_eq!(list(&fresh, "subject=acme").await.len(), 4);
    assert_eq!(ids(&list(&fresh, &format!("from={first}&to={second}")).await), ["first"]);
    let old = rfc3339(now - Duration::days(33));
    for bad in [format!("from={old}"), "limit=0".to_owned(), "limit=101".to_owned(), "from=x".to_owned()] {
        fresh.api.get(&format!("/api/v1/events?{bad}")).await.expect_problem(400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_time_is_the_time_of_acceptance() {
    let fresh = fresh();
    fresh.meter("COUNT").await;
    let before = Utc::now().timestamp_micros() - 1_000_000;
    let timeless = |id: &str| event(id, "x", "{}").replace(r#""time":"x","#, "");
    fresh.api.ingest(&[timeless("absent")]).await;
    fresh.api.ingest(&[event("null", "x", "{}").replace("\"x\"", "null")]).await;
    // The same again, later: its time is not its identity.
    fresh.api.ingest(&[timeless("absent")]).await;
    let after = Utc::now().timestamp_micros();
    let listed = list(&fresh, "").await;
    assert_eq!(listed.len(), 2);
    for item in &listed {
        let time = micros(item.get("event").unwrap().text("time"));
        assert!((before..=after).contains(&time), "{item:?}");
    }
    let rows = fresh.rows("/api/v1/meters/count/query?windowSize=MINUTE").await;
    let minutes: Vec<i64> = rows.iter().map(|row| micros(row.text("windowStart"))).collect();
    for item in &listed {
        let time = micros(item.get("event").unwrap().text("time"));
        assert!(minutes.iter().any(|start| (*start..*start + 60_000_000).contains(&time)), "{rows:?}");
    }
    assert_eq!(fresh.total("count").await, "2");
}
