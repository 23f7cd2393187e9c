//! Between what folding holds in memory and the Arrow schemas at rest. Files, head and rows that a
//! query folded itself all go through here, so that a reader cannot tell one from the other.

mod chunks;
mod columns;
mod foldable;
mod members;
mod rows;
mod stored;
mod windows;

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use weir_meter::window::MeterWindows;
use weir_meter::{Generation, Namespace};

use crate::{StoreError, schema};

pub(crate) use chunks::chunks_by_text;
pub(crate) use columns::{i64s, texts};
pub use foldable::{each_event, foldable_columns};
pub use members::{MemberRow, members_to_batch};
pub(crate) use members::{member_rows, member_rows_in_order};
pub use rows::{IDENTITY_COLUMNS, Identity, batch_to_rows, identities, rows_to_batch};
pub(crate) use stored::{StoredMembers, StoredRows, StoredWindows, WindowKeys};
pub use windows::{WindowRow, windows_to_batch};
pub(crate) use windows::{window_rows, window_rows_in_order};

/// Rows of one batch at most. Tests make batches small, to see several with few rows.
pub(crate) const BATCH_ROWS: usize = if cfg!(test) { 24 } else { 8_192 };

/// Text of one batch at most, unless a single row has more: scans, merges and writers each hold a few of
/// them.
pub(crate) const BATCH_TEXT_BYTES: usize = 4 << 20;

/// One meter generation's windows, as rows of `schema::windows`, in no particular order, and in batches
/// that are bounded by rows and by text. Without windows there is no batch.
pub fn window_batches_of(
    namespace: &Namespace,
    generation: Generation,
    window_size_s: u32,
    windows: &MeterWindows,
) -> Result<Vec<RecordBatch>, StoreError> {
    let rows: Vec<WindowRow<'_>> = window_rows(namespace, generation, window_size_s, windows).collect();
    let schema = schema::windows();
    chunks_by_text(&rows, |row| row.key.text_bytes())
        .map(|(rows, _)| windows_to_batch(rows, &schema))
        .collect()
}

/// The members of one UNIQUE_COUNT generation's windows, as rows of `schema::members`, in batches like
/// those of `window_batches_of`.
pub fn member_batches_of(
    namespace: &Namespace,
    generation: Generation,
    window_size_s: u32,
    windows: &MeterWindows,
) -> Result<Vec<RecordBatch>, StoreError> {
    let rows: Vec<MemberRow<'_>> = member_rows(namespace, generation, window_size_s, windows).collect();
    let schema = schema::members();
    chunks_by_text(&rows, |row| row.key.text_bytes())
        .map(|(rows, _)| members_to_batch(rows, &schema))
        .collect()
}

/// Builds the batch of `schema` column by column. A schema without fields still carries the count.
fn build(
    schema: &SchemaRef,
    row_count: usize,
    column: impl Fn(&str) -> Result<ArrayRef, StoreError>,
) -> Result<RecordBatch, StoreError> {
    let columns =
        schema.fields().iter().map(|field| column(field.name())).collect::<Result<Vec<_>, StoreError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| failed("building a batch", &error))
}

/// 16 big-endian bytes for each id or hash.
fn hashes(values: impl Iterator<Item = u128>) -> Result<ArrayRef, StoreError> {
    let bytes: Vec<u8> = values.flat_map(u128::to_be_bytes).collect();
    let array = FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), None)
        .map_err(|error| failed("building a column of hashes", &error))?;
    Ok(Arc::new(array))
}

fn unknown_column(name: &str) -> StoreError {
    StoreError::Arrow {
        context: "building a batch".to_owned(),
        reason: format!("no column is called {name}"),
    }
}

fn failed(context: &str, error: &impl std::fmt::Display) -> StoreError {
    StoreError::Arrow { context: context.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
