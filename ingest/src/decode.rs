//! Decompression of request bodies. A few kilobytes can stand for gigabytes (zstd reaches 32,000 to
//! one), so the bound is inside the loop that decompresses: no byte beyond it is ever produced. Others are
//! made to cost work and to stand for nothing: what goes in is counted as well.

mod wire;

use std::io::{ErrorKind, Read};
use std::sync::Weak;

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::HeaderValue;

use crate::budget::Reservation;
use crate::error::{IngestError, TooMany};
use wire::{Progress, Stop, Wire};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    /// As a header names it; None for a body that is not compressed.
    pub(crate) fn named(value: &HeaderValue) -> Result<Option<Self>, IngestError> {
        let text = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        match text.as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "zstd" => Ok(Some(Self::Zstd)),
            _ => Err(IngestError::ContentEncoding(shortened(&text))),
        }
    }
}

/// A header as an error shows it.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Most characters of a header that an error repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// zstd needs memory as large as the window that the body asks for. This power of two (8 MiB) is what
/// RFC 9659 lets senders of HTTP content use.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A gzip body may consist of several members, one behind the other, as compressors that work in parallel
/// write them. An empty one has 20 bytes and takes as long to begin as many times that to decompress.
pub(crate) const GZIP_MEMBERS_MAX: usize = 1_024;

/// How many bytes more a body may have compressed than not. Headers and checksums are a few; blocks without
/// content, of which a megabyte holds hundreds of thousands, are not sent by anybody who means well. zstd takes
/// in a block of 128 KiB before anything comes of it.
pub(crate) const COMPRESSED_EXCESS_BYTES_MAX: usize = 256 * 1024;

/// Bytes produced between two looks at the bounds.
const CHUNK_BYTES: usize = 64 * 1024;

/// Decompresses a whole body, at most `bytes_max` bytes of it, all of them reserved first; breaks off once
/// nobody is `waiting` for it.
pub(crate) fn decode(
    wire: &[u8],
    encoding: Encoding,
    bytes_max: usize,
    reservation: &mut Reservation,
    waiting: &Weak<()>,
) -> Result<Bytes, IngestError> {
    let progress = Progress::new(waiting);
    let wire = Wire::new(wire, &progress);
    match encoding {
        Encoding::Gzip => collect(progress.of(GzipMembers::new(wire)), "gzip", bytes_max, reservation),
        Encoding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(wire).map_err(|error| broken("zstd", &error))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| broken("zstd", &error))?;
            collect(progress.of(decoder), "zstd", bytes_max, reservation)
        }
    }
}

fn collect(
    mut decoder: impl Read,
    name: &'static str,
    bytes_max: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, IngestError> {
    let mut decoded = Vec::new();
    loop {
        // One byte beyond the bound is asked for, to tell a body that ends there from one that goes on.
        let room = bytes_max.saturating_add(1).saturating_sub(decoded.len()).min(CHUNK_BYTES);
        reservation.grow(room)?;
        let taken = decoder
            .by_ref()
            .take(room as u64)
            .read_to_end(&mut decoded)
            .map_err(|error| broken(name, &error))?;
        if decoded.len() > bytes_max {
            return Err(IngestError::TooLarge { what: TooMany::DecodedBytes, bytes_max });
        }
        if taken < room {
            return Ok(Bytes::from(decoded));
        }
    }
}

/// Reads one member after the other, and counts them.
struct GzipMembers<'w> {
    member: GzDecoder<Wire<'w>>,
    begun: usize,
}

impl<'w> GzipMembers<'w> {
    fn new(wire: Wire<'w>) -> Self {
        Self { member: GzDecoder::new(wire), begun: 1 }
    }
}

impl Read for GzipMembers<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let taken = self.member.read(into)?;
            let rest = *self.member.get_ref();
            if taken > 0 || into.is_empty() || rest.is_empty() {
                return Ok(taken);
            }
            if self.begun >= GZIP_MEMBERS_MAX {
                return Err(std::io::Error::other(Stop::Members));
            }
            self.begun = self.begun.saturating_add(1);
            self.member.reset(rest);
        }
    }
}

fn broken(name: &'static str, error: &std::io::Error) -> IngestError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Stop>()) {
        Some(Stop::Members) => return IngestError::Members { members_max: GZIP_MEMBERS_MAX },
        Some(Stop::Excess) => {
            return IngestError::Excess { encoding: name, bytes_max: COMPRESSED_EXCESS_BYTES_MAX };
        }
        Some(Stop::Abandoned) | None => {}
    }
    let what = match error.kind() {
        ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => error.to_string(),
    };
    IngestError::Body(format!("the body cannot be decompressed as {name}: {what}; compress it anew"))
}

#[cfg(test)]
mod tests;
