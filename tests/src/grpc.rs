//! The gRPC way in: the same events that `plain` makes, as official CloudEvents.

use std::collections::BTreeMap;

use tonic::transport::Channel;
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use weir_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};
use weir_proto::v1::IngestRequest;
use weir_proto::v1::ingest_service_client::IngestServiceClient;

use crate::reference::json::Json;

pub type Client = IngestServiceClient<Channel>;

pub async fn connect(url: &str) -> Client {
    IngestServiceClient::connect(url.to_owned()).await.unwrap()
}

/// The same event as a JSON text says. Of its data the bytes are kept.
pub fn cloud_event(json: &str) -> CloudEvent {
    let event = Json::parse(json);
    let attribute =
        |name: &str| CloudEventAttributeValue { attr: Some(Attr::CeString(event.text(name).to_owned())) };
    let data = json.split_once(r#""data":"#).and_then(|(_, rest)| rest.strip_suffix('}'));
    CloudEvent {
        id: event.text("id").to_owned(),
        source: event.text("source").to_owned(),
        spec_version: event.text("specversion").to_owned(),
        r#type: event.text("type").to_owned(),
        attributes: ["subject", "time"]
            .map(|name| (name.to_owned(), attribute(name)))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        data: data.map(|data| Data::TextData(data.to_owned())),
    }
}

/// Events of JSON texts as one request.
pub fn request(events: &[String]) -> IngestRequest {
    IngestRequest { events: events.iter().map(|event| cloud_event(event)).collect() }
}
