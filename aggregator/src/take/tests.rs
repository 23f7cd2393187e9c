//! Fates against a slow model: for each record, look at every accepted record before it.

use bytes::Bytes;
use proptest::prelude::*;
use weir_log::{LoggedRecord, Record, RecordKind};
use weir_meter::{ContentHash, IdentityHash, Namespace, RequestId};
use weir_store::Fate;

use super::PartitionState;
use crate::identity::IdentityIndex;

const WINDOW_US: i64 = 100;

/// One record of a made-up log: who, what, and by how much the log's clock moved (also backwards).
type Made = (u8, u8, i64);

fn record(offset: u64, time_us: i64, identity: u8, content: u8) -> LoggedRecord {
    let value = format!(
        r#"{{"specversion":"1.0","id":"{identity}","source":"s","type":"t","subject":"x","data":{{"c":{content}}}}}"#
    );
    LoggedRecord {
        offset,
        record_time_us: time_us,
        record: Record {
            namespace: Namespace::default(),
            kind: RecordKind::Event,
            identity: IdentityHash(u128::from(identity)),
            content: ContentHash(u128::from(content)),
            request: RequestId(7),
            value: Bytes::from(value),
        },
    }
}

fn log_of(made: &[Made]) -> Vec<LoggedRecord> {
    let mut time_us = 1_000;
    let mut records = Vec::new();
    for (offset, (identity, content, step)) in made.iter().enumerate() {
        time_us += step;
        records.push(record(offset as u64, time_us, *identity, *content));
    }
    records
}

fn state() -> PartitionState {
    PartitionState {
        epoch: 0,
        partition: 0,
        next_offset: 0,
        record_time_max_us: i64::MIN,
        last_record_hash: 0,
        last_value: None,
        index: IdentityIndex::new(WINDOW_US),
    }
}

/// The rule as DESIGN words it, with no index: search everything accepted so far.
fn model(records: &[LoggedRecord]) -> Vec<Fate> {
    let mut accepted: Vec<(u128, u128, i64)> = Vec::new();
    let mut fates = Vec::new();
    let mut running_max = i64::MIN;
    for logged in records {
        running_max = running_max.max(logged.record_time_us);
        let met: Vec<_> = accepted
            .iter()
            .filter(|(identity, _, at)| {
                *identity == logged.record.identity.0 && *at > running_max - WINDOW_US
            })
            .collect();
        assert!(met.len() <= 1, "two accepted records of one identity inside one window");
        let fate = match met.first() {
            None => {
                accepted.push((logged.record.identity.0, logged.record.content.0, running_max));
                Fate::Counted
            }
            Some((_, content, _)) if *content == logged.record.content.0 => Fate::Duplicate,
            Some(_) => Fate::Conflict,
        };
        fates.push(fate);
    }
    fates
}

proptest! {
    #[test]
    fn fates_equal_the_model_however_the_log_is_read(
        made in prop::collection::vec((0_u8..6, 0_u8..3, -30_i64..60), 0..80),
        cuts in prop::collection::vec(1_usize..9, 1..20),
    ) {
        let records = log_of(&made);
        let mut state = state();
        let mut fates = Vec::new();
        let mut rest = records.as_slice();
        let mut steps = cuts.iter().cycle();
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*steps.next().unwrap()).min(rest.len()));
            fates.extend(state.take(now, 0).unwrap().into_iter().map(|row| row.fate));
            state.index.forget(state.record_time_max_us);
            rest = later;
        }
        prop_assert_eq!(fates, model(&records));
    }

    #[test]
    fn an_index_read_back_from_the_rows_decides_as_the_one_that_was_kept(
        made in prop::collection::vec((0_u8..6, 0_u8..3, -30_i64..60), 1..80),
        crash in 0_usize..80,
    ) {
        let records = log_of(&made);
        let crash = crash.min(records.len());
        let mut before = state();
        let rows = before.take(&records[..crash], 0).unwrap();
        let mut after = state();
        after.next_offset = before.next_offset;
        after.record_time_max_us = before.record_time_max_us;
        // In any order: segments are read as they come.
        for row in rows.iter().rev().filter(|row| row.fate == Fate::Counted) {
            if row.record_time_us > before.record_time_max_us - WINDOW_US {
                after.index.accept(row.identity, row.content, row.record_time_us);
            }
        }
        let kept: Vec<Fate> = before.take(&records[crash..], 0).unwrap().into_iter().map(|row| row.fate).collect();
        let read_back: Vec<Fate> = after.take(&records[crash..], 0).unwrap().into_iter().map(|row| row.fate).collect();
        prop_assert_eq!(kept, read_back);
    }
}

#[test]
fn every_record_leaves_exactly_one_row_also_one_that_holds_no_event() {
    let mut broken = record(1, 2_000, 2, 0);
    broken.record.value = Bytes::from_static(b"{not json");
    let records = [record(0, 1_000, 1, 0), broken, record(2, 3_000, 1, 0)];
    let mut state = state();
    let rows = state.take(&records, 42).unwrap();
    let fates: Vec<Fate> = rows.iter().map(|row| row.fate).collect();
    // The last one lies outside the window of the first.
    assert_eq!(fates, [Fate::Counted, Fate::Unreadable, Fate::Counted]);
    assert!(rows[1].event.is_none());
    assert_eq!(rows.iter().map(|row| row.at.offset).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(state.next_offset, 3);
}
