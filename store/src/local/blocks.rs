//! Checksums of what a file holds, block by block. Parquet's own pages have none, and a bit that turned
//! over in one may well decode to other numbers. So every byte that is read from a file is first compared
//! with a CRC32C, and those stand in a chain that ends in the catalog:
//!
//! ```text
//! row groups | zeros to a whole block | checksums of all blocks so far | page index | footer, with a note
//! '-------------- front -------------' '---------------------------- tail -----------------------------'
//! ```
//!
//! The note in the footer says how long the front is, and its CRC32C. Together with that of the tail this
//! must give the CRC32C of the whole file, which the catalog lists; so opening a file reads its tail alone.
//! A file from before there were notes has no front: all of it is read, once, and compared the same way.

use std::sync::Arc;

use bytes::Bytes;
use weir_files::File;

mod sum;
#[cfg(test)]
mod tests;

pub(super) use sum::{BlockSums, note};

/// What has a checksum of its own: as much as a disk reads at a time anyway.
pub(super) const BLOCK_BYTES: usize = 4096;

/// The key of the note in the footer's metadata.
pub(super) const NOTE_KEY: &str = "weir.checksums";

/// A note begins with this, so that it is found before anything is decoded.
const NOTE_START: &str = "weir-front-crc32c-4096:";

/// Where in a file a note may lie: this near to its end. Behind it are the writer's name and the order of
/// the columns.
const NOTE_WITHIN_BYTES: u64 = 4 << 10;

/// Bytes that are read at a time while a tail is compared; whole blocks.
const PIECE_BYTES: usize = 64 * BLOCK_BYTES;

const CHECKSUM_BYTES: usize = size_of::<u32>();

/// Why bytes cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("the block of {BLOCK_BYTES} bytes at byte {at} has changed since it was written")]
    Changed { at: u64 },
    #[error("its CRC32C is {found:08x} and should be {listed:08x}")]
    File { found: u32, listed: u32 },
    #[error("bytes {start} and {length} on are asked for, the file has {file_length}")]
    Outside { start: u64, length: usize, file_length: u64 },
}

/// The checksums of a file's blocks, each of which is as true as the catalog's checksum of the file.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    length: u64,
    checksums: Arc<[u32]>,
}

/// What a note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Front {
    bytes: u64,
    checksum: u32,
}

impl Blocks {
    /// Reads a file's tail, or all of a file without a note, and compares with what the catalog lists.
    pub(super) fn load(file: &File, length: u64, listed: u32) -> Result<Self, Unreadable> {
        let nothing = Front { bytes: 0, checksum: 0 };
        let front = find_note(file, length)?.unwrap_or(nothing);
        match Self::behind(file, length, front, listed) {
            // What looks like a note may be a text of a user, in a file that has none.
            Err(Unreadable::File { .. }) if front != nothing => Self::behind(file, length, nothing, listed),
            loaded => loaded,
        }
    }

    /// As if the front were as it is said to be; if it is not, this fails.
    fn behind(file: &File, length: u64, front: Front, listed: u32) -> Result<Self, Unreadable> {
        let front_blocks = usize::try_from(front.bytes).unwrap_or(usize::MAX) / BLOCK_BYTES;
        let list_bytes = front_blocks.saturating_mul(CHECKSUM_BYTES);
        let mut checksums = vec![0_u32; front_blocks];
        let mut tail = 0_u32;
        let mut buffer = Vec::new();
        let mut at = front.bytes;
        while at < length {
            let rest = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
            buffer.resize(rest.min(PIECE_BYTES), 0);
            file.read_exact_at(&mut buffer, at)?;
            tail = crc32c::crc32c_append(tail, &buffer);
            checksums.extend(buffer.chunks(BLOCK_BYTES).map(crc32c::crc32c));
            at = at.saturating_add(buffer.len() as u64);
        }
        let tail_bytes = usize::try_from(length.saturating_sub(front.bytes)).unwrap_or(usize::MAX);
        let found = crc32c::crc32c_combine(front.checksum, tail, tail_bytes);
        if found != listed {
            return Err(Unreadable::File { found, listed });
        }
        let unlisted = Self { length, checksums: checksums.into() };
        if front_blocks == 0 {
            return Ok(unlisted);
        }
        let list = unlisted.read(file, front.bytes, list_bytes)?;
        let (listed, _) = list.as_chunks::<CHECKSUM_BYTES>();
        let behind = unlisted.checksums.get(front_blocks..).unwrap_or_default();
        let checksums =
            listed.iter().map(|bytes| u32::from_le_bytes(*bytes)).chain(behind.iter().copied()).collect();
        Ok(Self { length, checksums })
    }

    /// These bytes of the file, as they were written. Reads whole blocks, and never more than the file has.
    pub(super) fn read(&self, file: &File, start: u64, length: usize) -> Result<Bytes, Unreadable> {
        let outside = || Unreadable::Outside { start, length, file_length: self.length };
        let end = start.checked_add(length as u64).filter(|end| *end <= self.length).ok_or_else(outside)?;
        let block = BLOCK_BYTES as u64;
        let first = start / block;
        let from = first.saturating_mul(block);
        let to = end.div_ceil(block).saturating_mul(block).min(self.length);
        let mut buffer = vec![0; usize::try_from(to.saturating_sub(from)).map_err(|_| outside())?];
        file.read_exact_at(&mut buffer, from)?;
        let known = self.checksums.get(usize::try_from(first).map_err(|_| outside())?..).unwrap_or_default();
        for (index, bytes) in buffer.chunks(BLOCK_BYTES).enumerate() {
            if known.get(index) != Some(&crc32c::crc32c(bytes)) {
                let at = from.saturating_add((index as u64).saturating_mul(block));
                return Err(Unreadable::Changed { at });
            }
        }
        let skip = usize::try_from(start.saturating_sub(from)).map_err(|_| outside())?;
        let bytes = Bytes::from(buffer);
        Ok(bytes.slice(skip..skip.saturating_add(length)))
    }
}

/// What the last note near the end of a file says, if it can be true at all.
fn find_note(file: &File, length: u64) -> Result<Option<Front>, Unreadable> {
    let near = length.min(NOTE_WITHIN_BYTES);
    let mut end = vec![0; usize::try_from(near).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut end, length.saturating_sub(near))?;
    let start = NOTE_START.as_bytes();
    let Some(found) = end.windows(start.len()).rposition(|window| window == start) else { return Ok(None) };
    let front = end.get(found.saturating_add(start.len())..).and_then(parse_note);
    Ok(front.filter(|front| {
        let blocks = front.bytes / BLOCK_BYTES as u64;
        let list_end = front.bytes.checked_add(blocks.saturating_mul(CHECKSUM_BYTES as u64));
        front.bytes.is_multiple_of(BLOCK_BYTES as u64) && list_end.is_some_and(|end| end <= length)
    }))
}

/// Sixteen digits of length, a colon, eight of checksum.
fn parse_note(bytes: &[u8]) -> Option<Front> {
    let text = std::str::from_utf8(bytes.get(..25)?).ok()?;
    let (length, checksum) = text.split_once(':').filter(|(length, _)| length.len() == 16)?;
    Some(Front {
        bytes: u64::from_str_radix(length, 16).ok()?,
        checksum: u32::from_str_radix(checksum, 16).ok()?,
    })
}
