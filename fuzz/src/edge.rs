//! The edge of the pipeline on a log in memory, for the targets that send it whole requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use weir_ingest::{IngestKeys, IngestOptions, IngestService};
use weir_log::{AppendError, Appended, Log, LogError, LoggedRecord, Record};
use weir_meter::environment::Entropy;
use weir_meter::event::EventLimits;
use weir_meter::hash::HashKey;
use weir_meter::{Namespace, OffsetRange};
use weir_proto::PositionKey;

/// Most bytes of a body, decompressed or rendered: short inputs go over it.
pub(crate) const DECODED_BYTES_MAX: usize = 4_096;

/// Most bytes of a body on the wire.
pub(crate) const WIRE_BYTES_MAX: usize = 2_048;

pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());

/// Takes every batch, and remembers the values of the last one.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    taken: Mutex<Vec<Record>>,
}

impl MemoryLog {
    /// What was appended since the last call.
    pub(crate) fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.taken.lock().unwrap())
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn epoch(&self) -> u32 {
        1
    }

    fn partitions(&self) -> u32 {
        1
    }

    async fn append(&self, batch: Vec<Record>) -> Result<Appended, AppendError> {
        let range = OffsetRange { epoch: 1, partition: 0, from: 0, to: batch.len() as u64 };
        self.taken.lock().unwrap().extend(batch);
        Ok(Appended { ranges: vec![range] })
    }

    fn durable_end(&self, _partition: u32) -> watch::Receiver<u64> {
        unreachable!("ingest only appends")
    }

    async fn start(&self, _partition: u32) -> Result<u64, LogError> {
        unreachable!("ingest only appends")
    }

    async fn read(&self, _: u32, _: u64, _: usize) -> Result<Vec<LoggedRecord>, LogError> {
        unreachable!("ingest only appends")
    }

    async fn cut(&self, _partition: u32, _below: u64) -> Result<(), LogError> {
        unreachable!("ingest only appends")
    }

    fn unavailable(&self) -> Option<String> {
        None
    }

    async fn close(&self) {}
}

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn random_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed)) << 64 | 1
    }
}

pub(crate) struct Edge {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) service: Arc<IngestService>,
}

impl Edge {
    pub(crate) fn new(events: EventLimits) -> Self {
        let options = IngestOptions {
            events,
            wire_bytes_max: WIRE_BYTES_MAX,
            decoded_bytes_max: DECODED_BYTES_MAX,
            ..IngestOptions::default()
        };
        let keys =
            IngestKeys { hash: HashKey::new([3; 16]), position: PositionKey::new([9; 32]), incarnation: 77 };
        let log = Arc::new(MemoryLog::default());
        let service = IngestService::new(options, log.clone(), keys, Arc::new(Counting::default()));
        Self { log, service }
    }
}

pub(crate) fn namespace() -> Namespace {
    Namespace::new("tenant")
}
