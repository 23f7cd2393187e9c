//! Columns of a batch by name and type. A batch that lacks one, or has it in another type, is an error
//! that names it.

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};

use super::failed;
use crate::StoreError;

pub(super) fn typed<'b, A: 'b>(
    batch: &'b RecordBatch,
    name: &str,
    cast: impl FnOnce(&'b ArrayRef) -> Option<&'b A>,
) -> Result<&'b A, StoreError> {
    batch
        .column_by_name(name)
        .and_then(cast)
        .ok_or_else(|| failed("reading a batch", &format!("the column {name} is missing or of another type")))
}

pub(super) fn u32s<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b UInt32Array, StoreError> {
    typed(batch, name, |a| a.as_primitive_opt::<UInt32Type>())
}

pub(super) fn u64s<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b UInt64Array, StoreError> {
    typed(batch, name, |a| a.as_primitive_opt::<UInt64Type>())
}

pub(crate) fn i64s<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b Int64Array, StoreError> {
    typed(batch, name, |a| a.as_primitive_opt::<Int64Type>())
}

pub(crate) fn texts<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, StoreError> {
    typed(batch, name, |a| a.as_string_opt::<i32>())
}

/// A column of 16 bytes in each row.
pub(super) fn hash_column<'b>(
    batch: &'b RecordBatch,
    name: &str,
) -> Result<&'b FixedSizeBinaryArray, StoreError> {
    let array = typed(batch, name, |a| a.as_fixed_size_binary_opt())?;
    if array.value_length() == 16 && array.null_count() == 0 {
        return Ok(array);
    }
    Err(failed("reading a batch", &format!("the column {name} does not hold 16 bytes in each row")))
}

/// One value of a `hash_column`.
pub(super) fn hash_at(array: &FixedSizeBinaryArray, row: usize) -> u128 {
    array.value(row).try_into().map_or(0, u128::from_be_bytes)
}
