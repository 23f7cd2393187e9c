//! CloudEvents in protobuf, rendered as one JSON array of structured events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_types::Timestamp;
use weir_meter::event::{EventLimits, InvalidEvents};
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use weir_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};

use crate::error::{IngestError, TooMany};
use crate::render::EventWriter;

/// Names with fields of their own in the message.
const NOT_ATTRIBUTES: [&str; 8] =
    ["", "id", "source", "specversion", "spec_version", "type", "data", "data_base64"];

/// What a request may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) events: EventLimits,
    /// Of the events as JSON.
    pub(super) bytes_max: usize,
}

/// The tag of `events` in `IngestRequest`.
const EVENTS_TAG: u32 = 1;

/// Renders all events of an `IngestRequest`. They are decoded one at a time: an empty event is two bytes
/// on the wire and a hundred times as many in memory.
pub(super) fn render(mut message: Bytes, bounds: Bounds) -> Result<Vec<u8>, IngestError> {
    let mut out = Vec::with_capacity(message.len().saturating_mul(2).min(bounds.bytes_max));
    out.push(b'[');
    let mut index = 0_usize;
    while let Some(event) = next_event(&mut message, index)? {
        if index == bounds.events.batch_events_max {
            return Err(InvalidEvents::too_many_events(index, &bounds.events).into());
        }
        if index > 0 {
            out.push(b',');
        }
        // Its JSON is longer.
        if event.len() > bounds.events.event_bytes_max {
            return Err(InvalidEvents::event_too_large(Some(index), event.len(), &bounds.events).into());
        }
        let event = CloudEvent::decode(event).map_err(|error| not_protobuf(index, &error))?;
        render_event(&event, &mut out).map_err(|(attribute, reason)| InvalidEvents {
            index: Some(index),
            attribute: Some(attribute),
            reason,
            limit: None,
        })?;
        if out.len() > bounds.bytes_max {
            return Err(IngestError::TooLarge { what: TooMany::RenderedBytes, bytes_max: bounds.bytes_max });
        }
        index = index.saturating_add(1);
    }
    out.push(b']');
    Ok(out)
}

/// Takes the bytes of the next event off the message; None at its end. Fields that we do not know are
/// skipped, as protobuf wants.
fn next_event(message: &mut Bytes, index: usize) -> Result<Option<Bytes>, InvalidEvents> {
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(message).map_err(|error| not_protobuf(index, &error))?;
        if tag == EVENTS_TAG && wire_type == WireType::LengthDelimited {
            let length = decode_varint(message).map_err(|error| not_protobuf(index, &error))?;
            let length = usize::try_from(length).ok().filter(|length| *length <= message.len());
            return match length {
                Some(length) => Ok(Some(message.split_to(length))),
                None => Err(not_protobuf(index, &"the event ends behind the message")),
            };
        }
        if tag == EVENTS_TAG {
            return Err(not_protobuf(index, &"`events` is no message"));
        }
        skip_field(wire_type, tag, message, DecodeContext::default())
            .map_err(|error| not_protobuf(index, &error))?;
    }
    Ok(None)
}

fn not_protobuf(index: usize, error: &impl std::fmt::Display) -> InvalidEvents {
    InvalidEvents {
        index: Some(index),
        attribute: None,
        reason: format!("not a protobuf message of io.cloudevents.v1.CloudEvent: {error}"),
        limit: None,
    }
}

/// The error is the attribute and what is wrong with it.
fn render_event(event: &CloudEvent, out: &mut Vec<u8>) -> Result<(), (String, String)> {
    let mut writer = EventWriter::new(out);
    writer.text("specversion", &event.spec_version);
    writer.text("id", &event.id);
    writer.text("source", &event.source);
    writer.text("type", &event.r#type);
    for (name, value) in &event.attributes {
        if NOT_ATTRIBUTES.contains(&name.as_str()) {
            let reason = "has a field of its own in the message and cannot be among `attributes`";
            return Err((name.clone(), reason.to_owned()));
        }
        render_attribute(&mut writer, name, value).map_err(|reason| (name.clone(), reason))?;
    }
    let data = match &event.data {
        None => None,
        Some(Data::BinaryData(bytes)) => Some(&bytes[..]),
        Some(Data::TextData(text)) => Some(text.as_bytes()),
        Some(Data::ProtoData(_)) => {
            let reason = "must be JSON, sent as `text_data` or `binary_data`, but is `proto_data`";
            return Err(("data".to_owned(), reason.to_owned()));
        }
    };
    let data = data.filter(|data| !data.is_empty());
    writer.finish(data).map_err(|reason| ("data".to_owned(), reason))
}

fn render_attribute(
    writer: &mut EventWriter<'_>,
    name: &str,
    value: &CloudEventAttributeValue,
) -> Result<(), String> {
    match &value.attr {
        Some(Attr::CeBoolean(value)) => writer.plain(name, value),
        Some(Attr::CeInteger(value)) => writer.plain(name, value),
        Some(Attr::CeString(text) | Attr::CeUri(text) | Attr::CeUriRef(text)) => writer.text(name, text),
        Some(Attr::CeBytes(bytes)) => writer.text(name, &STANDARD.encode(bytes)),
        Some(Attr::CeTimestamp(timestamp)) => writer.text(name, &rfc3339(timestamp)?),
        None => return Err("must have a value, or be left away".to_owned()),
    }
    Ok(())
}

/// In UTC, with as many digits of the second as it has.
fn rfc3339(timestamp: &Timestamp) -> Result<String, String> {
    let Timestamp { seconds, nanos } = *timestamp;
    let refused =
        || format!("must be a timestamp from the year 1 to 9999, but is {seconds} s and {nanos} ns");
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(refused());
    }
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| refused())?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds { events: EventLimits::default(), bytes_max: 1_000 }
    }

    #[test]
    fn fields_of_later_versions_are_skipped_and_broken_ones_named() {
        let event = CloudEvent { id: "a".to_owned(), ..CloudEvent::default() }.encode_to_vec();
        let framed = [&[0x0A, event.len() as u8][..], &event].concat();
        let plain = render(framed.clone().into(), bounds()).unwrap();
        // A number, a text and a fixed word of fields 2 to 4, which no version has so far.
        let later = [0x10, 7, 0x1A, 2, b'x', b'y', 0x25, 1, 2, 3, 4];
        let more = [&later[..], &framed, &later].concat();
        assert_eq!(render(more.into(), bounds()).unwrap(), plain);
        for broken in [&[0x0A, 3, 1][..], &[0x08, 1], &[0x1A, 9], &[0x0A, 1, 0xFF], &[0xFF; 20]] {
            let all = [&framed, broken].concat();
            let refused = render(all.into(), bounds());
            let Err(IngestError::Invalid(invalid)) = refused else { panic!("{broken:?}: {refused:?}") };
            assert_eq!(invalid.index, Some(1), "{broken:?}");
        }
    }

    #[test]
    fn events_are_counted_before_they_are_decoded() {
        let two = EventLimits { batch_events_max: 2, ..EventLimits::default() };
        let render = |count| render([0x0A, 0].repeat(count).into(), Bounds { events: two, ..bounds() });
        assert!(render(2).is_ok());
        let Err(IngestError::Invalid(invalid)) = render(3) else { panic!("three were taken") };
        assert_eq!(invalid.limit, Some(weir_meter::event::EventLimit::BatchEvents));
    }

    #[test]
    fn timestamps_are_written_in_rfc_3339() {
        let write = |seconds, nanos| rfc3339(&Timestamp { seconds, nanos });
        assert_eq!(write(0, 0).as_deref(), Ok("1970-01-01T00:00:00Z"));
        assert_eq!(write(1_700_000_000, 120_000_000).as_deref(), Ok("2023-11-14T22:13:20.12Z"));
        assert_eq!(write(-1, 999_999_999).as_deref(), Ok("1969-12-31T23:59:59.999999999Z"));
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)] {
            assert!(write(seconds, nanos).is_err());
        }
    }
}
