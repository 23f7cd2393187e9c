//! What a scan reads and what it reports. Sources are segments or pieces of the head; a scan never
//! learns where the line between them runs.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use futures::Stream;
use weir_meter::segment::Segment;
use weir_meter::{Generation, Namespace, OffsetRange};

use crate::StoreError;
use crate::head::PieceSnapshot;
use crate::row::{Fate, Row};

pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, StoreError>> + Send>>;

/// What a scan has read so far; shared with the answer's `Weir-Read` header.
#[derive(Debug, Default)]
pub struct ScanCounters {
    pub window_rows: AtomicU64,
    pub event_rows: AtomicU64,
    /// Bytes read from files (compressed), as far as known.
    pub bytes: AtomicU64,
    pub segments: AtomicU64,
}

impl ScanCounters {
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
pub enum RowSource {
    Segment(Arc<Segment>),
    Piece(Arc<PieceSnapshot>),
}

pub type WindowSource = RowSource;

/// Which rows at rest to read. All conditions hold together.
#[derive(Clone, Debug)]
pub struct RowScan {
    pub sources: Vec<RowSource>,
    /// Only rows at these offsets; None means every offset of the sources.
    pub offsets: Option<Vec<OffsetRange>>,
    /// None reads rows of every namespace: only the aggregator may, to rebuild its index.
    pub namespace: Option<Namespace>,
    pub event_type: Option<String>,
    /// None means every subject.
    pub subjects: Option<Vec<String>>,
    /// Only events with a time in one of these half-open ranges of microseconds; None means any.
    pub times_us: Option<Vec<(i64, i64)>>,
    /// Only counted events (true), or every fate.
    pub counted_only: bool,
    /// Only rows recorded later than this; None means any.
    pub recorded_after_us: Option<i64>,
    /// Names of the columns wanted, in `schema::rows` order.
    pub columns: Vec<&'static str>,
    pub counters: Arc<ScanCounters>,
}

impl RowScan {
    /// The scan's conditions for one row in memory. What comes from files is asked the same.
    pub fn matches(&self, row: &Row) -> bool {
        let event = row.event.as_ref();
        self.offsets.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(row.at)))
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == row.namespace)
            && self.event_type.as_ref().is_none_or(|wanted| event.is_some_and(|e| *e.event_type == **wanted))
            && self
                .subjects
                .as_ref()
                .is_none_or(|wanted| event.is_some_and(|e| wanted.iter().any(|s| **s == *e.subject)))
            && self.times_us.as_ref().is_none_or(|ranges| {
                event.is_some_and(|e| ranges.iter().any(|(from, to)| *from <= e.time_us && e.time_us < *to))
            })
            && (!self.counted_only || row.fate == Fate::Counted)
            && self.recorded_after_us.is_none_or(|after_us| row.record_time_us > after_us)
    }
}

/// Which windows (or members) of one meter generation to read.
#[derive(Clone, Debug)]
pub struct WindowScan {
    pub sources: Vec<WindowSource>,
    pub namespace: Namespace,
    pub generation: Generation,
    /// Size of the wanted windows in seconds.
    pub window_size_s: u32,
    /// None means every subject.
    pub subjects: Option<Vec<String>>,
    /// Only windows whose start lies in one of these half-open ranges of microseconds; None means any.
    pub starts_us: Option<Vec<(i64, i64)>>,
    /// Names of the columns wanted, in schema order.
    pub columns: Vec<&'static str>,
    pub counters: Arc<ScanCounters>,
}
