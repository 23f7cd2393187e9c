//! CloudEvents in protobuf, rendered as one JSON array of structured events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_types::Timestamp;
use weir_meter::event::InvalidEvents;
use weir_proto::cloudevents::CloudEvent;
use weir_proto::cloudevents::cloud_event::cloud_event_attribute_value::Attr;
use weir_proto::cloudevents::cloud_event::{CloudEventAttributeValue, Data};

use crate::error::IngestError;
use crate::render::EventWriter;

/// Names with fields of their own in the message.
const NOT_ATTRIBUTES: [&str; 8] =
    ["", "id", "source", "specversion", "spec_version", "type", "data", "data_base64"];

/// Renders all events, at most `bytes_max` bytes of JSON. `bytes_hint` is about what they need.
pub(super) fn render(
    events: Vec<CloudEvent>,
    bytes_hint: usize,
    bytes_max: usize,
) -> Result<Vec<u8>, IngestError> {
    let mut out = Vec::with_capacity(bytes_hint.saturating_mul(2).min(bytes_max));
    out.push(b'[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        render_event(event, &mut out).map_err(|(attribute, reason)| InvalidEvents {
            index: Some(index),
            attribute: Some(attribute),
            reason,
        })?;
        if out.len() > bytes_max {
            return Err(IngestError::TooLarge { what: "the request, rendered as JSON,", bytes_max });
        }
    }
    out.push(b']');
    Ok(out)
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
