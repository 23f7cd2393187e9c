//! A sealed run: some identities of one partition in one immutable file. The filters and the first
//! identity of each page are in memory, the entries on disk only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_files::{Disk, File, Open};
use weir_meter::OffsetRange;

use super::IndexError;
use super::filter::Filter;
use super::format::{
    self, Directory, HEADER_BYTES, Header, PAGE_BYTES, PAGE_ENTRIES, SliceAt, is_whole, page_seed,
};
use super::table::{Entry, halves};

/// Pages that are read at once where a run is read from end to end.
const READ_PAGES: u32 = 32;
/// What the device could not read: number 5 wherever there is such a thing.
const EIO: i32 = 5;

/// One open run.
#[derive(Debug)]
pub(crate) struct Run {
    file: File,
    path: PathBuf,
    header: Header,
    covered: Vec<OffsetRange>,
    slices: Vec<Slice>,
    fences: Vec<u128>,
    seed: u32,
    bytes: u64,
}

/// Why a file cannot be used as a run.
#[derive(Debug)]
pub(super) enum OpenError {
    /// It is not a whole run.
    Useless(String),
    /// It was not found out what is in it.
    Unknown(io::Error),
}

#[derive(Debug)]
struct Slice {
    first: u128,
    at: SliceAt,
    filter: Filter,
}

impl Run {
    /// Reads everything but the entries.
    pub(super) fn open(disk: &Disk, path: &Path) -> Result<Self, OpenError> {
        let file = disk.open(path, Open::Read)?;
        let bytes = file.len()?;
        let mut header = vec![0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        let header = Header::decode(&header)?;
        // Asked first, so that nothing in the file decides how much memory is taken.
        if header.directory_at.checked_add(header.directory_bytes) != Some(bytes) {
            return Err("its length is not what its header says".into());
        }
        let directory = read(&file, header.directory_at, header.directory_bytes)?;
        if crc32c::crc32c(&directory) != header.directory_crc {
            return Err("its directory does not match its checksum".into());
        }
        let contradiction = "its directory contradicts itself";
        let Directory { slices, fences, covered } =
            Directory::decode(&header, &directory).ok_or(contradiction)?;
        drop(directory);
        let seed = header.seed();
        let mut opened = Vec::with_capacity(slices.len());
        let mut page: usize = 0;
        for at in slices {
            let filter = read(&file, at.filter_at(), u64::from(at.shape.fingerprints).saturating_mul(2))?;
            if crc32c::crc32c_append(page_seed(seed, at.pages_at), &filter) != at.filter_crc {
                return Err("a filter does not match its checksum".into());
            }
            let filter = Filter::from_bytes(at.shape, &filter).ok_or("a filter contradicts itself")?;
            opened.push(Slice { first: *fences.get(page).ok_or(contradiction)?, at, filter });
            page = page.saturating_add(at.pages as usize);
        }
        Ok(Self { file, path: path.to_path_buf(), header, covered, slices: opened, fences, seed, bytes })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Offsets whose accepted identities are all in here, but for those at or before the horizon.
    pub(super) fn covered(&self) -> &[OffsetRange] {
        &self.covered
    }

    pub(super) fn len(&self) -> u64 {
        self.header.entries
    }

    /// The time of the entry that was accepted last.
    pub(super) fn last_us(&self) -> i64 {
        self.header.times_us.1
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn filter_bytes(&self) -> u64 {
        self.slices.iter().fold(0, |sum: u64, slice| sum.saturating_add(slice.filter.bytes() as u64))
    }

    /// False if the identity is certainly not in here.
    pub(super) fn may_hold(&self, identity: u128) -> bool {
        let after = self.slices.partition_point(|slice| slice.first <= identity);
        let [key, _] = halves(identity);
        after.checked_sub(1).and_then(|i| self.slices.get(i)).is_some_and(|slice| slice.filter.contains(key))
    }

    /// Looks an identity up on disk.
    pub(super) fn get(&self, identity: u128) -> Result<Option<Entry>, IndexError> {
        let after = self.fences.partition_point(|first| *first <= identity);
        let Some(page) = after.checked_sub(1) else { return Ok(None) };
        let mut bytes = [0; PAGE_BYTES];
        self.read_pages(page, &mut bytes)?;
        Ok(format::find(&bytes, self.entries_of(page), identity))
    }

    /// Whole pages of one slice, each held against its checksum.
    fn read_pages(&self, first: usize, bytes: &mut [u8]) -> Result<(), IndexError> {
        let per_slice = (self.header.slice_pages as usize).max(1);
        let slice = self.slices.get(first / per_slice);
        let at = slice.map_or(u64::MAX, |slice| {
            let within = (first % per_slice) as u64;
            slice.at.pages_at.saturating_add(within.saturating_mul(PAGE_BYTES as u64))
        });
        self.file.read_exact_at(bytes, at).map_err(|error| self.unreadable(error.to_string()))?;
        for (index, page) in bytes.chunks(PAGE_BYTES).enumerate() {
            let number = first.saturating_add(index) as u64;
            if !is_whole(page_seed(self.seed, number), page) {
                return Err(self.unreadable(format!("page {number} does not match its checksum")));
            }
        }
        Ok(())
    }

    fn entries_of(&self, page: usize) -> usize {
        let before = page.saturating_mul(PAGE_ENTRIES) as u64;
        usize::try_from(self.header.entries.saturating_sub(before))
            .map_or(PAGE_ENTRIES, |n| n.min(PAGE_ENTRIES))
    }

    fn unreadable(&self, reason: String) -> IndexError {
        IndexError::Unreadable { serial: self.header.serial, path: self.path.display().to_string(), reason }
    }

    /// All entries, in order.
    pub(super) fn reader(self: &Arc<Self>) -> RunReader {
        RunReader { run: Arc::clone(self), next_page: 0, entries: Vec::new().into_iter(), bytes: Vec::new() }
    }
}

impl From<&str> for OpenError {
    fn from(reason: &str) -> Self {
        Self::Useless(reason.to_owned())
    }
}

impl From<io::Error> for OpenError {
    /// A file that ends too early or that the device cannot read any more is of no use. Anything else, such
    /// as too many open files, says nothing about the file.
    fn from(error: io::Error) -> Self {
        let of_file = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
            || error.raw_os_error() == Some(EIO);
        if of_file { Self::Useless(error.to_string()) } else { Self::Unknown(error) }
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Useless(reason) => f.write_str(reason),
            Self::Unknown(error) => error.fmt(f),
        }
    }
}

fn read(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let too_long = || io::Error::from(io::ErrorKind::InvalidData);
    let length = Some(length).filter(|length| file.len().is_ok_and(|all| *length <= all));
    let mut bytes = vec![0; length.and_then(|length| usize::try_from(length).ok()).ok_or_else(too_long)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// Reads a run from end to end, some pages at a time.
#[derive(Debug)]
pub(super) struct RunReader {
    run: Arc<Run>,
    next_page: usize,
    entries: std::vec::IntoIter<Entry>,
    bytes: Vec<u8>,
}

impl RunReader {
    pub(super) fn next(&mut self) -> Result<Option<Entry>, IndexError> {
        if let Some(entry) = self.entries.next() {
            return Ok(Some(entry));
        }
        let per_slice = (self.run.header.slice_pages as usize).max(1);
        let left_of_slice = per_slice.saturating_sub(self.next_page % per_slice);
        let left = self.run.fences.len().saturating_sub(self.next_page);
        let pages = left.min(left_of_slice).min(READ_PAGES as usize);
        if pages == 0 {
            return Ok(None);
        }
        self.bytes.resize(pages.saturating_mul(PAGE_BYTES), 0);
        self.run.read_pages(self.next_page, &mut self.bytes)?;
        let mut entries = Vec::with_capacity(pages.saturating_mul(PAGE_ENTRIES));
        for page in self.bytes.chunks(PAGE_BYTES) {
            entries.extend(format::entries(page, self.run.entries_of(self.next_page)));
            self.next_page = self.next_page.saturating_add(1);
        }
        self.entries = entries.into_iter();
        Ok(self.entries.next())
    }
}
