//! Reads durable records back from files, through the page cache. A reader that comes again where it
//! stopped finds its cursor: the open file, the next frame's byte, and a frame that it has read in part.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use weir_files::{Disk, File, Open};

use super::error::{failed, frame_error};
use super::files::{Files, Place, file_path};
use super::frame::{BadFrame, FRAME_HEADER_BYTES, FrameHeader, check_frame, payload};
use super::payload::{Frame, Gathered, decode_records};
use super::sync::Mutex;
use crate::LogError;
use crate::record::LoggedRecord;

/// Readers that a partition remembers. Each holds one open file and at most one decoded frame.
const CURSORS_MAX: usize = 4;

/// Where sequential readers of one partition stand.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    list: Mutex<Vec<Cursor>>,
}

#[derive(Debug)]
struct Cursor {
    /// The offset that the reader will ask for.
    next: u64,
    /// The frame that holds it, or one before that.
    place: Place,
    file: File,
    /// The frame at `place`, if part of it has been handed out.
    frame: Option<Arc<Frame>>,
}

/// A partition's files as a reader sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) disk: &'a Disk,
    pub(super) folder: &'a Path,
    pub(super) files: &'a Mutex<Files>,
    pub(super) durable_end: u64,
}

impl Cursors {
    /// Reads from files. `from` is below the durable end and not below the start.
    pub(super) fn read(
        &self,
        source: Source<'_>,
        from: u64,
        bytes_max: usize,
    ) -> Result<Vec<LoggedRecord>, LogError> {
        let mut cursor = match self.take(from) {
            Some(cursor) => cursor,
            None => Cursor::open(source, from)?,
        };
        let mut gathered = Gathered::new(bytes_max);
        while !gathered.is_full() && cursor.place.frame_base < source.durable_end {
            if !cursor.step(source, from, &mut gathered)? {
                break;
            }
        }
        cursor.next = gathered.records.last().map_or(from, |record| record.offset.saturating_add(1));
        self.keep(cursor);
        Ok(gathered.records)
    }

    /// Forgets readers in files that are gone.
    pub(super) fn forget_below(&self, start: u64) {
        self.list.lock().retain(|cursor| cursor.place.file_base >= start);
    }

    pub(super) fn clear(&self) {
        self.list.lock().clear();
    }

    fn take(&self, from: u64) -> Option<Cursor> {
        let mut list = self.list.lock();
        let at = list.iter().position(|cursor| cursor.next == from)?;
        Some(list.remove(at))
    }

    fn keep(&self, cursor: Cursor) {
        let mut list = self.list.lock();
        list.push(cursor);
        if list.len() > CURSORS_MAX {
            list.remove(0);
        }
    }
}

impl Cursor {
    fn open(source: Source<'_>, offset: u64) -> Result<Cursor, LogError> {
        let place = source.files.lock().find(offset).ok_or_else(|| LogError::Damaged {
            path: source.folder.display().to_string(),
            byte: 0,
            offset,
            what: "no file of the folder holds it".to_owned(),
        })?;
        let path = file_path(source.folder, place.file_base);
        let file = source.disk.open(&path, Open::Read).map_err(failed("cannot open", &path))?;
        Ok(Cursor { next: offset, place, file, frame: None })
    }

    /// Passes over one frame or takes from it. False if part of the frame stays for the next read.
    fn step(&mut self, source: Source<'_>, from: u64, gathered: &mut Gathered) -> Result<bool, LogError> {
        let end_of_file = source.files.lock().bytes_of(self.place.file_base);
        // A file that is gone was cut while this cursor was in a reader's hands; the next one may hold the rest.
        if end_of_file.is_none_or(|bytes| self.place.byte >= bytes) {
            *self = Self::open(source, self.place.frame_base)?;
        }
        if let Some(frame) = &self.frame {
            let frame = frame.clone();
            let header = self.header()?;
            return Ok(self.hand_out(header, frame, from, gathered));
        }
        let header = self.header()?;
        if header.end_offset().is_some_and(|end| end <= from) {
            self.advance(header);
            return Ok(true);
        }
        let frame = Arc::new(self.frame(header.frame_bytes())?);
        Ok(self.hand_out(header, frame, from, gathered))
    }

    fn hand_out(
        &mut self,
        header: FrameHeader,
        frame: Arc<Frame>,
        from: u64,
        gathered: &mut Gathered,
    ) -> bool {
        let whole = gathered.take(&frame, from);
        if whole {
            self.advance(header);
        } else {
            self.frame = Some(frame);
        }
        whole
    }

    fn advance(&mut self, header: FrameHeader) {
        self.place.byte = self.place.byte.saturating_add(header.frame_bytes() as u64);
        self.place.frame_base = header.base_offset.saturating_add(u64::from(header.count));
        self.frame = None;
    }

    /// The header of the frame at this place, not yet checked against the checksum.
    fn header(&self) -> Result<FrameHeader, LogError> {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        self.read(&mut bytes)?;
        FrameHeader::decode(&bytes)
            .filter(|header| header.base_offset == self.place.frame_base && header.count > 0)
            .ok_or_else(|| {
                self.damaged(BadFrame::Damaged("the frame's first bytes are not what was written"))
            })
    }

    /// Reads, checks and decodes the frame at this place.
    fn frame(&self, frame_bytes: usize) -> Result<Frame, LogError> {
        let mut bytes = vec![0; frame_bytes];
        self.read(&mut bytes)?;
        let header = check_frame(self.place.seed, &bytes).map_err(|bad| self.damaged(bad))?;
        let raw = payload(&header, &bytes).map_err(|bad| self.damaged(bad))?;
        decode_records(Bytes::from(raw.into_owned()), header.base_offset, header.count, header.record_time_us)
            .map_err(|what| self.damaged(BadFrame::Damaged(what)))
    }

    fn read(&self, bytes: &mut [u8]) -> Result<(), LogError> {
        self.file.read_exact_at(bytes, self.place.byte).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged(BadFrame::Damaged("the file ends too early")),
            _ => failed("cannot read", self.file.path())(error),
        })
    }

    fn damaged(&self, bad: BadFrame) -> LogError {
        frame_error(bad, self.file.path(), self.place.byte, self.place.frame_base)
    }
}
