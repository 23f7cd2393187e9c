//! Looks into the files of a log that no process has open, and changes nothing: what they hold, and
//! everything that is wrong with them, not only the first thing. For checks and backups; a server reads
//! its log through `recover` and `reader`, which stop at what this one lists.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use weir_files::{Disk, File, Open};
use weir_meter::InstallationId;

use super::error::{damaged, failed, frame_error, hole};
use super::files::{base_offset_of, file_path, names};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, check_frame, find_frame, payload};
use super::header::{FILE_HEADER_BYTES, FileHeader};
use super::payload::decode_records;
use super::recover::open_header;
use crate::LogError;
use crate::record::LoggedRecord;

/// Which partition of which log is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The log's folder, which has one for each epoch.
    pub dir: &'a Path,
    pub installation: InstallationId,
    pub epoch: u32,
    pub partition: u32,
}

/// What the files of one partition hold.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The lowest offset there is.
    pub start: u64,
    /// The offset after the last good record.
    pub end: u64,
    pub files: u64,
    pub frames: u64,
    pub records: u64,
    pub bytes: u64,
    /// Bytes at the very end that a crash left of an append; the next start cuts them off.
    pub torn_bytes: u64,
    /// The record that was asked for, if a good frame holds it.
    pub wanted: Option<LoggedRecord>,
    pub problems: Vec<LogError>,
    /// Names in the folder that are none of the log's.
    pub foreign: Vec<String>,
}

/// The folder of a partition's files.
pub fn partition_folder(dir: &Path, epoch: u32, partition: u32) -> PathBuf {
    dir.join(format!("e{epoch}")).join(format!("p{partition}"))
}

/// Offsets at which the log's files in a folder begin, with their paths, in order. None if there is no
/// such folder.
pub fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, LogError> {
    Ok(in_order(folder, &names(&Disk::default(), folder)?))
}

fn in_order(folder: &Path, names: &[String]) -> Vec<(u64, PathBuf)> {
    let mut bases: Vec<u64> = names.iter().filter_map(|name| base_offset_of(name)).collect();
    bases.sort_unstable();
    bases.into_iter().map(|base| (base, file_path(folder, base))).collect()
}

/// Reads every frame of a partition. An error is what kept it from looking; what it found wrong is in
/// the outcome.
pub fn inspect(place: Place<'_>, wanted: Option<u64>) -> Result<Inspection, LogError> {
    inspect_on(&Disk::default(), place, wanted)
}

/// As [`inspect`], on any disk.
pub fn inspect_on(disk: &Disk, place: Place<'_>, wanted: Option<u64>) -> Result<Inspection, LogError> {
    let folder = partition_folder(place.dir, place.epoch, place.partition);
    let names = names(disk, &folder)?;
    let files = in_order(&folder, &names);
    let mut look = Look {
        wanted,
        offset: files.first().map_or(0, |(base, _)| *base),
        record_time_us: i64::MIN,
        found: Inspection {
            foreign: names.into_iter().filter(|name| base_offset_of(name).is_none()).collect(),
            ..Inspection::default()
        },
    };
    look.found.start = look.offset;
    for (at, (base, path)) in files.iter().enumerate() {
        let next = files.get(at.saturating_add(1)).map(|(next, _)| *next);
        let header = FileHeader {
            installation: place.installation,
            epoch: place.epoch,
            partition: place.partition,
            base_offset: *base,
            record_time_floor_us: i64::MIN,
        };
        look.file(disk, path, &header, next)?;
    }
    look.found.end = look.offset;
    Ok(look.found)
}

/// How far the look has come.
struct Look {
    wanted: Option<u64>,
    /// The offset that the next frame should begin with.
    offset: u64,
    record_time_us: i64,
    found: Inspection,
}

impl Look {
    fn file(
        &mut self,
        disk: &Disk,
        path: &Path,
        expected: &FileHeader,
        next: Option<u64>,
    ) -> Result<(), LogError> {
        let file = disk.open(path, Open::Read).map_err(failed("cannot open", path))?;
        let length = file.len().map_err(failed("cannot read", path))?;
        self.found.files = self.found.files.saturating_add(1);
        self.found.bytes = self.found.bytes.saturating_add(length);
        if self.offset != expected.base_offset {
            let what = format!(
                "the file before it ends at offset {}; what lies between is missing or cannot be read",
                self.offset
            );
            self.found.problems.push(damaged(path, 0, expected.base_offset, &what));
            self.offset = expected.base_offset;
        }
        match open_header(&file, expected) {
            Ok((_, seed)) => self.frames(&file, seed, length, next)?,
            // A crash came before the header was durable; nothing can be in it.
            Err(LogError::Damaged { .. })
                if next.is_none()
                    && length <= FILE_HEADER_BYTES as u64
                    && (self.found.files > 1 || expected.base_offset == 0) =>
            {
                self.found.torn_bytes = self.found.torn_bytes.saturating_add(length);
            }
            Err(error @ LogError::Io { .. }) => return Err(error),
            Err(error) => {
                self.found.problems.push(error);
                // What its frames hold is named by the problem; they are not missing besides.
                self.offset = next.unwrap_or(self.offset);
            }
        }
        Ok(())
    }

    fn frames(&mut self, file: &File, seed: u32, length: u64, next: Option<u64>) -> Result<(), LogError> {
        let mut byte = FILE_HEADER_BYTES as u64;
        while byte < length {
            match self.frame(file, seed, byte, length)? {
                Ok(frame_bytes) => byte = byte.saturating_add(frame_bytes),
                Err(problem) => {
                    let rest = read(file, byte, length.saturating_sub(byte))?;
                    match find_frame(seed, rest.get(1..).unwrap_or_default()) {
                        Some((at, header)) => {
                            self.found.problems.push(hole(file.path(), byte, self.offset));
                            byte = byte.saturating_add(1).saturating_add(at as u64);
                            self.offset = header.base_offset;
                        }
                        None if next.is_none() => {
                            self.found.torn_bytes = length.saturating_sub(byte);
                            return Ok(());
                        }
                        None => {
                            self.found.problems.push(problem);
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads one frame; gives its length, or what is wrong with it.
    fn frame(
        &mut self,
        file: &File,
        seed: u32,
        byte: u64,
        length: u64,
    ) -> Result<Result<u64, LogError>, LogError> {
        let path = file.path();
        let short = || damaged(path, byte, self.offset, "the frame is cut short");
        let left = length.saturating_sub(byte);
        if left < FRAME_HEADER_BYTES as u64 {
            return Ok(Err(short()));
        }
        let head = read(file, byte, FRAME_HEADER_BYTES as u64)?;
        let frame_bytes = FrameHeader::decode(&head).map(|header| header.frame_bytes() as u64);
        let Some(frame_bytes) = frame_bytes.filter(|bytes| *bytes <= left) else { return Ok(Err(short())) };
        let bytes = read(file, byte, frame_bytes)?;
        let header = match check_frame(seed, &bytes) {
            Ok(header) => header,
            Err(bad) => return Ok(Err(frame_error(bad, path, byte, self.offset))),
        };
        let records = payload(&header, &bytes).map_err(|bad| frame_error(bad, path, byte, self.offset));
        let records = records.and_then(|raw| {
            let raw = Bytes::from(raw.into_owned());
            decode_records(raw, header.base_offset, header.count, header.record_time_us)
                .map_err(|what| damaged(path, byte, self.offset, what))
        });
        let frame = match records {
            Ok(frame) => frame,
            Err(error) => {
                // Its checksum is good: it lies where it was written, so what follows is found.
                self.found.problems.push(error);
                self.offset = header.end_offset().unwrap_or(self.offset);
                return Ok(Ok(frame_bytes));
            }
        };
        if header.base_offset != self.offset {
            let what = format!("a whole frame is here, but it begins with offset {}", header.base_offset);
            self.found.problems.push(damaged(path, byte, self.offset, &what));
        }
        if header.record_time_us < self.record_time_us {
            let what = "a whole frame is here, but its time lies before that of the frame before it";
            self.found.problems.push(damaged(path, byte, self.offset, what));
        }
        self.record_time_us = self.record_time_us.max(header.record_time_us);
        self.found.frames = self.found.frames.saturating_add(1);
        self.found.records = self.found.records.saturating_add(frame.records.len() as u64);
        self.offset = frame.end_offset();
        let wanted = frame.records.into_iter().find(|record| Some(record.offset) == self.wanted);
        self.found.wanted = self.found.wanted.take().or(wanted);
        Ok(Ok(frame_bytes))
    }
}

fn read(file: &File, byte: u64, count: u64) -> Result<Vec<u8>, LogError> {
    let mut bytes = vec![0; count as usize];
    file.read_exact_at(&mut bytes, byte).map_err(failed("cannot read", file.path()))?;
    Ok(bytes)
}
