//! One record: an event as it was sent, with what is needed to decide its fate without parsing it.

use bytes::Bytes;
use weir_meter::{ContentHash, IdentityHash, Namespace, RequestId};

/// What a record is about. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    Event = 1,
}

impl RecordKind {
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Event),
            _ => None,
        }
    }
}

/// A record on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub namespace: Namespace,
    pub kind: RecordKind,
    pub identity: IdentityHash,
    pub content: ContentHash,
    pub request: RequestId,
    /// One structured-mode CloudEvent in JSON, verbatim as sent.
    pub value: Bytes,
}

/// A record in the log, at its offset, with the log's own timestamp (microseconds since 1970;
/// within a partition it never goes back).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRecord {
    pub offset: u64,
    pub record_time_us: i64,
    pub record: Record,
}
