//! "Every offset has its row": reads the coordinates of all rows at rest, and compares them with what each
//! segment says it covers. That the segments together cover every offset below the frontiers, and each
//! once, is seen in the catalog alone, by its own check.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use futures::StreamExt as _;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::{Coordinates, OffsetRange, SegmentId};
use weir_store::{RowScan, RowSource, Store, WindowScan};

use super::Report;
use super::store::tell;
use crate::data::AtRest;

/// Offsets of one segment that are named when they lack a row.
const NAMED_MAX: usize = 5;
/// Offsets of one segment whose rows are told apart: a bit each. Far above what compaction makes.
const OFFSETS_MAX: u64 = 1 << 33;

pub(super) async fn check(at_rest: &AtRest, bad: &HashSet<SegmentId>, report: &mut Report) {
    let segments = at_rest.listing.segments.iter().chain(&at_rest.listing.retired);
    for segment in segments.filter(|segment| !bad.contains(&segment.new.segment)) {
        match segment.new.kind {
            SegmentKind::Rows => segment_rows(at_rest, segment, report).await,
            SegmentKind::Windows | SegmentKind::Members => footer(at_rest, segment, report).await,
        }
    }
}

/// The offsets of one segment, a bit each.
struct Seen {
    /// Each range with the number of its first offset.
    ranges: Vec<(OffsetRange, u64)>,
    bits: Vec<u64>,
    rows: u64,
    twice: Vec<Coordinates>,
    foreign: Vec<Coordinates>,
}

impl Seen {
    fn new(segment: &Segment) -> Option<Self> {
        let mut ranges = Vec::with_capacity(segment.new.coverage.ranges.len());
        let mut count = 0_u64;
        for range in &segment.new.coverage.ranges {
            ranges.push((*range, count));
            count = count.checked_add(range.len()).filter(|count| *count <= OFFSETS_MAX)?;
        }
        ranges.sort_unstable();
        let words = usize::try_from(count.div_ceil(64)).ok()?;
        Some(Self { ranges, bits: vec![0; words], rows: 0, twice: Vec::new(), foreign: Vec::new() })
    }

    fn see(&mut self, at: Coordinates) {
        self.rows = self.rows.saturating_add(1);
        let after = self
            .ranges
            .partition_point(|(r, _)| (r.epoch, r.partition, r.from) <= (at.epoch, at.partition, at.offset));
        let found =
            after.checked_sub(1).and_then(|index| self.ranges.get(index)).filter(|(r, _)| r.contains(at));
        let Some((range, first)) = found else {
            keep(&mut self.foreign, at);
            return;
        };
        let number = first.saturating_add(at.offset.saturating_sub(range.from));
        let Some(word) = self.bits.get_mut((number / 64) as usize) else { return };
        let bit = 1_u64 << (number % 64);
        if *word & bit != 0 {
            keep(&mut self.twice, at);
        }
        *word |= bit;
    }

    /// How many offsets had no row, and the first of them.
    fn missing(&self) -> (u64, Vec<Coordinates>) {
        let (mut count, mut named) = (0_u64, Vec::new());
        for (range, first) in &self.ranges {
            for offset in range.from..range.to {
                let number = first.saturating_add(offset.saturating_sub(range.from));
                let word = self.bits.get((number / 64) as usize).copied().unwrap_or_default();
                if word & (1 << (number % 64)) == 0 {
                    count = count.saturating_add(1);
                    keep(&mut named, Coordinates { epoch: range.epoch, partition: range.partition, offset });
                }
            }
        }
        (count, named)
    }
}

fn keep(list: &mut Vec<Coordinates>, at: Coordinates) {
    if list.len() < NAMED_MAX {
        list.push(at);
    }
}

async fn segment_rows(at_rest: &AtRest, segment: &Arc<Segment>, report: &mut Report) {
    let name = &segment.new.location;
    let Some(mut seen) = Seen::new(segment) else {
        report.problem(format!("{name}: it says it covers more offsets than any segment can"));
        return;
    };
    let mut batches = at_rest.store.scan_rows(RowScan {
        sources: vec![RowSource::Segment(Arc::clone(segment))],
        offsets: None,
        namespace: None,
        event_type: None,
        subjects: None,
        times_us: None,
        counted_only: false,
        recorded_after_us: None,
        columns: vec!["epoch", "partition", "offset"],
        counters: Arc::default(),
    });
    while let Some(batch) = batches.next().await {
        match batch {
            Ok(batch) if read(&batch, &mut seen).is_some() => {}
            Ok(_) => {
                report.problem(format!("{name}: its rows lack their coordinates"));
                return;
            }
            Err(error) => {
                report.problem(error.to_string());
                return;
            }
        }
    }
    report.rows = report.rows.saturating_add(seen.rows);
    if !seen.twice.is_empty() {
        report.problem(format!("{name}: it has more than one row of {}", list(&seen.twice)));
    }
    if !seen.foreign.is_empty() {
        report.problem(format!(
            "{name}: it has rows of offsets that it does not cover: {}",
            list(&seen.foreign)
        ));
    }
    let (missing, named) = seen.missing();
    if missing != segment.new.dropped_rows {
        report.problem(format!(
            "{name}: {missing} of the offsets that it covers have no row, and {} were dropped by retention; \
             the first without a row: {}",
            segment.new.dropped_rows,
            if named.is_empty() { "none".to_owned() } else { list(&named) }
        ));
    }
}

fn read(batch: &RecordBatch, seen: &mut Seen) -> Option<()> {
    let epochs = batch.column_by_name("epoch")?.as_primitive_opt::<UInt32Type>()?;
    let partitions = batch.column_by_name("partition")?.as_primitive_opt::<UInt32Type>()?;
    let offsets = batch.column_by_name("offset")?.as_primitive_opt::<UInt64Type>()?;
    for row in 0..batch.num_rows() {
        let (epoch, partition, offset) = (epochs.value(row), partitions.value(row), offsets.value(row));
        seen.see(Coordinates { epoch, partition, offset });
    }
    Some(())
}

/// Opening a file compares its footer with the listing. Nothing of it is wanted besides.
async fn footer(at_rest: &AtRest, segment: &Arc<Segment>, report: &mut Report) {
    let scan = WindowScan {
        sources: vec![RowSource::Segment(Arc::clone(segment))],
        namespace: weir_meter::Namespace::default(),
        generation: weir_meter::Generation { meter: weir_meter::MeterId(0), generation: 0 },
        window_size_s: segment.new.coverage.window_size_s,
        subjects: None,
        starts_us: None,
        columns: vec!["window_start"],
        counters: Arc::default(),
    };
    let mut batches = match segment.new.kind {
        SegmentKind::Members => at_rest.store.scan_members(scan),
        _ => at_rest.store.scan_windows(scan),
    };
    while let Some(batch) = batches.next().await {
        if let Err(error) = batch {
            tell(segment, &error.to_string(), report);
            return;
        }
    }
}

fn list(places: &[Coordinates]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
