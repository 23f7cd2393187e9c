//! What is known in memory about the files of one partition: their order, lengths, and a sparse
//! index of where frames begin. Built by reading frame headers when the log opens.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use weir_files::Disk;

use super::error::failed;
use super::frame::FrameHeader;
use crate::LogError;

/// One entry of the index stands for about this many bytes of a file.
const INDEX_STEP_BYTES: u64 = 256 * 1024;

/// One file of a partition.
#[derive(Clone, Debug)]
pub(super) struct FileInfo {
    pub(super) base_offset: u64,
    /// The file header's checksum, which those of the frames continue from.
    pub(super) seed: u32,
    /// Bytes of the file up to the end of its last durable frame.
    pub(super) bytes: u64,
    /// Record time of its first frame; none while it has no frame.
    pub(super) since_us: Option<i64>,
    /// (base offset, byte) of some frames, the first one among them.
    index: Vec<(u64, u64)>,
}

/// All files of a partition, in order; the last one is written to.
#[derive(Debug, Default)]
pub(super) struct Files {
    list: VecDeque<FileInfo>,
}

impl FileInfo {
    pub(super) fn new(base_offset: u64, seed: u32, header_bytes: u64) -> Self {
        Self { base_offset, seed, bytes: header_bytes, since_us: None, index: Vec::new() }
    }

    /// Notes a frame that follows the ones noted before.
    pub(super) fn note(&mut self, frame: &FrameHeader) {
        let due =
            self.index.last().is_none_or(|(_, byte)| self.bytes.saturating_sub(*byte) >= INDEX_STEP_BYTES);
        if due {
            self.index.push((frame.base_offset, self.bytes));
        }
        self.since_us.get_or_insert(frame.record_time_us);
        self.bytes = self.bytes.saturating_add(frame.frame_bytes() as u64);
    }

    /// The last frame known to begin at or below an offset.
    fn nearest(&self, offset: u64) -> Option<(u64, u64)> {
        let after = self.index.partition_point(|(base, _)| *base <= offset);
        self.index.get(after.checked_sub(1)?).copied()
    }
}

/// Where a reader begins: a file, and a frame in it at or before the offset it asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) file_base: u64,
    pub(super) seed: u32,
    pub(super) frame_base: u64,
    pub(super) byte: u64,
}

impl Files {
    pub(super) fn new(list: VecDeque<FileInfo>) -> Self {
        Self { list }
    }

    pub(super) fn push(&mut self, file: FileInfo) {
        self.list.push_back(file);
    }

    /// The lowest offset still held.
    pub(super) fn start(&self) -> u64 {
        self.list.front().map_or(0, |file| file.base_offset)
    }

    pub(super) fn note(&mut self, frame: &FrameHeader) {
        if let Some(active) = self.list.back_mut() {
            active.note(frame);
        }
    }

    /// Record time of the first frame in the file that is written to; none if there is none yet.
    pub(super) fn active_since_us(&self) -> Option<i64> {
        self.list.back()?.since_us
    }

    pub(super) fn find(&self, offset: u64) -> Option<Place> {
        let after = self.list.partition_point(|file| file.base_offset <= offset);
        let file = self.list.get(after.checked_sub(1)?)?;
        let (frame_base, byte) = file.nearest(offset)?;
        Some(Place { file_base: file.base_offset, seed: file.seed, frame_base, byte })
    }

    /// Durable bytes of a file; none once it was cut.
    pub(super) fn bytes_of(&self, file_base: u64) -> Option<u64> {
        let at = self.list.binary_search_by_key(&file_base, |file| file.base_offset).ok()?;
        self.list.get(at).map(|file| file.bytes)
    }

    /// Takes out the oldest file if all of it lies below an offset and another one follows.
    pub(super) fn take_below(&mut self, below: u64) -> Option<FileInfo> {
        let next = self.list.get(1)?;
        if next.base_offset > below { None } else { self.list.pop_front() }
    }

    /// Undoes `take_below` for a file that could not be removed.
    pub(super) fn put_back(&mut self, file: FileInfo) {
        self.list.push_front(file);
    }
}

/// Names of everything in a folder; none if there is no such folder.
pub(super) fn names(disk: &Disk, folder: &Path) -> Result<Vec<String>, LogError> {
    match disk.list(folder) {
        Ok(entries) => Ok(entries.into_iter().map(|entry| entry.name).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("cannot list the folder", folder)(error)),
    }
}

const NAME_DIGITS: usize = 20;
const SUFFIX: &str = ".log";

pub(super) fn file_path(folder: &Path, base_offset: u64) -> PathBuf {
    folder.join(format!("{base_offset:0NAME_DIGITS$}{SUFFIX}"))
}

/// The base offset that a file's name tells, if it is the name of a log file.
pub(super) fn base_offset_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}
