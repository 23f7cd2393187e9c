//! Cutting what goes into Arrow into batches of bounded size.

use super::{BATCH_ROWS, BATCH_TEXT_BYTES};

/// Cuts where a batch has enough rows or enough text. A single row may have more text than that.
pub(crate) fn chunks_by_text<T>(
    rows: &[T],
    text_bytes: impl Fn(&T) -> usize,
) -> impl Iterator<Item = (&[T], usize)> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for row in rest.iter().take(BATCH_ROWS) {
            let with_row = bytes.saturating_add(text_bytes(row));
            if count > 0 && with_row > BATCH_TEXT_BYTES {
                break;
            }
            (count, bytes) = (count + 1, with_row);
        }
        let (chunk, after) = rest.split_at_checked(count)?;
        rest = after;
        (!chunk.is_empty()).then_some((chunk, bytes))
    })
}
