//! Writes a run from entries in order, holding one slice's keys and a few pages: whatever its length, a
//! run costs the same memory to write.

use std::io;
use std::path::{Path, PathBuf};

use weir_files::{Disk, File, Open};
use weir_meter::OffsetRange;

use super::filter::Filter;
use super::format::{
    self, Directory, HEADER_BYTES, Header, Origin, PAGE_BYTES, PAGE_ENTRIES, SliceAt, page_seed,
};
use super::table::{Entry, whole};

/// Bytes that go to the file at once.
const WRITE_BYTES: usize = 256 * 1024;
/// Written bytes after which they are synced: the log syncs on the same disk for every request, and
/// must not wait behind gigabytes.
const SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// What a run is to be.
#[derive(Clone, Debug)]
pub(super) struct Blueprint {
    pub(super) origin: Origin,
    pub(super) partition: u32,
    pub(super) serial: u64,
    pub(super) horizon_us: i64,
    pub(super) slice_pages: u32,
    /// False for tests: filters that say yes to everything.
    pub(super) filtered: bool,
}

/// A run that is being written, under a draft name.
#[derive(Debug)]
pub(super) struct RunWriter {
    disk: Disk,
    file: File,
    draft: PathBuf,
    header: Header,
    filtered: bool,
    seed: u32,
    directory: Directory,
    /// Bytes that are not in the file yet, and where they begin.
    pending: Vec<u8>,
    at: u64,
    synced: u64,
    /// Of the slice that is being written.
    keys: Vec<u64>,
    slice_at: u64,
    in_page: usize,
    last: Option<[u64; 2]>,
}

impl RunWriter {
    pub(super) fn create(disk: &Disk, draft: PathBuf, blueprint: &Blueprint) -> io::Result<Self> {
        let file = disk.open(&draft, Open::CreateOrEmpty)?;
        let header = Header {
            origin: blueprint.origin,
            partition: blueprint.partition,
            serial: blueprint.serial,
            entries: 0,
            times_us: (i64::MAX, i64::MIN),
            horizon_us: blueprint.horizon_us,
            slice_pages: blueprint.slice_pages.max(1),
            directory_at: 0,
            directory_bytes: 0,
            directory_crc: 0,
        };
        Ok(Self {
            disk: disk.clone(),
            file,
            draft,
            seed: header.seed(),
            header,
            filtered: blueprint.filtered,
            directory: Directory::default(),
            pending: Vec::with_capacity(WRITE_BYTES.saturating_add(PAGE_BYTES)),
            at: HEADER_BYTES as u64,
            synced: 0,
            keys: Vec::new(),
            slice_at: HEADER_BYTES as u64,
            in_page: 0,
            last: None,
        })
    }

    /// Entries come in order, each identity once.
    pub(super) fn push(&mut self, entry: &Entry) -> io::Result<()> {
        if self.last.is_some_and(|last| last >= entry.identity) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "identities came out of order"));
        }
        self.last = Some(entry.identity);
        if self.in_page == 0 {
            self.directory.fences.push(whole(entry.identity));
        }
        format::put_entry(&mut self.pending, entry);
        let [key, _] = entry.identity;
        self.keys.push(key);
        self.in_page = self.in_page.saturating_add(1);
        let header = &mut self.header;
        header.entries = header.entries.saturating_add(1);
        header.times_us.0 = header.times_us.0.min(entry.record_time_us);
        header.times_us.1 = header.times_us.1.max(entry.record_time_us);
        if self.in_page < PAGE_ENTRIES {
            return Ok(());
        }
        self.end_page();
        if self.keys.len() >= (self.header.slice_pages as usize).saturating_mul(PAGE_ENTRIES) {
            return self.end_slice();
        }
        if self.pending.len() >= WRITE_BYTES { self.write_pending() } else { Ok(()) }
    }

    /// Makes the run durable under its own name. Nothing was pushed: there is no run.
    pub(super) fn finish(mut self, path: &Path, covered: Vec<OffsetRange>) -> io::Result<bool> {
        if self.header.entries == 0 {
            self.disk.remove(&self.draft)?;
            return Ok(false);
        }
        self.end_page();
        self.end_slice()?;
        self.directory.covered = covered;
        let directory = self.directory.encode();
        self.header.directory_at = self.at;
        self.header.directory_bytes = directory.len() as u64;
        self.header.directory_crc = crc32c::crc32c(&directory);
        self.file.write_all_at(&directory, self.at)?;
        self.file.write_all_at(&self.header.encode(), 0)?;
        self.file.sync_all()?;
        self.disk.rename(&self.draft, path)?;
        self.disk.sync_name(path)?;
        Ok(true)
    }

    fn end_page(&mut self) {
        if self.in_page == 0 {
            return;
        }
        let start = self.pending.len().saturating_sub(self.in_page.saturating_mul(format::ENTRY_BYTES));
        let number = self.directory.fences.len().saturating_sub(1) as u64;
        format::end_page(&mut self.pending, start, page_seed(self.seed, number));
        self.in_page = 0;
    }

    fn end_slice(&mut self) -> io::Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        self.write_pending()?;
        let pages = self.keys.len().div_ceil(PAGE_ENTRIES);
        let filter = if self.filtered { Filter::build(&mut self.keys) } else { Filter::Every };
        self.keys.clear();
        let bytes = filter.to_bytes();
        self.directory.slices.push(SliceAt {
            pages_at: self.slice_at,
            pages: u32::try_from(pages).unwrap_or(u32::MAX),
            shape: filter.shape(),
            filter_crc: crc32c::crc32c_append(page_seed(self.seed, self.slice_at), &bytes),
        });
        self.file.write_all_at(&bytes, self.at)?;
        self.at = self.at.saturating_add(bytes.len() as u64);
        self.slice_at = self.at;
        Ok(())
    }

    fn write_pending(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.pending, self.at)?;
        self.at = self.at.saturating_add(self.pending.len() as u64);
        self.pending.clear();
        if self.at.saturating_sub(self.synced) >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced = self.at;
        }
        Ok(())
    }
}
