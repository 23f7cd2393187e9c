//! Where a catalog under test lives, and the values that tests are made of.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use weir_catalog::{
    Catalog, Commit, FrontierMove, Grant, KeyId, KeyLimits, MeterDraft, NewKey, Scope, SecretHash,
};
use weir_meter::environment::{Clock, Entropy};
use weir_meter::segment::{Coverage, Generations, NewSegment, SegmentKind};
use weir_meter::{Aggregation, MeterId, Namespace, OffsetRange, SegmentId, WriterId};

/// An empty database of its own for each test. Opening again finds what was committed.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    async fn open(&self) -> Arc<dyn Catalog>;
}

#[derive(Debug)]
pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now_us(&self) -> i64 {
        1_700_000_000_000_000
    }
}

/// Different numbers, the same in every run.
#[derive(Debug, Default)]
pub(crate) struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn random_u128(&self) -> u128 {
        let count = u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1;
        count.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

/// A time of day in the tests: the second.
pub(crate) fn at(second: i64) -> i64 {
    1_700_000_000_000_000 + second * 1_000_000
}

pub(crate) fn namespace(name: &str) -> Namespace {
    Namespace::new(name)
}

pub(crate) fn writer(number: u128) -> WriterId {
    WriterId(0xa000 + number)
}

pub(crate) fn segment(number: u128) -> SegmentId {
    SegmentId(0x5000 + number)
}

pub(crate) fn meter_id(number: u128) -> MeterId {
    MeterId((1 << 100) + number)
}

/// Offsets of epoch 0.
pub(crate) fn range(partition: u32, from: u64, to: u64) -> OffsetRange {
    OffsetRange { epoch: 0, partition, from, to }
}

pub(crate) fn step(range: OffsetRange) -> FrontierMove {
    FrontierMove {
        range,
        record_time_max_us: at(0).saturating_add_unsigned(range.to),
        last_record_hash: u128::from(range.to) << 64 | u128::from(range.partition),
    }
}

pub(crate) fn rows(id: u128, ranges: &[OffsetRange]) -> NewSegment {
    NewSegment {
        segment: segment(id),
        kind: SegmentKind::Rows,
        level: 0,
        row_count: ranges.iter().map(OffsetRange::len).sum(),
        dropped_rows: 0,
        byte_count: 4_711,
        coverage: Coverage {
            ranges: ranges.to_vec(),
            revision: 0,
            fold_version: 1,
            window_size_s: 0,
            generations: Generations::AllBut(Vec::new()),
        },
        time_range_us: Some((at(-5), at(5))),
        location: format!("rows/{id}.parquet"),
        checksum: u32::MAX,
    }
}

pub(crate) fn windows(
    id: u128,
    ranges: &[OffsetRange],
    revision: u64,
    generations: Generations,
) -> NewSegment {
    let base = rows(id, ranges);
    NewSegment {
        kind: SegmentKind::Windows,
        coverage: Coverage { revision, window_size_s: 60, generations, ..base.coverage },
        time_range_us: None,
        ..base
    }
}

/// The same of windows of an hour.
pub(crate) fn hours(mut segment: NewSegment) -> NewSegment {
    segment.coverage.window_size_s = 3_600;
    segment
}

/// The same as members.
pub(crate) fn members(segment: NewSegment) -> NewSegment {
    NewSegment { kind: SegmentKind::Members, ..segment }
}

/// A flush of one partition with its rows.
pub(crate) fn flush(writer: WriterId, id: u128, range: OffsetRange) -> Commit {
    Commit { writer, moves: vec![step(range)], segments: vec![rows(id, &[range])], now_us: at(10) }
}

pub(crate) fn draft(slug: &str) -> MeterDraft {
    MeterDraft {
        slug: slug.to_owned(),
        name: None,
        description: Some("What \"it\" counts".to_owned()),
        metadata: Some(BTreeMap::from([("team".to_owned(), "größe".to_owned())])),
        event_type: "request".to_owned(),
        aggregation: Aggregation::Sum,
        value_property: Some("$.tokens".to_owned()),
        group_by: BTreeMap::from([("model".to_owned(), "$.model".to_owned())]),
        event_from_us: Some(at(-1_000)),
    }
}

pub(crate) fn key_id(number: u8) -> KeyId {
    format!("{:a>16}", char::from(b'a' + number)).parse().unwrap()
}

pub(crate) fn secret_hash(number: u8) -> SecretHash {
    SecretHash::new([number; 32])
}

/// A key that lives for a thousand seconds.
pub(crate) fn new_key(number: u8, tenant: &str) -> NewKey {
    NewKey {
        id: key_id(number),
        secret_hash: secret_hash(number),
        grant: Grant::Tenant {
            namespace: namespace(tenant),
            scopes: [Scope::Ingest, Scope::Admin].into_iter().collect(),
        },
        name: format!("Schlüssel {number}"),
        limits: KeyLimits { requests_per_s: NonZeroU32::new(7), events_per_s: None },
        expires_us: Some(at(1_000)),
    }
}

/// An open catalog with an epoch of three partitions and writer 1.
pub(crate) async fn ready(place: &dyn Place) -> Arc<dyn Catalog> {
    let catalog = place.open().await;
    catalog.ensure_epoch("log", 3, 35 * 86_400, at(0)).await.unwrap();
    catalog.open_writer(writer(1), at(0)).await.unwrap();
    catalog
}
