//! The rows path: folds rows at rest, with the same code that makes windows, for what no window
//! covers: the tail that a flush left open, meters that are younger than their events, minutes that
//! the query's bounds cut.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt as _;
use weir_meter::Meter;
use weir_meter::fold::{FoldScratch, Folder};
use weir_meter::hash::HashKey;
use weir_meter::window::{MeterWindows, WindowSet};
use weir_meter::zone::Windows;
use weir_store::{RowScan, ScanCounters, Store, convert};

use crate::budget::Share;
use crate::error::QueryError;
use crate::planner::RowPart;

/// What to fold and how much of it at most.
pub(crate) struct RowsPath<'q> {
    pub(crate) store: &'q dyn Store,
    pub(crate) meter: &'q Meter,
    pub(crate) subjects: Option<&'q Vec<String>>,
    /// The query's windows; without a window size all events of a group fall into one.
    pub(crate) windows: Option<Windows>,
    pub(crate) key: HashKey,
    pub(crate) rows_max: u64,
    pub(crate) windows_max: usize,
    /// About as many bytes as the windows may hold.
    pub(crate) bytes_max: usize,
    /// Where their memory comes from.
    pub(crate) share: &'q Share,
}

impl RowsPath<'_> {
    /// The windows of every row of the parts, and what of the share they take. They begin where the query's
    /// own windows begin.
    pub(crate) async fn fold(
        mut self,
        parts: &[RowPart],
        counters: &Arc<ScanCounters>,
    ) -> Result<(Arc<MeterWindows>, usize), QueryError> {
        let folder = Folder::new([self.meter], self.key)
            .map_err(|error| QueryError::internal("a stored meter's path", error))?;
        let mut scratch = FoldScratch::default();
        let mut set = WindowSet::default();
        let (mut rows, mut bytes) = (0_u64, 0_usize);
        for part in parts {
            let mut stream = self.store.scan_rows(self.scan(part, counters));
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                rows = rows.saturating_add(batch.num_rows() as u64);
                if rows > self.rows_max {
                    return Err(too_many_rows(self.rows_max));
                }
                let made = self.fold_batch(&batch, &folder, &mut scratch, &mut set, bytes)?;
                bytes = bytes.saturating_add(made);
                self.share.grow(made)?;
                self.check_size(&set)?;
                // Folding is work of the processor: let others have their turn.
                tokio::task::yield_now().await;
            }
        }
        Ok((set.meters.remove(&self.meter.key()).unwrap_or_default(), bytes))
    }

    fn scan(&self, part: &RowPart, counters: &Arc<ScanCounters>) -> RowScan {
        RowScan {
            sources: part.sources.clone(),
            offsets: Some(part.offsets.clone()),
            namespace: Some(self.meter.namespace.clone()),
            event_type: Some(self.meter.event_type.clone()),
            subjects: self.subjects.cloned(),
            times_us: Some(part.times.pairs()),
            counted_only: true,
            recorded_after_us: None,
            columns: convert::foldable_columns([self.meter]),
            counters: Arc::clone(counters),
        }
    }

    /// Returns about how many bytes of windows it added to those that were there `before`.
    fn fold_batch(
        &mut self,
        batch: &RecordBatch,
        folder: &Folder,
        scratch: &mut FoldScratch,
        set: &mut WindowSet,
        before: usize,
    ) -> Result<usize, QueryError> {
        let mut made = 0_usize;
        let (windows, bytes_max) = (&mut self.windows, self.bytes_max);
        convert::each_event(batch, &self.meter.namespace, &self.meter.event_type, |event| {
            let start_us = windows.as_mut().map_or(0, |windows| windows.window(event.time_us).0);
            made = made.saturating_add(folder.fold(event, start_us, scratch, set).window_bytes);
            if before.saturating_add(made) > bytes_max {
                return Err(too_large("query_folded_bytes_max", format!("{bytes_max} bytes of windows")));
            }
            Ok(())
        })?;
        Ok(made)
    }

    fn check_size(&self, set: &WindowSet) -> Result<(), QueryError> {
        let Some(windows) = set.meters.get(&self.meter.key()) else { return Ok(()) };
        let count = windows.windows.len().max(windows.member_count());
        if count > self.windows_max {
            return Err(too_large(
                "query_windows_max",
                format!("{} windows or distinct values", self.windows_max),
            ));
        }
        Ok(())
    }
}

fn too_large(limit: &'static str, most: String) -> QueryError {
    QueryError::too_large(
        limit,
        format!(
            "events that no stored window answers make more than {most}; ask for a shorter range of time, larger windows or one subject"
        ),
    )
}

fn too_many_rows(rows_max: u64) -> QueryError {
    QueryError::too_large(
        "query_events_max",
        format!(
            "more than {rows_max} events would have to be read one by one, as no stored window answers them (yet); ask for a shorter range of time in whole minutes, or one subject"
        ),
    )
}
