//! Which identities were accepted, when and with what content: the memory behind "counts once". It is
//! a cache of the rows at rest and of the log above the frontier. The latest identities of a partition are
//! in a table in memory; whenever that is full it is sealed in a *run*, a file of which only filters stay in
//! memory. What the index answers is what one endless table would.
//!
//! At any record, at most one accepted record of its identity lies within the window, since the second
//! would have been a duplicate. So it never matters in which order table and runs are asked, nor which
//! of them an identity was read back into: an entry within the window is the right one.

mod filter;
mod folder;
mod format;
pub(crate) mod keeper;
mod merge;
mod run;
mod table;
mod write;

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use weir_meter::{ContentHash, IdentityHash, OffsetRange};

use crate::fate::Accepted;
use crate::maintain::ranges;

pub use folder::IndexFolder;
pub(crate) use folder::Standing;
pub(crate) use merge::{Merge, Merged, Seal};
pub(crate) use run::Run;

use table::{Entry, Table, halves, whole};

/// Why the index could not be asked or kept.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// What is in it has to be read from rows again: a fate must not be guessed.
    #[error("{path} cannot be read: {reason}")]
    Unreadable { serial: u64, path: String, reason: String },
    #[error("the identity index cannot write {path}: {reason}; make room or mend the disk")]
    Write { path: String, reason: String },
    /// What lies in the folder at start can be neither used nor done away with.
    #[error(
        "the identity index {path} {what}: {reason}; mend that, or remove the folder {folder} while Weir is stopped: it \
         is a cache and is put together again from the stored events"
    )]
    Start { path: String, folder: String, what: &'static str, reason: String },
    #[error("work on the identity index was stopped")]
    Stopped,
}

impl IndexError {
    fn write(path: &Path, error: std::io::Error) -> Self {
        Self::Write { path: path.display().to_string(), reason: error.to_string() }
    }
}

/// The accepted identities of one partition within the identity window.
#[derive(Debug)]
pub struct IdentityIndex {
    window_us: i64,
    table: Table,
    /// Entries of the table at or below this time were let go of.
    forgotten_until_us: i64,
    /// Offsets below `table_from` that the table holds the identities of, or that hold none any more.
    table_covered: Vec<OffsetRange>,
    /// The table holds the accepted identities from here on.
    table_from: u64,
    sealing: Option<Sealing>,
    runs: Vec<Arc<Run>>,
    sealed_in: Option<SealedIn>,
    counts: IndexCounts,
}

/// Where full tables go.
#[derive(Debug)]
struct SealedIn {
    folder: IndexFolder,
    partition: u32,
    entries_max: usize,
}

/// A table that is being written to a run, and is asked until that is there.
#[derive(Debug)]
struct Sealing {
    table: Arc<Table>,
    covered: Vec<OffsetRange>,
    horizon_us: i64,
}

/// What became of a table.
#[derive(Debug)]
pub(crate) struct Sealed {
    run: Option<Arc<Run>>,
    covered: Vec<OffsetRange>,
}

/// How large an index is, and what asking its filters came to since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexCounts {
    pub identities: u64,
    pub in_memory: u64,
    pub runs: u64,
    pub run_bytes: u64,
    pub filter_bytes: u64,
    /// Filters asked, those that said yes, and those that said yes for nothing.
    pub probes: u64,
    pub hits: u64,
    pub false_positives: u64,
}

impl IndexCounts {
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            identities: self.identities.saturating_add(other.identities),
            in_memory: self.in_memory.saturating_add(other.in_memory),
            runs: self.runs.saturating_add(other.runs),
            run_bytes: self.run_bytes.saturating_add(other.run_bytes),
            filter_bytes: self.filter_bytes.saturating_add(other.filter_bytes),
            probes: self.probes.saturating_add(other.probes),
            hits: self.hits.saturating_add(other.hits),
            false_positives: self.false_positives.saturating_add(other.false_positives),
        }
    }
}

impl IdentityIndex {
    /// An index in memory only. `window_us`: for how long an accepted identity is remembered, by record
    /// time.
    pub fn new(window_us: i64) -> Self {
        Self {
            window_us,
            table: Table::default(),
            forgotten_until_us: i64::MIN,
            table_covered: Vec::new(),
            table_from: 0,
            sealing: None,
            runs: Vec::new(),
            sealed_in: None,
            counts: IndexCounts::default(),
        }
    }

    /// An index that stands at an offset and holds nothing below it, and that seals in `folder` what is
    /// more than `entries_max`.
    pub fn sealed_in(
        window_us: i64,
        folder: &IndexFolder,
        partition: u32,
        at: u64,
        entries_max: usize,
    ) -> Self {
        let sealed_in = Some(SealedIn { folder: folder.clone(), partition, entries_max: entries_max.max(1) });
        Self { table_from: at, sealed_in, ..Self::new(window_us) }
    }

    /// The same with the runs that lie in the folder, for a folder with runs of one partition only.
    /// `at` and `now_us` are the frontier and the running maximum there.
    pub fn reopened(
        window_us: i64,
        folder: &IndexFolder,
        partition: u32,
        (at, now_us): (u64, i64),
        entries_max: usize,
    ) -> Result<Self, IndexError> {
        let mut index = Self::sealed_in(window_us, folder, partition, at, entries_max);
        let standing = Standing { partition, frontier: at, horizon_us: index.horizon_us(now_us) };
        for runs in folder.load(&[standing])? {
            index.adopt(runs);
        }
        Ok(index)
    }

    pub fn window_us(&self) -> i64 {
        self.window_us
    }

    /// The accepted record of the identity that a record at `now_us` (a running maximum) meets, if any.
    pub fn get(&self, identity: IdentityHash, now_us: i64) -> Result<Option<Accepted>, IndexError> {
        if let Some(accepted) = self.recent(identity, now_us) {
            return Ok(Some(accepted));
        }
        Ok(self.older(&[(identity, now_us)])?.0.into_iter().next().flatten())
    }

    /// The same from the table alone.
    pub fn recent(&self, identity: IdentityHash, now_us: i64) -> Option<Accepted> {
        let entry = self.table.get(halves(identity.0))?;
        self.is_live(entry, now_us).then(|| accepted(entry))
    }

    /// The same for records that follow each other, from all but the table. Empty if there is nothing but
    /// the table.
    pub fn sealed(&mut self, wanted: &[(IdentityHash, i64)]) -> Result<Vec<Option<Accepted>>, IndexError> {
        if self.sealing.is_none() && self.runs.is_empty() {
            return Ok(Vec::new());
        }
        let (found, counts) = self.older(wanted)?;
        self.counts = self.counts.plus(&counts);
        Ok(found)
    }

    /// One run after the other, each for all records: what the processor waits for is then many
    /// independent filters at a time.
    fn older(
        &self,
        wanted: &[(IdentityHash, i64)],
    ) -> Result<(Vec<Option<Accepted>>, IndexCounts), IndexError> {
        let mut counts = IndexCounts::default();
        let mut found: Vec<Option<Accepted>> = wanted
            .iter()
            .map(|(identity, now_us)| {
                let entry = self.sealing.as_ref()?.table.get(halves(identity.0))?;
                self.is_live(entry, *now_us).then(|| accepted(entry))
            })
            .collect();
        for run in &self.runs {
            for ((identity, now_us), found) in wanted.iter().zip(&mut found) {
                if found.is_some() || run.last_us() <= self.horizon_us(*now_us) {
                    continue;
                }
                counts.probes = counts.probes.saturating_add(1);
                if !run.may_hold(identity.0) {
                    continue;
                }
                counts.hits = counts.hits.saturating_add(1);
                match run.get(identity.0)? {
                    Some(entry) => *found = self.is_live(&entry, *now_us).then(|| accepted(&entry)),
                    None => counts.false_positives = counts.false_positives.saturating_add(1),
                }
            }
        }
        Ok((found, counts))
    }

    /// What was accepted at or before this meets no record at or after `now_us`.
    pub(crate) fn horizon_us(&self, now_us: i64) -> i64 {
        now_us.saturating_sub(self.window_us)
    }

    fn is_live(&self, entry: &Entry, now_us: i64) -> bool {
        entry.record_time_us > self.horizon_us(now_us)
    }

    /// Remembers an accepted record; a later one of the same identity takes its place, whatever
    /// order they are told in.
    pub fn accept(&mut self, identity: IdentityHash, content: ContentHash, record_time_us: i64) {
        self.table.accept(Entry { identity: halves(identity.0), content: halves(content.0), record_time_us });
    }

    /// Lets go of what no record at or after `now_us` (a running maximum) can meet any more. Walks the
    /// whole table, so it acts only once a twentieth of the window has passed since the last time.
    pub fn forget(&mut self, now_us: i64) {
        let until = self.horizon_us(now_us);
        if until.saturating_sub(self.forgotten_until_us) < self.window_us / 20 {
            return;
        }
        self.table.forget(until);
        self.forgotten_until_us = until;
    }

    /// True once the table should be sealed.
    pub fn is_full(&self) -> bool {
        self.sealed_in.as_ref().is_some_and(|sealed_in| self.table.len() >= sealed_in.entries_max)
    }

    /// Takes the table out of the way of the next one, unless another one is still being sealed. `at` is
    /// the offset up to which records were taken, `now_us` the running maximum there.
    pub(crate) fn begin_seal(&mut self, at: u64, now_us: i64) {
        if self.sealing.is_none()
            && let Some(covered) = self.take_covered(at)
        {
            let table = Arc::new(std::mem::take(&mut self.table));
            self.sealing = Some(Sealing { table, covered, horizon_us: self.horizon_us(now_us) });
        }
    }

    /// The job that turns the table that was taken out of the way into a run; again if it failed.
    pub(crate) fn seal_job(&self) -> Option<Seal> {
        let (SealedIn { folder, partition, .. }, sealing) =
            (self.sealed_in.as_ref()?, self.sealing.as_ref()?);
        Some(Seal {
            folder: folder.clone(),
            partition: *partition,
            table: Arc::clone(&sealing.table),
            covered: sealing.covered.clone(),
            horizon_us: sealing.horizon_us,
        })
    }

    pub(crate) fn is_sealing(&self) -> bool {
        self.sealing.is_some()
    }

    pub(crate) fn end_seal(&mut self, sealed: Sealed) {
        self.sealing = None;
        match sealed.run {
            Some(run) => self.runs.push(run),
            // All of it had expired, so these offsets hold nothing any more.
            None => self.cover(sealed.covered),
        }
    }

    /// Seals and waits for it: for tests, benchmarks, and reading back.
    pub fn seal(&mut self, at: u64, now_us: i64) -> Result<(), IndexError> {
        self.begin_seal(at, now_us);
        if let Some(seal) = self.seal_job() {
            self.end_seal(seal.run()?);
        }
        Ok(())
    }

    /// Lets go of what has expired and merges what is worth it, and waits for it. How many entries were
    /// read.
    pub fn tidy(&mut self, frontier: u64, time_us: i64) -> Result<u64, IndexError> {
        let mut read: u64 = 0;
        loop {
            let mut useless = self.expire(frontier, time_us);
            let merge = self.begin_merge(frontier, time_us);
            let merging = merge.is_some();
            if let Some(merge) = merge {
                read = read.saturating_add(merge.entries());
                let merged = merge.run(&CancellationToken::new())?;
                self.end_merge(&merged);
                useless.extend(merged.inputs);
            }
            if let Some(SealedIn { folder, .. }) = &self.sealed_in {
                useless.iter().for_each(|run| folder.remove(run));
            }
            if !merging {
                return Ok(read);
            }
        }
    }

    /// Lets go of runs that have expired whole. `frontier` and `time_us` are the catalog's, not where folding
    /// stands: after a crash, records above the frontier are taken again from an earlier running maximum, and
    /// must meet what they met.
    pub(crate) fn expire(&mut self, frontier: u64, time_us: i64) -> Vec<Arc<Run>> {
        if self.sealed_in.is_none() {
            return Vec::new();
        }
        let horizon_us = self.horizon_us(time_us);
        let has_expired =
            |run: &mut Arc<Run>| run.last_us() <= horizon_us && at_rest(run, frontier, horizon_us);
        let expired: Vec<Arc<Run>> = self.runs.extract_if(.., has_expired).collect();
        self.cover(expired.iter().flat_map(|run| run.covered().iter().copied()).collect());
        expired
    }

    /// Which runs should be merged, seen from the catalog's frontier as above.
    pub(crate) fn begin_merge(&self, frontier: u64, time_us: i64) -> Option<Merge> {
        let SealedIn { folder, partition, entries_max } = self.sealed_in.as_ref()?;
        let horizon_us = self.horizon_us(time_us);
        let below: Vec<Arc<Run>> =
            self.runs.iter().filter(|run| at_rest(run, frontier, horizon_us)).cloned().collect();
        let inputs = merge::choose(&below, *entries_max, horizon_us)?;
        Some(Merge {
            folder: folder.clone(),
            partition: *partition,
            covered: ranges::union(inputs.iter().flat_map(|run| run.covered().iter().copied())),
            inputs,
            horizon_us,
        })
    }

    /// Puts the outcome in the place of what went in. If one of these was given up meanwhile, its entries
    /// are there twice, which does no harm.
    pub(crate) fn end_merge(&mut self, merged: &Merged) {
        let serials: Vec<u64> = merged.inputs.iter().map(|run| run.header().serial).collect();
        self.runs.retain(|run| !serials.contains(&run.header().serial));
        match &merged.run {
            Some(run) => self.runs.push(Arc::clone(run)),
            None => self.cover(merged.inputs.iter().flat_map(|run| run.covered().iter().copied()).collect()),
        }
    }

    /// The offsets below `at` that nothing in here holds the identities of.
    pub(crate) fn uncovered(&self, epoch: u32, partition: u32, at: u64) -> Vec<OffsetRange> {
        let all = ranges::union([OffsetRange { epoch, partition, from: 0, to: at }]);
        let runs = self.runs.iter().flat_map(|run| run.covered());
        let table = OffsetRange { epoch, partition, from: self.table_from, to: u64::MAX };
        let sealing = self.sealing.iter().flat_map(|sealing| &sealing.covered);
        let covered = runs.chain(sealing).chain(&self.table_covered).copied().chain([table]);
        ranges::subtract(&all, &ranges::union(covered))
    }

    /// Uses runs that lay on the disk.
    pub(crate) fn adopt(&mut self, runs: Vec<Arc<Run>>) {
        self.runs.extend(runs);
    }

    /// Gives up a run. The offsets to read back are those that are uncovered then.
    pub(crate) fn give_up(&mut self, serial: u64) -> Option<Arc<Run>> {
        let at = self.runs.iter().position(|run| run.header().serial == serial)?;
        Some(self.runs.remove(at))
    }

    /// Seals a table that is full of what is being read back. Rows come in no order of offsets, so the run
    /// claims none for now; what it could claim later is added to `claims`. Such runs are merged on the way:
    /// each is an open file, and there may be a long window of them.
    pub(crate) fn spill(
        &mut self,
        at: u64,
        now_us: i64,
        claims: &mut Vec<OffsetRange>,
        stop: &CancellationToken,
    ) -> Result<(), IndexError> {
        let horizon_us = self.horizon_us(now_us);
        let Some(SealedIn { folder, partition, .. }) = &self.sealed_in else { return Ok(()) };
        let seal = Seal {
            folder: folder.clone(),
            partition: *partition,
            table: Arc::new(std::mem::take(&mut self.table)),
            covered: Vec::new(),
            horizon_us,
        };
        let sealed = seal.run();
        // Until it is a run, or for good if it cannot be, the entries stay where they are found.
        match sealed {
            Ok(sealed) => self.runs.extend(sealed.run),
            Err(error) => {
                self.table = Arc::into_inner(seal.table).unwrap_or_default();
                return Err(error);
            }
        }
        claims.extend(self.take_covered(at).unwrap_or_default());
        while let Some(merge) = self.begin_unclaimed(horizon_us) {
            let merged = merge.run(stop)?;
            self.end_merge(&merged);
            if let Some(SealedIn { folder, .. }) = &self.sealed_in {
                merged.inputs.iter().for_each(|run| folder.remove(run));
            }
        }
        Ok(())
    }

    /// Runs that claim nothing and are enough to become one that claims nothing either.
    fn begin_unclaimed(&self, horizon_us: i64) -> Option<Merge> {
        let SealedIn { folder, partition, entries_max } = self.sealed_in.as_ref()?;
        let inputs = merge::alike(&self.unclaimed(), *entries_max)?;
        Some(Merge { folder: folder.clone(), partition: *partition, covered: Vec::new(), inputs, horizon_us })
    }

    fn unclaimed(&self) -> Vec<Arc<Run>> {
        self.runs.iter().filter(|run| run.covered().is_empty()).cloned().collect()
    }

    /// After everything was read back: runs that claim nothing become one that claims all of it.
    pub(crate) fn claim(
        &mut self,
        at: u64,
        now_us: i64,
        mut claims: Vec<OffsetRange>,
        stop: &CancellationToken,
    ) -> Result<Option<Merge>, IndexError> {
        if self.unclaimed().is_empty() {
            self.cover(claims);
            return Ok(None);
        }
        self.spill(at, now_us, &mut claims, stop)?;
        let Some(SealedIn { folder, partition, .. }) = &self.sealed_in else { return Ok(None) };
        Ok(Some(Merge {
            folder: folder.clone(),
            partition: *partition,
            inputs: self.unclaimed(),
            covered: ranges::union(claims),
            horizon_us: self.horizon_us(now_us),
        }))
    }

    /// Also covers these offsets from now on, with the table and whatever it becomes.
    fn cover(&mut self, offsets: Vec<OffsetRange>) {
        self.table_covered = ranges::union(self.table_covered.drain(..).chain(offsets));
    }

    /// All that the table covers, up to `at`. The next one goes on there.
    fn take_covered(&mut self, at: u64) -> Option<Vec<OffsetRange>> {
        let SealedIn { folder, partition, .. } = self.sealed_in.as_ref()?;
        let since =
            OffsetRange { epoch: folder.epoch(), partition: *partition, from: self.table_from, to: at };
        self.table_from = at;
        Some(ranges::union(std::mem::take(&mut self.table_covered).into_iter().chain([since])))
    }

    /// Looks, and begins to count probes anew.
    pub fn counts(&mut self) -> IndexCounts {
        let sealing = self.sealing.as_ref().map_or(0, |sealing| sealing.table.len());
        let in_memory = self.table.len().saturating_add(sealing) as u64;
        let mut counts = std::mem::take(&mut self.counts);
        (counts.identities, counts.in_memory) = (in_memory, in_memory);
        for run in &self.runs {
            counts.identities = counts.identities.saturating_add(run.len());
            counts.runs = counts.runs.saturating_add(1);
            counts.run_bytes = counts.run_bytes.saturating_add(run.file_bytes());
            counts.filter_bytes = counts.filter_bytes.saturating_add(run.filter_bytes());
        }
        counts
    }
}

/// Whether a run is wholly below the frontier and left nothing out that a record there could still meet. A
/// run that was read back while folding was ahead may have left out more: what is merged with it would
/// claim offsets for identities that nobody has.
fn at_rest(run: &Run, frontier: u64, horizon_us: i64) -> bool {
    let below = run.covered().last().is_none_or(|last| last.to <= frontier);
    below && run.header().horizon_us <= horizon_us
}

fn accepted(entry: &Entry) -> Accepted {
    Accepted { content: ContentHash(whole(entry.content)), record_time_us: entry.record_time_us }
}

#[cfg(test)]
mod tests;
