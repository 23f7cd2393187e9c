//! Events, meters and questions of the suites that tell one story each: everything is of type `request`,
//! values are at `$.value`, and what comes back is read as text.

use std::collections::BTreeMap;

use crate::http::{Api, JSON, POSITION, READ, Reply};
use crate::reference::json::Json;
use crate::reference::{Aggregation, Meter};
use reqwest::Method;

/// Most events in one request.
const BATCH_EVENTS: usize = 5_000;

/// An event of type `request` at a second since 1970.
pub fn event(id: &str, subject: &str, second: i64, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"plain","type":"request","subject":"{subject}","time":"{}","data":{data}}}"#,
        rfc3339(second)
    )
}

/// A second since 1970 in UTC.
pub fn rfc3339(second: i64) -> String {
    chrono::DateTime::from_timestamp(second, 0).unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A meter of `$.value`, or of events if it counts.
pub fn meter(slug: &str, aggregation: Aggregation, group_by: &[(&str, &str)]) -> Meter {
    let group_by = group_by.iter().map(|(key, path)| ((*key).to_owned(), (*path).to_owned()));
    Meter {
        slug: slug.to_owned(),
        event_type: "request".to_owned(),
        aggregation,
        value_property: (aggregation != Aggregation::Count).then(|| "$.value".to_owned()),
        group_by: group_by.collect::<BTreeMap<_, _>>(),
        event_from: None,
    }
}

/// Sends events in as many requests as it takes, and returns the position behind the last of them.
pub async fn send(api: &Api, events: &[String]) -> String {
    let mut position = String::new();
    for batch in events.chunks(BATCH_EVENTS) {
        position = api.ingest(batch).await;
    }
    position
}

/// What an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    pub windows: u64,
    pub events: u64,
    pub bytes: u64,
    pub segments: u64,
}

impl Read {
    pub fn of(reply: &Reply) -> Self {
        let header = reply.header(READ);
        let parts: BTreeMap<&str, u64> = header
            .split(", ")
            .map(|part| part.split_once('=').unwrap_or_else(|| panic!("{READ}: {header:?}")))
            .map(|(name, number)| (name, number.parse().unwrap()))
            .collect();
        let part = |name: &str| *parts.get(name).unwrap_or_else(|| panic!("no {name} in {header:?}"));
        Self {
            windows: part("windows"),
            events: part("events"),
            bytes: part("bytes"),
            segments: part("segments"),
        }
    }
}

/// Asks a meter; `parameters` are those of the address, such as `windowSize=DAY`.
pub async fn ask(api: &Api, name: &str, parameters: &str, headers: &[(&str, &str)]) -> Reply {
    let path = format!("/api/v1/meters/{name}/query?{parameters}");
    api.send(Method::GET, &path, headers, Vec::new()).await
}

/// The same, once everything sent so far is visible.
pub async fn ask_all(api: &Api, name: &str, parameters: &str) -> Reply {
    let position = api.position().await;
    ask(api, name, parameters, &[(POSITION, &position)]).await.expect(200)
}

/// Asks with a body.
pub async fn ask_json(api: &Api, name: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
    let headers = [headers, &[("content-type", JSON)]].concat();
    api.send(Method::POST, &format!("/api/v1/meters/{name}/query"), &headers, body.into()).await
}

/// The values of an answer in its order, digit by digit.
pub fn values(reply: &Reply) -> Vec<String> {
    let answer = reply.json();
    let rows = answer.get("data").unwrap_or_else(|| panic!("no data: {}", reply.body)).items();
    rows.iter()
        .map(|row| match row.get("value") {
            Some(Json::Number(text)) => text.clone(),
            other => panic!("a value is a JSON number, not {other:?}"),
        })
        .collect()
}

/// The value of the only row.
#[track_caller]
pub fn total(reply: &Reply) -> String {
    let mut values = values(reply);
    assert_eq!(values.len(), 1, "{}", reply.body);
    values.remove(0)
}

/// Fails unless this is a problem of this status and kind; returns its detail.
#[track_caller]
pub fn expect_kind(reply: Reply, status: u16, kind: &str) -> String {
    let found = reply.json().text("type").to_owned();
    assert!(found.ends_with(kind), "{kind} was expected: {}", reply.body);
    reply.expect_problem(status)
}
