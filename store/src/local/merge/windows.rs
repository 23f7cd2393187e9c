//! Merging windows, or members: rows of one generation, subject and output window are added up, group
//! by group, and leave in order. Minutes may become hours on the way.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_meter::environment::Entropy;
use weir_meter::segment::SegmentKind;
use weir_meter::window::{SumOverflow, WindowKey, WindowState};
use weir_meter::{Generation, Namespace, SegmentId, WriterId};

use super::Memory;
use super::input::Input;
use super::sorted::{Page, Sorted};
use crate::convert::{
    BATCH_ROWS, BATCH_TEXT_BYTES, MemberRow, StoredMembers, StoredWindows, WindowKeys, WindowRow,
    members_to_batch, windows_to_batch,
};
use crate::local::Shared;
use crate::local::write::{Made, SegmentWriter};
use crate::{Merge, StoreError, schema};

pub(super) fn merge(
    shared: &Shared,
    entropy: &dyn Entropy,
    writer: WriterId,
    merge: &Merge,
) -> Result<Made, StoreError> {
    let segment = SegmentId(entropy.random_u128());
    let memory = Memory::of(shared.maintenance_memory_max, merge.inputs.len());
    let inputs = Input::of_segments(shared, &merge.inputs, memory.input_text_bytes, &merge.stop)?;
    let mut sorted = Sorted::<WindowPage>::new(inputs)?;
    let mut file = SegmentWriter::new(shared, writer, segment, merge.kind, merge.coverage.clone());
    file.set_level(merge.level);
    file.set_group_bytes_max(memory.group_bytes);
    let mut output =
        Output { window_size_s: merge.coverage.window_size_s, file, rows: Pending::default(), text_bytes: 0 };
    let size_us = i64::from(merge.coverage.window_size_s).saturating_mul(1_000_000);
    let size_read = merge.inputs.first().map(|input| input.new.coverage.window_size_s);
    while let Some((page, row)) = sorted.top() {
        if Some(page.keys.window_size_s(row)) != size_read {
            return Err(StoreError::Inconsistent(format!(
                "a window of {} s lies among those of {} s",
                page.keys.window_size_s(row),
                size_read.unwrap_or_default()
            )));
        }
        let Some(window) = wanted(merge, page, row, size_us) else {
            sorted.advance()?;
            continue;
        };
        let mut sums = Sums::default();
        while let Some((page, row)) = sorted.top()
            && window.holds(page, row, size_us)
        {
            sums.add(page, row).map_err(|SumOverflow| window.overflow(page, row))?;
            sorted.advance()?;
        }
        output.take(&window, sums)?;
    }
    output.finish()
}

/// The output window that a row goes into, unless its generation is not wanted or the floor is above it.
fn wanted<'m>(merge: &'m Merge, page: &WindowPage, row: usize, size_us: i64) -> Option<Window<'m>> {
    let generation = page.keys.generation(row);
    let namespace = merge.generations.get(&generation)?;
    let start_us = floored(page.keys.start_us(row), size_us);
    let above = merge.retention.floors.get(namespace).is_none_or(|floor| start_us >= *floor);
    (above && namespace.as_str() == page.keys.namespace(row)).then(|| Window {
        namespace,
        generation,
        subject: page.keys.subject(row).into(),
        start_us,
    })
}

fn floored(start_us: i64, size_us: i64) -> i64 {
    start_us.saturating_sub(start_us.rem_euclid(size_us.max(1)))
}

/// All groups of one output window.
struct Window<'m> {
    namespace: &'m Namespace,
    generation: Generation,
    subject: Box<str>,
    start_us: i64,
}

impl Window<'_> {
    fn holds(&self, page: &WindowPage, row: usize, size_us: i64) -> bool {
        page.keys.subject(row) == &*self.subject
            && floored(page.keys.start_us(row), size_us) == self.start_us
            && page.keys.generation(row) == self.generation
            && page.keys.namespace(row) == self.namespace.as_str()
    }

    fn overflow(&self, page: &WindowPage, row: usize) -> StoreError {
        StoreError::Inconsistent(format!(
            "{SumOverflow}: meter {} generation {} in namespace {}, subject {:?}, window {} us, groups {:?}",
            self.generation.meter,
            self.generation.generation,
            self.namespace,
            self.subject,
            self.start_us,
            page.keys.groups(row).collect::<Vec<_>>()
        ))
    }
}

/// A batch of windows or members.
struct WindowPage {
    keys: WindowKeys,
    values: Values,
}

enum Values {
    Windows(Box<StoredWindows>),
    Members(StoredMembers),
}

impl Page for WindowPage {
    fn of(batch: RecordBatch) -> Result<Self, StoreError> {
        let values = if batch.column_by_name("member").is_some() {
            Values::Members(StoredMembers::of(&batch)?)
        } else {
            Values::Windows(Box::new(StoredWindows::of(&batch)?))
        };
        Ok(Self { keys: WindowKeys::of(&batch)?, values })
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let (mine, others) = (&self.keys, &other.keys);
        let keys = mine
            .namespace(row)
            .cmp(others.namespace(other_row))
            .then_with(|| mine.generation(row).cmp(&others.generation(other_row)))
            .then_with(|| mine.window_size_s(row).cmp(&others.window_size_s(other_row)))
            .then_with(|| mine.subject(row).cmp(others.subject(other_row)))
            .then_with(|| mine.start_us(row).cmp(&others.start_us(other_row)))
            .then_with(|| mine.groups(row).cmp(others.groups(other_row)));
        match (&self.values, &other.values) {
            (Values::Members(a), Values::Members(b)) => {
                keys.then_with(|| a.member(row).cmp(&b.member(other_row)))
            }
            _ => keys,
        }
    }
}

type Groups = Box<[Box<str>]>;

/// What one output window adds up to; only one of the two kinds has anything.
#[derive(Default)]
struct Sums {
    states: BTreeMap<Groups, WindowState>,
    members: BTreeMap<Groups, BTreeMap<u128, i64>>,
}

impl Sums {
    fn add(&mut self, page: &WindowPage, row: usize) -> Result<(), SumOverflow> {
        let groups: Groups = page.keys.groups(row).map(Into::into).collect();
        match &page.values {
            Values::Windows(windows) => self.states.entry(groups).or_default().merge(&windows.state(row)),
            Values::Members(members) => {
                let of_group = self.members.entry(groups).or_default();
                let holders = of_group.entry(members.member(row)).or_insert(0);
                *holders = holders.saturating_add(members.holders(row));
                Ok(())
            }
        }
    }
}

/// Collects rows until they make a batch.
struct Output<'m> {
    window_size_s: u32,
    file: SegmentWriter<'m>,
    rows: Pending<'m>,
    text_bytes: usize,
}

#[derive(Default)]
struct Pending<'m> {
    windows: Vec<(Named<'m>, WindowState)>,
    members: Vec<(Named<'m>, u128, i64)>,
}

#[derive(Clone)]
struct Named<'m> {
    namespace: &'m Namespace,
    generation: Generation,
    key: Arc<WindowKey>,
}

impl<'m> Output<'m> {
    fn take(&mut self, window: &Window<'m>, sums: Sums) -> Result<(), StoreError> {
        let named = |groups: Groups| Named {
            namespace: window.namespace,
            generation: window.generation,
            key: Arc::new(WindowKey { subject: window.subject.clone(), start_us: window.start_us, groups }),
        };
        for (groups, state) in sums.states {
            let named = named(groups);
            self.make_room(named.key.borrowed().text_bytes())?;
            self.rows.windows.push((named, state));
        }
        for (groups, members) in sums.members {
            let named = named(groups);
            for (member, holders) in members {
                self.make_room(named.key.borrowed().text_bytes())?;
                self.rows.members.push((named.clone(), member, holders));
            }
        }
        Ok(())
    }

    /// Writes what waits, if a row with so much text would not go with it into one batch.
    fn make_room(&mut self, text_bytes: usize) -> Result<(), StoreError> {
        let waiting = self.rows.windows.len().max(self.rows.members.len());
        let with_row = self.text_bytes.saturating_add(text_bytes);
        if waiting >= BATCH_ROWS || (waiting > 0 && with_row > BATCH_TEXT_BYTES) {
            self.write()?;
            self.text_bytes = text_bytes;
        } else {
            self.text_bytes = with_row;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let window_size_s = self.window_size_s;
        let windows: Vec<WindowRow<'_>> = self
            .rows
            .windows
            .iter()
            .map(|(named, state)| WindowRow {
                namespace: named.namespace,
                generation: named.generation,
                window_size_s,
                key: named.key.borrowed(),
                state,
            })
            .collect();
        let members: Vec<MemberRow<'_>> = self
            .rows
            .members
            .iter()
            .map(|(named, member, holders)| MemberRow {
                namespace: named.namespace,
                generation: named.generation,
                window_size_s,
                key: named.key.borrowed(),
                member: *member,
                holders: *holders,
            })
            .collect();
        let batch = match self.file.kind() {
            SegmentKind::Members => members_to_batch(&members, &schema::members())?,
            _ => windows_to_batch(&windows, &schema::windows())?,
        };
        self.file.push(&batch, self.text_bytes)?;
        self.rows = Pending::default();
        Ok(())
    }

    fn finish(mut self) -> Result<Made, StoreError> {
        self.write()?;
        self.file.finish()
    }
}
