//! Rows, windows and pieces for the tests of this crate: any of them, and few enough different
//! values that filters meet some and miss some.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use weir_meter::window::{LatestKey, WindowKeyRef, WindowSet};
use weir_meter::{
    ContentHash, Coordinates, Decimal, Generation, IdentityHash, MeterId, Namespace, OffsetRange, RequestId,
};

use crate::row::{Fate, Row, RowEvent};
use crate::{HeadSnapshot, PieceSnapshot};

pub(crate) const NAMESPACES: [&str; 2] = ["default", "ümläut 日本"];
pub(crate) const TYPES: [&str; 3] = ["api-call", "api-calls", "𝒯"];
pub(crate) const SUBJECTS: [&str; 5] = ["", "a", "ab", "customer 🦀", "zzz"];
pub(crate) const TIMES_END: i64 = 40;

/// i256 of 76 nines: the greatest Decimal(76, 30).
pub(crate) fn greatest_decimal() -> Decimal {
    let nines = "9".repeat(76);
    Decimal::from_unscaled(arrow::datatypes::i256::from_string(&nines).unwrap())
}

pub(crate) fn least_decimal() -> Decimal {
    Decimal::from_unscaled(greatest_decimal().unscaled().wrapping_neg())
}

pub(crate) fn generation(number: u32) -> Generation {
    Generation { meter: MeterId(u128::from(number) << 64 | 7), generation: number }
}

pub(crate) fn generations() -> Arc<BTreeMap<Generation, Namespace>> {
    Arc::new((0..4).map(|n| (generation(n), Namespace::new(NAMESPACES[n as usize % 2]))).collect())
}

fn json() -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![
        Just(None),
        Just(Some(Bytes::from_static(b"{}"))),
        "\\PC{0,20}".prop_map(|text| Some(Bytes::from(format!("{{\"x\": {text:?}}}")))),
    ]
}

fn event() -> impl Strategy<Value = RowEvent> {
    let names = (0..TYPES.len(), 0..SUBJECTS.len(), "\\PC{0,8}", "\\PC{0,8}");
    (
        names,
        prop_oneof![40 => 0..TIMES_END, 1 => Just(i64::MAX), 1 => Just(i64::MIN)],
        any::<bool>(),
        json(),
        json(),
    )
        .prop_map(|((event_type, subject, source, id), time_us, time_given, data, attributes)| {
            RowEvent {
                source: source.into(),
                id: id.into(),
                event_type: TYPES[event_type].into(),
                subject: SUBJECTS[subject].into(),
                time_us,
                time_given,
                data,
                attributes,
            }
        })
}

fn row() -> impl Strategy<Value = Row> {
    let fate = prop_oneof![
        6 => event().prop_map(|event| (Fate::Counted, Some(event))),
        1 => Just((Fate::Duplicate, None)),
        1 => Just((Fate::Conflict, None)),
        1 => Just((Fate::Unreadable, None)),
    ];
    (0..NAMESPACES.len(), fate, any::<[u128; 3]>(), any::<[i64; 3]>()).prop_map(
        |(namespace, (fate, event), [identity, content, request], [running, raw, stored])| Row {
            at: Coordinates { epoch: 0, partition: 0, offset: 0 },
            record_time_us: running,
            record_time_raw_us: raw,
            namespace: Namespace::new(NAMESPACES[namespace]),
            fate,
            identity: IdentityHash(identity),
            content: ContentHash(content),
            request: RequestId(request),
            event,
            stored_at_us: stored,
        },
    )
}

/// Rows for all the given offsets, folded in steps.
fn rows(range: OffsetRange) -> impl Strategy<Value = Vec<Arc<Vec<Row>>>> {
    (prop::collection::vec(row(), range.len() as usize), 1..40_usize).prop_map(move |(mut rows, step)| {
        for (row, offset) in rows.iter_mut().zip(range.from..) {
            row.at = Coordinates { epoch: range.epoch, partition: range.partition, offset };
        }
        rows.chunks(step).map(|rows| Arc::new(rows.to_vec())).collect()
    })
}

pub(crate) fn decimal() -> impl Strategy<Value = Decimal> {
    prop_oneof![
        98 => any::<i128>().prop_map(|number| Decimal::from_unscaled(arrow::datatypes::i256::from_i128(number))),
        1 => Just(greatest_decimal()),
        1 => Just(least_decimal()),
    ]
}

/// Windows of the first three generations; the fourth meets no event.
pub(crate) fn windows(count: usize) -> impl Strategy<Value = WindowSet> {
    let minute =
        prop_oneof![4 => 0..20_i64, 1 => prop::sample::select(vec![-61, -60, -1, 59, 60, 61, 119, 120])];
    let key = (0..3_u32, 0..SUBJECTS.len(), minute, prop::collection::vec("[ab日]{0,2}", 0..3));
    let value = prop::option::of((decimal(), any::<(i64, i64, u32, u32, u64)>(), 0..5_u128));
    prop::collection::vec((key, value), 0..=count).prop_map(|entries| {
        let mut set = WindowSet::default();
        for ((number, subject, minute, groups), value) in entries {
            let windows = Arc::make_mut(set.meters.entry(generation(number)).or_default());
            let start_us = minute * 60_000_000;
            let key = WindowKeyRef { subject: SUBJECTS[subject], start_us, groups: &groups };
            let (place, state) = windows.windows.place(key);
            state.add_event(start_us + 1);
            if let Some((value, (time_us, record_time_us, epoch, partition, offset), member)) = value {
                let at = Coordinates { epoch, partition, offset };
                let _ = state.add_value(value, LatestKey { time_us, record_time_us, at });
                windows.add_member(place, member);
            }
        }
        set
    })
}

/// A piece that folded these ranges.
pub(crate) fn piece(ranges: Vec<OffsetRange>) -> impl Strategy<Value = PieceSnapshot> {
    let all: Vec<_> = ranges.iter().map(|range| rows(*range)).collect();
    (all, windows(200)).prop_map(move |(steps, windows)| PieceSnapshot {
        ranges: ranges.clone(),
        revision: 3,
        generations: generations(),
        left_out: Vec::new(),
        rows: steps.into_iter().flatten().collect(),
        windows,
    })
}

pub(crate) fn range(partition: u32, from: u64, to: u64) -> OffsetRange {
    OffsetRange { epoch: 1, partition, from, to }
}

/// A piece over two partitions, the first record of which is at `from`.
pub(crate) fn any_piece(from: u64, rows_max: u64) -> impl Strategy<Value = PieceSnapshot> {
    (1..rows_max, 0..rows_max).prop_flat_map(move |(first, second)| {
        let mut ranges = vec![range(0, from, from + first)];
        if second > 0 {
            ranges.push(range(1, from, from + second));
        }
        piece(ranges)
    })
}

/// A piece with one plain row per offset.
pub(crate) fn plain_piece(count: u64) -> PieceSnapshot {
    let rows = (0..count).map(plain_row).collect();
    PieceSnapshot {
        ranges: vec![range(0, 0, count)],
        revision: 1,
        generations: generations(),
        left_out: Vec::new(),
        rows: vec![Arc::new(rows)],
        windows: WindowSet::default(),
    }
}

pub(crate) fn plain_row(offset: u64) -> Row {
    Row {
        at: Coordinates { epoch: 1, partition: 0, offset },
        record_time_us: offset as i64,
        record_time_raw_us: offset as i64,
        namespace: Namespace::default(),
        fate: Fate::Counted,
        identity: IdentityHash(u128::from(offset)),
        content: ContentHash(1),
        request: RequestId(2),
        event: Some(RowEvent {
            source: "test".into(),
            id: offset.to_string().into(),
            event_type: TYPES[0].into(),
            subject: format!("subject-{:03}", offset % 100).into(),
            time_us: offset as i64,
            time_given: true,
            data: Some(Bytes::from_static(b"{\"n\": 1}")),
            attributes: None,
        }),
        stored_at_us: 9,
    }
}

pub(crate) fn rows_of(snapshot: &HeadSnapshot) -> Vec<Row> {
    snapshot.pieces.iter().flat_map(|p| p.rows.iter().flat_map(|step| step.iter().cloned())).collect()
}
