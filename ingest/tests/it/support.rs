//! A log in memory, a service on it, and requests to its router.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt as _;
use weir_ingest::{IngestKeys, IngestOptions, IngestService};
use weir_log::{AppendError, Appended, Cause, Log, LogError, LoggedRecord, Record};
use weir_meter::environment::Entropy;
use weir_meter::hash::HashKey;
use weir_meter::{Namespace, OffsetRange};
use weir_proto::{Position, PositionKey};

pub(crate) const INCARNATION: u128 = 77;
pub(crate) const EPOCH: u32 = 4;

/// What the next appends answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Take,
    Unavailable {
        retry_after_seconds: u32,
    },
    /// The same, for this reason.
    Because(Cause),
    TooLarge,
    /// Says that it took the batch, without a place for it.
    Nowhere,
}

#[derive(Debug)]
pub(crate) struct MemoryLog {
    answer: Mutex<Answer>,
    partitions: Mutex<Vec<Vec<Record>>>,
}

impl MemoryLog {
    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// All records, by partition and offset.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.partitions.lock().unwrap().iter().flatten().cloned().collect()
    }

    pub(crate) fn lengths(&self) -> Vec<(u32, u64)> {
        let partitions = self.partitions.lock().unwrap();
        (0..).zip(partitions.iter().map(|records| records.len() as u64)).collect()
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn epoch(&self) -> u32 {
        EPOCH
    }

    fn partitions(&self) -> u32 {
        self.partitions.lock().unwrap().len() as u32
    }

    async fn append(&self, batch: Vec<Record>) -> Result<Appended, AppendError> {
        assert!(!batch.is_empty(), "an empty batch is not for the log");
        match *self.answer.lock().unwrap() {
            Answer::Take => {}
            Answer::Because(cause) => {
                let reason = "cannot write /secret/folder".to_owned();
                return Err(AppendError::Unavailable { cause, reason, retry_after_seconds: 3 });
            }
            Answer::Unavailable { retry_after_seconds } => {
                let reason = "cannot sync /secret/folder".to_owned();
                return Err(AppendError::Unavailable { cause: Cause::Broken, reason, retry_after_seconds });
            }
            Answer::TooLarge => return Err(AppendError::TooLarge { bytes: 2_000, bytes_max: 1_000 }),
            Answer::Nowhere => return Ok(Appended { ranges: Vec::new() }),
        }
        let mut partitions = self.partitions.lock().unwrap();
        let count = partitions.len();
        let before: Vec<u64> = partitions.iter().map(|records| records.len() as u64).collect();
        for record in batch {
            partitions[(record.identity.0 % count as u128) as usize].push(record);
        }
        let ranges = (0..).zip(before).zip(partitions.iter());
        let ranges = ranges.filter_map(|((partition, from), records)| {
            let to = records.len() as u64;
            (to > from).then_some(OffsetRange { epoch: EPOCH, partition, from, to })
        });
        Ok(Appended { ranges: ranges.collect() })
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

#[derive(Debug)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn random_u128(&self) -> u128 {
        // Every number is another one in its first bytes, which are what a token uses.
        u128::from(self.0.fetch_add(1, Ordering::Relaxed)) << 64 | 0xABCD
    }
}

pub(crate) struct Edge {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) service: Arc<IngestService>,
}

/// What the router answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    /// The body as a problem document, whose form is checked.
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["type"], format!("urn:weir:problem:{kind}"), "{text}");
        assert_eq!(problem["status"], status);
        if status == 400 {
            assert!(problem["detail"].as_str().unwrap().starts_with("validation error: "), "{text}");
        }
        problem
    }

    /// 204 without a body, with a position of namespace `tenant`.
    pub(crate) fn position(&self) -> Position {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, 204, "{text}");
        assert!(self.body.is_empty());
        open(self.headers["weir-position"].to_str().unwrap())
    }
}

pub(crate) fn open(position: &str) -> Position {
    PositionKey::new([9; 32]).open(position, "tenant").unwrap()
}

pub(crate) fn tenant() -> Namespace {
    Namespace::new("tenant")
}

impl Edge {
    pub(crate) fn new() -> Self {
        Self::with(IngestOptions::default(), 1)
    }

    pub(crate) fn with(options: IngestOptions, partitions: usize) -> Self {
        let log = Arc::new(MemoryLog {
            answer: Mutex::new(Answer::Take),
            partitions: Mutex::new(vec![Vec::new(); partitions]),
        });
        let keys = IngestKeys {
            hash: HashKey::new([3; 16]),
            position: PositionKey::new([9; 32]),
            incarnation: INCARNATION,
        };
        let service = IngestService::new(options, log.clone(), keys, Arc::new(Counting(AtomicU64::new(1))));
        Self { log, service }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answered {
        let router = weir_ingest::router(self.service.clone()).layer(Extension(tenant()));
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answered { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answered {
        self.send(request(headers, body)).await
    }

    pub(crate) async fn post_as(&self, content_type: &str, body: impl Into<Body>) -> Answered {
        self.post(&[("content-type", content_type)], body).await
    }

    /// The values in the log, as text.
    pub(crate) fn values(&self) -> Vec<String> {
        let records = self.log.records();
        records.iter().map(|record| String::from_utf8(record.value.to_vec()).unwrap()).collect()
    }
}

pub(crate) fn request(headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post("/api/v1/events");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

pub(crate) const ONE: &str = "application/cloudevents+json";
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";
pub(crate) const JSON: &str = "application/json";

/// A valid event, spaced unlike anything that a program would write.
pub(crate) fn event(id: &str) -> String {
    format!(
        r#"{{"specversion": "1.0","id":"{id}" ,"source":"s","type":"t","subject":"c","time":"2024-05-06T07:08:09Z","data":{{"n": 1.10}}}}"#
    )
}

pub(crate) fn batch(count: usize) -> Vec<String> {
    (0..count).map(|n| event(&format!("e{n}"))).collect()
}
