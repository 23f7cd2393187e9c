//! Windows as Arrow.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal256Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, SchemaRef};
use weir_meter::window::{LatestKey, MeterWindows, Values, WindowKeyRef, WindowState};
use weir_meter::{Decimal, Generation, Namespace};

use super::{build, hashes, unknown_column};
use crate::{StoreError, schema};

/// One window with everything that names it.
#[derive(Clone, Copy, Debug)]
pub struct WindowRow<'a> {
    pub namespace: &'a Namespace,
    pub generation: Generation,
    pub window_size_s: u32,
    pub key: WindowKeyRef<'a>,
    pub state: &'a WindowState,
}

/// All windows of a generation, in no particular order.
pub(crate) fn window_rows<'a>(
    namespace: &'a Namespace,
    generation: Generation,
    window_size_s: u32,
    windows: &'a MeterWindows,
) -> impl Iterator<Item = WindowRow<'a>> {
    windows.windows.iter().map(row_of(namespace, generation, window_size_s))
}

/// The same in the order at rest.
pub(crate) fn window_rows_in_order<'a>(
    namespace: &'a Namespace,
    generation: Generation,
    window_size_s: u32,
    windows: &'a MeterWindows,
) -> impl Iterator<Item = WindowRow<'a>> {
    windows.windows.in_order().map(row_of(namespace, generation, window_size_s))
}

fn row_of<'a>(
    namespace: &'a Namespace,
    generation: Generation,
    window_size_s: u32,
) -> impl Fn((WindowKeyRef<'a>, &'a WindowState)) -> WindowRow<'a> {
    move |(key, state)| WindowRow { namespace, generation, window_size_s, key, state }
}

/// The columns of `schema` (all of `schema::windows`, or some) for `rows`, in their order.
pub fn windows_to_batch(rows: &[WindowRow<'_>], schema: &SchemaRef) -> Result<RecordBatch, StoreError> {
    build(schema, rows.len(), |name| {
        let states = || rows.iter().map(|row| row.state);
        let values = || states().map(|state| state.values.as_deref());
        let latest = || values().map(|values| values.map(|values| values.latest.0));
        let integers = |pick: fn(&WindowState) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(states().map(pick)))
        };
        let decimals = |pick: fn(&Values) -> Decimal| -> ArrayRef {
            let values = values().map(|values| values.map(|values| pick(values).unscaled()));
            Arc::new(Decimal256Array::from_iter(values).with_data_type(schema::DECIMAL))
        };
        let latest_times = |pick: fn(LatestKey) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter(latest().map(|key| key.map(pick))))
        };
        let latest_numbers = |pick: fn(LatestKey) -> u32| -> ArrayRef {
            Arc::new(UInt32Array::from_iter(latest().map(|key| key.map(pick))))
        };
        Ok(match name {
            "events" => integers(|s| s.events),
            "counted" => integers(|s| s.counted),
            "sum" => {
                let sums = Decimal256Array::from_iter_values(states().map(|state| state.sum().unscaled()));
                Arc::new(sums.with_data_type(schema::DECIMAL))
            }
            "min" => decimals(|v| v.min),
            "max" => decimals(|v| v.max),
            "latest" => decimals(|v| v.latest.1),
            "latest_time" => latest_times(|key| key.time_us),
            "latest_record_time" => latest_times(|key| key.record_time_us),
            "latest_epoch" => latest_numbers(|key| key.at.epoch),
            "latest_partition" => latest_numbers(|key| key.at.partition),
            "latest_offset" => Arc::new(UInt64Array::from_iter(latest().map(|key| key.map(|k| k.at.offset)))),
            "first_minute" => integers(|s| s.first_minute_us),
            "last_minute" => integers(|s| s.last_minute_us),
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

/// What windows and members have in common.
pub(super) struct Key<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) generation: Generation,
    pub(super) window_size_s: u32,
    pub(super) key: WindowKeyRef<'a>,
}

pub(super) fn key_column<'a>(
    name: &str,
    keys: impl Iterator<Item = Key<'a>>,
) -> Result<ArrayRef, StoreError> {
    Ok(match name {
        "namespace" => Arc::new(StringArray::from_iter_values(keys.map(|k| k.namespace.as_str()))),
        "meter" => hashes(keys.map(|k| k.generation.meter.0))?,
        "generation" => Arc::new(UInt32Array::from_iter_values(keys.map(|k| k.generation.generation))),
        "window_size" => Arc::new(UInt32Array::from_iter_values(keys.map(|k| k.window_size_s))),
        "subject" => Arc::new(StringArray::from_iter_values(keys.map(|k| k.key.subject))),
        "window_start" => Arc::new(Int64Array::from_iter_values(keys.map(|k| k.key.start_us))),
        "groups" => {
            let item = Arc::new(Field::new("item", DataType::Utf8, false));
            let mut lists = ListBuilder::new(StringBuilder::new()).with_field(item);
            for key in keys {
                for group in key.key.groups {
                    lists.values().append_value(group);
                }
                lists.append(true);
            }
            Arc::new(lists.finish())
        }
        other => return Err(unknown_column(other)),
    })
}
