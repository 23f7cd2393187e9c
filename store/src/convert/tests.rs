//! Rows survive the way to Arrow and back, whatever is in them.

use proptest::prelude::*;
use weir_meter::WriterId;

use super::*;
use crate::row::Row;
use crate::testing::any_piece;

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

#[test]
fn a_missing_column_is_named() {
    let some = schema::project(&schema::rows(), &["epoch"]);
    let batch = rows_to_batch(&[], WriterId(9), &some).unwrap();
    let error = identities(&batch).unwrap_err().to_string();
    assert!(error.contains("partition"), "{error}");
}
