//! The events of the load: what a service that sells tokens would send, about 300 bytes each. Bodies are
//! made before the clock starts; while it runs, only ids and times are patched into them.
//!
//! Every id is a random UUID and lies in no order, since ids that count up would compress far better than
//! any real ones.

mod json;
mod meters;
mod proto;
mod stamp;

pub use json::{event_text, request_head};
pub use meters::{METERS, meter_names, probe_meter};
use stamp::Place;
pub use stamp::{ID_BYTES, Stamp};

use crate::draw::Draw;

pub const MODELS: [&str; 4] = ["large-24", "small-24", "coder-24", "voice-23"];
pub const KINDS: [&str; 2] = ["input", "output"];
pub const ROUTES: [&str; 5] =
    ["/v1/completions", "/v1/embeddings", "/v1/moderations", "/v1/audio/speech", "/v1/images/edits"];
const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
/// Users of one subject, for the meter that counts different ones.
pub const USERS: u64 = 20;
/// What stands in a template until it is stamped.
const UNSTAMPED: Numbers = Numbers { tokens: 1_000, duration: 10_000_000, user: 0 };

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One CloudEvent as JSON, with the head of its HTTP request.
    Single,
    /// An array of them, with the head of its HTTP request.
    Batch(usize),
    /// `weir.v1.IngestRequest`, without gRPC's frame.
    Proto(usize),
}

impl Form {
    pub fn events(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Batch(events) | Self::Proto(events) => events,
        }
    }
}

/// What one event says, apart from what is patched in: all that the recount has to know.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    pub subject: u32,
    pub model: u8,
    pub kind: u8,
    pub route: u8,
    pub region: u8,
}

impl Fact {
    pub fn draw(draw: &mut Draw, subjects: u32) -> Self {
        Self {
            subject: draw.below(u64::from(subjects)) as u32,
            model: draw.below(MODELS.len() as u64) as u8,
            kind: draw.below(KINDS.len() as u64) as u8,
            route: draw.below(ROUTES.len() as u64) as u8,
            region: draw.below(REGIONS.len() as u64) as u8,
        }
    }

    /// The event's `data`. Numbers always have the same length, so that they can be patched.
    pub fn data(&self, numbers: Numbers) -> String {
        format!(
            r#"{{"model":"{}","kind":"{}","tokens":{},"duration_ms":{}.{:03},"route":"{}","region":"{}","user":"u{:05}-{:02}"}}"#,
            MODELS[usize::from(self.model)],
            KINDS[usize::from(self.kind)],
            numbers.tokens,
            numbers.duration / 1_000,
            numbers.duration % 1_000,
            ROUTES[usize::from(self.route)],
            REGIONS[usize::from(self.region)],
            self.subject,
            numbers.user,
        )
    }
}

/// What differs from event to event.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Four digits.
    pub tokens: u32,
    /// `duration_ms` in thousandths, eight digits.
    pub duration: u32,
    pub user: u32,
}

impl Numbers {
    pub fn draw(draw: &mut Draw) -> Self {
        Self {
            tokens: 1_000 + draw.below(9_000) as u32,
            duration: 10_000_000 + draw.below(90_000_000) as u32,
            user: draw.below(USERS) as u32,
        }
    }
}

/// Sums over all events that one place of a template became.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    pub tokens: u64,
    pub duration: u64,
    pub slowest: u32,
    /// A bit for each user.
    pub users: u32,
}

/// A subject's name. The recount reads it back.
pub fn subject_name(subject: u32) -> String {
    format!("customer-{subject:05}")
}

/// A body with holes for ids, times and numbers.
#[derive(Clone, Debug)]
pub struct Template {
    /// The whole request as it goes out.
    pub bytes: Vec<u8>,
    /// Length of the JSON or protobuf in it.
    pub body_bytes: usize,
    pub facts: Vec<Fact>,
    /// For each fact.
    pub sums: Vec<Sums>,
    places: Vec<Place>,
    proto: bool,
}

impl Template {
    pub fn draw(form: Form, draw: &mut Draw, subjects: u32) -> Self {
        let facts: Vec<Fact> = (0..form.events()).map(|_| Fact::draw(draw, subjects)).collect();
        let proto = matches!(form, Form::Proto(_));
        let (head, body) = if proto {
            (Vec::new(), proto::body(&facts))
        } else {
            let body = json::body(&facts, form == Form::Single);
            (request_head(form == Form::Single, body.len()), body)
        };
        let body_bytes = body.len();
        let bytes = [head, body].concat();
        let places = stamp::places(&bytes, proto);
        assert_eq!(places.len(), facts.len(), "every event of a template has its holes");
        Self { body_bytes, sums: vec![Sums::default(); facts.len()], bytes, facts, places, proto }
    }

    /// New ids, times and numbers for all events.
    pub fn stamp(&mut self, stamp: &mut Stamp) {
        for (place, sums) in self.places.iter().zip(&mut self.sums) {
            stamp.event(&mut self.bytes, place, self.proto, sums);
        }
    }
}

#[cfg(test)]
mod tests;
