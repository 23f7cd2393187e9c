//! Merging rows at rest, and what retention does to them on the way. Whatever stays is copied as it is.

use std::collections::BTreeMap;

use metrics::counter;
use weir_meter::environment::Entropy;
use weir_meter::{SegmentId, WriterId};

use super::Memory;
use super::bare::{self, Bared};
use super::check::covered;
use super::input::Input;
use super::picks::{Picks, RowPage};
use super::sorted::Sorted;
use crate::local::Shared;
use crate::local::write::{Made, SegmentWriter};
use crate::metrics::{ROWS_BARED, ROWS_DROPPED};
use crate::{Merge, Retention, StoreError};

pub(super) fn merge(
    shared: &Shared,
    entropy: &dyn Entropy,
    writer: WriterId,
    merge: &Merge,
) -> Result<Made, StoreError> {
    let rules = Rules::of(&merge.retention);
    let segment = SegmentId(entropy.random_u128());
    let memory = Memory::of(shared.maintenance_memory_max, merge.inputs.len());
    let mut inputs = Input::of_segments(shared, &merge.inputs, memory.input_text_bytes, &merge.stop)?;
    let Bared { inputs: bared, rows: rows_bared, dropped: dropped_events, files } =
        bare::make(shared, entropy, writer, merge, &rules, memory)?;
    inputs.extend(bared);
    let mut picks = Picks::new(inputs.len());
    let mut sorted = Sorted::<RowPage>::new(inputs)?;
    let mut file = SegmentWriter::new(shared, writer, segment, merge.kind, merge.coverage.clone());
    file.set_level(merge.level);
    file.set_group_bytes_max(memory.group_bytes);
    let (mut dropped, mut events_below) = (dropped_events, 0_u64);
    let mut last = None;
    while let Some((page, row)) = sorted.top() {
        let stored = &page.stored;
        let (_, _, time_us) = stored.event(row);
        match rules.verdict(stored.namespace(row), time_us, stored.record_time_us(row)) {
            Verdict::Stays => {
                let at = stored.at(row);
                if last.replace(at) == Some(at) {
                    return Err(StoreError::Inconsistent(format!("two rows stand at {at}")));
                }
                if picks.is_full_for(page, row) {
                    push(&mut picks, &mut file)?;
                }
                picks.add(page, row);
            }
            // It comes, or came, once more as a bare row, unless that was dropped.
            Verdict::TurnsBare => events_below = events_below.saturating_add(1),
            Verdict::Goes if time_us.is_some() => events_below = events_below.saturating_add(1),
            Verdict::Goes => dropped = dropped.saturating_add(1),
        }
        sorted.advance()?;
    }
    push(&mut picks, &mut file)?;
    drop(sorted);
    drop(files);

    let below_first = rows_bared.saturating_add(dropped_events);
    if events_below != below_first {
        return Err(StoreError::Inconsistent(format!(
            "{below_first} events lay below the floor at first, then {events_below}"
        )));
    }
    let known = merge.inputs.iter().fold(0_u64, |sum, input| sum.saturating_add(input.new.dropped_rows));
    let dropped_rows = known.saturating_add(dropped);
    let offsets = covered(&merge.coverage.ranges);
    if file.row_count().checked_add(dropped_rows) != Some(offsets) {
        return Err(StoreError::Inconsistent(format!(
            "{} rows were merged and {dropped_rows} dropped for {offsets} offsets",
            file.row_count()
        )));
    }
    file.set_dropped_rows(dropped_rows);
    let made = file.finish()?;
    counter!(ROWS_BARED).increment(rows_bared);
    counter!(ROWS_DROPPED).increment(dropped);
    Ok(made)
}

fn push(picks: &mut Picks, file: &mut SegmentWriter<'_>) -> Result<(), StoreError> {
    match picks.take()? {
        Some((batch, text_bytes)) => file.push(&batch, text_bytes),
        None => Ok(()),
    }
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    /// An event below the floor whose identity is still asked for.
    TurnsBare,
    /// A bare row, or an event below the floor, whose identity nobody asks for any more.
    Goes,
}

/// Retention, to be asked row by row.
pub(super) struct Rules<'m> {
    floors: BTreeMap<&'m str, i64>,
    identities_until_us: i64,
}

impl<'m> Rules<'m> {
    fn of(retention: &'m Retention) -> Self {
        let floors = retention.floors.iter().map(|(namespace, floor)| (namespace.as_str(), *floor)).collect();
        Self { floors, identities_until_us: retention.identities_until_us }
    }

    /// Below it lies every event that any floor rules out.
    pub(super) fn highest_floor(&self) -> Option<i64> {
        self.floors.values().max().copied()
    }

    /// Of a row with this event time, or of a bare one.
    pub(super) fn verdict(&self, namespace: &str, time_us: Option<i64>, record_time_us: i64) -> Verdict {
        let Some(floor) = self.floors.get(namespace) else { return Verdict::Stays };
        if time_us.is_some_and(|time| time >= *floor) {
            return Verdict::Stays;
        }
        if record_time_us < *floor && record_time_us <= self.identities_until_us {
            return Verdict::Goes;
        }
        if time_us.is_some() { Verdict::TurnsBare } else { Verdict::Stays }
    }
}
