//! Sealing and merging: the work on runs that goes on beside folding. Each job is a value that knows all
//! it needs, runs where it may block, and hands back one run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use weir_meter::OffsetRange;

use super::folder::IndexFolder;
use super::run::{Run, RunReader};
use super::table::{Entry, Table};
use super::{IndexError, Sealed};

/// Runs of about one size that become one.
pub(super) const FAN_OUT: usize = 8;
/// Of more that have gathered, so many become one at once. Reading each takes half a megabyte.
const INPUTS_MAX: usize = 2 * FAN_OUT;
/// Entries between two looks at the token.
const STOP_EVERY: u64 = 65_536;

/// A table on its way to a run.
#[derive(Debug)]
pub(crate) struct Seal {
    pub(super) folder: IndexFolder,
    pub(super) partition: u32,
    pub(super) table: Arc<Table>,
    pub(super) covered: Vec<OffsetRange>,
    pub(super) horizon_us: i64,
}

/// Runs on their way to one.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(super) folder: IndexFolder,
    pub(super) partition: u32,
    pub(super) inputs: Vec<Arc<Run>>,
    pub(super) covered: Vec<OffsetRange>,
    pub(super) horizon_us: i64,
}

/// What a merge made of what. The inputs still lie on the disk.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) inputs: Vec<Arc<Run>>,
    pub(super) run: Option<Arc<Run>>,
}

impl Seal {
    pub(crate) fn run(&self) -> Result<Sealed, IndexError> {
        let entries = self.table.sorted(self.horizon_us);
        let run = self.folder.write(self.partition, self.horizon_us, self.covered.clone(), |push| {
            entries.iter().try_for_each(push)
        })?;
        Ok(Sealed { run, covered: self.covered.clone() })
    }
}

impl Merge {
    /// Streams the entries of all inputs, the newest of each identity, without what is at or before the
    /// horizon.
    pub(crate) fn run(self, stop: &CancellationToken) -> Result<Merged, IndexError> {
        let mut readers: Vec<RunReader> = self.inputs.iter().map(|run| run.reader()).collect();
        let run = self.folder.write(self.partition, self.horizon_us, self.covered, |push| {
            let mut heads = BinaryHeap::with_capacity(readers.len());
            for (index, reader) in readers.iter_mut().enumerate() {
                heads.extend(reader.next()?.map(|entry| Reverse((entry, index))));
            }
            let mut newest: Option<Entry> = None;
            let mut count: u64 = 0;
            while let Some(Reverse((entry, index))) = heads.pop() {
                count = count.wrapping_add(1);
                if count.is_multiple_of(STOP_EVERY) && stop.is_cancelled() {
                    return Err(IndexError::Stopped);
                }
                let next = readers.get_mut(index).map_or(Ok(None), RunReader::next)?;
                heads.extend(next.map(|entry| Reverse((entry, index))));
                match &mut newest {
                    Some(known) if known.identity == entry.identity => {
                        if entry.record_time_us >= known.record_time_us {
                            *known = entry;
                        }
                    }
                    _ => {
                        if let Some(done) =
                            newest.replace(entry).filter(|e| e.record_time_us > self.horizon_us)
                        {
                            push(&done)?;
                        }
                    }
                }
            }
            newest.iter().filter(|e| e.record_time_us > self.horizon_us).try_for_each(push)
        })?;
        Ok(Merged { inputs: self.inputs, run })
    }

    pub(crate) fn entries(&self) -> u64 {
        self.inputs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.len()))
    }
}

/// What is worth doing with runs that are wholly below the frontier: some of about one size become one; else a
/// single one that has expired by half is written again without that half.
pub(super) fn choose(runs: &[Arc<Run>], base: usize, horizon_us: i64) -> Option<Vec<Arc<Run>>> {
    alike(runs, base).or_else(|| {
        let half = runs.iter().find(|run| half_expired(run.header().times_us, horizon_us))?;
        Some(vec![Arc::clone(half)])
    })
}

/// The oldest runs of the size of which there are most, if these are `FAN_OUT` at least. Of two sizes the
/// smaller one, which costs less. Large ones are not put off for ever: while they wait they become more.
pub(super) fn alike(runs: &[Arc<Run>], base: usize) -> Option<Vec<Arc<Run>>> {
    let mut sizes: Vec<(u32, i64, &Arc<Run>)> =
        runs.iter().map(|run| (size_class(run.len(), base), run.last_us(), run)).collect();
    sizes.sort_by_key(|(class, last_us, run)| (*class, *last_us, run.header().serial));
    let groups = sizes.chunk_by(|(a, ..), (b, ..)| a == b);
    // Of equal ones `max` takes the last, and small ones come first.
    let group = groups.rev().max_by_key(|group| group.len()).filter(|group| group.len() >= FAN_OUT)?;
    Some(group.iter().take(INPUTS_MAX).map(|(.., run)| Arc::clone(run)).collect())
}

/// How often `FAN_OUT` tables make up a run, about.
fn size_class(entries: u64, base: usize) -> u32 {
    let tables = entries / (base.max(1) as u64);
    tables.saturating_mul(2).max(1).ilog(FAN_OUT as u64)
}

/// Taking entries to come at an even pace. Where they do not, writing it again moves the start of the
/// times past the horizon all the same, so that a run is never written in vain again and again.
fn half_expired((first_us, last_us): (i64, i64), horizon_us: i64) -> bool {
    let middle_us = first_us.saturating_add(last_us.saturating_sub(first_us) / 2);
    first_us <= horizon_us && middle_us <= horizon_us
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_tables_make_a_run_of_the_next_class_also_when_some_entries_were_the_same() {
        let classes =
            [1, 100, 150, 300, 400, 800, 2_000, 3_200, 6_400].map(|entries| size_class(entries, 100));
        assert_eq!(classes, [0, 0, 0, 0, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn a_run_is_half_expired_once_the_middle_of_its_times_is() {
        assert!(!half_expired((100, 200), 149));
        assert!(half_expired((100, 200), 150));
        assert!(!half_expired((100, 200), 99));
        assert!(half_expired((i64::MIN, i64::MAX), 0));
    }
}
