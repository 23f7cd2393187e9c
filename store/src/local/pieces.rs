//! Scanning a piece of the head: the same rows, windows and members that its files will hold, asked
//! the same questions, without a file.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use hashbrown::HashSet;
use weir_meter::WriterId;
use weir_meter::segment::SegmentKind;
use weir_meter::window::{MeterWindows, WindowKeyRef};

use super::condition::in_ranges;
use super::read::{Wanted, count_rows};
use super::write::WINDOW_SIZE_S;
use crate::convert::{
    self, BATCH_ROWS, BATCH_TEXT_BYTES, MemberRow, WindowRow, chunks_by_text, member_rows, window_rows,
};
use crate::row::Row;
use crate::{PieceSnapshot, RowScan, ScanCounters, StoreError, WindowScan};

/// Rows that are not at rest have no writer.
const NO_WRITER: WriterId = WriterId(0);

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, StoreError>> + Send>;

pub(super) fn open(
    wanted: &Wanted,
    piece: &Arc<PieceSnapshot>,
    counters: &Arc<ScanCounters>,
) -> Result<Batches, StoreError> {
    let schema = wanted.schema();
    match wanted {
        Wanted::Rows(scan) => Ok(Box::new(PieceRows {
            piece: Arc::clone(piece),
            scan: scan.clone(),
            schema,
            counters: Arc::clone(counters),
            step: 0,
            at: 0,
        })),
        Wanted::Windows(scan) => windows(scan, piece, &schema, counters),
        Wanted::Members(scan) => members(scan, piece, &schema, counters),
    }
}

struct PieceRows {
    piece: Arc<PieceSnapshot>,
    scan: RowScan,
    schema: SchemaRef,
    counters: Arc<ScanCounters>,
    /// The folded step and the row in it that come next.
    step: usize,
    at: usize,
}

impl Iterator for PieceRows {
    type Item = Result<RecordBatch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chosen: Vec<&Row> = Vec::new();
        let (mut bytes, mut looked_at) = (0_usize, 0_usize);
        while let Some(step) = self.piece.rows.get(self.step) {
            let Some(row) = step.get(self.at) else {
                (self.step, self.at) = (self.step + 1, 0);
                continue;
            };
            if self.scan.matches(row) {
                bytes = bytes.saturating_add(row.text_bytes());
                if chosen.len() == BATCH_ROWS || (bytes > BATCH_TEXT_BYTES && !chosen.is_empty()) {
                    break;
                }
                chosen.push(row);
            }
            self.at += 1;
            looked_at += 1;
        }
        count_rows(SegmentKind::Rows, &self.counters, looked_at);
        if chosen.is_empty() {
            return None;
        }
        Some(convert::rows_to_batch(&chosen, NO_WRITER, &self.schema))
    }
}

fn windows(
    scan: &WindowScan,
    piece: &PieceSnapshot,
    schema: &SchemaRef,
    counters: &ScanCounters,
) -> Result<Batches, StoreError> {
    let Some(found) = of_scan(scan, piece) else { return Ok(Box::new(std::iter::empty())) };
    count_rows(SegmentKind::Windows, counters, found.windows.len());
    let asked = Asked::new(scan);
    let rows = window_rows(&scan.namespace, scan.generation, WINDOW_SIZE_S, found);
    let rows: Vec<WindowRow<'_>> = rows.filter(|row| asked.holds(row.key)).collect();
    let batches: Vec<_> = chunks_by_text(&rows, |row| row.key.text_bytes())
        .map(|(rows, _)| convert::windows_to_batch(rows, schema))
        .collect();
    Ok(Box::new(batches.into_iter()))
}

fn members(
    scan: &WindowScan,
    piece: &PieceSnapshot,
    schema: &SchemaRef,
    counters: &ScanCounters,
) -> Result<Batches, StoreError> {
    let Some(found) = of_scan(scan, piece) else { return Ok(Box::new(std::iter::empty())) };
    count_rows(SegmentKind::Members, counters, found.member_count());
    let asked = Asked::new(scan);
    let rows = member_rows(&scan.namespace, scan.generation, WINDOW_SIZE_S, found);
    let rows: Vec<MemberRow<'_>> = rows.filter(|row| asked.holds(row.key)).collect();
    let batches: Vec<_> = chunks_by_text(&rows, |row| row.key.text_bytes())
        .map(|(rows, _)| convert::members_to_batch(rows, schema))
        .collect();
    Ok(Box::new(batches.into_iter()))
}

/// The piece's windows of the scan's meter generation, if it is the scan's namespace that has it.
fn of_scan<'p>(scan: &WindowScan, piece: &'p PieceSnapshot) -> Option<&'p MeterWindows> {
    if scan.window_size_s != WINDOW_SIZE_S || piece.generations.get(&scan.generation) != Some(&scan.namespace)
    {
        return None;
    }
    piece.windows_of(scan.generation).map(AsRef::as_ref)
}

/// What a scan asks of a window's key.
struct Asked<'s> {
    subjects: Option<HashSet<&'s str>>,
    starts_us: Option<&'s [(i64, i64)]>,
}

impl<'s> Asked<'s> {
    fn new(scan: &'s WindowScan) -> Self {
        let subjects = scan.subjects.as_ref().map(|s| s.iter().map(String::as_str).collect());
        Self { subjects, starts_us: scan.starts_us.as_deref() }
    }

    fn holds(&self, key: WindowKeyRef<'_>) -> bool {
        self.subjects.as_ref().is_none_or(|subjects| subjects.contains(key.subject))
            && self.starts_us.is_none_or(|ranges| in_ranges(ranges, key.start_us))
    }
}
