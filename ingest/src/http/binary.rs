//! CloudEvents' binary mode over HTTP: each attribute is a header `ce-NAME`, the body is the data.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use weir_meter::event::InvalidEvents;

use crate::render::EventWriter;

const PREFIX: &str = "ce-";

/// Names that cannot come as headers: the body is the data, and its type is the content type.
const NOT_HEADERS: [&str; 4] = ["", "data", "data_base64", "datacontenttype"];

/// Renders the event as structured JSON. An empty body is an event without data.
pub(super) fn render(headers: &HeaderMap, body: &[u8]) -> Result<Bytes, InvalidEvents> {
    let mut out = Vec::with_capacity(body.len().saturating_add(512));
    let mut event = EventWriter::new(&mut out);
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        if NOT_HEADERS.contains(&attribute) {
            return Err(invalid(
                attribute,
                format!(
                    "must not be sent as the header `{name}`: the body is the data, and `content-type` its type"
                ),
            ));
        }
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(invalid(
                attribute,
                format!("must be sent once, but the header `{name}` comes several times"),
            ));
        };
        event.text(attribute, &attribute_value(value).map_err(|reason| invalid(attribute, reason))?);
    }
    // The content type has been found to be JSON; its parameters are not part of the event.
    if headers.contains_key(header::CONTENT_TYPE) {
        event.text("datacontenttype", "application/json");
    }
    let data = Some(body).filter(|body| !body.is_empty());
    event.finish(data).map_err(|reason| invalid("data", reason))?;
    Ok(Bytes::from(out))
}

fn invalid(attribute: &str, reason: String) -> InvalidEvents {
    InvalidEvents { index: None, attribute: Some(attribute.to_owned()), reason, limit: None }
}

/// Reads a header's value by the HTTP binding (section 3.1.3.2): a quoted string is unquoted, for older
/// senders, then percent-encoded bytes are decoded once, and the result is UTF-8. A percent sign that
/// no two hexadecimal digits follow stands for itself.
fn attribute_value(value: &HeaderValue) -> Result<String, String> {
    let quoted = value.as_bytes().strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let bytes = match quoted {
        Some(inner) => percent_decode(&unescape(inner)),
        None => percent_decode(value.as_bytes()),
    };
    String::from_utf8(bytes).map_err(|_| "must be UTF-8, its bytes percent-encoded in the header".to_owned())
}

/// Takes the backslashes away that protect characters in a quoted string.
fn unescape(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        let protected = if *byte == b'\\' { bytes.next() } else { None };
        out.push(*protected.unwrap_or(byte));
    }
    out
}

fn percent_decode(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((byte, after)) = rest.split_first() {
        let decoded = match after {
            [high, low, ..] if *byte == b'%' => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match decoded {
            Some((high, low)) => {
                out.push(high * 16 + low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_as_the_binding_says() {
        let cases: [(&[u8], &str); 9] = [
            (b"plain", "plain"),
            (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \u{20ac} \u{1f600}"),
            (b"%e2%82%ac", "\u{20ac}"),
            (b"100%", "100%"),
            (b"%zz%4", "%zz%4"),
            (b"%2541", "%41"),
            (b"\"two words\"", "two words"),
            (b"\"a\\\"b\\\\%20c\"", "a\"b\\ c"),
            (b"\"", "\""),
        ];
        for (value, expected) in cases {
            let value = HeaderValue::from_bytes(value).unwrap();
            assert_eq!(attribute_value(&value).as_deref(), Ok(expected), "{value:?}");
        }
        for value in [&b"%ff"[..], b"\xff"] {
            assert!(attribute_value(&HeaderValue::from_bytes(value).unwrap()).is_err());
        }
    }
}
