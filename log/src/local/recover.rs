//! Opens the files of one partition after a stop of any kind. Every file but the last was synced whole
//! before the next one began. In the last one, a bad end is what a crash left of an append that nobody
//! was told of, and is cut off; anything else that is bad was durable once, and stops the start.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use tracing::warn;
use weir_files::{Disk, File, Open};

use super::error::{damaged, failed, frame_error, hole, newer};
use super::files::{FileInfo, base_offset_of, file_path, names};
use super::frame::{BadFrame, FRAME_HEADER_BYTES, FrameHeader, check_frame, find_frame};
use super::header::{BadHeader, FILE_HEADER_BYTES, FileHeader};
use crate::{LogError, metrics};

/// A partition as its files show it, all of it durable.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) files: VecDeque<FileInfo>,
    pub(super) active: File,
    pub(super) next_offset: u64,
    /// The newest record time, or the floor that the last file states.
    pub(super) record_time_us: i64,
}

/// A partition's files as they lie there, read to their end. Nothing of them has been changed.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) folder: PathBuf,
    pub(super) whose: FileHeader,
    /// Those that are no longer written to.
    finished: VecDeque<FileInfo>,
    /// The file that is written to; none in a partition that is new.
    last: Option<Scanned>,
    unfinished: Option<Unfinished>,
}

/// The file that is written to, not yet looked at.
struct LastFile {
    file: File,
    base_offset: u64,
}

/// A file whose header a crash kept from becoming durable: there is nothing in it.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
    base_offset: u64,
    bytes: u64,
}

/// One file, read to the end of its last good frame.
#[derive(Debug)]
struct Scanned {
    file: File,
    info: FileInfo,
    next_offset: u64,
    record_time_us: i64,
    /// Bytes after the last good frame.
    torn_bytes: u64,
}

/// Looks at a partition's files and refuses what is damaged, or is not the log that it should be.
/// `whose` says what every file's header must say, apart from where the file begins; `frontier`, if there
/// is one, up to where the log has been read before.
pub(super) fn look(
    disk: &Disk,
    folder: &Path,
    whose: &FileHeader,
    frontier: Option<u64>,
) -> Result<Looked, LogError> {
    let mut bases = base_offsets(disk, folder)?;
    let mut last = bases.pop().map(|base| open_last(disk, folder, base)).transpose()?;
    let unfinished = take_unfinished(&mut last, bases.is_empty())?;
    if unfinished.is_some() {
        last = bases.pop().map(|base| open_last(disk, folder, base)).transpose()?;
    }
    let mut looked = Looked {
        folder: folder.to_owned(),
        whose: *whose,
        finished: VecDeque::new(),
        last: None,
        unfinished,
    };
    if let Some(last) = last {
        for (at, base) in bases.iter().enumerate() {
            let next = bases.get(at + 1).copied().unwrap_or(last.base_offset);
            looked.finished.push_back(scan_finished(disk, folder, whose, *base, next)?);
        }
        let last = scan_last(last.file, &FileHeader { base_offset: last.base_offset, ..*whose })?;
        // The unfinished file was begun only after everything before it was durable.
        if looked.unfinished.as_ref().is_some_and(|file| file.base_offset != last.next_offset) {
            return Err(hole(last.file.path(), last.info.bytes, last.next_offset));
        }
        looked.last = Some(last);
    }
    looked.check(frontier)?;
    Ok(looked)
}

impl Looked {
    /// A log is cut up to its frontier at most, and always keeps the file that is written to.
    fn check(&self, frontier: Option<u64>) -> Result<(), LogError> {
        let Some(frontier) = frontier else { return Ok(()) };
        let partition = self.whose.partition;
        let first = self.finished.front().or(self.last.as_ref().map(|last| &last.info));
        let start = first.map_or(0, |file| file.base_offset);
        if start > frontier {
            return Err(LogError::BelowStart { partition, asked: frontier, start });
        }
        let end = self.last.as_ref().map_or(0, |last| last.next_offset);
        if end < frontier {
            return Err(LogError::Short { partition, end, frontier });
        }
        Ok(())
    }

    /// Makes the folder if need be, and takes away what a crash left.
    pub(super) fn mend(self, disk: &Disk) -> Result<Recovered, LogError> {
        let folder = &self.folder;
        disk.create_folders(folder).map_err(failed("cannot create the folder", folder))?;
        if let Some(Unfinished { path, bytes, .. }) = &self.unfinished {
            warn!(path = %path.display(), "the log removes a file that a crash left without its header");
            metrics::torn(*bytes);
            // Durable before the first append, by the sync of the folder that ends a recovery.
            disk.remove(path).map_err(failed("cannot remove", path))?;
        }
        let Some(last) = self.last else {
            let header = FileHeader { base_offset: 0, record_time_floor_us: i64::MIN, ..self.whose };
            return begin(disk, folder, header);
        };
        last.cut_off_end()?;
        // Names that a killed process added or removed may not be durable yet, and appends rely on them.
        disk.sync_folder(folder).map_err(failed("cannot sync the folder", folder))?;
        let mut files = self.finished;
        files.push_back(last.info);
        Ok(Recovered {
            files,
            active: last.file,
            next_offset: last.next_offset,
            record_time_us: last.record_time_us,
        })
    }
}

/// Begins a file: header written, file and folder synced. On an error nothing of it may be trusted.
pub(super) fn create_file(
    disk: &Disk,
    folder: &Path,
    header: FileHeader,
) -> Result<(File, FileInfo), LogError> {
    let path = file_path(folder, header.base_offset);
    let (bytes, seed) = header.encode();
    let file = disk.open(&path, Open::CreateNew).map_err(failed("cannot create", &path))?;
    file.write_all_at(&bytes, 0).map_err(failed("cannot write", &path))?;
    file.sync_all().map_err(failed("cannot sync", &path))?;
    disk.sync_folder(folder).map_err(failed("cannot sync the folder", folder))?;
    Ok((file, FileInfo::new(header.base_offset, seed, FILE_HEADER_BYTES as u64)))
}

fn begin(disk: &Disk, folder: &Path, header: FileHeader) -> Result<Recovered, LogError> {
    let (active, info) = create_file(disk, folder, header)?;
    Ok(Recovered {
        files: VecDeque::from([info]),
        active,
        next_offset: header.base_offset,
        record_time_us: header.record_time_floor_us,
    })
}

fn base_offsets(disk: &Disk, folder: &Path) -> Result<Vec<u64>, LogError> {
    let names = names(disk, folder)?;
    let mut bases = Vec::with_capacity(names.len());
    for name in names {
        match base_offset_of(&name) {
            Some(base) => bases.push(base),
            None => {
                warn!(folder = %folder.display(), name, "the log leaves a file alone that is none of its own")
            }
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Opens the last file of a partition. A killed process may leave bytes that are only in the page cache,
/// and a failed sync pages that only look written. Readers are promised what is on the disk, so that is
/// what gets read from here on.
fn open_last(disk: &Disk, folder: &Path, base_offset: u64) -> Result<LastFile, LogError> {
    let path = file_path(folder, base_offset);
    let file = disk.open(&path, Open::Write).map_err(failed("cannot open", &path))?;
    file.sync_all().map_err(failed("cannot sync", &path))?;
    file.drop_cache();
    Ok(LastFile { file, base_offset })
}

/// Takes the last file out if a crash came before its header was durable: nothing can be in it. `only`
/// says that there is no file before it.
fn take_unfinished(last: &mut Option<LastFile>, only: bool) -> Result<Option<Unfinished>, LogError> {
    let Some(LastFile { file, base_offset }) = last else { return Ok(None) };
    let path = file.path();
    let length = file.len().map_err(failed("cannot read", path))?;
    if length > FILE_HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0).map_err(failed("cannot read", path))?;
    if FileHeader::decode(&bytes) != Err(BadHeader::Damaged) {
        return Ok(None);
    }
    if *base_offset > 0 && only {
        return Err(damaged(
            path,
            0,
            *base_offset,
            "the file's header is not what was written, and the file before it is missing",
        ));
    }
    let unfinished = Unfinished { path: path.to_owned(), base_offset: *base_offset, bytes: length };
    *last = None;
    Ok(Some(unfinished))
}

/// Reads and compares a file's header.
pub(super) fn open_header(file: &File, expected: &FileHeader) -> Result<(FileHeader, u32), LogError> {
    let path = file.path();
    let mut bytes = [0; FILE_HEADER_BYTES];
    let read = file.read_exact_at(&mut bytes, 0);
    let decoded = match read {
        Ok(()) => FileHeader::decode(&bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(BadHeader::Damaged),
        Err(error) => return Err(failed("cannot read", path)(error)),
    };
    let (header, seed) = decoded.map_err(|bad| match bad {
        BadHeader::Newer(version) => newer(path, version),
        // Frames were written only after the header was durable.
        BadHeader::Damaged => {
            damaged(path, 0, expected.base_offset, "the file's header is not what was written")
        }
    })?;
    compare(path, &header, expected)?;
    Ok((header, seed))
}

fn compare(path: &Path, header: &FileHeader, expected: &FileHeader) -> Result<(), LogError> {
    let path = path.display();
    if header.installation != expected.installation {
        return Err(LogError::Mismatch(format!(
            "{path} belongs to installation {}, the catalog to {}; start with the catalog and the log of one \
             installation",
            header.installation, expected.installation
        )));
    }
    let says = (header.epoch, header.partition, header.base_offset);
    let should = (expected.epoch, expected.partition, expected.base_offset);
    if says != should {
        return Err(LogError::Mismatch(format!(
            "{path} says it holds epoch {} partition {} from offset {}, its place is that of epoch {} partition {} \
             from offset {}; put the file back where it was",
            says.0, says.1, says.2, should.0, should.1, should.2
        )));
    }
    Ok(())
}

/// Follows the frame headers of a file that is no longer written to. The frames' checksums are left
/// to whoever reads them: checking them all would make every start read the whole log.
fn scan_finished(
    disk: &Disk,
    folder: &Path,
    whose: &FileHeader,
    base: u64,
    next: u64,
) -> Result<FileInfo, LogError> {
    let path = file_path(folder, base);
    let file = disk.open(&path, Open::Read).map_err(failed("cannot open", &path))?;
    let length = file.len().map_err(failed("cannot read", &path))?;
    let (_, seed) = open_header(&file, &FileHeader { base_offset: base, ..*whose })?;
    let mut info = FileInfo::new(base, seed, FILE_HEADER_BYTES as u64);
    let mut offset = base;
    while info.bytes < length {
        let frame = read_frame_header(&file, info.bytes, length)?
            .filter(|frame| frame.base_offset == offset && frame.is_known())
            .ok_or_else(|| hole(&path, info.bytes, offset))?;
        offset = frame.end_offset().ok_or_else(|| hole(&path, info.bytes, offset))?;
        info.note(&frame);
    }
    if offset != next {
        return Err(hole(&path, info.bytes, offset));
    }
    Ok(info)
}

/// The header of the frame at a byte, if a frame of its length fits into the file.
fn read_frame_header(file: &File, byte: u64, length: u64) -> Result<Option<FrameHeader>, LogError> {
    let rest = length.saturating_sub(byte);
    if rest < FRAME_HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut bytes = [0; FRAME_HEADER_BYTES];
    file.read_exact_at(&mut bytes, byte).map_err(failed("cannot read", file.path()))?;
    Ok(FrameHeader::decode(&bytes).filter(|frame| frame.frame_bytes() as u64 <= rest))
}

/// Reads the last file with all checksums, up to what a crash left of the last frame.
fn scan_last(file: File, expected: &FileHeader) -> Result<Scanned, LogError> {
    let length = file.len().map_err(failed("cannot read", file.path()))?;
    let (header, seed) = open_header(&file, expected)?;
    let mut scanned = Scanned {
        info: FileInfo::new(header.base_offset, seed, FILE_HEADER_BYTES as u64),
        next_offset: header.base_offset,
        record_time_us: header.record_time_floor_us,
        torn_bytes: 0,
        file,
    };
    while scanned.info.bytes < length {
        if !scanned.step(length)? {
            scanned.torn_bytes = scanned.torn(length)?;
            break;
        }
    }
    Ok(scanned)
}

impl Scanned {
    /// Goes past one frame; false if it is not good.
    fn step(&mut self, length: u64) -> Result<bool, LogError> {
        let byte = self.info.bytes;
        let Some(header) = read_frame_header(&self.file, byte, length)? else { return Ok(false) };
        let bytes = self.bytes(byte, header.frame_bytes())?;
        let header = match check_frame(self.info.seed, &bytes) {
            Ok(header) => header,
            Err(BadFrame::Damaged(_)) => return Ok(false),
            Err(bad) => return Err(frame_error(bad, self.file.path(), byte, self.next_offset)),
        };
        let end = header.end_offset().filter(|_| header.base_offset == self.next_offset);
        let Some(end) = end.filter(|_| header.record_time_us >= self.record_time_us) else {
            return Err(damaged(
                self.file.path(),
                byte,
                self.next_offset,
                "a whole frame is here, but its offset or its time does not follow the one before",
            ));
        };
        self.next_offset = end;
        self.record_time_us = header.record_time_us;
        self.info.note(&header);
        Ok(true)
    }

    /// The frame at the end of what was read is bad: gives the bytes from there on. With a good frame
    /// anywhere after it, something other than a crash did this, because no frame is written before the last
    /// one is synced.
    fn torn(&self, length: u64) -> Result<u64, LogError> {
        let byte = self.info.bytes;
        let torn = length.saturating_sub(byte);
        let rest = self.bytes(byte, torn as usize)?;
        if find_frame(self.info.seed, rest.get(1..).unwrap_or_default()).is_some() {
            return Err(hole(self.file.path(), byte, self.next_offset));
        }
        Ok(torn)
    }

    fn cut_off_end(&self) -> Result<(), LogError> {
        if self.torn_bytes == 0 {
            return Ok(());
        }
        let (byte, path) = (self.info.bytes, self.file.path());
        warn!(
            path = %path.display(), byte, bytes = self.torn_bytes, offset = self.next_offset,
            "the log cuts off the unfinished end that a crash left; nothing in it was acknowledged"
        );
        metrics::torn(self.torn_bytes);
        self.file.set_len(byte).map_err(failed("cannot truncate", path))?;
        self.file.sync_all().map_err(failed("cannot sync", path))
    }

    fn bytes(&self, byte: u64, count: usize) -> Result<Vec<u8>, LogError> {
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, byte).map_err(failed("cannot read", self.file.path()))?;
        Ok(bytes)
    }
}
