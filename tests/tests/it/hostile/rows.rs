//! A row of the table: an input by name, how it is sent over each transport, and what is answered.

use prost::Message as _;
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use weir_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};
use weir_proto::v1::IngestRequest;
use weir_tests::http::{BATCH, SINGLE};

use super::grpc::{GrpcRequest, INGEST, framed};

pub(super) type Table = Vec<Row>;

#[derive(Clone, Debug)]
pub(super) struct Row {
    /// As the document has it.
    pub(super) name: &'static str,
    pub(super) http: Side<HttpRequest>,
    pub(super) grpc: Side<GrpcRequest>,
    /// Events that all cases together leave behind.
    pub(super) stores: u64,
    /// How the ids of all cases begin, and what is said at each of their events.
    pub(super) reports: Option<(&'static str, &'static str)>,
}

/// One transport's cases and their answer.
#[derive(Clone, Debug)]
pub(super) struct Side<C> {
    /// As the document has it, such as "400 `invalid-event`" or `OK`; a dash where there is no such input.
    pub(super) answer: &'static str,
    /// What the text must name.
    pub(super) names: Vec<&'static str>,
    pub(super) cases: Vec<C>,
}

impl<C> Side<C> {
    /// The status, and the problem's kind if it is one.
    pub(super) fn parts(&self) -> (u16, Option<&'static str>) {
        let (status, kind) = self.answer.split_once(' ').unwrap_or((self.answer, ""));
        (status.parse().unwrap(), Some(kind.trim_matches('`')).filter(|kind| !kind.is_empty()))
    }
}

#[derive(Clone, Debug)]
pub(super) struct HttpRequest {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) const INVALID: &str = "400 `invalid-event`";
pub(super) const ARGUMENT: &str = "INVALID_ARGUMENT";

/// A row that has no answers yet.
pub(super) fn row(name: &'static str) -> Row {
    fn nothing<C>() -> Side<C> {
        Side { answer: "—", names: Vec::new(), cases: Vec::new() }
    }
    Row { name, http: nothing(), grpc: nothing(), stores: 0, reports: None }
}

impl Row {
    pub(super) fn http(
        mut self,
        answer: &'static str,
        names: &[&'static str],
        cases: Vec<HttpRequest>,
    ) -> Self {
        assert!(!cases.is_empty());
        self.http = Side { answer, names: names.to_vec(), cases };
        self
    }

    pub(super) fn grpc(
        mut self,
        answer: &'static str,
        names: &[&'static str],
        cases: Vec<GrpcRequest>,
    ) -> Self {
        assert!(!cases.is_empty());
        self.grpc = Side { answer, names: names.to_vec(), cases };
        self
    }

    /// Both transports refuse an event, second in its batch, and name it.
    pub(super) fn bad_events(
        self,
        names: &[&'static str],
        json: Vec<String>,
        proto: Vec<CloudEvent>,
    ) -> Self {
        let names = [&["event 1"], names].concat();
        self.http(INVALID, &names, json.iter().map(|bad| second(bad)).collect()).grpc(
            ARGUMENT,
            &names,
            proto.into_iter().map(second_proto).collect(),
        )
    }

    pub(super) fn stores(mut self, events: u64) -> Self {
        self.stores = events;
        self
    }

    pub(super) fn reports(mut self, id: &'static str, text: &'static str) -> Self {
        self.reports = Some((id, text));
        self
    }
}

/// A valid event of type `request`, its time now.
pub(super) fn good(id: &str) -> String {
    with_data(id, r#"{"value":1}"#)
}

pub(super) fn with_data(id: &str, data: &str) -> String {
    let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ");
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"request","subject":"acme","time":"{now}","data":{data}}}"#
    )
}

/// The same with something else in place of one member.
pub(super) fn but(member: &str, other: &str) -> String {
    let event = good("bad");
    let start = event.find(&format!("\"{member}\":")).unwrap();
    let length = if member == "data" { event.len() - 1 - start } else { event[start..].find(',').unwrap() };
    let changed = format!("{}{other}{}", &event[..start], &event[start + length..]);
    changed.replace(",,", ",").replace("{,", "{").replace(",}", "}")
}

/// The same with further members.
pub(super) fn and(members: &str) -> String {
    good("bad").replacen('{', &format!("{{{members},"), 1)
}

pub(super) fn good_proto(id: &str) -> CloudEvent {
    CloudEvent {
        id: id.to_owned(),
        source: "s".to_owned(),
        spec_version: "1.0".to_owned(),
        r#type: "request".to_owned(),
        attributes: [("subject".to_owned(), text("acme"))].into(),
        data: Some(Data::TextData(r#"{"value":1}"#.to_owned())),
    }
}

pub(super) fn proto_data(id: &str, data: &str) -> CloudEvent {
    CloudEvent { data: Some(Data::TextData(data.to_owned())), ..good_proto(id) }
}

/// A valid one with an attribute more, or another value of one.
pub(super) fn proto_and(name: &str, value: CloudEventAttributeValue) -> CloudEvent {
    let mut event = good_proto("bad");
    event.attributes.insert(name.to_owned(), value);
    event
}

pub(super) fn text(value: &str) -> CloudEventAttributeValue {
    attribute(Attr::CeString(value.to_owned()))
}

pub(super) fn attribute(value: Attr) -> CloudEventAttributeValue {
    CloudEventAttributeValue { attr: Some(value) }
}

pub(super) fn post(content_type: &str, body: impl Into<Vec<u8>>) -> HttpRequest {
    post_with(&[("content-type", content_type)], body)
}

pub(super) fn post_with(headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> HttpRequest {
    HttpRequest {
        method: "POST",
        path: "/api/v1/events",
        headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        body: body.into(),
    }
}

/// A batch of a good event and this one.
pub(super) fn second(bad: &str) -> HttpRequest {
    post(BATCH, format!("[{},{bad}]", good("good")))
}

pub(super) fn alone(event: &str) -> HttpRequest {
    post(SINGLE, event)
}

pub(super) fn second_proto(bad: CloudEvent) -> GrpcRequest {
    protos(vec![good_proto("good"), bad])
}

pub(super) fn protos(events: Vec<CloudEvent>) -> GrpcRequest {
    message(IngestRequest { events }.encode_to_vec())
}

/// A message of these bytes, whatever they are.
pub(super) fn message(bytes: impl AsRef<[u8]>) -> GrpcRequest {
    GrpcRequest {
        path: INGEST,
        content_type: "application/grpc",
        encoding: None,
        body: framed(0, bytes.as_ref()),
    }
}
