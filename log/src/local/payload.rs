//! Records as bytes, one after the other, as they lie in a frame's payload. Offsets and the record
//! time belong to the frame, so a record's bytes do not depend on where it comes to lie.

use bytes::{Buf, BufMut, Bytes};
use weir_meter::{ContentHash, IdentityHash, Namespace, RequestId};

use crate::record::{LoggedRecord, Record, RecordKind};

/// Bytes of a record apart from its namespace and its value.
const FIXED_BYTES: usize = 1 + 2 + 3 * 16 + 4;

/// A namespace's length has two bytes.
pub(super) const NAMESPACE_BYTES_MAX: usize = u16::MAX as usize;

/// The records of one frame, as readers get them.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) base_offset: u64,
    pub(super) records: Vec<LoggedRecord>,
    /// Encoded bytes of the records.
    pub(super) bytes: usize,
}

impl Frame {
    pub(super) fn end_offset(&self) -> u64 {
        self.base_offset.saturating_add(self.records.len() as u64)
    }
}

/// Bytes that [`encode_record`] appends.
pub(super) fn encoded_bytes(record: &Record) -> usize {
    FIXED_BYTES + record.namespace.as_str().len() + record.value.len()
}

/// Appends a record. The caller has checked the lengths of namespace and value.
pub(super) fn encode_record(record: &Record, out: &mut Vec<u8>) {
    out.put_u8(record.kind as u8);
    out.put_u16_le(record.namespace.as_str().len() as u16);
    out.put_slice(record.namespace.as_str().as_bytes());
    out.put_slice(&record.identity.to_bytes());
    out.put_slice(&record.content.to_bytes());
    out.put_slice(&record.request.to_bytes());
    out.put_u32_le(record.value.len() as u32);
    out.put_slice(&record.value);
}

/// Reads `count` records that fill `payload` exactly; values share its memory.
pub(super) fn decode_records(
    payload: Bytes,
    base_offset: u64,
    count: u32,
    record_time_us: i64,
) -> Result<Frame, &'static str> {
    let bytes = payload.len();
    let mut rest = payload;
    let mut namespace = Namespace::default();
    // A record has at least its fixed bytes: a count that cannot be true asks for no memory.
    let mut records = Vec::with_capacity((count as usize).min(bytes / FIXED_BYTES));
    for index in 0..u64::from(count) {
        let record = decode_record(&mut rest, &mut namespace)?;
        let offset = base_offset.checked_add(index).ok_or("its offsets do not fit 64 bits")?;
        records.push(LoggedRecord { offset, record_time_us, record });
    }
    if rest.has_remaining() {
        return Err("its payload goes on after the last record");
    }
    Ok(Frame { base_offset, records, bytes })
}

fn decode_record(rest: &mut Bytes, previous: &mut Namespace) -> Result<Record, &'static str> {
    const SHORT: &str = "its payload ends inside a record";
    let kind = rest.try_get_u8().map_err(|_| SHORT)?;
    let kind = RecordKind::from_number(kind).ok_or("it has a record of an unknown kind")?;
    let length = usize::from(rest.try_get_u16_le().map_err(|_| SHORT)?);
    let name = take(rest, length).ok_or(SHORT)?;
    // Neighbours mostly share a namespace: one allocation serves them all.
    if previous.as_str().as_bytes() != &*name {
        *previous =
            Namespace::new(std::str::from_utf8(&name).map_err(|_| "it has a namespace that is not text")?);
    }
    let identity = IdentityHash(rest.try_get_u128().map_err(|_| SHORT)?);
    let content = ContentHash(rest.try_get_u128().map_err(|_| SHORT)?);
    let request = RequestId(rest.try_get_u128().map_err(|_| SHORT)?);
    let length = rest.try_get_u32_le().map_err(|_| SHORT)? as usize;
    let value = take(rest, length).ok_or(SHORT)?;
    Ok(Record { namespace: previous.clone(), kind, identity, content, request, value })
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

/// What a reader has gathered so far, and how much more it wants.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) records: Vec<LoggedRecord>,
    bytes: usize,
    bytes_max: usize,
}

impl Gathered {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { records: Vec::new(), bytes: 0, bytes_max }
    }

    /// Copies a frame's records from `from` on until it has enough, and at least one in all. True if
    /// it took the frame to its end.
    pub(super) fn take(&mut self, frame: &Frame, from: u64) -> bool {
        for record in frame.records.iter().filter(|record| record.offset >= from) {
            let bytes = self.bytes.saturating_add(encoded_bytes(&record.record));
            if !self.records.is_empty() && bytes > self.bytes_max {
                return false;
            }
            self.bytes = bytes;
            self.records.push(record.clone());
        }
        true
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max && !self.records.is_empty()
    }
}
