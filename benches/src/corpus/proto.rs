//! Events as `weir.v1.IngestRequest`. Ids and times have a fixed length on the wire, so they are found once
//! in the encoded message and patched there: the generator must not pay for encoding what it sends.

use prost::Message as _;
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use weir_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};
use weir_proto::v1::IngestRequest;

use super::stamp::{ID_BYTES, NO_NANOS, NO_SECOND};
use super::{Fact, UNSTAMPED, subject_name};

pub(super) fn body(facts: &[Fact]) -> Vec<u8> {
    let id = "0".repeat(ID_BYTES);
    let events = facts.iter().map(|fact| event(fact, &id)).collect();
    IngestRequest { events }.encode_to_vec()
}

fn event(fact: &Fact, id: &str) -> CloudEvent {
    let time = prost_types::Timestamp { seconds: NO_SECOND, nanos: NO_NANOS };
    let attribute = |attr| CloudEventAttributeValue { attr: Some(attr) };
    CloudEvent {
        id: id.to_owned(),
        source: "api/eu-1".to_owned(),
        spec_version: "1.0".to_owned(),
        r#type: "prompt".to_owned(),
        attributes: [
            ("subject".to_owned(), attribute(Attr::CeString(subject_name(fact.subject)))),
            ("time".to_owned(), attribute(Attr::CeTimestamp(time))),
        ]
        .into(),
        data: Some(Data::TextData(fact.data(UNSTAMPED))),
    }
}
