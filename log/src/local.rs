//! The log of a single machine: segmented files with checksums, and one fdatasync shared by all
//! requests that wait for it. `docs/formats/log.md` describes the bytes; DESIGN's guarantee that an
//! acknowledged event is durable is kept here when the log is embedded.

mod error;
mod files;
mod frame;
mod header;
pub mod inspect;
mod options;
mod partition;
mod payload;
pub mod phase;
mod queue;
mod reader;
mod recover;
mod refusal;
#[cfg(all(test, feature = "shuttle"))]
mod schedules;
mod sync;
mod tail;
#[cfg(all(test, not(feature = "shuttle")))]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use weir_files::Disk;
use weir_meter::OffsetRange;
use weir_meter::environment::Clock;

use crate::record::{LoggedRecord, Record};
use crate::{AppendError, Appended, Cause, Log, LogError, metrics};
pub use frame::Compression;
use header::FileHeader;
pub use options::*;
use partition::Partition;
use payload::{NAMESPACE_BYTES_MAX, encoded_bytes};
use queue::{Budget, Pending};
use recover::Looked;
use refusal::Refusal;
use sync::Mutex;
use sync::atomic::{AtomicBool, Ordering};
use sync::thread::{self, JoinHandle};
use writer::{Broken, Writer};

/// The durable log in files of this machine. Dropping it waits for what it has begun to write.
#[derive(Debug)]
pub struct LocalLog {
    epoch: u32,
    append_bytes_max: usize,
    partitions: Vec<Arc<Partition>>,
    budget: Arc<Budget>,
    broken: Broken,
    closed: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl LocalLog {
    /// Opens the log's files, mends what a crash left of the last append, and starts a thread for each
    /// partition. Blocks: it reads the headers of all frames, and the last file of each partition whole.
    pub fn open(options: LocalLogOptions, clock: Arc<dyn Clock>) -> Result<LocalLog, LogError> {
        Self::open_on(Disk::default(), options, clock)
    }

    /// As [`LocalLog::open`], on any disk.
    pub fn open_on(
        disk: Disk,
        options: LocalLogOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<LocalLog, LogError> {
        options.check()?;
        let epoch_folder = options.dir.join(format!("e{}", options.epoch));
        refuse_other_partitions(&disk, &epoch_folder, options.partitions)?;
        // All of them before any is mended: a log that is refused stays as it is.
        let looked = (0..options.partitions).map(|number| look(&disk, &options, number, &epoch_folder));
        let looked = looked.collect::<Result<Vec<_>, _>>()?;
        let mut log = LocalLog {
            epoch: options.epoch,
            append_bytes_max: options.append_bytes_max,
            partitions: Vec::new(),
            budget: Budget::new(options.queue_bytes_max),
            broken: Broken::default(),
            closed: AtomicBool::new(false),
            threads: Mutex::default(),
        };
        for (number, looked) in (0..).zip(looked) {
            log.start_partition(&disk, &options, number, looked, clock.clone())?;
        }
        Ok(log)
    }

    fn start_partition(
        &mut self,
        disk: &Disk,
        options: &LocalLogOptions,
        number: u32,
        looked: Looked,
        clock: Arc<dyn Clock>,
    ) -> Result<(), LogError> {
        let (folder, whose) = (looked.folder.clone(), looked.whose);
        let mut recovered = looked.mend(disk)?;
        let active = recovered.files.back().map(|file| (file.seed, file.bytes));
        let Some((seed, synced_bytes)) = active else {
            return Err(LogError::Closed("a partition was opened without a file".to_owned()));
        };
        let tail_bytes_max = options.tail_bytes_max / options.partitions.max(1) as usize;
        let partition =
            Arc::new(Partition::new(number, disk.clone(), folder.clone(), &mut recovered, tail_bytes_max));
        let writer = Writer {
            partition: partition.clone(),
            broken: self.broken.clone(),
            clock,
            disk: disk.clone(),
            folder,
            whose,
            segment_bytes_max: options.segment_bytes_max,
            segment_age_max_us: i64::try_from(options.segment_age_max.as_micros()).unwrap_or(i64::MAX),
            group_bytes_max: options.group_bytes_max,
            compression: options.compression,
            file: recovered.active,
            seed,
            synced_bytes,
            next_offset: recovered.next_offset,
            record_time_us: recovered.record_time_us,
        };
        let thread =
            thread::Builder::new()
                .name(format!("weir-log-p{number}"))
                .spawn(move || writer.run())
                .map_err(|source| LogError::Io { context: "cannot start a log thread".to_owned(), source })?;
        self.partitions.push(partition);
        self.threads.lock().push(thread);
        Ok(())
    }

    fn partition(&self, number: u32) -> Result<&Arc<Partition>, LogError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(LogError::Closed("it was shut down".to_owned()));
        }
        let count = self.partitions.len();
        self.partitions.get(number as usize).ok_or_else(|| {
            LogError::Options(format!("partition {number} was asked for, the log has {count} from 0 on"))
        })
    }

    /// The batch by partition, each with its encoded bytes.
    fn split(&self, batch: Vec<Record>) -> Result<BTreeMap<u32, (Vec<Record>, usize)>, AppendError> {
        let count = u128::from(self.partitions()).max(1);
        let mut parts: BTreeMap<u32, (Vec<Record>, usize)> = BTreeMap::new();
        let mut total = 0usize;
        for record in batch {
            let name_bytes = record.namespace.as_str().len();
            if name_bytes > NAMESPACE_BYTES_MAX {
                return Err(AppendError::TooLarge { bytes: name_bytes, bytes_max: NAMESPACE_BYTES_MAX });
            }
            let bytes = encoded_bytes(&record);
            total = total.saturating_add(bytes);
            let partition = (record.identity.0 % count) as u32;
            let part = parts.entry(partition).or_default();
            part.0.push(record);
            part.1 = part.1.saturating_add(bytes);
        }
        if total > self.append_bytes_max {
            return Err(AppendError::TooLarge { bytes: total, bytes_max: self.append_bytes_max });
        }
        Ok(parts)
    }

    async fn put(&self, parts: BTreeMap<u32, (Vec<Record>, usize)>) -> Result<Appended, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let sizes: Vec<usize> = parts.values().map(|(_, bytes)| *bytes).collect();
        let Some(permits) = self.budget.admit(&sizes) else {
            return Err(Refusal::new(Cause::Behind, "its queue is full"));
        };
        let mut answers = Vec::with_capacity(parts.len());
        for ((number, (records, bytes)), permit) in parts.into_iter().zip(permits) {
            let (answer, answered) = oneshot::channel();
            let pending = Pending { records, bytes, permit, answer };
            let partition = self.partitions.get(number as usize);
            if partition.is_none_or(|partition| partition.queue.push(pending).is_err()) {
                return Err(Refusal::closed());
            }
            answers.push(answered);
        }
        let mut ranges: Vec<OffsetRange> = Vec::with_capacity(answers.len());
        for answered in answers {
            let range = answered.await.map_err(|_| Refusal::new(Cause::Broken, "its thread has stopped"))?;
            ranges.push(range?);
        }
        Ok(Appended { ranges })
    }

    /// Why nothing is taken from now on.
    fn refusal(&self) -> Option<Refusal> {
        if let Some(reason) = self.broken.get() {
            return Some(Refusal::new(Cause::Broken, reason));
        }
        self.closed.load(Ordering::Acquire).then(Refusal::closed)
    }

    /// Takes no more requests; the threads end once they have written what waits.
    fn begin_close(&self) -> Vec<JoinHandle<()>> {
        self.closed.store(true, Ordering::Release);
        for partition in &self.partitions {
            partition.queue.close();
        }
        std::mem::take(&mut *self.threads.lock())
    }
}

#[async_trait]
impl Log for LocalLog {
    fn epoch(&self) -> u32 {
        self.epoch
    }

    fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    async fn append(&self, batch: Vec<Record>) -> Result<Appended, AppendError> {
        let parts = self.split(batch).inspect_err(|_| metrics::refused("append_bytes"))?;
        self.put(parts).await.map_err(|refusal| {
            metrics::refused(refusal.cause.name());
            refusal.into()
        })
    }

    /// For a partition that does not exist, a channel that stays at 0 and is closed.
    fn durable_end(&self, partition: u32) -> watch::Receiver<u64> {
        match self.partitions.get(partition as usize) {
            Some(partition) => partition.durable_end.subscribe(),
            None => watch::channel(0).1,
        }
    }

    async fn start(&self, partition: u32) -> Result<u64, LogError> {
        Ok(self.partition(partition)?.start())
    }

    async fn read(&self, partition: u32, from: u64, bytes_max: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let partition = self.partition(partition)?;
        if let Some(records) = partition.read_memory(from, bytes_max)? {
            return Ok(records);
        }
        let partition = partition.clone();
        blocking(move || partition.read_files(from, bytes_max)).await
    }

    async fn cut(&self, partition: u32, below: u64) -> Result<(), LogError> {
        let partition = self.partition(partition)?.clone();
        blocking(move || partition.cut(below)).await
    }

    fn unavailable(&self) -> Option<String> {
        self.refusal().map(|refusal| refusal.reason)
    }

    async fn close(&self) {
        let threads = self.begin_close();
        // A panic of a log thread has been told to everyone who waited for it.
        let _ = tokio::task::spawn_blocking(move || join(threads)).await;
        for partition in &self.partitions {
            partition.release();
        }
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        join(self.begin_close());
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        let _ = thread.join();
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(LogError::Closed(format!("its reader stopped: {error}"))))
}

/// Reads a partition's files and touches none.
fn look(
    disk: &Disk,
    options: &LocalLogOptions,
    number: u32,
    epoch_folder: &Path,
) -> Result<Looked, LogError> {
    let whose = FileHeader {
        installation: options.installation,
        epoch: options.epoch,
        partition: number,
        base_offset: 0,
        record_time_floor_us: i64::MIN,
    };
    let folder = epoch_folder.join(format!("p{number}"));
    recover::look(disk, &folder, &whose, options.frontiers.get(&number).copied())
}

/// The number of partitions says which records lie where, for as long as the epoch lasts.
fn refuse_other_partitions(disk: &Disk, epoch_folder: &Path, partitions: u32) -> Result<(), LogError> {
    let names = files::names(disk, epoch_folder)?;
    let numbers = names.iter().filter_map(|name| name.strip_prefix('p')?.parse::<u32>().ok());
    match numbers.filter(|number| *number >= partitions).max() {
        None => Ok(()),
        Some(number) => Err(LogError::Mismatch(format!(
            "{} holds partition {number}, the catalog gives the epoch {partitions} from 0 on; start with the \
             catalog and the log of one installation",
            epoch_folder.display()
        ))),
    }
}
