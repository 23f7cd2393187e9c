//! Events below the floor, as the bare rows that they become. A bare row has its place before all events
//! of its namespace, so these are collected before the merge proper and then take part in it as inputs of
//! their own: sorted in memory, and where they are many, written aside as sorted files.

use std::sync::Arc;

use arrow::array::{Array as _, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use weir_meter::environment::Entropy;
use weir_meter::segment::SegmentKind;
use weir_meter::{SegmentId, WriterId};

use super::input::Input;
use super::picks::{RowPage, copied};
use super::rows::{Rules, Verdict};
use super::sorted::Page as _;
use super::{Memory, go_on};
use crate::convert::{BATCH_ROWS, i64s, texts};
use crate::local::Shared;
use crate::local::read::{self, Wanted};
use crate::local::write::{Made, SegmentWriter};
use crate::{Merge, RowScan, StoreError, schema};

/// Rows that are sorted in memory at a time, each of about 150 bytes.
const SORTED_ROWS: usize = if cfg!(test) { 48 } else { 1 << 18 };

/// What a bare row keeps.
const KEPT: [&str; 17] = [
    "epoch",
    "partition",
    "offset",
    "record_time",
    "record_time_raw",
    "namespace",
    "kind",
    "fate",
    "sign",
    "target_epoch",
    "target_partition",
    "target_offset",
    "identity",
    "content",
    "request",
    "writer",
    "stored_at",
];

pub(super) struct Bared {
    pub(super) inputs: Vec<Input>,
    pub(super) rows: u64,
    /// Events whose bare row would have gone at once.
    pub(super) dropped: u64,
    /// Files that some of the inputs read; gone with this value.
    pub(super) files: Vec<Made>,
}

pub(super) fn make(
    shared: &Shared,
    entropy: &dyn Entropy,
    writer: WriterId,
    merge: &Merge,
    rules: &Rules<'_>,
    memory: Memory,
) -> Result<Bared, StoreError> {
    let mut bared = Bared { inputs: Vec::new(), rows: 0, dropped: 0, files: Vec::new() };
    let Some(highest) = rules.highest_floor() else { return Ok(bared) };
    let wanted = Wanted::Rows(RowScan {
        sources: Vec::new(),
        offsets: None,
        namespace: None,
        event_type: None,
        subjects: None,
        times_us: Some(vec![(i64::MIN, highest)]),
        counted_only: false,
        recorded_after_us: None,
        columns: KEPT.into_iter().chain(["time"]).collect(),
        counters: Arc::default(),
    });
    let (mut waiting, mut waiting_rows) = (Vec::new(), 0_usize);
    for input in &merge.inputs {
        for batch in read::open(shared, &wanted, input, &Arc::default())? {
            go_on(&merge.stop)?;
            let (batch, dropped) = bare(&batch?, rules)?;
            bared.dropped = bared.dropped.saturating_add(dropped);
            bared.rows = bared.rows.saturating_add(batch.num_rows() as u64);
            waiting_rows = waiting_rows.saturating_add(batch.num_rows());
            waiting.push(batch);
            if waiting_rows >= SORTED_ROWS {
                let segment = SegmentId(entropy.random_u128());
                let mut file =
                    SegmentWriter::new(shared, writer, segment, SegmentKind::Rows, merge.coverage.clone());
                for batch in sorted(std::mem::take(&mut waiting))? {
                    file.push(&batch, 0)?;
                }
                waiting_rows = 0;
                let made = file.finish()?;
                for segment in made.segments() {
                    bared.inputs.push(Input::of_own(shared, segment, memory.input_text_bytes, &merge.stop)?);
                }
                bared.files.push(made);
            }
        }
    }
    bared.inputs.push(Input::of_batches(sorted(waiting)?, &merge.stop));
    Ok(bared)
}

/// Those rows of a batch that turn bare, as bare rows, and how many of the others go.
fn bare(batch: &RecordBatch, rules: &Rules<'_>) -> Result<(RecordBatch, u64), StoreError> {
    let (namespaces, times) = (texts(batch, "namespace")?, i64s(batch, "time")?);
    let record_times = i64s(batch, "record_time")?;
    let mut dropped: u64 = 0;
    let turns: BooleanArray = (0..batch.num_rows())
        .map(|row| {
            let time = times.is_valid(row).then(|| times.value(row));
            let verdict = rules.verdict(namespaces.value(row), time, record_times.value(row));
            dropped = dropped.saturating_add(u64::from(verdict == Verdict::Goes));
            Some(verdict == Verdict::TurnsBare)
        })
        .collect();
    let kept = filter_record_batch(batch, &turns).map_err(|error| failed(&error))?;
    let schema = schema::rows();
    let columns = schema.fields().iter().map(|field| match kept.column_by_name(field.name()) {
        Some(column) if KEPT.contains(&field.name().as_str()) => Arc::clone(column),
        _ => new_null_array(field.data_type(), kept.num_rows()),
    });
    let columns = columns.collect();
    Ok((RecordBatch::try_new(schema, columns).map_err(|error| failed(&error))?, dropped))
}

/// The same rows in the order at rest.
fn sorted(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, StoreError> {
    let pages: Vec<RowPage> = batches.iter().cloned().map(RowPage::of).collect::<Result<_, _>>()?;
    let mut rows: Vec<(&RowPage, usize, usize)> = Vec::new();
    for (place, page) in pages.iter().enumerate() {
        rows.extend((0..page.len()).map(|row| (page, place, row)));
    }
    rows.sort_unstable_by(|(a, _, row), (b, _, other)| a.compare(*row, b, *other));
    let rows: Vec<(usize, usize)> = rows.into_iter().map(|(_, place, row)| (place, row)).collect();
    rows.chunks(BATCH_ROWS).map(|rows| copied(&batches, rows)).collect()
}

fn failed(error: &ArrowError) -> StoreError {
    StoreError::Arrow { context: "making rows bare".to_owned(), reason: error.to_string() }
}
