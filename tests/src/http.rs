//! The server's HTTP API as a client sees it: bodies go out as they are given and come back as text, so
//! that every digit of an answer can be looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use serde_json::json;
use url::Url;

use crate::reference::json::Json;
use crate::reference::model::micros;
use crate::reference::{Filter, Meter, Query, Row};

/// Above every limit of the server's own.
const REQUEST_LIMIT: Duration = Duration::from_secs(90);

/// Each of them waits for some seconds.
const ASKS_MAX: u32 = 30;

pub const BATCH: &str = "application/cloudevents-batch+json";
pub const SINGLE: &str = "application/cloudevents+json";
pub const JSON: &str = "application/json";
pub const POSITION: &str = "weir-position";
/// Where a query may read from: `rows` or `segments`.
pub const READ_FROM: &str = "weir-read-from";
/// What an answer took.
pub const READ: &str = "weir-read";

/// A server's API.
#[derive(Clone, Debug)]
pub struct Api {
    pub url: String,
    client: Client,
}

/// An answer of any kind.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    /// The header's text, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Json {
        Json::parse(&self.body)
    }

    /// Fails, telling the answer, unless it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "the answer was: {}", self.body);
        self
    }

    /// Fails unless this is a problem document of this status; returns its detail.
    #[track_caller]
    pub fn expect_problem(self, status: u16) -> String {
        let reply = self.expect(status);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        let problem = reply.json();
        assert_eq!(problem.get("status"), Some(&Json::Number(status.to_string())), "{problem:?}");
        assert!(!problem.text("type").is_empty() && !problem.text("title").is_empty(), "{problem:?}");
        problem.text("detail").to_owned()
    }
}

impl Api {
    pub fn new(url: &str) -> Self {
        let client = Client::builder().no_proxy().timeout(REQUEST_LIMIT).build().unwrap();
        Self { url: url.to_owned(), client }
    }

    /// The same, with a key in every request.
    pub fn with_key(&self, key: &str) -> Self {
        let value = HeaderValue::from_str(&format!("Bearer {key}")).unwrap();
        let headers = HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, value)]);
        let client = Client::builder().no_proxy().timeout(REQUEST_LIMIT).default_headers(headers);
        Self { url: self.url.clone(), client: client.build().unwrap() }
    }

    /// Sends a request; Err if no answer came.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply, reqwest::Error> {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8(response.bytes().await?.to_vec()).expect("answers are UTF-8");
        Ok(Reply { status, headers, body })
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        let what = format!("{method} {path}");
        self.try_send(method, path, headers, body).await.unwrap_or_else(|e| panic!("{what}: {e:?}"))
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Vec::new()).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], Vec::new()).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.send(Method::POST, path, &[("content-type", content_type)], body.into()).await
    }

    /// Sends events as one batch, which must be taken, and returns the position behind them.
    pub async fn ingest(&self, events: &[String]) -> String {
        let body = format!("[{}]", events.join(","));
        let reply = self.post("/api/v1/events", BATCH, body).await.expect(204);
        assert_eq!(reply.body, "");
        reply.header(POSITION).to_owned()
    }

    /// A position behind everything that is durable.
    pub async fn position(&self) -> String {
        self.get("/api/v1/position").await.expect(200).json().text("position").to_owned()
    }

    pub async fn create_meter(&self, meter: &Meter) -> Json {
        self.post("/api/v1/meters", JSON, meter_json(meter)).await.expect(201).json()
    }

    /// Reads an answer that includes everything up to the position, however long that takes to become
    /// visible: a server that is behind says so, and is asked again.
    pub async fn get_at(&self, path: &str, position: &str) -> Reply {
        for _ in 0..ASKS_MAX {
            let reply = self.send(Method::GET, path, &[(POSITION, position)], Vec::new()).await;
            if reply.status != 504 {
                return reply;
            }
        }
        panic!("{path}: the position is still not visible after asking {ASKS_MAX} times");
    }

    /// Changes a meter: what of it may change is as in this one.
    pub async fn update_meter(&self, id_or_slug: &str, meter: &Meter) -> Json {
        let path = format!("/api/v1/meters/{id_or_slug}");
        let body = json!({ "groupBy": meter.group_by }).to_string();
        self.send(Method::PUT, &path, &[("content-type", JSON)], body.into()).await.expect(200).json()
    }

    /// Asks a meter by its slug or id, with a query string if the query fits into one and that is wished.
    pub async fn query(&self, name: &str, query: &Query, short: bool, headers: &[(&str, &str)]) -> Reply {
        if short && fits_a_path(query) {
            return self.send(Method::GET, &query_path(name, query), headers, Vec::new()).await;
        }
        let headers = [headers, &[("content-type", JSON)]].concat();
        let path = format!("/api/v1/meters/{name}/query");
        self.send(Method::POST, &path, &headers, query_json(query).into_bytes()).await
    }
}

/// Whether a GET can ask this.
fn fits_a_path(query: &Query) -> bool {
    query.properties.is_empty() && query.filter_group_by.values().all(|values| values.len() <= 1)
}

/// A meter as a client creates it.
pub fn meter_json(meter: &Meter) -> String {
    let mut json = json!({
        "slug": meter.slug,
        "eventType": meter.event_type,
        "aggregation": meter.aggregation.name(),
        "groupBy": meter.group_by,
    });
    if let Some(property) = &meter.value_property {
        json["valueProperty"] = json!(property);
    }
    if let Some(second) = meter.event_from {
        json["eventFrom"] = json!(rfc3339(second * 1_000_000));
    }
    json.to_string()
}

fn rfc3339(time_us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(time_us)
        .unwrap()
        .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// The query as the path of a GET. A filter that means any of several values has to be a POST.
pub fn query_path(slug: &str, query: &Query) -> String {
    let mut url = Url::parse("http://x/").unwrap();
    url.set_path(&format!("/api/v1/meters/{slug}/query"));
    {
        let mut pairs = url.query_pairs_mut();
        query.from_us.map(|us| pairs.append_pair("from", &rfc3339(us)));
        query.to_us.map(|us| pairs.append_pair("to", &rfc3339(us)));
        query.window.map(|size| pairs.append_pair("windowSize", size.name()));
        query.zone.map(|zone| pairs.append_pair("windowTimeZone", zone));
        pairs.extend_pairs(query.subjects.iter().map(|subject| ("subject", subject)));
        pairs.extend_pairs(query.group_by.iter().map(|key| ("groupBy", key)));
        for (key, values) in &query.filter_group_by {
            assert!(values.len() <= 1, "several values do not fit into a query string");
            pairs.extend_pairs(values.iter().map(|value| (format!("filterGroupBy[{key}]"), value)));
        }
        if !query.advanced.is_empty() {
            pairs.append_pair("advancedMeterGroupByFilters", &advanced_json(query).to_string());
        }
    }
    let text = url.to_string();
    text.strip_prefix("http://x").unwrap().trim_end_matches('?').to_owned()
}

fn advanced_json(query: &Query) -> serde_json::Value {
    filters_json(&query.advanced)
}

fn filters_json(filters: &BTreeMap<String, Filter>) -> serde_json::Value {
    filters.iter().map(|(key, filter)| (key.clone(), filter.to_json())).collect()
}

/// The query as the body of a POST.
pub fn query_json(query: &Query) -> String {
    let mut json = json!({});
    if let Some(us) = query.from_us {
        json["from"] = json!(rfc3339(us));
    }
    if let Some(us) = query.to_us {
        json["to"] = json!(rfc3339(us));
    }
    if let Some(size) = query.window {
        json["windowSize"] = json!(size.name());
    }
    if let Some(zone) = query.zone {
        json["windowTimeZone"] = json!(zone);
    }
    if !query.subjects.is_empty() {
        json["subject"] = json!(query.subjects);
    }
    if !query.group_by.is_empty() {
        json["groupBy"] = json!(query.group_by);
    }
    if !query.filter_group_by.is_empty() {
        json["filterGroupBy"] = json!(query.filter_group_by);
    }
    if !query.advanced.is_empty() {
        json["advancedMeterGroupByFilters"] = advanced_json(query);
    }
    if !query.properties.is_empty() {
        json["filterProperties"] = filters_json(&query.properties);
    }
    json.to_string()
}

/// The rows of an answer, values digit by digit.
pub fn rows(reply: &Reply) -> Vec<Row> {
    let answer = reply.json();
    answer.get("data").expect("an answer has data").items().iter().map(row).collect()
}

fn row(json: &Json) -> Row {
    let text = |value: &Json| match value {
        Json::String(text) => text.clone(),
        other => panic!("expected a string, found {other:?}"),
    };
    let Some(Json::Number(value)) = json.get("value") else { panic!("no number for a value: {json:?}") };
    let Some(Json::Object(groups)) = json.get("groupBy") else { panic!("no groups: {json:?}") };
    let second = |key: &str| micros(json.text(key)) / 1_000_000;
    Row {
        value: value.clone(),
        window_start: second("windowStart"),
        window_end: second("windowEnd"),
        subject: match json.get("subject").expect("a row has a subject, if only null") {
            Json::Null => None,
            subject => Some(text(subject)),
        },
        group_by: groups.iter().map(|(key, value)| (key.clone(), text(value))).collect::<BTreeMap<_, _>>(),
    }
}
