//! The first bytes of every file of the local log: whose file it is and where in the log it begins.
//! The checksum of this header is also where the checksums of the file's frames continue from, so
//! that a frame is good only in the file it was written to. `docs/formats/log.md` has the layout.

use bytes::{Buf, BufMut};
use weir_meter::InstallationId;

/// Bytes of a file header.
pub(super) const FILE_HEADER_BYTES: usize = 56;

/// The newest format of files and frames that this code reads, and the one it writes.
pub(super) const FORMAT_VERSION: u8 = 1;

const MAGIC: [u8; 8] = *b"weir-log";
const CRC_AT: usize = FILE_HEADER_BYTES - 4;

/// What a file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) installation: InstallationId,
    pub(super) epoch: u32,
    pub(super) partition: u32,
    pub(super) base_offset: u64,
    /// No record of this file or of a later one is older than this.
    pub(super) record_time_floor_us: i64,
}

/// Why bytes are not a file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// Cut short, overwritten, or never a log file.
    Damaged,
    Newer(u32),
}

impl FileHeader {
    /// The header's bytes and its checksum.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES);
        bytes.put_slice(&MAGIC);
        bytes.put_u32_le(u32::from(FORMAT_VERSION));
        bytes.put_slice(&self.installation.to_bytes());
        bytes.put_u32_le(self.epoch);
        bytes.put_u32_le(self.partition);
        bytes.put_u64_le(self.base_offset);
        bytes.put_i64_le(self.record_time_floor_us);
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32_le(crc);
        (bytes, crc)
    }

    /// The header and its checksum. The checksum is looked at before the version, so that a damaged
    /// file is not mistaken for a newer one.
    pub(super) fn decode(bytes: &[u8]) -> Result<(FileHeader, u32), BadHeader> {
        let (body, mut rest) = bytes.split_at_checked(CRC_AT).ok_or(BadHeader::Damaged)?;
        let crc = rest.try_get_u32_le().map_err(|_| BadHeader::Damaged)?;
        let mut body_fields = body.strip_prefix(&MAGIC).ok_or(BadHeader::Damaged)?;
        if crc32c::crc32c(body) != crc {
            return Err(BadHeader::Damaged);
        }
        let fields = &mut body_fields;
        let version = fields.try_get_u32_le().map_err(|_| BadHeader::Damaged)?;
        if version > u32::from(FORMAT_VERSION) {
            return Err(BadHeader::Newer(version));
        }
        Self::decode_fields(fields).map(|header| (header, crc)).ok_or(BadHeader::Damaged)
    }

    fn decode_fields(fields: &mut &[u8]) -> Option<FileHeader> {
        Some(FileHeader {
            installation: InstallationId(fields.try_get_u128().ok()?),
            epoch: fields.try_get_u32_le().ok()?,
            partition: fields.try_get_u32_le().ok()?,
            base_offset: fields.try_get_u64_le().ok()?,
            record_time_floor_us: fields.try_get_i64_le().ok()?,
        })
    }
}
