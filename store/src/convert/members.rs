//! Members of UNIQUE_COUNT windows as Arrow.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use weir_meter::window::{MeterWindows, WindowKeyRef};
use weir_meter::{Generation, Namespace};

use super::windows::{Key, key_column};
use super::{build, hashes};
use crate::StoreError;

/// One distinct member of one window.
#[derive(Clone, Copy, Debug)]
pub struct MemberRow<'a> {
    pub namespace: &'a Namespace,
    pub generation: Generation,
    pub window_size_s: u32,
    pub key: WindowKeyRef<'a>,
    /// Keyed hash of the value's text.
    pub member: u128,
    /// Events of the window that hold the value.
    pub holders: i64,
}

/// All members of a generation, in no particular order.
pub(crate) fn member_rows<'a>(
    namespace: &'a Namespace,
    generation: Generation,
    window_size_s: u32,
    windows: &'a MeterWindows,
) -> impl Iterator<Item = MemberRow<'a>> {
    windows.members().map(row_of(namespace, generation, window_size_s))
}

/// The same in the order at rest.
pub(crate) fn member_rows_in_order<'a>(
    namespace: &'a Namespace,
    generation: Generation,
    window_size_s: u32,
    windows: &'a MeterWindows,
) -> impl Iterator<Item = MemberRow<'a>> {
    windows.members_in_order().map(row_of(namespace, generation, window_size_s))
}

fn row_of<'a>(
    namespace: &'a Namespace,
    generation: Generation,
    window_size_s: u32,
) -> impl Fn((WindowKeyRef<'a>, u128, i64)) -> MemberRow<'a> {
    move |(key, member, holders)| MemberRow { namespace, generation, window_size_s, key, member, holders }
}

/// The columns of `schema` (all of `schema::members`, or some) for `rows`, in their order.
pub fn members_to_batch(rows: &[MemberRow<'_>], schema: &SchemaRef) -> Result<RecordBatch, StoreError> {
    build(schema, rows.len(), |name| {
        Ok(match name {
            "member" => hashes(rows.iter().map(|row| row.member))?,
            "holders" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.holders))),
            name => {
                let keys = rows.iter().map(|row| Key {
                    namespace: row.namespace,
                    generation: row.generation,
                    window_size_s: row.window_size_s,
                    key: row.key,
                });
                return key_column(name, keys);
            }
        })
    })
}
