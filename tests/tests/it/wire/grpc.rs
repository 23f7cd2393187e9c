//! gRPC on the same port, with the official form of CloudEvents.

use std::collections::BTreeMap;

use reqwest::Method;
use tonic::Code;
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use weir_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};
use weir_proto::v1::IngestRequest;
use weir_proto::v1::ingest_service_client::IngestServiceClient;
use weir_tests::http::{POSITION, rows};

use super::{event, fresh};

fn cloud_event(id: &str, subject: Option<&str>, data: &str) -> CloudEvent {
    let attribute = |text: &str| CloudEventAttributeValue { attr: Some(Attr::CeString(text.to_owned())) };
    let mut attributes = BTreeMap::from([("time".to_owned(), attribute("2026-01-01T12:00:00Z"))]);
    attributes.extend(subject.map(|subject| ("subject".to_owned(), attribute(subject))));
    CloudEvent {
        id: id.to_owned(),
        source: "test".to_owned(),
        spec_version: "1.0".to_owned(),
        r#type: "request".to_owned(),
        attributes,
        data: Some(Data::TextData(data.to_owned())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unary_ingest_counts_and_names_what_is_wrong() {
    let fresh = fresh();
    fresh.meter("SUM").await;
    let mut client = IngestServiceClient::connect(fresh.server.url.clone()).await.unwrap();
    let events = vec![
        cloud_event("1", Some("acme"), r#"{"value":"0.1"}"#),
        cloud_event("2", Some("acme"), r#"{"value":0.2}"#),
        cloud_event("1", Some("acme"), r#"{"value":"0.1"}"#),
    ];
    let taken = client.ingest(IngestRequest { events }).await.unwrap().into_inner();
    assert_eq!(taken.events, 3);
    let headers = [(POSITION, taken.position.as_str())];
    let reply =
        fresh.api.send(Method::GET, "/api/v1/meters/sum/query", &headers, Vec::new()).await.expect(200);
    assert_eq!(rows(&reply)[0].value, "0.3");
    // The same identity over HTTP is the same event.
    fresh.api.ingest(&[event("2", "2026-01-01T12:00:00Z", r#"{"value":0.2}"#)]).await;
    assert_eq!(fresh.total("sum").await, "0.3");

    let events = vec![cloud_event("3", Some("acme"), "{}"), cloud_event("4", None, "{}")];
    let refused = client.ingest(IngestRequest { events }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("subject") && refused.message().contains('1'), "{refused:?}");
    let refused = client.ingest(IngestRequest { events: vec![cloud_event("5", Some("a"), "[1]")] }).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}
