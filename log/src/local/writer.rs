//! The log thread of one partition. It takes every request that waits, writes them as one frame, syncs
//! once, and only then tells anyone: readers through the partition, writers through their answers.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use tracing::{error, warn};
use weir_files::{Disk, File};
use weir_meter::OffsetRange;
use weir_meter::environment::Clock;

use super::error::failed;
use super::files::file_path;
use super::frame::{Compression, FrameHeader, encode_frame};
use super::header::{FILE_HEADER_BYTES, FileHeader};
use super::partition::Partition;
use super::payload::{Frame, encode_record};
use super::phase::{self, Lane, Phase};
use super::queue::{Pending, Work};
use super::recover::create_file;
use super::refusal::Refusal;
use super::sync::thread;
use crate::record::LoggedRecord;
use crate::{Cause, LogError, metrics};

/// Why a log takes no more appends until it is opened again; shared by all of its partitions.
pub(super) type Broken = Arc<OnceLock<String>>;

/// What one log thread owns.
pub(super) struct Writer {
    pub(super) partition: Arc<Partition>,
    pub(super) broken: Broken,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) disk: Disk,
    pub(super) folder: PathBuf,
    pub(super) whose: FileHeader,
    pub(super) segment_bytes_max: u64,
    pub(super) segment_age_max_us: i64,
    pub(super) group_bytes_max: usize,
    pub(super) compression: Compression,
    pub(super) file: File,
    pub(super) seed: u32,
    /// Bytes of the file that are durable; the next frame goes there.
    pub(super) synced_bytes: u64,
    pub(super) next_offset: u64,
    pub(super) record_time_us: i64,
}

/// How a group failed.
enum Failure {
    /// The file is as it was before: the next group may do better.
    Refused(Refusal),
    /// What the file holds is not known any more.
    Broken(String),
}

impl Failure {
    fn refused(reason: &str) -> Self {
        Self::Refused(Refusal::new(Cause::Disk, reason))
    }
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while let Some(work) = self.partition.queue.take(self.group_bytes_max) {
            let group = match work {
                Work::Write(group) => group,
                Work::Retire(retire) => {
                    self.retire(retire.below);
                    continue;
                }
            };
            if let Some(reason) = self.broken.get() {
                refuse(group, &Refusal::new(Cause::Broken, reason));
                continue;
            }
            phase::enter(Lane::Log, Phase::Append);
            let written = self.write(&group);
            match written {
                Ok((header, bytes)) => self.acknowledge(group, &header, bytes),
                Err(Failure::Refused(refusal)) => {
                    let reason = &refusal.reason;
                    warn!(partition = self.partition.number, reason, "the log could not write a group");
                    refuse(group, &refusal);
                }
                Err(Failure::Broken(reason)) => {
                    refuse(group, &Refusal::new(Cause::Broken, self.break_with(reason)));
                }
            }
            phase::enter(Lane::Log, Phase::Idle);
        }
    }

    /// Takes no more appends, in any partition; gives the reason that holds from then on.
    fn break_with(&self, reason: String) -> &str {
        error!(partition = self.partition.number, reason, "the log takes no events until a restart");
        self.broken.get_or_init(|| reason)
    }

    /// Leaves an old file behind, so that the cut that asks can remove it. Only this thread knows that no
    /// record above `below` is on its way into the file.
    fn retire(&mut self, below: u64) {
        if self.broken.get().is_some() || self.next_offset > below || !self.is_old(self.record_time_now_us())
        {
            return;
        }
        match self.roll() {
            Ok(()) => {}
            Err(Failure::Refused(Refusal { reason, .. })) => {
                warn!(
                    partition = self.partition.number,
                    reason, "the log keeps an old file because it could not begin a new one"
                );
            }
            Err(Failure::Broken(reason)) => {
                self.break_with(reason);
            }
        }
    }

    /// The wall clock may go back, the log's time may not.
    fn record_time_now_us(&self) -> i64 {
        self.clock.now_us().max(self.record_time_us)
    }

    /// True if the file's first record has reached the age at which nothing more may join it.
    fn is_old(&self, record_time_us: i64) -> bool {
        let since_us = self.partition.active_since_us();
        since_us.is_some_and(|since_us| record_time_us.saturating_sub(since_us) >= self.segment_age_max_us)
    }

    /// Writes and syncs one frame. On success it is durable, and nothing of it has been told.
    fn write(&mut self, group: &[Pending]) -> Result<(FrameHeader, usize), Failure> {
        let count: usize = group.iter().map(|pending| pending.records.len()).sum();
        let mut raw = Vec::with_capacity(group.iter().map(|pending| pending.bytes).sum());
        for record in group.iter().flat_map(|pending| &pending.records) {
            encode_record(record, &mut raw);
        }
        let count = u32::try_from(count).map_err(|_| Failure::refused("too many records at once"))?;
        let record_time_us = self.record_time_now_us();
        let mut bytes = Vec::new();
        self.encode(count, record_time_us, &raw, &mut bytes);
        let begun = self.synced_bytes > FILE_HEADER_BYTES as u64;
        let full = self.synced_bytes.saturating_add(bytes.len() as u64) > self.segment_bytes_max;
        if begun && (full || self.is_old(record_time_us)) {
            self.roll()?;
            // Checksums continue from the header of the file that the frame lies in.
            bytes.clear();
            self.encode(count, record_time_us, &raw, &mut bytes);
        }
        let header = self.check_before_write(&bytes, count)?;
        self.write_synced(&bytes)?;
        self.synced_bytes = self.synced_bytes.saturating_add(bytes.len() as u64);
        self.record_time_us = record_time_us;
        Ok((header, bytes.len()))
    }

    fn encode(&self, count: u32, record_time_us: i64, raw: &[u8], out: &mut Vec<u8>) {
        encode_frame(self.seed, self.next_offset, count, record_time_us, raw, self.compression, out);
    }

    /// Whatever is wrong here would be durable in a moment.
    fn check_before_write(&self, bytes: &[u8], count: u32) -> Result<FrameHeader, Failure> {
        let header = FrameHeader::decode(bytes)
            .filter(|header| {
                header.is_known() && header.frame_bytes() == bytes.len() && header.count == count
            })
            .filter(|header| header.base_offset == self.next_offset && header.end_offset().is_some());
        let Some(header) = header else {
            return Err(Failure::refused("the frame to be written is not one that could be read"));
        };
        let length = self.file.len().map_err(|error| Failure::Refused(self.refused("cannot read", error)))?;
        if length != self.synced_bytes {
            return Err(Failure::Broken(format!(
                "{} has {length} bytes, {} were written; another process may be writing to it",
                self.file.path().display(),
                self.synced_bytes
            )));
        }
        Ok(header)
    }

    fn write_synced(&self, bytes: &[u8]) -> Result<(), Failure> {
        if let Err(error) = self.file.write_all_at(bytes, self.synced_bytes) {
            let refusal = self.refused("cannot write", error);
            let undone = self.file.set_len(self.synced_bytes).and_then(|()| self.file.sync_data());
            return Err(match undone {
                Ok(()) => Failure::Refused(refusal),
                Err(error) => {
                    let again = self.told("cannot take it back in", error);
                    Failure::Broken(format!("{}; {again}", refusal.reason))
                }
            });
        }
        phase::enter(Lane::Log, Phase::Sync);
        let begun = Instant::now();
        let synced = self.file.sync_data();
        metrics::fdatasync_took(begun.elapsed().as_secs_f64());
        // After a failed sync the page cache calls pages clean that the disk never got: a second sync
        // that succeeds would prove nothing.
        synced.map_err(|error| Failure::Broken(self.told("cannot sync", error)))
    }

    /// Begins the next file. If that fails, the one before goes on growing.
    fn roll(&mut self) -> Result<(), Failure> {
        let header = FileHeader {
            base_offset: self.next_offset,
            record_time_floor_us: self.record_time_us,
            ..self.whose
        };
        match create_file(&self.disk, &self.folder, header) {
            Ok((file, info)) => {
                self.file = file;
                self.seed = info.seed;
                self.synced_bytes = info.bytes;
                self.partition.publish_file(info);
                Ok(())
            }
            Err(error) => Err(match self.undo_roll(header.base_offset) {
                Ok(()) => Failure::Refused(Refusal::of_disk(&error)),
                Err(again) => Failure::Broken(format!("{error}; {again}")),
            }),
        }
    }

    /// A file that begins in the middle of the one before it would stop the next start.
    fn undo_roll(&self, base_offset: u64) -> Result<(), LogError> {
        let path = file_path(&self.folder, base_offset);
        match self.disk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("cannot remove", &path)(error));
            }
            _ => {}
        }
        self.disk.sync_folder(&self.folder).map_err(failed("cannot sync the folder", &self.folder))
    }

    /// Tells readers, then writers.
    fn acknowledge(&mut self, group: Vec<Pending>, header: &FrameHeader, frame_bytes: usize) {
        let (epoch, partition) = (self.whose.epoch, self.partition.number);
        let mut records = Vec::with_capacity(header.count as usize);
        let mut answers = Vec::with_capacity(group.len());
        let mut bytes = 0usize;
        for mut pending in group {
            let from = self.next_offset;
            for record in std::mem::take(&mut pending.records) {
                // `check_before_write` has seen that the frame's end fits.
                let offset = self.next_offset;
                records.push(LoggedRecord { offset, record_time_us: self.record_time_us, record });
                self.next_offset = offset.saturating_add(1);
            }
            bytes = bytes.saturating_add(pending.bytes);
            answers.push((OffsetRange { epoch, partition, from, to: self.next_offset }, pending));
        }
        metrics::frame_synced(u64::from(header.count), frame_bytes as u64);
        self.partition.publish_frame(header, Frame { base_offset: header.base_offset, records, bytes });
        for (range, pending) in answers {
            pending.answer(Ok(range));
        }
    }

    fn told(&self, what: &str, error: std::io::Error) -> String {
        failed(what, self.file.path())(error).to_string()
    }

    fn refused(&self, what: &str, error: std::io::Error) -> Refusal {
        Refusal::of_disk(&failed(what, self.file.path())(error))
    }
}

/// The thread is gone, for whatever reason: nobody may go on waiting for it.
impl Drop for Writer {
    fn drop(&mut self) {
        let left = self.partition.queue.abandon();
        if thread::panicking() {
            self.broken.get_or_init(|| "the log thread has failed; restart this process".to_owned());
        }
        refuse(left, &Refusal::closed());
    }
}

fn refuse(group: Vec<Pending>, refusal: &Refusal) {
    for pending in group {
        pending.answer(Err(refusal.clone()));
    }
}
