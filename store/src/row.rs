//! A row at rest: what became of one offset.

use bytes::Bytes;
use weir_meter::{ContentHash, Coordinates, IdentityHash, Namespace, RequestId};

/// What the aggregator decided about a record, once and for ever, from the log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The first of its identity: it counts.
    Counted,
    /// The same event again.
    Duplicate,
    /// The identity again, with other content.
    Conflict,
    /// No event could be read from the record. Ingest lets no such record in.
    Unreadable,
}

impl Fate {
    /// The name at rest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Unreadable => "unreadable",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "counted" => Some(Self::Counted),
            "duplicate" => Some(Self::Duplicate),
            "conflict" => Some(Self::Conflict),
            "unreadable" => Some(Self::Unreadable),
            _ => None,
        }
    }
}

/// Times are microseconds since 1970, UTC. A fate other than `Counted` leaves a bare row: no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub at: Coordinates,
    /// Running maximum of the log's timestamps in the partition.
    pub record_time_us: i64,
    /// The record's own log timestamp.
    pub record_time_raw_us: i64,
    pub namespace: Namespace,
    pub fate: Fate,
    pub identity: IdentityHash,
    pub content: ContentHash,
    pub request: RequestId,
    pub event: Option<RowEvent>,
    /// When the aggregator took the record.
    pub stored_at_us: i64,
}

impl Row {
    /// Bytes of the texts whose length only the size of an event bounds.
    pub fn text_bytes(&self) -> usize {
        self.event.as_ref().map_or(0, |event| {
            let length = |text: &Option<Bytes>| text.as_ref().map_or(0, Bytes::len);
            length(&event.data).saturating_add(length(&event.attributes))
        })
    }
}

/// The event of a counted row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowEvent {
    pub source: Box<str>,
    pub id: Box<str>,
    pub event_type: Box<str>,
    pub subject: Box<str>,
    pub time_us: i64,
    /// False if the event came without a time and took the record's.
    pub time_given: bool,
    /// The JSON object as sent; None when absent or null.
    pub data: Option<Bytes>,
    /// A JSON object of all other attributes as sent (specversion, datacontenttype, extensions …).
    pub attributes: Option<Bytes>,
}
