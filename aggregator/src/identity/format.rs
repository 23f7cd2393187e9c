//! The bytes of a run file; see docs/formats/index.md. Everything in it is covered by a checksum that
//! also covers whose run it is, so that bytes of another file never pass for bytes of this one.

use crc32c::{crc32c, crc32c_append};
use weir_meter::{InstallationId, OffsetRange};

use super::filter::Shape;
use super::table::{Entry, halves, whole};

pub(super) const HEADER_BYTES: usize = 4_096;
pub(super) const PAGE_BYTES: usize = 8_192;
pub(super) const PAGE_ENTRIES: usize = 204;
pub(super) const ENTRY_BYTES: usize = 40;
const CRC_BYTES: usize = 4;
const MAGIC: &[u8; 8] = b"weir-idx";
const VERSION: u32 = 1;
/// A run whose offsets lie in more pieces claims fewer of them: those are read from rows again.
const COVERED_MAX: usize = 1_024;

/// Whose run it is. The catalog of the same name says what it may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) installation: InstallationId,
    pub(super) incarnation: u128,
    pub(super) epoch: u32,
}

/// What a run says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) origin: Origin,
    pub(super) partition: u32,
    pub(super) serial: u64,
    pub(super) entries: u64,
    /// Of the entries, inclusive.
    pub(super) times_us: (i64, i64),
    /// Entries accepted at or before it were left out.
    pub(super) horizon_us: i64,
    pub(super) slice_pages: u32,
    pub(super) directory_at: u64,
    pub(super) directory_bytes: u64,
    pub(super) directory_crc: u32,
}

/// Some pages that follow each other, and the filter over their entries, which follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SliceAt {
    pub(super) pages_at: u64,
    pub(super) pages: u32,
    pub(super) shape: Shape,
    pub(super) filter_crc: u32,
}

/// Where everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) slices: Vec<SliceAt>,
    /// The first identity of each page.
    pub(super) fences: Vec<u128>,
    /// Offsets whose accepted identities are all in here, but for those at or before the horizon.
    pub(super) covered: Vec<OffsetRange>,
}

impl Header {
    /// What the checksums of pages and filters begin with.
    pub(super) fn seed(&self) -> u32 {
        let origin = &self.origin;
        let crc = crc32c_append(crc32c(&origin.installation.to_bytes()), &origin.incarnation.to_be_bytes());
        let crc = crc32c_append(crc, &origin.epoch.to_le_bytes());
        crc32c_append(crc32c_append(crc, &self.partition.to_le_bytes()), &self.serial.to_le_bytes())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.origin.installation.to_bytes());
        out.extend(self.origin.incarnation.to_be_bytes());
        out.extend(self.origin.epoch.to_le_bytes());
        out.extend(self.partition.to_le_bytes());
        out.extend(self.serial.to_le_bytes());
        out.extend(self.entries.to_le_bytes());
        out.extend(self.times_us.0.to_le_bytes());
        out.extend(self.times_us.1.to_le_bytes());
        out.extend(self.horizon_us.to_le_bytes());
        out.extend(self.slice_pages.to_le_bytes());
        out.extend(self.directory_at.to_le_bytes());
        out.extend(self.directory_bytes.to_le_bytes());
        out.extend(self.directory_crc.to_le_bytes());
        out.resize(HEADER_BYTES - CRC_BYTES, 0);
        out.extend(crc32c(&out).to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(bytes);
        if fields.take::<8>() != Some(*MAGIC) {
            return Err("it is no run");
        }
        match fields.u32() {
            Some(VERSION) => {}
            _ => return Err("it has a format that this version does not know"),
        }
        if bytes.len() != HEADER_BYTES || !is_whole(0, bytes) {
            return Err("its header does not match its checksum");
        }
        let mut read = || {
            Some(Self {
                origin: Origin {
                    installation: InstallationId(u128::from_be_bytes(fields.take()?)),
                    incarnation: u128::from_be_bytes(fields.take()?),
                    epoch: fields.u32()?,
                },
                partition: fields.u32()?,
                serial: fields.u64()?,
                entries: fields.u64()?,
                times_us: (fields.i64()?, fields.i64()?),
                horizon_us: fields.i64()?,
                slice_pages: fields.u32()?,
                directory_at: fields.u64()?,
                directory_bytes: fields.u64()?,
                directory_crc: fields.u32()?,
            })
        };
        read().ok_or("its header is too short")
    }
}

impl Directory {
    /// Claims as many offsets as fit.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend((self.slices.len() as u64).to_le_bytes());
        out.extend((self.fences.len() as u64).to_le_bytes());
        let claimed = self.covered.len().min(COVERED_MAX);
        out.extend((claimed as u64).to_le_bytes());
        for slice in &self.slices {
            out.extend(slice.pages_at.to_le_bytes());
            out.extend(slice.pages.to_le_bytes());
            out.extend(slice.shape.seed.to_le_bytes());
            out.extend(slice.shape.segment_length.to_le_bytes());
            out.extend(slice.shape.segment_count_length.to_le_bytes());
            out.extend(slice.shape.fingerprints.to_le_bytes());
            out.extend(slice.filter_crc.to_le_bytes());
        }
        for fence in &self.fences {
            out.extend(fence.to_be_bytes());
        }
        for range in self.covered.iter().take(claimed) {
            out.extend(range.from.to_le_bytes());
            out.extend(range.to.to_le_bytes());
        }
        out
    }

    /// None if anything in it contradicts itself or the header.
    pub(super) fn decode(header: &Header, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (slices, fences, covered) = (fields.count()?, fields.count()?, fields.count()?);
        let mut directory = Self::default();
        let mut at = HEADER_BYTES as u64;
        for _ in 0..slices {
            let slice = SliceAt {
                pages_at: fields.u64()?,
                pages: fields.u32()?,
                shape: Shape {
                    seed: fields.u64()?,
                    segment_length: fields.u32()?,
                    segment_count_length: fields.u32()?,
                    fingerprints: fields.u32()?,
                },
                filter_crc: fields.u32()?,
            };
            if slice.pages_at != at {
                return None;
            }
            at = slice.end()?;
            directory.slices.push(slice);
        }
        for _ in 0..fences {
            directory.fences.push(u128::from_be_bytes(fields.take()?));
        }
        for _ in 0..covered {
            let (from, to) = (fields.u64()?, fields.u64()?);
            let range = OffsetRange { epoch: header.origin.epoch, partition: header.partition, from, to };
            if range.is_empty() || directory.covered.last().is_some_and(|last| last.to >= from) {
                return None;
            }
            directory.covered.push(range);
        }
        let right = fields.0.is_empty() && at == header.directory_at && directory.has_pages_of(header);
        right.then_some(directory)
    }

    fn has_pages_of(&self, header: &Header) -> bool {
        let pages = header.entries.div_ceil(PAGE_ENTRIES as u64);
        let full = self.slices.split_last().is_none_or(|(last, full)| {
            last.pages >= 1
                && last.pages <= header.slice_pages
                && full.iter().all(|slice| slice.pages == header.slice_pages)
        });
        let sum = self.slices.iter().fold(0, |sum: u64, slice| sum.saturating_add(u64::from(slice.pages)));
        full && sum == pages && self.fences.len() as u64 == pages && self.fences.is_sorted()
    }
}

impl SliceAt {
    pub(super) fn filter_at(&self) -> u64 {
        self.pages_at.saturating_add(u64::from(self.pages).saturating_mul(PAGE_BYTES as u64))
    }

    /// Where the next slice begins; None past the end of all numbers.
    fn end(&self) -> Option<u64> {
        let pages = u64::from(self.pages).checked_mul(PAGE_BYTES as u64)?;
        self.pages_at.checked_add(pages)?.checked_add(u64::from(self.shape.fingerprints).checked_mul(2)?)
    }
}

pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend(whole(entry.identity).to_be_bytes());
    out.extend(whole(entry.content).to_be_bytes());
    out.extend(entry.record_time_us.to_le_bytes());
}

/// Ends a page that begins at `start`: zeros up to its size, then the checksum.
pub(super) fn end_page(out: &mut Vec<u8>, start: usize, page_crc: u32) {
    out.resize(start.saturating_add(PAGE_BYTES - CRC_BYTES), 0);
    let crc = crc32c_append(page_crc, out.get(start..).unwrap_or_default());
    out.extend(crc.to_le_bytes());
}

/// What the checksum of a page begins with.
pub(super) fn page_seed(seed: u32, page: u64) -> u32 {
    crc32c_append(seed, &page.to_le_bytes())
}

/// Whether the last four bytes are the checksum of those before.
pub(super) fn is_whole(seed: u32, bytes: &[u8]) -> bool {
    let Some((body, crc)) = bytes.split_last_chunk::<CRC_BYTES>() else { return false };
    crc32c_append(seed, body) == u32::from_le_bytes(*crc)
}

/// The entries of a page: the `count` first of it.
pub(super) fn entries(page: &[u8], count: usize) -> impl Iterator<Item = Entry> {
    let (chunks, _) = page.as_chunks::<ENTRY_BYTES>();
    chunks.iter().take(count).filter_map(entry)
}

/// Looks an identity up in a page.
pub(super) fn find(page: &[u8], count: usize, identity: u128) -> Option<Entry> {
    let (chunks, _) = page.as_chunks::<ENTRY_BYTES>();
    let entries = chunks.get(..count)?;
    let wanted = identity.to_be_bytes();
    let at = entries.binary_search_by(|bytes| bytes.first_chunk::<16>().cmp(&Some(&wanted))).ok()?;
    entry(entries.get(at)?)
}

fn entry(bytes: &[u8; ENTRY_BYTES]) -> Option<Entry> {
    let mut fields = Fields(bytes);
    Some(Entry {
        identity: halves(u128::from_be_bytes(fields.take()?)),
        content: halves(u128::from_be_bytes(fields.take()?)),
        record_time_us: fields.i64()?,
    })
}

/// Bytes that are read from the front.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    /// A number of things that have at least a byte each in what is left.
    fn count(&mut self) -> Option<usize> {
        let count = self.u64()?;
        usize::try_from(count).ok().filter(|count| *count <= self.0.len())
    }
}
