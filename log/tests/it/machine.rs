//! A log on a simulated disk, with a clock that ticks with every look.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use weir_files::Disk;
use weir_files::simulated::{Effect, Operation, Rule, SimulatedDisk};
use weir_log::local::inspect::{Inspection, Place, inspect_on};
use weir_log::local::{Compression, LocalLog, LocalLogOptions};
use weir_log::{Log, LogError};
use weir_meter::environment::Clock;

use crate::fixture::INSTALLATION;

pub(crate) struct Ticking(pub(crate) AtomicI64);

impl Clock for Ticking {
    fn now_us(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

pub(crate) struct Machine {
    pub(crate) disk: SimulatedDisk,
    pub(crate) clock: Arc<Ticking>,
    pub(crate) options: LocalLogOptions,
}

impl Machine {
    pub(crate) fn new(seed: u64) -> Self {
        let mut options = LocalLogOptions::new("/data/log", INSTALLATION, 1, 1);
        options.compression = Compression::None;
        options.tail_bytes_max = 0;
        Self { disk: SimulatedDisk::new(seed), clock: Arc::new(Ticking(AtomicI64::new(1))), options }
    }

    pub(crate) fn open(&self) -> LocalLog {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<LocalLog, LogError> {
        self.try_open_on(self.disk.disk())
    }

    pub(crate) fn try_open_on(&self, disk: Disk) -> Result<LocalLog, LogError> {
        LocalLog::open_on(disk, self.options.clone(), self.clock.clone())
    }

    /// Files of partition 0, oldest first.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.disk.files().into_iter().filter(|path| path.starts_with("/data/log/e1/p0")).collect()
    }

    pub(crate) fn contents(&self, path: &Path) -> Vec<u8> {
        self.disk.contents(path).unwrap()
    }

    pub(crate) fn inspect(&self) -> Inspection {
        let place = Place { dir: &self.options.dir, installation: INSTALLATION, epoch: 1, partition: 0 };
        inspect_on(&self.disk.disk(), place, None).unwrap()
    }

    /// The next `times` operations of this kind on the log's files or folders go wrong.
    pub(crate) fn rule(&self, operation: Operation, times: u64, effect: Effect) {
        self.disk.add_rule(Rule { operation, path_contains: "/log".to_owned(), skip: 0, times, effect });
    }
}

/// Offsets of everything that is there for readers.
pub(crate) async fn offsets(log: &LocalLog) -> Vec<u64> {
    let mut next = log.start(0).await.unwrap();
    let mut offsets = Vec::new();
    loop {
        let records = log.read(0, next, 1 << 20).await.unwrap();
        let Some(last) = records.last() else { return offsets };
        next = last.offset + 1;
        offsets.extend(records.iter().map(|record| record.offset));
    }
}
