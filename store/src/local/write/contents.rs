//! What the files of a piece hold, checked, in the order at rest, and cut into batches.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use weir_meter::segment::SegmentKind;
use weir_meter::{Coordinates, OffsetRange, WriterId};

use super::WINDOW_SIZE_S;
use crate::convert::{self, BATCH_ROWS, MemberRow, WindowRow};
use crate::local::pieces::BATCH_TEXT_BYTES;
use crate::row::Row;
use crate::{FlushPiece, StoreError};

/// Sorted references into a piece.
pub(super) enum Contents<'p> {
    Rows(Vec<&'p Row>),
    Windows(Vec<WindowRow<'p>>),
    Members(Vec<MemberRow<'p>>),
}

/// Every offset of the piece's ranges has exactly one row, and there are no others.
pub(super) fn check(piece: &FlushPiece) -> Result<(), StoreError> {
    let offsets: u64 = piece.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.len()));
    if offsets != piece.row_count() as u64 {
        return Err(StoreError::Inconsistent(format!(
            "it has {} rows for {offsets} offsets of {}",
            piece.row_count(),
            shown(&piece.ranges)
        )));
    }
    let mut places: Vec<Coordinates> =
        piece.rows.iter().flat_map(|step| step.iter().map(|row| row.at)).collect();
    places.sort_unstable();
    let mut ranges = piece.ranges.clone();
    ranges.sort_unstable();
    let expected = ranges.iter().flat_map(|range| {
        (range.from..range.to).map(|offset| Coordinates {
            epoch: range.epoch,
            partition: range.partition,
            offset,
        })
    });
    match places.iter().zip(expected).find(|(place, expected)| **place != *expected) {
        None => Ok(()),
        Some((place, expected)) => Err(StoreError::Inconsistent(format!(
            "it has a row at {place} where the row at {expected} should be; it says that it holds {}",
            shown(&piece.ranges)
        ))),
    }
}

fn shown(ranges: &[OffsetRange]) -> String {
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl<'p> Contents<'p> {
    pub(super) fn of(piece: &'p FlushPiece, kind: SegmentKind) -> Result<Self, StoreError> {
        match kind {
            SegmentKind::Rows => {
                let mut rows: Vec<&Row> = piece.rows.iter().flat_map(|step| step.iter()).collect();
                rows.sort_unstable_by(|a, b| order_of(a).cmp(&order_of(b)));
                Ok(Self::Rows(rows))
            }
            SegmentKind::Windows => windows(piece).map(Self::Windows),
            SegmentKind::Members => members(piece).map(Self::Members),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Windows(rows) => rows.len(),
            Self::Members(rows) => rows.len(),
        }
    }

    /// Earliest and latest event time or window start.
    pub(super) fn time_range_us(&self) -> Option<(i64, i64)> {
        match self {
            Self::Rows(rows) => extent(rows.iter().filter_map(|row| row.event.as_ref().map(|e| e.time_us))),
            Self::Windows(rows) => extent(rows.iter().map(|row| row.key.start_us)),
            Self::Members(rows) => extent(rows.iter().map(|row| row.key.start_us)),
        }
    }

    /// Batches in order, each with the bytes of text in it that nothing else bounds.
    pub(super) fn batches<'s>(
        &'s self,
        writer: WriterId,
        schema: &'s SchemaRef,
    ) -> Box<dyn Iterator<Item = Result<(RecordBatch, usize), StoreError>> + 's> {
        match self {
            Self::Rows(rows) => {
                Box::new(chunks_by_text(rows, |row| row.text_bytes()).map(move |(rows, bytes)| {
                    convert::rows_to_batch(rows, writer, schema).map(|batch| (batch, bytes))
                }))
            }
            Self::Windows(rows) => {
                Box::new(chunks_by_text(rows, |row| row.key.text_bytes()).map(move |(rows, bytes)| {
                    convert::windows_to_batch(rows, schema).map(|batch| (batch, bytes))
                }))
            }
            Self::Members(rows) => {
                Box::new(chunks_by_text(rows, |row| row.key.text_bytes()).map(move |(rows, bytes)| {
                    convert::members_to_batch(rows, schema).map(|batch| (batch, bytes))
                }))
            }
        }
    }
}

/// Bare rows come first in their namespace: they have no type.
fn order_of(row: &Row) -> (&str, Option<(&str, &str, i64)>, Coordinates) {
    let event = row.event.as_ref().map(|e| (&*e.event_type, &*e.subject, e.time_us));
    (row.namespace.as_str(), event, row.at)
}

fn windows(piece: &FlushPiece) -> Result<Vec<WindowRow<'_>>, StoreError> {
    let mut rows = Vec::new();
    for (generation, of_meter) in &piece.windows.meters {
        let namespace = piece.generations.get(generation).ok_or_else(|| stray(generation))?;
        rows.extend(of_meter.windows.iter().map(|(key, state)| WindowRow {
            namespace,
            generation: *generation,
            window_size_s: WINDOW_SIZE_S,
            key,
            state,
        }));
    }
    rows.sort_unstable_by(|a, b| (a.namespace, a.generation, a.key).cmp(&(b.namespace, b.generation, b.key)));
    Ok(rows)
}

fn members(piece: &FlushPiece) -> Result<Vec<MemberRow<'_>>, StoreError> {
    let mut rows = Vec::new();
    for (generation, of_meter) in &piece.windows.meters {
        let namespace = piece.generations.get(generation).ok_or_else(|| stray(generation))?;
        for (key, members) in of_meter.members.iter() {
            rows.extend(members.iter().map(|(member, holders)| MemberRow {
                namespace,
                generation: *generation,
                window_size_s: WINDOW_SIZE_S,
                key,
                member: *member,
                holders: *holders,
            }));
        }
    }
    rows.sort_unstable_by(|a, b| {
        (a.namespace, a.generation, a.key, a.member).cmp(&(b.namespace, b.generation, b.key, b.member))
    });
    Ok(rows)
}

fn stray(generation: &weir_meter::Generation) -> StoreError {
    StoreError::Inconsistent(format!(
        "it has windows of meter {} generation {}, which it says it did not fold",
        generation.meter, generation.generation
    ))
}

fn extent(values: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    values.fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((least, greatest)) => Some((value.min(least), value.max(greatest))),
    })
}

/// Cuts where a batch has enough rows or enough text. A single row may have more text than that.
pub(in crate::local) fn chunks_by_text<T>(
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_meter::window::{MINUTE_US, WindowKeyRef, WindowSet};

    use super::*;
    use crate::schema;

    #[test]
    fn windows_with_long_group_values_come_in_several_batches() {
        let generation = weir_meter::Generation { meter: weir_meter::MeterId(1), generation: 1 };
        let long = "x".repeat(BATCH_TEXT_BYTES / 4);
        let mut windows = WindowSet::default();
        let of_meter = Arc::make_mut(windows.meters.entry(generation).or_default());
        for minute in 0..5 {
            let groups = [long.as_str(), long.as_str()];
            let key = WindowKeyRef { subject: "s", start_us: minute * MINUTE_US, groups: &groups };
            of_meter.windows.entry(key).add_event(minute * MINUTE_US);
            of_meter.add_member(key, 1);
        }
        let piece = FlushPiece {
            ranges: Vec::new(),
            revision: 1,
            generations: Arc::new([(generation, weir_meter::Namespace::default())].into()),
            left_out: Vec::new(),
            rows: Vec::new(),
            windows,
        };
        for kind in [SegmentKind::Windows, SegmentKind::Members] {
            let contents = Contents::of(&piece, kind).unwrap();
            let schema = schema::of_kind(kind);
            let batches: Vec<_> = contents.batches(WriterId(1), &schema).map(Result::unwrap).collect();
            let rows: Vec<usize> = batches.iter().map(|(batch, _)| batch.num_rows()).collect();
            assert_eq!(rows, [1, 1, 1, 1, 1], "{kind:?}");
            assert!(batches.iter().all(|(_, bytes)| *bytes > BATCH_TEXT_BYTES / 2), "{kind:?}");
        }
    }
}
