//! An index with all that is around it: a log of records, a frontier, a simulated disk, and the reference.

use std::path::Path;

use tokio_util::sync::CancellationToken;
use weir_files::simulated::SimulatedDisk;
use weir_meter::{ContentHash, IdentityHash, InstallationId, OffsetRange};

use crate::identity::format::Origin;
use crate::identity::{IdentityIndex, IndexError, IndexFolder};

pub(super) const WINDOW_US: i64 = 100;
pub(super) const FOLDER: &str = "/index";

pub(super) fn origin() -> Origin {
    Origin { installation: InstallationId(1), incarnation: 2, epoch: 3 }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) entries_max: usize,
    pub(super) slice_pages: u32,
    pub(super) filtered: bool,
    pub(super) window_us: i64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { entries_max: 4, slice_pages: 1, filtered: true, window_us: WINDOW_US }
    }
}

/// A record of the log and what became of it.
#[derive(Clone, Copy, Debug)]
struct Logged {
    identity: u128,
    content: u128,
    /// The running maximum.
    time_us: i64,
    accepted: bool,
}

pub(super) struct World {
    pub(super) disk: SimulatedDisk,
    pub(super) folder: IndexFolder,
    pub(super) index: IdentityIndex,
    pub(super) shape: Shape,
    log: Vec<Logged>,
    clock_us: i64,
    /// How many records are at rest.
    frontier: usize,
    /// Runs that were open at a time while identities were read back, at the most.
    pub(super) open_max: u64,
}

impl World {
    pub(super) fn new(shape: Shape) -> Self {
        let disk = SimulatedDisk::new(1);
        let folder = open(&disk, shape);
        let index = IdentityIndex::sealed_in(shape.window_us, &folder, 0, 0, shape.entries_max);
        Self { disk, folder, index, shape, log: Vec::new(), clock_us: 1_000, frontier: 0, open_max: 0 }
    }

    /// Takes a record as folding does; whether it was accepted.
    pub(super) fn record(&mut self, identity: u128, content: u128, moved_us: i64) -> bool {
        self.clock_us += moved_us;
        let time_us = self.time_us().max(self.clock_us);
        let accepted = self.decide(identity, content, time_us);
        self.log.push(Logged { identity, content, time_us, accepted });
        if self.index.is_full() {
            self.seal();
        }
        accepted
    }

    /// Asks index and reference, and remembers in the index.
    fn decide(&mut self, identity: u128, content: u128, time_us: i64) -> bool {
        let found = loop {
            match self.index.get(IdentityHash(identity), time_us) {
                Ok(found) => break found,
                Err(error) => self.replace(error),
            }
        };
        let window_us = self.shape.window_us;
        let met = self.log.iter().rev().find(|earlier| {
            earlier.accepted && earlier.identity == identity && earlier.time_us > time_us - window_us
        });
        assert_eq!(
            found.map(|found| (found.content.0, found.record_time_us)),
            met.map(|met| (met.content, met.time_us)),
            "identity {identity} at {time_us}"
        );
        if met.is_none() {
            self.index.accept(IdentityHash(identity), ContentHash(content), time_us);
        }
        met.is_none()
    }

    fn time_us(&self) -> i64 {
        self.log.last().map_or(i64::MIN, |logged| logged.time_us)
    }

    fn at(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn frontier(&self) -> usize {
        self.frontier
    }

    pub(super) fn seal(&mut self) {
        self.index.seal(self.at(), self.time_us()).unwrap();
    }

    pub(super) fn forget(&mut self) {
        self.index.forget(self.time_us());
    }

    pub(super) fn commit(&mut self) {
        self.frontier = self.log.len();
    }

    fn frontier_time_us(&self) -> i64 {
        self.frontier.checked_sub(1).map_or(i64::MIN, |last| self.log[last].time_us)
    }

    pub(super) fn tidy(&mut self) {
        let (frontier, time_us) = (self.frontier as u64, self.frontier_time_us());
        while let Err(error) = self.index.tidy(frontier, time_us) {
            self.replace(error);
        }
    }

    /// A run turned out to be unreadable: its offsets are read back from the log.
    fn replace(&mut self, error: IndexError) {
        let IndexError::Unreadable { serial, .. } = error else { panic!("{error}") };
        let run = self.index.give_up(serial).expect("a run of this index");
        self.read_back();
        self.folder.remove(&run);
    }

    fn read_back(&mut self) {
        let (at, now_us) = (self.at(), self.time_us());
        let mut claims = self.index.uncovered(origin().epoch, 0, at);
        let missing = claims.clone();
        let held =
            |offset: u64| missing.iter().any(|range: &OffsetRange| (range.from..range.to).contains(&offset));
        // Rows come in no order of offsets.
        for (offset, logged) in self.log.iter().enumerate().rev() {
            if held(offset as u64)
                && logged.accepted
                && logged.time_us > now_us.saturating_sub(self.shape.window_us)
            {
                self.index.accept(IdentityHash(logged.identity), ContentHash(logged.content), logged.time_us);
                if self.index.is_full() {
                    self.index.spill(at, now_us, &mut claims, &CancellationToken::new()).unwrap();
                    self.open_max = self.open_max.max(self.index.counts().runs);
                }
            }
        }
        if let Some(merge) = self.index.claim(at, now_us, claims, &CancellationToken::new()).unwrap() {
            let merged = merge.run(&CancellationToken::new()).unwrap();
            self.index.end_merge(&merged);
            merged.inputs.iter().for_each(|run| self.folder.remove(run));
        }
        assert!(self.index.uncovered(origin().epoch, 0, at).is_empty());
    }

    /// The process ends, and another one takes the records above the frontier again.
    pub(super) fn crash(&mut self) {
        let above = self.log.split_off(self.frontier);
        self.folder = open(&self.disk, self.shape);
        let standing = (self.at(), self.time_us());
        self.index =
            IdentityIndex::reopened(self.shape.window_us, &self.folder, 0, standing, self.shape.entries_max)
                .unwrap();
        self.read_back();
        for logged in above {
            let accepted = self.decide(logged.identity, logged.content, logged.time_us);
            assert_eq!(accepted, logged.accepted, "a replay decides the same");
            self.log.push(logged);
            if self.index.is_full() {
                self.seal();
            }
        }
    }

    pub(super) fn restart(&mut self) {
        self.crash();
    }

    pub(super) fn power_cut(&mut self, seed: u64) {
        self.disk = self.disk.reboot(seed);
        self.crash();
    }

    pub(super) fn files(&self) -> Vec<std::path::PathBuf> {
        self.disk.files().into_iter().filter(|path| path.starts_with(FOLDER)).collect()
    }

    pub(super) fn remove_files(&mut self) {
        for path in self.files() {
            self.disk.disk().remove(&path).unwrap();
        }
    }

    pub(super) fn flip(&mut self, file: u8, byte: u16, bit: u8) {
        let files = self.files();
        if let Some(path) = files.get(usize::from(file) % files.len().max(1)) {
            let length = self.disk.contents(path).unwrap().len();
            self.disk.flip_bit(path, usize::from(byte) % length, bit % 8).unwrap();
        }
    }
}

fn open(disk: &SimulatedDisk, shape: Shape) -> IndexFolder {
    IndexFolder::with_shape(disk.disk(), Path::new(FOLDER), origin(), shape.slice_pages, shape.filtered)
        .unwrap()
}
