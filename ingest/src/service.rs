//! The core that every way in calls: one JSON body of events in, a position out. Whatever came in
//! another form (headers, protobuf) has been rendered to JSON before, so that there is one reader and
//! the same event gets the same hashes whichever way it came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use weir_log::{Appended, Log, Record, RecordKind};
use weir_meter::environment::Entropy;
use weir_meter::event::{BodyShape, EventLimits, InvalidEvents, read_events};
use weir_meter::hash::HashKey;
use weir_meter::{Namespace, RequestId};
use weir_proto::{Position, PositionKey, PositionKind};

use crate::allowance::EventAllowance;
use crate::budget::Budget;
use crate::error::IngestError;
use crate::metrics;
use crate::options::IngestOptions;

/// What ingest needs of the installation row.
#[derive(Clone, Debug)]
pub struct IngestKeys {
    pub hash: HashKey,
    pub position: PositionKey,
    pub incarnation: u128,
}

/// Takes events into the log. Shared by all transports.
pub struct IngestService {
    options: IngestOptions,
    log: Arc<dyn Log>,
    keys: IngestKeys,
    entropy: Arc<dyn Entropy>,
    budget: Budget,
    draining: AtomicBool,
}

/// All events of a request are durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Number of events, duplicates among them.
    pub events: usize,
    /// Position token: a query given it answers with these events in.
    pub position: String,
    /// What the records carry to be found together.
    pub request: RequestId,
}

impl IngestService {
    pub fn new(
        options: IngestOptions,
        log: Arc<dyn Log>,
        keys: IngestKeys,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        let budget = Budget::new(options.buffered_bytes_max, options.retry_after_seconds);
        Arc::new(Self { options, log, keys, entropy, budget, draining: AtomicBool::new(false) })
    }

    /// Takes no new requests from here on. Those under way are finished.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn options(&self) -> &IngestOptions {
        &self.options
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn check_open(&self) -> Result<(), IngestError> {
        if self.draining.load(Ordering::Acquire) {
            let retry_after_seconds = self.options.retry_after_seconds;
            return Err(IngestError::ShuttingDown { retry_after_seconds });
        }
        Ok(())
    }

    /// Takes all events of a body or none, and returns once the log has them durably. A body that is
    /// mostly events is kept as long as its records are in memory and nothing of it is copied. A
    /// request without an id is given one. A credential with an allowance is charged before the append.
    pub async fn ingest(
        &self,
        namespace: &Namespace,
        body: Bytes,
        shape: BodyShape,
        request: Option<RequestId>,
        allowance: Option<&EventAllowance>,
    ) -> Result<Accepted, IngestError> {
        self.check_open()?;
        let request = request.unwrap_or_else(|| RequestId(self.entropy.random_u128()));
        let reading = Reading {
            limits: self.options.events,
            hash_key: self.keys.hash,
            namespace: namespace.clone(),
            request,
        };
        let records = if body.len() <= self.options.inline_bytes_max {
            reading.records(&body, shape)?
        } else {
            tokio::task::spawn_blocking(move || reading.records(&body, shape))
                .await
                .map_err(|error| IngestError::Internal(format!("reading a body: {error}")))??
        };

        let events = records.len();
        allowance.map_or(Ok(()), |allowance| allowance.take(events))?;
        let bytes = records.iter().map(|record| record.value.len()).sum();
        let appended = match events {
            0 => Appended { ranges: Vec::new() },
            _ => self.log.append(records).await?,
        };
        let position = self.position(namespace, &appended, events)?;
        metrics::accepted(events, bytes);
        Ok(Accepted { events, position, request })
    }

    /// The position after an append, in the partitions that it touched.
    fn position(
        &self,
        namespace: &Namespace,
        appended: &Appended,
        events: usize,
    ) -> Result<String, IngestError> {
        // An acknowledgement is a promise about money: the log must have a place for every event.
        let places: u64 = appended.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.len()));
        if places < events as u64 {
            return Err(IngestError::Internal(format!(
                "the log names {places} offsets for {events} records: {:?}",
                appended.ranges
            )));
        }
        let position = Position {
            kind: PositionKind::AtLeast,
            incarnation: self.keys.incarnation,
            epoch: self.log.epoch(),
            offsets: appended.ranges.iter().map(|range| (range.partition, range.to)).collect(),
            revision: 0,
        };
        let [entropy @ .., _, _, _, _] = self.entropy.random_u128().to_be_bytes();
        Ok(self.keys.position.seal(&position, namespace.as_str(), entropy))
    }
}

impl std::fmt::Debug for IngestService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestService").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What is needed to turn a body into records, apart from the service so that any thread can do it.
struct Reading {
    limits: EventLimits,
    hash_key: HashKey,
    namespace: Namespace,
    request: RequestId,
}

impl Reading {
    fn records(&self, body: &Bytes, shape: BodyShape) -> Result<Vec<Record>, InvalidEvents> {
        let events = read_events(body, shape, &self.limits)?;
        // A part keeps the whole body in memory, for minutes in the aggregator's head, and what bounds
        // memory from here on counts records: a body of padding must not ride along with a small one.
        let used: usize = events.iter().map(|event| event.json.len()).sum();
        let worth_keeping = used >= body.len() / 2;
        let value = |json| if worth_keeping { share(body, json) } else { Bytes::copy_from_slice(json) };
        Ok(events.iter().map(|event| self.record(event, value(event.json))).collect())
    }

    fn record(&self, event: &weir_meter::event::Event<'_>, value: Bytes) -> Record {
        Record {
            namespace: self.namespace.clone(),
            kind: RecordKind::Event,
            identity: self.hash_key.identity(&self.namespace, &event.source, &event.id),
            content: self.hash_key.content(event),
            request: self.request,
            value,
        }
    }
}

/// The part of the body, without a copy. What is not a part of it is copied.
fn share(body: &Bytes, part: &[u8]) -> Bytes {
    let start = (part.as_ptr() as usize).checked_sub(body.as_ptr() as usize);
    let range = start.and_then(|start| Some(start..start.checked_add(part.len())?));
    match range {
        Some(range) if range.end <= body.len() => body.slice(range),
        _ => Bytes::copy_from_slice(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_body_are_shared_and_others_copied() {
        let body = Bytes::from_static(b"abcdef");
        let inside = share(&body, &body[2..4]);
        assert_eq!((&inside[..], inside.as_ptr()), (&b"cd"[..], body[2..].as_ptr()));
        let other = b"cd".to_vec();
        let copied = share(&body, &other);
        assert_eq!(&copied[..], b"cd");
        assert_ne!(copied.as_ptr(), other.as_ptr());
        assert_eq!(share(&body, &body[..]), body);
    }

    #[test]
    fn a_body_that_is_mostly_padding_is_not_kept_for_its_event() {
        let reading = Reading {
            limits: EventLimits::default(),
            hash_key: HashKey::new([7; 16]),
            namespace: Namespace::default(),
            request: RequestId(1),
        };
        let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"x"}"#;
        for (padding, kept) in [(0, true), (1_000, false)] {
            let body = Bytes::from(format!("[{}{event}]", " ".repeat(padding)));
            let records = reading.records(&body, BodyShape::Batch).unwrap();
            assert_eq!(records[0].value, event);
            assert_eq!(body.as_ptr_range().contains(&records[0].value.as_ptr()), kept, "{padding}");
        }
    }
}
