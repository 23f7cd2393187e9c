//! The gRPC service, called through its own client, against the same events over HTTP.

use axum::body::Bytes;
use axum::http;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};
use weir_log::Cause;
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use weir_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};
use weir_proto::v1::ingest_service_client::IngestServiceClient;
use weir_proto::v1::{IngestRequest, IngestResponse};

use crate::support::{Answer, Edge, ONE, event, open, tenant};

async fn call(edge: &Edge, events: Vec<CloudEvent>) -> Result<IngestResponse, Status> {
    let server = weir_ingest::grpc_service(edge.service.clone());
    let with_namespace = InterceptedService::new(server, |mut request: Request<()>| {
        request.extensions_mut().insert(tenant());
        Ok(request)
    });
    let mut client = IngestServiceClient::with_origin(with_namespace, http::Uri::from_static("http://test"));
    client.ingest(IngestRequest { events }).await.map(tonic::Response::into_inner)
}

fn attribute(value: Attr) -> CloudEventAttributeValue {
    CloudEventAttributeValue { attr: Some(value) }
}

/// The same event as `event(id)` is over HTTP.
fn proto_event(id: &str) -> CloudEvent {
    let time = prost_types::Timestamp { seconds: 1_714_979_289, nanos: 0 };
    CloudEvent {
        id: id.to_owned(),
        source: "s".to_owned(),
        spec_version: "1.0".to_owned(),
        r#type: "t".to_owned(),
        attributes: [
            ("subject".to_owned(), attribute(Attr::CeString("c".to_owned()))),
            ("time".to_owned(), attribute(Attr::CeTimestamp(time))),
        ]
        .into(),
        data: Some(Data::TextData(r#"{"n": 1.10}"#.to_owned())),
    }
}

#[tokio::test]
async fn the_same_event_is_the_same_over_both_transports() {
    let edge = Edge::new();
    let binary =
        CloudEvent { data: Some(Data::BinaryData(Bytes::from_static(b"{\"n\": 1.10}"))), ..proto_event("b") };
    let response = call(&edge, vec![proto_event("a"), binary]).await.unwrap();
    assert_eq!(response.events, 2);
    assert_eq!(open(&response.position).offsets, [(0, 2)]);
    edge.post_as(ONE, event("a")).await.position();
    edge.post_as(ONE, event("b")).await.position();
    let records = edge.log.records();
    for (over_grpc, over_http) in [(0, 2), (1, 3)] {
        assert_eq!(records[over_grpc].identity, records[over_http].identity);
        assert_eq!(records[over_grpc].content, records[over_http].content);
        assert_eq!(records[over_grpc].namespace, tenant());
    }
}

#[tokio::test]
async fn attributes_of_every_type_are_rendered() {
    let edge = Edge::new();
    let mut sent = proto_event("a");
    sent.data = None;
    sent.attributes.extend(
        [
            ("flag", Attr::CeBoolean(true)),
            ("count", Attr::CeInteger(-7)),
            ("bytes", Attr::CeBytes(Bytes::from_static(&[0xff, 0, 1]))),
            ("dataschema", Attr::CeUri("http://x/y".to_owned())),
            ("link", Attr::CeUriRef("../z\"".to_owned())),
        ]
        .map(|(name, value)| (name.to_owned(), attribute(value))),
    );
    call(&edge, vec![sent]).await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&edge.values()[0]).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "specversion": "1.0", "id": "a", "source": "s", "type": "t", "subject": "c",
            "time": "2024-05-06T07:08:09Z", "flag": true, "count": -7, "bytes": "/wAB",
            "dataschema": "http://x/y", "link": "../z\"",
        })
    );
}

#[tokio::test]
async fn events_that_are_not_valid_are_named() {
    let edge = Edge::new();
    let with = |name: &str, value| {
        let mut event = proto_event("b");
        event.attributes.insert(name.to_owned(), CloudEventAttributeValue { attr: value });
        event
    };
    let mut no_subject = proto_event("b");
    no_subject.attributes.remove("subject");
    let data = |data| CloudEvent { data: Some(data), ..proto_event("b") };
    let any = prost_types::Any { type_url: "x".to_owned(), value: vec![1] };
    let far = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    for (bad, attribute) in [
        (CloudEvent { id: String::new(), ..proto_event("b") }, "id"),
        (CloudEvent { spec_version: String::new(), ..proto_event("b") }, "specversion"),
        (no_subject, "subject"),
        (with("id", Some(Attr::CeString("c".to_owned()))), "id"),
        (with("region", None), "region"),
        (with("time", Some(Attr::CeTimestamp(far))), "time"),
        (with("time", Some(Attr::CeInteger(7))), "time"),
        (data(Data::ProtoData(any)), "data"),
        (data(Data::TextData("{} {}".to_owned())), "data"),
        (data(Data::TextData("\"text\"".to_owned())), "data"),
        (data(Data::BinaryData(Bytes::from_static(b"\xff"))), "data"),
    ] {
        let status = call(&edge, vec![proto_event("a"), bad]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(attribute) && status.message().contains('1'), "{status}");
    }
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn an_empty_request_is_taken() {
    let response = call(&Edge::new(), Vec::new()).await.unwrap();
    assert_eq!(response.events, 0);
    assert!(open(&response.position).offsets.is_empty());
}

#[tokio::test]
async fn failures_say_when_to_come_back() {
    let edge = Edge::new();
    edge.log.answer(Answer::Unavailable { retry_after_seconds: 7 });
    let status = call(&edge, vec![proto_event("a")]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("retry-after").unwrap(), "7");
    assert!(!status.message().contains("secret"), "{status}");

    // What a program reads of it: the reason's name, and the same seconds as a RetryInfo.
    for (cause, kind) in [(Cause::Behind, "log-behind"), (Cause::DiskFull, "disk-full")] {
        edge.log.answer(Answer::Because(cause));
        let status = call(&edge, vec![proto_event("a")]).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get("retry-after").unwrap(), "3");
        let details = String::from_utf8_lossy(status.details()).into_owned();
        for part in [kind, "google.rpc.ErrorInfo", "google.rpc.RetryInfo\u{12}\u{4}\n\u{2}\u{8}\u{3}"] {
            assert!(details.contains(part), "{part:?} in {details:?}");
        }
    }

    edge.log.answer(Answer::TooLarge);
    let status = call(&edge, vec![proto_event("a")]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);

    edge.service.drain();
    let status = call(&edge, vec![proto_event("a")]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("retry-after").unwrap(), "1");
}

#[tokio::test]
async fn sizes_are_bounded() {
    let edge = Edge::new();
    // Escaped as JSON, these bytes are six times as many.
    let swelling = |id: String| {
        let text = "\u{1}".repeat(400_000);
        CloudEvent {
            data: Some(Data::TextData(format!("{{\"n\":\"{}\"}}", "x".repeat(9)))),
            id,
            source: text,
            ..proto_event("a")
        }
    };
    let status = call(&edge, vec![swelling("a".to_owned())]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let status = call(&edge, (0..9).map(|n| swelling(n.to_string())).collect()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("rendered as JSON"), "{status}");

    let mut large = proto_event("a");
    large.attributes.insert("note".to_owned(), attribute(Attr::CeString("x".repeat(900_001))));
    let status = call(&edge, vec![proto_event("b"), large]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("event 1") && status.message().contains("900000"), "{status}");

    let mut larger = proto_event("a");
    larger.data = Some(Data::BinaryData(vec![b' '; 17 << 20].into()));
    let status = call(&edge, vec![larger]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("16777"), "{status}");

    let status = call(&edge, vec![CloudEvent::default(); 100_000]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn large_requests_are_rendered_on_another_thread_with_the_same_result() {
    let edge = Edge::new();
    let events: Vec<_> = (0..5_000).map(|n| proto_event(&format!("e{n}"))).collect();
    assert_eq!(call(&edge, events).await.unwrap().events, 5_000);
    assert_eq!(edge.log.records().len(), 5_000);
}
