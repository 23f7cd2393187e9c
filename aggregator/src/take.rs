//! Taking records: from what the log holds to rows with their fates, ready to be folded. Pure
//! but for the identity index that it keeps.

use bytes::Bytes;
use weir_log::LoggedRecord;
use weir_meter::event::{self, Event};
use weir_meter::fold::{FoldCounts, FoldEvent, FoldScratch, Folder};
use weir_meter::window::{MINUTE_US, WindowSet};
use weir_meter::{Coordinates, IdentityHash, OffsetRange};
use weir_store::row::RowEvent;
use weir_store::{Fate, Row};

use crate::fate::{self, Accepted};
use crate::identity::{IdentityIndex, IndexError};

/// Where folding stands in one partition, in memory.
#[derive(Debug)]
pub(crate) struct PartitionState {
    pub(crate) epoch: u32,
    pub(crate) partition: u32,
    pub(crate) next_offset: u64,
    pub(crate) record_time_max_us: i64,
    /// Hash of the last record below the last cut; `last_value` is the last record since.
    pub(crate) last_record_hash: u128,
    pub(crate) last_value: Option<Bytes>,
    pub(crate) index: IdentityIndex,
}

impl PartitionState {
    /// Decides the fates of records that follow each other without a gap. The rows have one entry
    /// per record, whatever was in it. After an error nothing has changed.
    pub(crate) fn take(
        &mut self,
        records: &[LoggedRecord],
        stored_at_us: i64,
    ) -> Result<Vec<Row>, IndexError> {
        let mut sealed = self.sealed(records)?.into_iter();
        let mut rows = Vec::with_capacity(records.len());
        for logged in records {
            let sealed = sealed.next().flatten();
            let record = &logged.record;
            self.record_time_max_us = self.record_time_max_us.max(logged.record_time_us);
            let record_time_us = self.record_time_max_us;
            let mut row = Row {
                at: Coordinates { epoch: self.epoch, partition: self.partition, offset: logged.offset },
                record_time_us,
                record_time_raw_us: logged.record_time_us,
                namespace: record.namespace.clone(),
                fate: fate::decide(
                    self.index.recent(record.identity, record_time_us).or(sealed),
                    record.content,
                    record_time_us,
                    self.index.window_us(),
                ),
                identity: record.identity,
                content: record.content,
                request: record.request,
                event: None,
                stored_at_us,
            };
            if row.fate == Fate::Counted {
                match event::read_event(&record.value) {
                    Ok(event) => {
                        row.event = Some(row_event(&event, record, record_time_us));
                        self.index.accept(record.identity, record.content, record_time_us);
                    }
                    Err(error) => {
                        tracing::error!(at = %row.at, %error, "a record holds no event; it is kept and does not count");
                        row.fate = Fate::Unreadable;
                    }
                }
            }
            rows.push(row);
            self.next_offset = logged.offset.saturating_add(1);
        }
        Ok(rows)
    }

    /// Asks the disk for all records before anything is decided: only this can fail. What records of
    /// the batch itself add is in the table, and found there.
    fn sealed(&mut self, records: &[LoggedRecord]) -> Result<Vec<Option<Accepted>>, IndexError> {
        let mut record_time_us = self.record_time_max_us;
        let wanted: Vec<(IdentityHash, i64)> = records
            .iter()
            .map(|logged| {
                record_time_us = record_time_us.max(logged.record_time_us);
                (logged.record.identity, record_time_us)
            })
            .collect();
        self.index.sealed(&wanted)
    }

    /// The range that ends at the next offset and began at `from`.
    pub(crate) fn range_from(&self, from: u64) -> OffsetRange {
        OffsetRange { epoch: self.epoch, partition: self.partition, from, to: self.next_offset }
    }
}

fn row_event(event: &Event<'_>, record: &weir_log::Record, record_time_us: i64) -> RowEvent {
    RowEvent {
        source: event.source.as_ref().into(),
        id: event.id.as_ref().into(),
        event_type: event.event_type.as_ref().into(),
        subject: event.subject.as_ref().into(),
        time_us: event.time_us.unwrap_or(record_time_us),
        time_given: event.time_us.is_some(),
        data: event.data.map(|data| record.value.slice_ref(data)),
        attributes: event.other_attributes().map(Into::into),
    }
}

/// Folds the counted rows of a batch.
pub(crate) fn fold_rows(
    folder: &Folder,
    rows: &[Row],
    scratch: &mut FoldScratch,
    into: &mut WindowSet,
) -> FoldCounts {
    let mut counts = FoldCounts::default();
    for row in rows {
        let Some(event) = &row.event else { continue };
        let start = event.time_us.saturating_sub(event.time_us.rem_euclid(MINUTE_US));
        let one = folder.fold(
            &FoldEvent {
                namespace: &row.namespace,
                event_type: &event.event_type,
                subject: &event.subject,
                time_us: event.time_us,
                record_time_us: row.record_time_us,
                at: row.at,
                data: event.data.as_deref(),
            },
            start,
            scratch,
            into,
        );
        counts.ignored_values += one.ignored_values;
        counts.rounded_values += one.rounded_values;
        counts.overflowed_values += one.overflowed_values;
        counts.window_bytes = counts.window_bytes.saturating_add(one.window_bytes);
    }
    counts
}

#[cfg(test)]
mod tests;
