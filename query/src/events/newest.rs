//! A bounded heap of the newest events: only times and coordinates, so that a list of a hundred
//! costs little memory whatever it is taken from.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use futures::StreamExt as _;
use weir_meter::Coordinates;
use weir_store::{BatchStream, RowSource};

use super::EventsRequest;
use crate::error::QueryError;

/// What the first pass reads.
pub(super) const COLUMNS: [&str; 6] = ["epoch", "partition", "offset", "record_time", "id", "time"];

#[derive(Debug)]
pub(super) struct Newest {
    limit: usize,
    /// The oldest on top; the number is the source.
    heap: BinaryHeap<Reverse<(i64, Coordinates, usize)>>,
    sources: Vec<RowSource>,
}

impl Newest {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit + 1), sources: Vec::new() }
    }

    /// True if nothing at or below `time_us` can still get in.
    pub(super) fn full_above(&self, time_us: i64) -> bool {
        self.heap.len() >= self.limit
            && self.heap.peek().is_some_and(|Reverse((oldest, _, _))| time_us < *oldest)
    }

    pub(super) async fn read(
        &mut self,
        mut batches: BatchStream,
        source: &RowSource,
        request: &EventsRequest,
    ) -> Result<(), QueryError> {
        let number = self.sources.len();
        self.sources.push(source.clone());
        while let Some(batch) = batches.next().await {
            self.take(&batch?, number, request)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn take(
        &mut self,
        batch: &RecordBatch,
        source: usize,
        request: &EventsRequest,
    ) -> Result<(), QueryError> {
        let missing = |name: &'static str| QueryError::internal("rows at rest lack a column", name);
        let column = |name: &'static str| batch.column_by_name(name).ok_or_else(|| missing(name));
        let epochs = column("epoch")?.as_primitive_opt::<UInt32Type>().ok_or_else(|| missing("epoch"))?;
        let partitions =
            column("partition")?.as_primitive_opt::<UInt32Type>().ok_or_else(|| missing("partition"))?;
        let offsets = column("offset")?.as_primitive_opt::<UInt64Type>().ok_or_else(|| missing("offset"))?;
        let ingested =
            column("record_time")?.as_primitive_opt::<Int64Type>().ok_or_else(|| missing("record_time"))?;
        let ids = column("id")?.as_string_opt::<i32>().ok_or_else(|| missing("id"))?;
        let times = column("time")?.as_primitive_opt::<Int64Type>().ok_or_else(|| missing("time"))?;
        for row in 0..batch.num_rows() {
            if times.is_null(row) || ids.is_null(row) || !request.ingested.contains(ingested.value(row)) {
                continue;
            }
            if request.id.as_deref().is_some_and(|part| !ids.value(row).contains(part)) {
                continue;
            }
            let at = Coordinates {
                epoch: epochs.value(row),
                partition: partitions.value(row),
                offset: offsets.value(row),
            };
            self.offer(times.value(row), at, source);
        }
        Ok(())
    }

    fn offer(&mut self, time_us: i64, at: Coordinates, source: usize) {
        let entry = (time_us, at, source);
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(entry));
        } else if self.heap.peek().is_some_and(|Reverse(oldest)| *oldest < entry) {
            self.heap.pop();
            self.heap.push(Reverse(entry));
        }
    }

    /// The newest first, each with its place in the list of sources, and that list.
    pub(super) fn into_sorted(self) -> (Vec<(i64, Coordinates, usize)>, Vec<RowSource>) {
        // The sorted order of reversed entries is the newest first.
        let sorted = self.heap.into_sorted_vec().into_iter().map(|Reverse(entry)| entry).collect();
        (sorted, self.sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_newest_stay(times in prop::collection::vec(0i64..20, 0..60), limit in 1usize..10) {
            let at = |offset| Coordinates { epoch: 1, partition: 0, offset };
            let mut newest = Newest::new(limit);
            for (offset, time) in times.iter().enumerate() {
                newest.offer(*time, at(offset as u64), 0);
            }
            let mut all: Vec<_> = times.iter().enumerate().map(|(o, t)| (*t, at(o as u64), 0)).collect();
            all.sort_by(|a, b| b.cmp(a));
            all.truncate(limit);
            let oldest = all.last().map(|last| last.0);
            prop_assert_eq!(newest.full_above(-1), all.len() == limit);
            prop_assert!(oldest.is_none_or(|oldest| !newest.full_above(oldest)));
            prop_assert_eq!(newest.into_sorted().0, all);
        }
    }
}
