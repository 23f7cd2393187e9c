//! What the headers say about the body: which events are in it, and how it is compressed.

use http::{HeaderMap, header};
use weir_meter::event::BodyShape;

use crate::decode::{Encoding, shortened};
use crate::error::IngestError;

/// Where the events of a request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// In the body, as JSON.
    Structured(BodyShape),
    /// One event: its attributes are headers, its data is the body.
    Binary,
}

/// Any of these announces binary mode: they are the attributes that every event has.
const BINARY_HEADERS: [&str; 4] = ["ce-id", "ce-source", "ce-specversion", "ce-type"];

/// Tells the mode from the content type. Its parameters, such as a charset, change nothing: JSON is
/// UTF-8. Structured content types win over `ce-` headers, as CloudEvents has it.
pub(super) fn mode(headers: &HeaderMap) -> Result<Mode, IngestError> {
    let media_type = media_type(headers)?;
    let has_attributes = BINARY_HEADERS.iter().any(|name| headers.contains_key(*name));
    match media_type.as_deref() {
        Some("application/cloudevents+json") => Ok(Mode::Structured(BodyShape::One)),
        Some("application/cloudevents-batch+json") => Ok(Mode::Structured(BodyShape::Batch)),
        Some("application/json") | None if has_attributes => Ok(Mode::Binary),
        Some("application/json") => Ok(Mode::Structured(BodyShape::OneOrBatch)),
        Some(other) if has_attributes => Err(IngestError::ContentType(format!(
            "invalid content type: `{}`; the headers `ce-…` say that the body is the data of one event, \
             and data is JSON: send it as `application/json`",
            shortened(other)
        ))),
        Some(other) => Err(refused(&format!("`{}`", shortened(other)))),
        None => Err(refused("none was sent")),
    }
}

fn media_type(headers: &HeaderMap) -> Result<Option<String>, IngestError> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("more than one was sent"));
    }
    let text = value.to_str().map_err(|_| refused("it is not ASCII"))?;
    Ok(text.split(';').next().map(|media_type| media_type.trim().to_ascii_lowercase()))
}

fn refused(what: &str) -> IngestError {
    IngestError::ContentType(format!(
        "invalid content type: {what}; send `application/cloudevents+json` for one event, \
         `application/cloudevents-batch+json` for an array of events, or `application/json` for either"
    ))
}

/// How the body is compressed; None if it is not. Bodies compressed several times are refused: there
/// is no use for them but to make the server work.
pub(super) fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, IngestError> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(IngestError::ContentEncoding("several".to_owned()));
    }
    Encoding::named(value)
}
