//! Scanning: batches of one source after the other, decoded on threads that may wait, one batch for
//! each that the reader asks for. So a slow reader holds no thread, and a reader that goes away
//! stops the work.

mod file;
mod wanted;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt as _};
use metrics::counter;
use weir_meter::segment::SegmentKind;

use super::{Shared, pieces};
use crate::metrics::ROWS_SCANNED;
use crate::{RowSource, ScanCounters, StoreError};

pub(super) use file::{open, open_whole};
pub(super) use wanted::Wanted;

pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, StoreError>> + Send>;

enum Stage {
    Closed(RowSource),
    Open(Batches),
}

/// The matching rows of one source. Nothing is opened before the first batch is asked for; nothing
/// comes after an error.
pub(super) fn stream(
    shared: Arc<Shared>,
    wanted: Arc<Wanted>,
    source: RowSource,
    counters: Arc<ScanCounters>,
) -> BoxStream<'static, Result<RecordBatch, StoreError>> {
    let name = match &source {
        RowSource::Segment(segment) => segment.new.location.clone(),
        RowSource::Piece(_) => "the head".to_owned(),
    };
    stream::unfold(Some(Stage::Closed(source)), move |stage| {
        let (shared, wanted, counters) = (Arc::clone(&shared), Arc::clone(&wanted), Arc::clone(&counters));
        let name = name.clone();
        async move {
            let stage = stage?;
            let work = tokio::task::spawn_blocking(move || next(&shared, &wanted, &counters, stage));
            match work.await {
                Ok(None) => None,
                Ok(Some((Ok(batch), batches))) => Some((Ok(batch), Some(Stage::Open(batches)))),
                Ok(Some((Err(error), _))) => Some((Err(error), None)),
                Err(error) => Some((Err(broken_off(name, &error)), None)),
            }
        }
    })
    .boxed()
}

fn next(
    shared: &Shared,
    wanted: &Wanted,
    counters: &Arc<ScanCounters>,
    stage: Stage,
) -> Option<(Result<RecordBatch, StoreError>, Batches)> {
    let opened = match stage {
        Stage::Open(batches) => Ok(batches),
        Stage::Closed(RowSource::Segment(segment)) => open(shared, wanted, &segment, counters),
        Stage::Closed(RowSource::Piece(piece)) => pieces::open(wanted, &piece, counters),
    };
    let mut batches = match opened {
        Ok(batches) => batches,
        Err(error) => return Some((Err(error), Box::new(std::iter::empty()))),
    };
    batches.next().map(|batch| (batch, batches))
}

/// Decoders have been seen to panic on damaged files, so that is what a panic is taken for.
fn broken_off(path: String, error: &tokio::task::JoinError) -> StoreError {
    if error.is_panic() {
        return StoreError::Damaged {
            path,
            reason: "decoding it broke off; check it with its checksum".to_owned(),
        };
    }
    StoreError::Arrow { context: format!("reading {path}"), reason: "Weir is stopping".to_owned() }
}

/// Counts rows that were looked at, whether they match or not.
pub(super) fn count_rows(kind: SegmentKind, counters: &ScanCounters, rows: usize) {
    let counted: &AtomicU64 = match kind {
        SegmentKind::Rows => &counters.event_rows,
        SegmentKind::Windows | SegmentKind::Members => &counters.window_rows,
    };
    ScanCounters::add(counted, rows as u64);
    counter!(ROWS_SCANNED, "kind" => kind.name()).increment(rows as u64);
}
