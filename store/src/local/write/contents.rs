//! What the files of a piece hold, checked, in the order at rest, and cut into batches.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use hashbrown::HashMap;
use weir_meter::segment::SegmentKind;
use weir_meter::window::MeterWindows;
use weir_meter::{Coordinates, Generation, Namespace, OffsetRange, WriterId};

use super::WINDOW_SIZE_S;
use crate::convert::{
    self, MemberRow, WindowRow, chunks_by_text, member_rows_in_order, window_rows_in_order,
};
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
                let rows: Vec<&Row> = piece.rows.iter().flat_map(|step| step.iter()).collect();
                Ok(Self::Rows(in_order(rows)))
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

/// By namespace, type, subject and time, then as they came. Bare rows come first in their namespace: they have
/// no type. What many rows have in common is sorted once, and rows by its place among the others.
fn in_order(rows: Vec<&Row>) -> Vec<&Row> {
    let mut numbers: HashMap<Series<'_>, usize> = HashMap::new();
    let mut keyed: Vec<_> = rows
        .into_iter()
        .map(|row| {
            let next = numbers.len();
            let number = *numbers.entry(series(row)).or_insert(next);
            (number, row.event.as_ref().map(|event| event.time_us), row.at, row)
        })
        .collect();
    let mut order: Vec<(Series<'_>, usize)> = numbers.into_iter().collect();
    order.sort_unstable();
    let mut ranks = vec![0; order.len()];
    for (rank, (_, number)) in order.into_iter().enumerate() {
        if let Some(place) = ranks.get_mut(number) {
            *place = rank;
        }
    }
    keyed.sort_unstable_by_key(|(number, time_us, at, _)| (ranks.get(*number), *time_us, *at));
    keyed.into_iter().map(|(.., row)| row).collect()
}

/// Namespace, and type and subject of an event.
type Series<'a> = (&'a str, Option<(&'a str, &'a str)>);

fn series(row: &Row) -> Series<'_> {
    (row.namespace.as_str(), row.event.as_ref().map(|event| (&*event.event_type, &*event.subject)))
}

fn windows(piece: &FlushPiece) -> Result<Vec<WindowRow<'_>>, StoreError> {
    let of_meters = meters_in_order(piece)?.into_iter().flat_map(|(namespace, generation, windows)| {
        window_rows_in_order(namespace, generation, WINDOW_SIZE_S, windows)
    });
    Ok(of_meters.collect())
}

fn members(piece: &FlushPiece) -> Result<Vec<MemberRow<'_>>, StoreError> {
    let of_meters = meters_in_order(piece)?.into_iter().flat_map(|(namespace, generation, windows)| {
        member_rows_in_order(namespace, generation, WINDOW_SIZE_S, windows)
    });
    Ok(of_meters.collect())
}

/// The order at rest begins with namespace and generation.
fn meters_in_order(piece: &FlushPiece) -> Result<Vec<(&Namespace, Generation, &MeterWindows)>, StoreError> {
    let mut meters = Vec::with_capacity(piece.windows.meters.len());
    for (generation, windows) in &piece.windows.meters {
        let namespace = piece.generations.get(generation).ok_or_else(|| stray(generation))?;
        meters.push((namespace, *generation, windows.as_ref()));
    }
    meters.sort_unstable_by_key(|(namespace, generation, _)| (*namespace, *generation));
    Ok(meters)
}

fn stray(generation: &Generation) -> StoreError {
    StoreError::Inconsistent(format!(
        "it has windows of meter {} generation {}, which it says it did not fold",
        generation.meter, generation.generation
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_meter::window::{MINUTE_US, WindowKeyRef, WindowSet};

    use super::*;
    use crate::convert::BATCH_TEXT_BYTES;
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
            let (place, state) = of_meter.windows.place(key);
            state.add_event(minute * MINUTE_US);
            of_meter.add_member(place, 1);
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
