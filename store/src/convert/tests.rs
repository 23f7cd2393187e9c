//! Rows survive the way to Arrow and back, whatever is in them.

use proptest::prelude::*;
use weir_meter::WriterId;
use weir_meter::window::{Values, WindowKey, WindowKeyRef, WindowState};

use super::*;
use crate::row::Row;
use crate::testing::{any_piece, decimal, generation, windows};

proptest! {
    #[test]
    fn rows_come_back(piece in any_piece(0, 40)) {
        let rows: Vec<&Row> = piece.rows.iter().flat_map(|step| step.iter()).collect();
        let batch = rows_to_batch(&rows, WriterId(9), &schema::rows()).unwrap();
        prop_assert_eq!(batch_to_rows(&batch).unwrap(), rows.iter().map(|r| (*r).clone()).collect::<Vec<_>>());

        let some = schema::project(&schema::rows(), &IDENTITY_COLUMNS);
        let found = identities(&rows_to_batch(&rows, WriterId(9), &some).unwrap()).unwrap();
        let expected: Vec<Identity> = rows
            .iter()
            .map(|r| Identity { at: r.at, record_time_us: r.record_time_us, identity: r.identity, content: r.content })
            .collect();
        prop_assert_eq!(found, expected);
    }
}

proptest! {
    #[test]
    fn windows_and_members_come_back(
        set in windows(120),
        extremes in (decimal(), decimal(), any::<(i64, i64, i64, i64)>()),
    ) {
        let namespace = Namespace::new("ümläut");
        for (generation, of_meter) in &set.meters {
            let mut rows: Vec<(WindowKey, WindowState)> =
                of_meter.windows.iter().map(|(key, state)| (key.to_key(), state.clone())).collect();
            if let Some((_, state)) = rows.first_mut() {
                let (min, max, (events, counted, first, last)) = extremes;
                let values = state.values.take().map(|values| Box::new(Values { min, max, ..*values }));
                *state = WindowState {
                    events, counted, first_minute_us: first, last_minute_us: last, values,
                };
            }
            let refs: Vec<WindowRow<'_>> = rows
                .iter()
                .map(|(key, state)| WindowRow {
                    namespace: &namespace, generation: *generation, window_size_s: 3_600, key: key.borrowed(), state,
                })
                .collect();
            let batch = windows_to_batch(&refs, &schema::windows()).unwrap();
            let members: Vec<MemberRow<'_>> = member_rows(&namespace, *generation, 60, of_meter).collect();
            let member_batch = members_to_batch(&members, &schema::members()).unwrap();
            // What is read may be a slice of something longer.
            for (from, to) in [(0, rows.len()), (rows.len() / 3, rows.len() / 2)] {
                let batch = batch.slice(from, to - from);
                let (keys, states) = (WindowKeys::of(&batch).unwrap(), StoredWindows::of(&batch).unwrap());
                let found: Vec<_> = (0..keys.len()).map(|row| (key_at(&keys, row), states.state(row))).collect();
                prop_assert_eq!(&found, &rows[from..to]);
                for row in 0..keys.len() {
                    prop_assert_eq!(keys.namespace(row), namespace.as_str());
                    prop_assert_eq!((keys.generation(row), keys.window_size_s(row)), (*generation, 3_600));
                }
            }
            for (from, to) in [(0, members.len()), (members.len() / 3, members.len() / 2)] {
                let batch = member_batch.slice(from, to - from);
                let (keys, stored) = (WindowKeys::of(&batch).unwrap(), StoredMembers::of(&batch).unwrap());
                let found: Vec<_> =
                    (0..keys.len()).map(|row| (key_at(&keys, row), stored.member(row), stored.holders(row))).collect();
                let expected: Vec<_> =
                    members[from..to].iter().map(|row| (row.key.to_key(), row.member, row.holders)).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}

fn key_at(keys: &WindowKeys, row: usize) -> WindowKey {
    WindowKey {
        subject: keys.subject(row).into(),
        start_us: keys.start_us(row),
        groups: keys.groups(row).map(Into::into).collect(),
    }
}

#[test]
fn long_texts_come_in_several_batches() {
    let mut windows = MeterWindows::default();
    let long = "x".repeat(BATCH_TEXT_BYTES / 3);
    for minute in 0..4 {
        let key = WindowKeyRef { subject: "s", start_us: minute, groups: &[long.as_str()] };
        let (place, state) = windows.windows.place(key);
        state.add_event(minute);
        windows.add_member(place, 1);
    }
    let (namespace, generation) = (Namespace::default(), generation(1));
    let rows = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>();
    assert_eq!(rows(window_batches_of(&namespace, generation, 60, &windows).unwrap()), [2, 2]);
    assert_eq!(rows(member_batches_of(&namespace, generation, 60, &windows).unwrap()), [2, 2]);
    let none = MeterWindows::default();
    assert!(window_batches_of(&namespace, generation, 60, &none).unwrap().is_empty());
    assert!(member_batches_of(&namespace, generation, 60, &none).unwrap().is_empty());
}

#[test]
fn a_missing_column_is_named() {
    let some = schema::project(&schema::rows(), &["epoch"]);
    let batch = rows_to_batch(&[], WriterId(9), &some).unwrap();
    let error = identities(&batch).unwrap_err().to_string();
    assert!(error.contains("partition"), "{error}");
}
