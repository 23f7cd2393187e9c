//! Reads bodies and records with the cursor: the reader that every error comes from.

use crate::json::cursor::{Cursor, Kind, SyntaxError, TOO_DEEP};

use super::attributes::{BadAttribute, Draft, Member};
use super::{BodyShape, Event, EventLimit, EventLimits, InvalidEvents};

/// See [`super::read_events`].
pub(super) fn read_body<'a>(
    body: &'a [u8],
    shape: BodyShape,
    limits: &EventLimits,
) -> Result<Vec<Event<'a>>, InvalidEvents> {
    let text = utf8(body)?;
    let mut reader = Reader { cursor: Cursor::new(text), limits, index: None };
    if text.trim_ascii().is_empty() {
        return Err(
            reader.refused("the body is empty; it must be an event, or an array of events".to_owned())
        );
    }
    let events = match (reader.peek()?, shape) {
        (Kind::Object, BodyShape::One | BodyShape::OneOrBatch) => vec![reader.event()?],
        (Kind::Array, BodyShape::Batch | BodyShape::OneOrBatch) => reader.batch(text.len())?,
        (kind, BodyShape::One) => {
            return Err(reader.refused(format!(
                "application/cloudevents+json announces one event, a JSON object, but the body is {}; \
                 send arrays as application/cloudevents-batch+json",
                kind.described()
            )));
        }
        (kind, BodyShape::Batch) => {
            return Err(reader.refused(format!(
                "application/cloudevents-batch+json announces an array of events, but the body is {}; \
                 send a single event as application/cloudevents+json",
                kind.described()
            )));
        }
        (kind, BodyShape::OneOrBatch) => {
            return Err(reader.refused(format!(
                "the body must be an event, a JSON object, or an array of events, but it is {}",
                kind.described()
            )));
        }
    };
    reader.index = None;
    reader.finish()?;
    if events.is_empty() && shape == BodyShape::OneOrBatch {
        return Err(reader.refused("no events found; the array must hold at least one".to_owned()));
    }
    Ok(events)
}

/// See [`super::read_event`].
pub(super) fn read_single<'a>(json: &'a [u8], limits: &EventLimits) -> Result<Event<'a>, InvalidEvents> {
    let mut reader = Reader { cursor: Cursor::new(utf8(json)?), limits, index: None };
    let kind = reader.peek()?;
    if kind != Kind::Object {
        return Err(reader.not_an_object(kind));
    }
    let event = reader.event()?;
    reader.finish()?;
    Ok(event)
}

fn utf8(body: &[u8]) -> Result<&str, InvalidEvents> {
    std::str::from_utf8(body).map_err(|error| InvalidEvents {
        index: None,
        attribute: None,
        reason: format!("the body must be UTF-8, but byte {} begins no character", error.valid_up_to()),
        limit: None,
    })
}

/// For the room that a batch's events need; a wrong guess costs a copy of them.
const USUAL_EVENT_BYTES: usize = 250;

struct Reader<'a, 'l> {
    cursor: Cursor<'a>,
    limits: &'l EventLimits,
    /// Position in the batch of the event that is being read.
    index: Option<usize>,
}

impl<'a> Reader<'a, '_> {
    /// At an opening bracket.
    fn batch(&mut self, body_bytes: usize) -> Result<Vec<Event<'a>>, InvalidEvents> {
        let mut events =
            Vec::with_capacity((body_bytes / USUAL_EVENT_BYTES).min(self.limits.batch_events_max));
        let mut more = self.cursor.open_array().map_err(|error| self.not_json(error))?;
        while more {
            self.index = Some(events.len());
            if events.len() == self.limits.batch_events_max {
                return Err(InvalidEvents::too_many_events(events.len(), self.limits));
            }
            let kind = self.peek()?;
            if kind != Kind::Object {
                return Err(self.not_an_object(kind));
            }
            events.push(self.event()?);
            more = self.cursor.more_elements().map_err(|error| self.not_json(error))?;
        }
        Ok(events)
    }

    /// At an opening brace.
    fn event(&mut self) -> Result<Event<'a>, InvalidEvents> {
        let start = self.cursor.position();
        let mut draft = Draft::new();
        let mut more = self.cursor.open_object().map_err(|error| self.not_json(error))?;
        while more {
            let name = self.cursor.name().map_err(|error| self.not_json(error))?;
            let member = self.member().map_err(|error| self.not_json(error))?;
            draft.add(name.text(), member, self.limits).map_err(|bad| self.bad(bad))?;
            more = self.cursor.more_members().map_err(|error| self.not_json(error))?;
        }
        let json = self.cursor.since(start);
        if json.len() > self.limits.event_bytes_max {
            return Err(InvalidEvents::event_too_large(self.index, json.len(), self.limits));
        }
        draft.finish(json).map_err(|bad| self.bad(bad))
    }

    fn member(&mut self) -> Result<Member<'a>, SyntaxError> {
        let kind = self.cursor.peek()?;
        let start = self.cursor.position();
        Ok(match kind {
            Kind::String => Member::Text(self.cursor.string()?.text()),
            Kind::Number => Member::Scalar(kind, self.cursor.number()?),
            // The event itself is the first level.
            Kind::Object | Kind::Array => {
                Member::Nested(kind, self.cursor.skip(self.limits.depth_max.saturating_sub(1))?)
            }
            Kind::True | Kind::False | Kind::Null => {
                self.cursor.keyword(kind)?;
                Member::Scalar(kind, self.cursor.since(start))
            }
        })
    }

    fn peek(&mut self) -> Result<Kind, InvalidEvents> {
        self.cursor.peek().map_err(|error| self.not_json(error))
    }

    fn finish(&mut self) -> Result<(), InvalidEvents> {
        self.cursor.finish().map_err(|error| self.not_json(error))
    }

    fn not_json(&self, error: SyntaxError) -> InvalidEvents {
        if error.reason == TOO_DEEP {
            let reason = format!("objects and arrays are nested at most {} deep", self.limits.depth_max);
            return InvalidEvents { limit: Some(EventLimit::Nesting), ..self.refused(reason) };
        }
        self.refused(format!("not valid JSON at byte {} of the body: {}", error.at, error.reason))
    }

    fn not_an_object(&self, kind: Kind) -> InvalidEvents {
        self.refused(format!("an event must be a JSON object, but this is {}", kind.described()))
    }

    fn bad(&self, bad: BadAttribute) -> InvalidEvents {
        InvalidEvents { index: self.index, attribute: Some(bad.name), reason: bad.reason, limit: bad.limit }
    }

    fn refused(&self, reason: String) -> InvalidEvents {
        InvalidEvents { index: self.index, attribute: None, reason, limit: None }
    }
}
