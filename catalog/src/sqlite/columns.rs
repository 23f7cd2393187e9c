//! Between columns and values: SQLite knows signed 64-bit integers, text and bytes. A stored value
//! that does not fit its type means that something else has written to the file.

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type};
use weir_meter::OffsetRange;

use crate::CatalogError;

/// A column as SQLite knows it.
pub(super) fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, CatalogError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get(column).map_err(|error| damaged(column, &error.to_string()))
}

/// An integer that is smaller or unsigned in memory.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<T, CatalogError> {
    let stored: i64 = get(row, column)?;
    T::try_from(stored).map_err(|_| damaged(column, &format!("{stored} is out of range")))
}

pub(super) fn bytes<const N: usize>(row: &SqliteRow, column: &str) -> Result<[u8; N], CatalogError> {
    let stored: &[u8] = get(row, column)?;
    stored.try_into().map_err(|_| damaged(column, &format!("{} bytes instead of {N}", stored.len())))
}

pub(super) fn id(row: &SqliteRow, column: &str) -> Result<u128, CatalogError> {
    bytes(row, column).map(u128::from_be_bytes)
}

pub(super) fn range(row: &SqliteRow) -> Result<OffsetRange, CatalogError> {
    Ok(OffsetRange {
        epoch: number(row, "epoch")?,
        partition: number(row, "partition")?,
        from: number(row, "from_offset")?,
        to: number(row, "to_offset")?,
    })
}

/// 16 big-endian bytes, the form at rest.
pub(super) fn blob(id: u128) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

/// For binding. Callers have refused what does not fit.
pub(super) fn signed(value: u64, what: &str) -> Result<i64, CatalogError> {
    i64::try_from(value)
        .map_err(|_| CatalogError::Conflict(format!("{what} is {value}, more than the catalog can keep")))
}

pub(super) fn damaged(what: &str, reason: &str) -> CatalogError {
    CatalogError::Unusable(format!("the catalog is damaged: {what}: {reason}; restore a copy of it"))
}
