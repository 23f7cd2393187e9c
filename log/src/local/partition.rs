//! One partition as everyone shares it: the log thread publishes here what has become durable, readers
//! take it from here. Nothing is visible in any of these parts before its fdatasync came back.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use weir_files::Disk;

use super::error::failed;
use super::files::{FileInfo, Files, file_path};
use super::frame::FrameHeader;
use super::payload::{Frame, Gathered};
use super::queue::Queue;
use super::reader::{Cursors, Source};
use super::recover::Recovered;
use super::sync::Mutex;
use super::tail::Tail;
use crate::record::LoggedRecord;
use crate::{LogError, metrics};

/// What one cut hands to the next.
#[derive(Debug, Default)]
struct Cutting {
    /// A file was removed and the folder not synced: it may come back after a crash.
    unsynced: bool,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) number: u32,
    pub(super) queue: Queue,
    pub(super) durable_end: watch::Sender<u64>,
    disk: Disk,
    folder: PathBuf,
    files: Mutex<Files>,
    tail: Mutex<Tail>,
    cursors: Cursors,
    cutting: Mutex<Cutting>,
}

impl Partition {
    pub(super) fn new(
        number: u32,
        disk: Disk,
        folder: PathBuf,
        recovered: &mut Recovered,
        tail_bytes_max: usize,
    ) -> Self {
        Self {
            number,
            queue: Queue::default(),
            durable_end: watch::Sender::new(recovered.next_offset),
            disk,
            folder,
            files: Mutex::new(Files::new(std::mem::take(&mut recovered.files))),
            tail: Mutex::new(Tail::new(tail_bytes_max)),
            cursors: Cursors::default(),
            cutting: Mutex::default(),
        }
    }

    pub(super) fn start(&self) -> u64 {
        self.files.lock().start()
    }

    /// Record time of the first frame in the file that is written to; none if there is none yet.
    pub(super) fn active_since_us(&self) -> Option<i64> {
        self.files.lock().active_since_us()
    }

    /// Makes known a file that the next frames go to.
    pub(super) fn publish_file(&self, file: FileInfo) {
        self.files.lock().push(file);
    }

    /// Makes a durable frame visible: to file readers, in memory, and last by the durable end.
    pub(super) fn publish_frame(&self, header: &FrameHeader, frame: Frame) {
        let end = frame.end_offset();
        self.files.lock().note(header);
        self.tail.lock().push(Arc::new(frame));
        self.durable_end.send_replace(end);
    }

    /// What a reader can have at once, without touching a file; none if it takes files.
    pub(super) fn read_memory(
        &self,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<Vec<LoggedRecord>>, LogError> {
        // The end first: the start only ever moves up to it.
        let durable_end = *self.durable_end.borrow();
        self.check_start(from)?;
        if from >= durable_end {
            return Ok(Some(Vec::new()));
        }
        let frames = self.tail.lock().frames_from(from, bytes_max);
        Ok(frames.map(|frames| {
            let mut gathered = Gathered::new(bytes_max);
            // The newest frame may be in memory a moment before the durable end tells of it.
            for frame in frames.iter().take_while(|frame| frame.base_offset < durable_end) {
                if !gathered.take(frame, from) {
                    break;
                }
            }
            gathered.records
        }))
    }

    /// Reads from files; blocks.
    pub(super) fn read_files(&self, from: u64, bytes_max: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let durable_end = *self.durable_end.borrow();
        let source = Source { disk: &self.disk, folder: &self.folder, files: &self.files, durable_end };
        self.cursors.read(source, from, bytes_max).or_else(|error| {
            // If the file was cut while it was being read, that is the better answer.
            self.check_start(from).and(Err(error))
        })
    }

    fn check_start(&self, from: u64) -> Result<(), LogError> {
        let start = self.start();
        if from < start {
            return Err(LogError::BelowStart { partition: self.number, asked: from, start });
        }
        Ok(())
    }

    /// Removes files that lie wholly below an offset; blocks. The one that is written to goes too if it
    /// is old enough for the log thread to leave it behind.
    pub(super) fn cut(&self, below: u64) -> Result<(), LogError> {
        let mut cutting = self.cutting.lock();
        self.remove_below(below, &mut cutting)?;
        if below >= *self.durable_end.borrow() && self.active_since_us().is_some() {
            self.queue.retire(below);
            self.remove_below(below, &mut cutting)?;
        }
        Ok(())
    }

    /// The oldest file goes first, and is gone for good before the next one goes, so that no crash
    /// leaves a gap in the middle.
    fn remove_below(&self, below: u64, cutting: &mut Cutting) -> Result<(), LogError> {
        loop {
            if cutting.unsynced {
                let synced = self.disk.sync_folder(&self.folder);
                synced.map_err(failed("cannot sync the folder", &self.folder))?;
                cutting.unsynced = false;
            }
            let Some(file) = self.files.lock().take_below(below) else { return Ok(()) };
            self.cursors.forget_below(self.start());
            let path = file_path(&self.folder, file.base_offset);
            match self.disk.remove(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    self.files.lock().put_back(file);
                    return Err(failed("cannot remove", &path)(error));
                }
                _ => {}
            }
            cutting.unsynced = true;
            metrics::cut(file.bytes);
        }
    }

    /// Lets go of memory and files held for readers.
    pub(super) fn release(&self) {
        self.cursors.clear();
        self.tail.lock().clear();
    }
}
