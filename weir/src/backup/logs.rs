//! The log's part of a backup. The server writes and cuts it meanwhile: a torn end is fine, as every start
//! mends one; a gap below the end is not, so the copy is read whole before it counts.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use weir_catalog::{EpochRow, Listing};
use weir_log::local::inspect::{Place, files, inspect, partition_folder};
use weir_meter::InstallationId;

use super::copy::{CopyError, Tree, io_error};
use super::{Attempt, LOG};
use crate::output::Failure;

/// Log files as they were before the catalog was copied, open.
pub(super) struct Held {
    files: BTreeMap<PathBuf, File>,
}

impl Held {
    pub(super) fn open(dir: &Path) -> Result<Self, Attempt> {
        let mut held = Self { files: BTreeMap::new() };
        for epoch in numbered(dir, 'e')? {
            for partition in numbered(&dir.join(format!("e{epoch}")), 'p')? {
                for (_, path) in files(&partition_folder(dir, epoch, partition)).map_err(unreadable)? {
                    match File::open(&path) {
                        Ok(file) => {
                            held.files.insert(path, file);
                        }
                        // Cut between the look and this: nothing of it is needed.
                        Err(error) if error.kind() == ErrorKind::NotFound => {}
                        Err(error) => return Err(io_error("open", &path)(error).into()),
                    }
                }
            }
        }
        Ok(held)
    }
}

/// Copies the log as it is now, with the held files that were cut meanwhile, and proves that it fits the
/// copied catalog.
pub(super) fn copy(
    tree: &mut Tree,
    dir: &Path,
    held: &Held,
    epochs: &[EpochRow],
    listing: &Listing,
    installation: InstallationId,
) -> Result<(), Attempt> {
    for epoch in epochs {
        for partition in 0..epoch.partitions {
            let folder = partition_folder(dir, epoch.epoch, partition);
            let name = format!("{LOG}/e{}/p{partition}", epoch.epoch);
            copy_partition(tree, &folder, &name, held)?;
            let copied = tree.path(LOG);
            let place = Place { dir: &copied, installation, epoch: epoch.epoch, partition };
            verify(place, &folder, epoch, listing.frontier(epoch.epoch, partition))?;
        }
    }
    Ok(())
}

/// Oldest first: then a file that is rotated away from under us is followed by no newer one.
fn copy_partition(tree: &mut Tree, folder: &Path, name: &str, held: &Held) -> Result<(), Attempt> {
    let mut paths: Vec<PathBuf> =
        files(folder).map_err(unreadable)?.into_iter().map(|(_, path)| path).collect();
    paths.extend(held.files.keys().filter(|path| path.parent() == Some(folder)).cloned());
    // Names sort as offsets do.
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let to = format!("{name}/{file_name}");
        match held.files.get(&path) {
            // The handle reads a file that has been cut, too.
            Some(file) => {
                let mut file = file.try_clone().map_err(io_error("read", &path))?;
                std::io::Seek::rewind(&mut file).map_err(io_error("read", &path))?;
                tree.copy_open(&mut file, &path, &to)?;
            }
            None => match tree.copy(&path, &to) {
                // Cut since it was listed: if it is needed, the proof below says so.
                Ok(()) | Err(CopyError::Gone { .. }) => {}
                Err(error) => return Err(error.into()),
            },
        }
    }
    Ok(())
}

/// The copied log must hold everything from the copied frontier on, without a gap.
fn verify(place: Place<'_>, folder: &Path, epoch: &EpochRow, frontier: u64) -> Result<(), Attempt> {
    let last = frontier.checked_sub(1);
    let found = inspect(place, last).map_err(unreadable)?;
    if epoch.sealed_at_us.is_some() && found.files == 0 {
        return Ok(());
    }
    if let Some(problem) = found.problems.first() {
        // The copy is named, but the original is meant; a gap may be the server's doing, damage is not.
        let reason = format!("{}: {problem}", folder.display());
        return Err(Attempt::Outrun(reason));
    }
    if found.start > frontier || found.end < frontier {
        return Err(Attempt::Outrun(format!(
            "{}: the copy holds offsets {} to {}, the frontier is {frontier}",
            folder.display(),
            found.start,
            found.end
        )));
    }
    Ok(())
}

/// Numbers of the folders in a folder that are called by a letter and a number.
fn numbered(dir: &Path, letter: char) -> Result<Vec<u32>, Attempt> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", dir)(error).into()),
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.strip_prefix(letter)?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn unreadable(error: weir_log::LogError) -> Attempt {
    Attempt::Failed(Failure::new(error.to_string()).advice("see that this user may read the server's log"))
}
