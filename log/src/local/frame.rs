//! A frame: the records of one group commit, written at once and synced at once. What a crash leaves
//! of the last one fails its checksum and is cut off. `docs/formats/log.md` has the layout.

use std::borrow::Cow;

use bytes::{Buf, BufMut};

use super::header::FORMAT_VERSION;

/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER_BYTES: usize = 36;

/// Bytes of a frame that its length field does not count: the length itself and the checksum.
const UNCOUNTED_BYTES: usize = 8;

/// No frame's payload is larger, compressed or not; a larger number is damage.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

const FLAG_LZ4: u8 = 1;

/// An LZ4 block never stands for more bytes than this for each of its own.
const LZ4_RATIO_MAX: usize = 255;

/// How the payload of a frame is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    None,
    /// LZ4 block format; a payload that does not shrink is written as it is.
    #[default]
    Lz4,
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    length: u32,
    crc: u32,
    version: u8,
    flags: u8,
    reserved: u16,
    pub(super) count: u32,
    pub(super) base_offset: u64,
    pub(super) record_time_us: i64,
    /// Bytes of the payload before compression.
    raw_bytes: u32,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadFrame {
    /// Cut short, or the checksum does not fit.
    Damaged(&'static str),
    /// A whole frame of a format that this code does not know.
    Newer(u8),
}

impl FrameHeader {
    /// Reads the fields and asks only whether they are possible.
    pub(super) fn decode(bytes: &[u8]) -> Option<FrameHeader> {
        let header = Self::decode_fields(bytes)?;
        let minimum = FRAME_HEADER_BYTES - UNCOUNTED_BYTES;
        let possible = (minimum..=minimum + PAYLOAD_BYTES_MAX).contains(&(header.length as usize));
        possible.then_some(header)
    }

    fn decode_fields(mut bytes: &[u8]) -> Option<FrameHeader> {
        Some(FrameHeader {
            length: bytes.try_get_u32_le().ok()?,
            crc: bytes.try_get_u32_le().ok()?,
            version: bytes.try_get_u8().ok()?,
            flags: bytes.try_get_u8().ok()?,
            reserved: bytes.try_get_u16_le().ok()?,
            count: bytes.try_get_u32_le().ok()?,
            base_offset: bytes.try_get_u64_le().ok()?,
            record_time_us: bytes.try_get_i64_le().ok()?,
            raw_bytes: bytes.try_get_u32_le().ok()?,
        })
    }

    /// True if this code could have written it. Cheap, and rarely true of other bytes.
    pub(super) fn is_known(&self) -> bool {
        self.version == FORMAT_VERSION
            && self.flags & !FLAG_LZ4 == 0
            && self.reserved == 0
            && self.count > 0
            && self.raw_bytes as usize <= PAYLOAD_BYTES_MAX
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_bytes(&self) -> usize {
        UNCOUNTED_BYTES + self.length as usize
    }

    /// The offset after the frame's last record.
    pub(super) fn end_offset(&self) -> Option<u64> {
        self.base_offset.checked_add(u64::from(self.count))
    }
}

/// Appends a frame to `out`. The caller has kept `raw` within [`PAYLOAD_BYTES_MAX`].
pub(super) fn encode_frame(
    seed: u32,
    base_offset: u64,
    count: u32,
    record_time_us: i64,
    raw: &[u8],
    compression: Compression,
    out: &mut Vec<u8>,
) {
    // The payload is made where it will lie: a frame may be as large as all that waits for the disk.
    let begin = out.len();
    let payload_at = begin.saturating_add(FRAME_HEADER_BYTES);
    let flags = match compression {
        Compression::Lz4 if compress(raw, payload_at, out) => FLAG_LZ4,
        Compression::None | Compression::Lz4 => {
            out.truncate(begin);
            out.resize(payload_at, 0);
            out.put_slice(raw);
            0
        }
    };
    let mut counted = Vec::with_capacity(FRAME_HEADER_BYTES - UNCOUNTED_BYTES);
    counted.put_u8(FORMAT_VERSION);
    counted.put_u8(flags);
    counted.put_u16_le(0);
    counted.put_u32_le(count);
    counted.put_u64_le(base_offset);
    counted.put_i64_le(record_time_us);
    counted.put_u32_le(raw.len() as u32);
    let payload = out.get(payload_at..).unwrap_or_default();
    let length = ((counted.len() + payload.len()) as u32).to_le_bytes();
    let crc = [&length, counted.as_slice(), payload].into_iter().fold(seed, crc32c::crc32c_append);
    let mut header = out.get_mut(begin..payload_at).unwrap_or_default();
    header.put_slice(&length);
    header.put_u32_le(crc);
    header.put_slice(&counted);
}

/// Puts the compressed bytes into `out` from `at` on, where it then ends. False if they did not become fewer.
fn compress(raw: &[u8], at: usize, out: &mut Vec<u8>) -> bool {
    out.resize(at.saturating_add(lz4_flex::block::get_maximum_output_size(raw.len())), 0);
    let packed = out.get_mut(at..).and_then(|room| lz4_flex::block::compress_into(raw, room).ok());
    out.truncate(at.saturating_add(packed.unwrap_or_default()));
    packed.is_some_and(|bytes| bytes < raw.len())
}

/// Checks the frame that `bytes` begin with; gives its header.
pub(super) fn check_frame(seed: u32, bytes: &[u8]) -> Result<FrameHeader, BadFrame> {
    let header = FrameHeader::decode(bytes).ok_or(BadFrame::Damaged("no frame begins here"))?;
    let frame = bytes.get(..header.frame_bytes()).ok_or(BadFrame::Damaged("the frame is cut short"))?;
    let length = frame.get(..4).unwrap_or_default();
    let counted = frame.get(UNCOUNTED_BYTES..).unwrap_or_default();
    if crc32c::crc32c_append(crc32c::crc32c_append(seed, length), counted) != header.crc {
        return Err(BadFrame::Damaged("the checksum does not fit"));
    }
    if header.version > FORMAT_VERSION {
        return Err(BadFrame::Newer(header.version));
    }
    if !header.is_known() {
        return Err(BadFrame::Damaged("the frame has fields that no version writes"));
    }
    Ok(header)
}

/// The uncompressed payload of a frame that has been checked.
pub(super) fn payload<'a>(header: &FrameHeader, frame: &'a [u8]) -> Result<Cow<'a, [u8]>, BadFrame> {
    let bytes = frame
        .get(FRAME_HEADER_BYTES..header.frame_bytes())
        .ok_or(BadFrame::Damaged("the frame is cut short"))?;
    let raw_bytes = header.raw_bytes as usize;
    let raw = if header.flags & FLAG_LZ4 == 0 {
        Cow::Borrowed(bytes)
    } else {
        // Memory is asked for by the length that the header names, so a few bytes must not name a gigabyte.
        if raw_bytes > bytes.len().saturating_mul(LZ4_RATIO_MAX) {
            return Err(BadFrame::Damaged("the payload is too short for the length that the frame names"));
        }
        let raw = lz4_flex::block::decompress(bytes, raw_bytes)
            .map_err(|_| BadFrame::Damaged("the payload does not decompress"))?;
        Cow::Owned(raw)
    };
    if raw.len() != raw_bytes {
        return Err(BadFrame::Damaged("the payload does not have the length that the frame names"));
    }
    Ok(raw)
}

/// Looks for the first good frame anywhere in `bytes`; gives its place and header.
pub(super) fn find_frame(seed: u32, bytes: &[u8]) -> Option<(usize, FrameHeader)> {
    (0..bytes.len()).find_map(|at| {
        let rest = bytes.get(at..)?;
        // The cheap question first: it turns away all but one place in millions.
        FrameHeader::decode(rest).filter(FrameHeader::is_known)?;
        check_frame(seed, rest).ok().map(|header| (at, header))
    })
}
