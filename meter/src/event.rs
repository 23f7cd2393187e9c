//! Reading CloudEvents in JSON: the one place that says which events are valid. Ingest reads whole
//! request bodies with it, the aggregator single records, and both see the same event.

mod attributes;
mod reader;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

/// Bounds on what one request may bring. Every excess is answered with the bound and what was over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventLimits {
    pub batch_events_max: usize,
    pub event_bytes_max: usize,
    /// Most attributes of one event, extensions among them.
    pub attributes_max: usize,
    /// Of an attribute's value, and of its name.
    pub attribute_bytes_max: usize,
    /// Levels of objects and arrays, the event itself being the first.
    pub depth_max: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self {
            batch_events_max: 10_000,
            event_bytes_max: 900_000,
            attributes_max: 128,
            attribute_bytes_max: 1_024,
            depth_max: 64,
        }
    }
}

/// Which bound refused a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventLimit {
    BatchEvents,
    EventBytes,
    Attributes,
    AttributeBytes,
    Nesting,
}

impl EventLimit {
    /// As settings and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchEvents => "batch_events_max",
            Self::EventBytes => "event_bytes_max",
            Self::Attributes => "attributes_max",
            Self::AttributeBytes => "attribute_bytes_max",
            Self::Nesting => "nesting_max",
        }
    }
}

/// What the content type says the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// `application/cloudevents+json`
    One,
    /// `application/cloudevents-batch+json`; an empty array is fine.
    Batch,
    /// `application/json`; an empty array is an error.
    OneOrBatch,
}

/// The value of an attribute as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue<'a> {
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// Any other JSON value (null, number, boolean …), its bytes.
    Raw(&'a [u8]),
}

/// A valid event. Borrows from the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    pub id: Cow<'a, str>,
    pub source: Cow<'a, str>,
    pub event_type: Cow<'a, str>,
    pub subject: Cow<'a, str>,
    /// Microseconds since 1970, UTC; None when absent or null.
    pub time_us: Option<i64>,
    /// The bytes of the JSON object; None when absent or null.
    pub data: Option<&'a [u8]>,
    /// Every attribute as sent, in the order sent, `data` not among them.
    pub attributes: Vec<(Cow<'a, str>, AttributeValue<'a>)>,
    /// The whole event, its bytes as sent.
    pub json: &'a [u8],
}

/// Why a body is refused: nothing of it is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.detail())]
pub struct InvalidEvents {
    /// Position of the bad event in a batch, from 0.
    pub index: Option<usize>,
    pub attribute: Option<String>,
    /// What is wrong and what would be right, one sentence.
    pub reason: String,
    /// The bound, if the body is refused for being too much of something.
    pub limit: Option<EventLimit>,
}

impl InvalidEvents {
    /// The event at this place of a batch is one too many.
    pub fn too_many_events(index: usize, limits: &EventLimits) -> Self {
        let events_max = limits.batch_events_max;
        Self {
            index: Some(index),
            attribute: None,
            reason: format!("a batch has at most {events_max} events; send the others in further requests"),
            limit: Some(EventLimit::BatchEvents),
        }
    }

    /// An event is too long.
    pub fn event_too_large(index: Option<usize>, bytes: usize, limits: &EventLimits) -> Self {
        Self {
            index,
            attribute: None,
            reason: format!("an event has at most {} bytes, but this has {bytes}", limits.event_bytes_max),
            limit: Some(EventLimit::EventBytes),
        }
    }

    /// One sentence with place and reason.
    pub fn detail(&self) -> String {
        match (self.index, &self.attribute) {
            (Some(index), Some(attribute)) => {
                format!("event {index}: attribute {attribute:?}: {}", self.reason)
            }
            (Some(index), None) => format!("event {index}: {}", self.reason),
            (None, Some(attribute)) => format!("attribute {attribute:?}: {}", self.reason),
            (None, None) => self.reason.clone(),
        }
    }
}

/// Reads one body. All of it is valid, or the first bad event is named.
pub fn read_events<'a>(
    body: &'a [u8],
    shape: BodyShape,
    limits: &EventLimits,
) -> Result<Vec<Event<'a>>, InvalidEvents> {
    reader::read_body(body, shape, limits)
}

/// Reads one record of the log: a single event that ingest has let in. Its bounds are not checked
/// again, for they may have been others when it came.
pub fn read_event<'a>(json: &'a [u8]) -> Result<Event<'a>, InvalidEvents> {
    let unbounded = EventLimits {
        batch_events_max: 1,
        event_bytes_max: usize::MAX,
        attributes_max: usize::MAX,
        attribute_bytes_max: usize::MAX,
        depth_max: usize::MAX,
    };
    reader::read_single(json, &unbounded)
}

impl<'a> Event<'a> {
    /// A JSON object of every attribute but id, source, type, subject, time and data, as sent; None if
    /// there is none. Kept at rest beside the columns.
    pub fn other_attributes(&self) -> Option<Vec<u8>> {
        attributes::others(self)
    }
}
