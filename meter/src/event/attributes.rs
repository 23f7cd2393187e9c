//! The rules for single attributes, and what they make of an event. Every reader of events brings its
//! members here in the order sent.

use std::borrow::Cow;

use crate::json::cursor::{Cursor, Kind};
use crate::time::parse_rfc3339;

use super::{AttributeValue, Event, EventLimit, EventLimits};

/// Attributes with columns of their own at rest.
const COLUMNS: [&str; 6] = ["id", "source", "type", "subject", "time", "data"];

/// Most characters of a value that an error repeats.
const SHOWN_MAX: usize = 40;

/// Room for the attributes that SDKs send.
const USUAL_ATTRIBUTES: usize = 8;

/// What is wrong with one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadAttribute {
    pub(super) name: String,
    pub(super) reason: String,
    pub(super) limit: Option<EventLimit>,
}

/// The same before it has the name.
struct Wrong {
    reason: String,
    limit: Option<EventLimit>,
}

impl From<String> for Wrong {
    fn from(reason: String) -> Self {
        Self { reason, limit: None }
    }
}

impl Wrong {
    fn limit(limit: EventLimit, reason: String) -> Self {
        Self { reason, limit: Some(limit) }
    }
}

/// A member's value as a reader brings it.
#[derive(Clone, Debug)]
pub(super) enum Member<'a> {
    Text(Cow<'a, str>),
    /// A number, a boolean or null: its text.
    Scalar(Kind, &'a str),
    /// An object or an array: its text.
    Nested(Kind, &'a str),
}

/// An event while its members are read.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    event_type: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    specversion: bool,
    time_us: Option<i64>,
    data: Option<&'a str>,
    data_seen: bool,
    attributes: Vec<(Cow<'a, str>, AttributeValue<'a>)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new() -> Self {
        Self { attributes: Vec::with_capacity(USUAL_ATTRIBUTES), ..Self::default() }
    }

    pub(super) fn add(
        &mut self,
        name: Cow<'a, str>,
        member: Member<'a>,
        limits: &EventLimits,
    ) -> Result<(), BadAttribute> {
        let checked =
            if &*name == "data" { self.add_data(&member) } else { self.check(&name, &member, limits) };
        checked.map_err(|Wrong { reason, limit }| BadAttribute { name: shortened(&name), reason, limit })?;
        let value = match member {
            Member::Text(text) => AttributeValue::Text(text),
            Member::Scalar(_, text) if &*name != "data" => AttributeValue::Raw(text.as_bytes()),
            _ => return Ok(()),
        };
        self.attributes.push((name, value));
        Ok(())
    }

    fn add_data(&mut self, member: &Member<'a>) -> Result<(), Wrong> {
        if std::mem::replace(&mut self.data_seen, true) {
            return Err(TWICE.to_owned().into());
        }
        match member {
            Member::Nested(Kind::Object, text) => self.data = Some(text),
            Member::Scalar(Kind::Null, _) => {}
            other => return Err(format!("must be a JSON object or null, but is {}", described(other)).into()),
        }
        Ok(())
    }

    fn check(&mut self, name: &str, member: &Member<'a>, limits: &EventLimits) -> Result<(), Wrong> {
        let (text, bytes) = match member {
            Member::Text(text) => (Some(text), text.len()),
            Member::Scalar(_, text) => (None, text.len()),
            Member::Nested(..) if is_known(name) => (None, 0),
            Member::Nested(..) => {
                return Err(format!(
                    "must be a string, number, boolean or null, but is {}",
                    described(member)
                )
                .into());
            }
        };
        if name.len() > limits.attribute_bytes_max {
            return Err(Wrong::limit(
                EventLimit::AttributeBytes,
                format!(
                    "the name of an attribute has at most {} bytes, but this has {}",
                    limits.attribute_bytes_max,
                    name.len()
                ),
            ));
        }
        if bytes > limits.attribute_bytes_max {
            return Err(Wrong::limit(
                EventLimit::AttributeBytes,
                format!(
                    "an attribute has at most {} bytes, but this has {bytes}",
                    limits.attribute_bytes_max
                ),
            ));
        }
        if self.has(name) {
            return Err(TWICE.to_owned().into());
        }
        if self.attributes.len() >= limits.attributes_max {
            return Err(Wrong::limit(
                EventLimit::Attributes,
                format!("an event has at most {} attributes", limits.attributes_max),
            ));
        }
        let null = matches!(member, Member::Scalar(Kind::Null, _));
        match name {
            "id" => self.id = Some(required(text, member)?),
            "source" => self.source = Some(required(text, member)?),
            "type" => self.event_type = Some(required(text, member)?),
            "subject" => self.subject = Some(required(text, member)?),
            "specversion" => {
                let version = required(text, member)?;
                if version != "1.0" && version != "0.3" {
                    return Err(
                        format!("must be \"1.0\" or \"0.3\", but is {:?}", shortened(&version)).into()
                    );
                }
                self.specversion = true;
            }
            "time" if !null => {
                let Some(text) = text else {
                    return Err(format!(
                        "must be a date-time in a string or null, but is {}",
                        described(member)
                    )
                    .into());
                };
                self.time_us =
                    Some(parse_rfc3339(text).map_err(|error| format!("{:?} is {error}", shortened(text)))?);
            }
            "datacontenttype" if !null && text.is_none_or(|text| text != "application/json") => {
                let found = text
                    .map_or_else(|| described(member).to_owned(), |text| format!("{:?}", shortened(text)));
                return Err(format!("must be \"application/json\" or null, but is {found}").into());
            }
            "dataschema" if !null => {
                required(text, member)?;
            }
            "data_base64" if !null => {
                return Err("binary data is not accepted; send a JSON object as \"data\"".to_owned().into());
            }
            _ => {}
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        // Most events have only attributes that a slot tells at once.
        match name {
            "id" => self.id.is_some(),
            "source" => self.source.is_some(),
            "type" => self.event_type.is_some(),
            "subject" => self.subject.is_some(),
            "specversion" => self.specversion,
            _ => self.attributes.iter().any(|(n, _)| n == name),
        }
    }

    /// The event, whose text is `json`, if nothing required is missing.
    pub(super) fn finish(self, json: &'a str) -> Result<Event<'a>, BadAttribute> {
        let missing = |name: &str| BadAttribute {
            name: name.to_owned(),
            reason: "is missing; every event has a non-empty string here".to_owned(),
            limit: None,
        };
        let id = self.id.ok_or_else(|| missing("id"))?;
        let source = self.source.ok_or_else(|| missing("source"))?;
        if !self.specversion {
            return Err(missing("specversion"));
        }
        let event_type = self.event_type.ok_or_else(|| missing("type"))?;
        let subject = self.subject.ok_or_else(|| missing("subject"))?;
        Ok(Event {
            id,
            source,
            event_type,
            subject,
            time_us: self.time_us,
            data: self.data.map(str::as_bytes),
            attributes: self.attributes,
            json: json.as_bytes(),
        })
    }
}

const TWICE: &str = "is there twice; an attribute has one value";

fn is_known(name: &str) -> bool {
    COLUMNS.contains(&name)
        || matches!(name, "specversion" | "datacontenttype" | "dataschema" | "data_base64")
}

fn required<'a>(text: Option<&Cow<'a, str>>, member: &Member<'_>) -> Result<Cow<'a, str>, String> {
    match text {
        Some(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(format!("must be a non-empty string, but is {}", described(member))),
    }
}

fn described(member: &Member<'_>) -> &'static str {
    match member {
        Member::Text(text) if text.is_empty() => "empty",
        Member::Text(_) => Kind::String.described(),
        Member::Scalar(kind, _) | Member::Nested(kind, _) => kind.described(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

/// See [`Event::other_attributes`].
pub(super) fn others(event: &Event<'_>) -> Option<Vec<u8>> {
    let others = || event.attributes.iter().filter(|(name, _)| !COLUMNS.contains(&&**name));
    others().next()?;
    let mut out = Vec::with_capacity(64);
    out.push(b'{');
    for (name, value) in others() {
        if out.len() > 1 {
            out.push(b',');
        }
        // Borrowed text without an escape is the text as sent. Anything else is found again below.
        let (Cow::Borrowed(name), false) = (name, needs_escape(name)) else {
            return others_as_sent(event.json);
        };
        push_quoted(&mut out, name);
        out.push(b':');
        match value {
            AttributeValue::Raw(raw) => out.extend_from_slice(raw),
            AttributeValue::Text(Cow::Borrowed(text)) if !needs_escape(text) => push_quoted(&mut out, text),
            AttributeValue::Text(_) => return others_as_sent(event.json),
        }
    }
    out.push(b'}');
    Some(out)
}

/// The same from the event's text.
fn others_as_sent(json: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(std::str::from_utf8(json).ok()?);
    let mut out = vec![b'{'];
    cursor.peek().ok()?;
    let mut more = cursor.open_object().ok()?;
    while more {
        let name = cursor.name().ok()?;
        let value = cursor.skip(usize::MAX).ok()?;
        if !COLUMNS.contains(&&*name.text()) {
            if out.len() > 1 {
                out.push(b',');
            }
            push_quoted(&mut out, name.raw);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        more = cursor.more_members().ok()?;
    }
    out.push(b'}');
    Some(out)
}

fn push_quoted(out: &mut Vec<u8>, raw: &str) {
    out.push(b'"');
    out.extend_from_slice(raw.as_bytes());
    out.push(b'"');
}

fn needs_escape(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20))
}
