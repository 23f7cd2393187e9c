//! gRPC messages, sent to the tonic service as bytes. What is taken lies in the log as JSON that reads as
//! the same attributes and data as the protobuf message had; what is refused breaks a rule that an
//! event written by serde_json from the same message breaks as well.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http_body_util::BodyExt as _;
use prost::Message as _;
use serde_json::Value;
use serde_json::value::RawValue;
use tonic::body::Body;
use tower::ServiceExt as _;
use weir_ingest::grpc_service;
use weir_meter::event::{AttributeValue, BodyShape, EventLimits, read_event, read_events};
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::Data;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use weir_proto::v1::{IngestRequest, IngestResponse};

use crate::edge::{Edge, RUNTIME, WIRE_BYTES_MAX, namespace};

static EDGE: LazyLock<Edge> = LazyLock::new(|| Edge::new(EventLimits::default()));

/// What the service answers.
const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;

pub(crate) fn target(data: &[u8]) {
    let (status, answer) = call(data);
    let taken = EDGE.log.take();
    let message = IngestRequest::decode(data).ok().filter(|_| data.len() <= WIRE_BYTES_MAX);
    let Some(message) = message else {
        assert_ne!(status, OK, "bytes that are no message were taken");
        return assert!(taken.is_empty());
    };
    let expected: Option<Vec<BTreeMap<String, Value>>> = message.events.iter().map(attributes).collect();
    let expected = expected.filter(|expected| {
        let readable =
            |(event, attributes): (&CloudEvent, &BTreeMap<String, Value>)| written_is_read(event, attributes);
        message.events.iter().zip(expected).all(readable)
    });
    if status != OK {
        assert!(taken.is_empty(), "refused with {status}, and events were taken");
        assert!(status == INVALID_ARGUMENT || status == RESOURCE_EXHAUSTED, "{status}");
        assert!(status == RESOURCE_EXHAUSTED || expected.is_none(), "refused, but keeps every rule");
        return;
    }
    let expected = expected.expect("taken, but breaks a rule");
    assert_eq!(taken.len(), message.events.len());
    assert_eq!(answer.map(|answer| answer.events as usize), Some(taken.len()));
    for ((record, event), attributes) in taken.iter().zip(&message.events).zip(expected) {
        let read = read_event(&record.value).expect("what was taken is read");
        let found: BTreeMap<String, Value> = read
            .attributes
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    AttributeValue::Text(text) => Value::from(&**text),
                    AttributeValue::Raw(raw) => serde_json::from_slice(raw).unwrap(),
                };
                (name.to_string(), value)
            })
            .collect();
        assert_eq!(found, attributes);
        assert_eq!((&*read.id, &*read.source), (&*event.id, &*event.source));
        assert_eq!(&*read.event_type, &*event.r#type);
        let sent = data_text(event).and_then(raw).filter(|raw| raw.get() != "null");
        assert_eq!(read.data, sent.map(|raw| raw.get().as_bytes()));
    }
}

/// The status of the call and the message it answered with.
fn call(message: &[u8]) -> (i32, Option<IngestResponse>) {
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    let mut request = Request::post("/weir.v1.IngestService/Ingest")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(http_body_util::Full::from(framed)))
        .unwrap();
    request.extensions_mut().insert(namespace());
    RUNTIME.block_on(async {
        let response = grpc_service(EDGE.service.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let status = body.trailers().and_then(|t| t.get("grpc-status")).or(parts.headers.get("grpc-status"));
        let status = status.and_then(|status| status.to_str().ok()?.parse().ok()).expect("a status");
        let bytes = body.to_bytes();
        (status, bytes.get(5..).and_then(|bytes| IngestResponse::decode(bytes).ok()))
    })
}

/// Every attribute as JSON says it; None if one has no value there, or stands in the wrong place.
fn attributes(event: &CloudEvent) -> Option<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for (name, value) in &event.attributes {
        let fields = ["", "id", "source", "specversion", "spec_version", "type", "data", "data_base64"];
        if fields.contains(&name.as_str()) {
            return None;
        }
        let value = match value.attr.as_ref()? {
            Attr::CeBoolean(value) => Value::from(*value),
            Attr::CeInteger(value) => Value::from(*value),
            Attr::CeString(text) | Attr::CeUri(text) | Attr::CeUriRef(text) => Value::from(text.as_str()),
            Attr::CeBytes(bytes) => Value::from(STANDARD.encode(bytes)),
            Attr::CeTimestamp(time) => {
                let nanos = u32::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
                Value::from(jiff::Timestamp::new(time.seconds, nanos as i32).ok()?.to_string())
            }
        };
        all.insert(name.clone(), value);
    }
    for (name, text) in [
        ("id", &event.id),
        ("source", &event.source),
        ("specversion", &event.spec_version),
        ("type", &event.r#type),
    ] {
        all.insert(name.to_owned(), Value::from(text.as_str()));
    }
    Some(all)
}

/// The text of the data; empty is none.
fn data_text(event: &CloudEvent) -> Option<&[u8]> {
    let bytes = match event.data.as_ref()? {
        Data::BinaryData(bytes) => &bytes[..],
        Data::TextData(text) => text.as_bytes(),
        Data::ProtoData(_) => return None,
    };
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn raw(text: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(text).ok()
}

/// True if the event that serde_json writes of these attributes and the data is valid.
fn written_is_read(event: &CloudEvent, attributes: &BTreeMap<String, Value>) -> bool {
    if matches!(event.data, Some(Data::ProtoData(_))) {
        return false;
    }
    let mut text = serde_json::to_string(attributes).unwrap();
    if let Some(data) = data_text(event) {
        let Some(data) = raw(data) else { return false };
        text.truncate(text.len() - 1);
        text.push_str(&format!(",\"data\":{}}}", data.get()));
    }
    read_events(text.as_bytes(), BodyShape::One, &EventLimits::default()).is_ok()
}
