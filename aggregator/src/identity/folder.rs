//! The folder of runs on a local disk. It is a cache: whatever in it is not of this very catalog, not
//! below its frontier or not whole is deleted at start, and read from rows at rest again.
//!
//! Runs are synced all the same, before they get their name. A run is written once in a million events,
//! so that costs little; and a name then stands for whole contents, so that a start after a power cut
//! need not read all pages to know.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_files::Disk;
use weir_meter::{InstallationId, OffsetRange};

use super::IndexError;
use super::format::Origin;
use super::run::{OpenError, Run};
use super::table::Entry;
use super::write::{Blueprint, RunWriter};
use crate::maintain::ranges;

/// Pages that share a filter: about a million entries, so that building one takes some 40 MB.
const SLICE_PAGES: u32 = 5_120;
const SUFFIX: &str = ".run";
const DRAFT_SUFFIX: &str = ".run.draft";

/// Where runs are kept, and whose they are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct IndexFolder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Disk,
    path: PathBuf,
    origin: Origin,
    next_serial: AtomicU64,
    slice_pages: u32,
    filtered: bool,
}

/// Takes the next entry of a run.
pub(super) type Push<'w> = dyn FnMut(&Entry) -> Result<(), IndexError> + 'w;

/// Where a partition stands at start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) partition: u32,
    /// The catalog's frontier.
    pub(crate) frontier: u64,
    /// What was accepted at or before it meets no later record.
    pub(crate) horizon_us: i64,
}

impl IndexFolder {
    /// Makes the folder if it is missing. Only for the one process that holds the data folder.
    pub fn open(
        disk: Disk,
        path: &Path,
        installation: InstallationId,
        incarnation: u128,
        epoch: u32,
    ) -> Result<Self, IndexError> {
        Self::with_shape(disk, path, Origin { installation, incarnation, epoch }, SLICE_PAGES, true)
    }

    /// As `open`, with slices of another size or filters that say yes to everything, for tests.
    pub(super) fn with_shape(
        disk: Disk,
        path: &Path,
        origin: Origin,
        slice_pages: u32,
        filtered: bool,
    ) -> Result<Self, IndexError> {
        disk.create_folders(path).map_err(|error| IndexError::write(path, error))?;
        let folder = Inner {
            disk,
            path: path.to_path_buf(),
            origin,
            next_serial: AtomicU64::new(0),
            slice_pages,
            filtered,
        };
        Ok(Self(Arc::new(folder)))
    }

    /// The runs that may be used, for each partition as they were given. Every other file with a name like
    /// theirs is deleted for certain: a run that was refused because it reaches above the frontier, and comes
    /// back when the frontier is there, may claim offsets at which other records lie by then.
    pub(crate) fn load(&self, standings: &[Standing]) -> Result<Vec<Vec<Arc<Run>>>, IndexError> {
        let Inner { disk, path, .. } = self.0.as_ref();
        let stopped = |file: &Path, what: &'static str, error: io::Error| IndexError::Start {
            path: file.display().to_string(),
            folder: path.display().to_string(),
            what,
            reason: error.to_string(),
        };
        let listed = disk.list(path).map_err(|error| stopped(path, "cannot be listed", error))?;
        let mut found = Vec::new();
        let mut useless = Vec::new();
        for entry in listed {
            let file = path.join(&entry.name);
            match serial_of(&entry.name) {
                _ if !entry.is_file => {}
                Some(serial) => {
                    self.0.next_serial.fetch_max(serial.saturating_add(1), Ordering::Relaxed);
                    let usable = match Run::open(disk, &file) {
                        Ok(run) => self.usable(run, serial, standings),
                        Err(OpenError::Useless(reason)) => Err(reason),
                        Err(OpenError::Unknown(error)) => {
                            return Err(stopped(&file, "cannot be opened", error));
                        }
                    };
                    match usable {
                        Ok(run) => found.push(run),
                        Err(reason) => useless.push((file, reason)),
                    }
                }
                None if entry.name.ends_with(DRAFT_SUFFIX) => {
                    // Its number stays taken: whoever wrote it may not have noticed yet that it has ended.
                    let serial = entry.name.strip_suffix(".draft").and_then(serial_of).unwrap_or(0);
                    self.0.next_serial.fetch_max(serial.saturating_add(1), Ordering::Relaxed);
                    useless.push((file, "a draft".to_owned()));
                }
                None => {
                    tracing::warn!(path = %file.display(), "not a file of the identity index; left alone")
                }
            }
        }
        // A run that others were merged into covers all that they do, and they are of no more use.
        found.sort_by_key(|run| std::cmp::Reverse((ranges::len(run.covered()), run.header().serial)));
        let mut loaded: Vec<Vec<Arc<Run>>> = standings.iter().map(|_| Vec::new()).collect();
        for run in found {
            let of_run = standings.iter().position(|standing| standing.partition == run.header().partition);
            let Some(runs) = of_run.and_then(|at| loaded.get_mut(at)) else { continue };
            let known = ranges::union(runs.iter().flat_map(|run| run.covered().iter().copied()));
            if ranges::contains(&known, run.covered()) {
                useless.push((run.path().to_path_buf(), "others hold all of it".to_owned()));
            } else {
                runs.push(Arc::new(run));
            }
        }
        for (file, reason) in useless {
            tracing::info!(path = %file.display(), %reason, "a file of the identity index is of no use");
            match disk.remove(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(stopped(&file, "is of no use and cannot be deleted", error));
                }
                _ => {}
            }
        }
        // Else they could come back after a power cut, and so could those that a start before this one deleted.
        disk.sync_folder(path).map_err(|error| stopped(path, "cannot be synced", error))?;
        Ok(loaded)
    }

    fn usable(&self, run: Run, serial: u64, standings: &[Standing]) -> Result<Run, String> {
        let header = run.header();
        let standing = standings.iter().find(|standing| standing.partition == header.partition);
        let reason = match standing {
            _ if header.origin != self.0.origin => "it belongs to another installation or an older catalog",
            _ if header.serial != serial => "it has another file's name",
            None => "it is of a partition that the log does not have",
            Some(at) if run.covered().last().is_none_or(|last| last.to > at.frontier) => {
                "it reaches above the frontier"
            }
            // What was let go of, looking from later on, could be met again by a record at the frontier.
            Some(at) if header.horizon_us > at.horizon_us => "it forgot more than the frontier allows",
            Some(_) => return Ok(run),
        };
        Err(reason.to_owned())
    }

    /// Writes what `fill` pushes as one run, and opens it. None if nothing was pushed.
    pub(super) fn write(
        &self,
        partition: u32,
        horizon_us: i64,
        covered: Vec<OffsetRange>,
        fill: impl FnOnce(&mut Push<'_>) -> Result<(), IndexError>,
    ) -> Result<Option<Arc<Run>>, IndexError> {
        let Inner { disk, path, origin, slice_pages, filtered, .. } = self.0.as_ref();
        let serial = self.0.next_serial.fetch_add(1, Ordering::Relaxed);
        let file = path.join(format!("e{}-p{partition}-{serial:020}{SUFFIX}", origin.epoch));
        let draft = file.with_added_extension("draft");
        let failed = |error: io::Error| IndexError::write(&file, error);
        let blueprint = Blueprint {
            origin: *origin,
            partition,
            serial,
            horizon_us,
            slice_pages: *slice_pages,
            filtered: *filtered,
        };
        let written =
            RunWriter::create(disk, draft.clone(), &blueprint).map_err(failed).and_then(|mut writer| {
                fill(&mut |entry| writer.push(entry).map_err(failed))?;
                writer.finish(&file, covered).map_err(failed)
            });
        match written {
            Ok(false) => Ok(None),
            // Read back before anything relies on it.
            Ok(true) => Run::open(disk, &file).map(|run| Some(Arc::new(run))).map_err(|error| {
                self.delete(&file);
                IndexError::Write { path: file.display().to_string(), reason: error.to_string() }
            }),
            Err(error) => {
                self.delete(&draft);
                // It has its name already if that could not be made durable, and nothing knows it.
                self.delete(&file);
                Err(error)
            }
        }
    }

    /// Deletes a run that nothing needs any more. If that fails, the next start does it.
    pub(crate) fn remove(&self, run: &Run) {
        self.delete(run.path());
    }

    /// Two may let go of a run, one that merged it and one that found it expired.
    fn delete(&self, file: &Path) {
        match self.0.disk.remove(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %file.display(), %error, "a file of the identity index stays until the next start");
            }
            _ => {}
        }
    }

    pub(super) fn epoch(&self) -> u32 {
        self.0.origin.epoch
    }
}

/// The serial in a run's name.
fn serial_of(name: &str) -> Option<u64> {
    let mut parts = name.strip_suffix(SUFFIX)?.splitn(3, '-');
    let number = |part: Option<&str>, prefix| part?.strip_prefix(prefix)?.parse::<u32>().ok();
    number(parts.next(), 'e')?;
    number(parts.next(), 'p')?;
    parts.next().filter(|digits| digits.len() == 20)?.parse().ok()
}
