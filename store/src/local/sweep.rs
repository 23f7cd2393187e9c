//! Sweeping: removes files that closed writers wrote and no listing knows. Everything else that the
//! catalog does not know is reported and stays: a restored or wrong catalog must not eat a store.

use std::collections::HashSet;
use std::fs;

use metrics::counter;
use weir_meter::{SegmentId, WriterId};

use super::files::{Folders, KINDS, io, parse_name, sync_folder};
use crate::metrics::FILES_SWEPT;
use crate::{StoreError, SweepReport};

pub(super) fn sweep(
    folders: &Folders,
    closed: &HashSet<WriterId>,
    kept: &HashSet<SegmentId>,
) -> Result<SweepReport, StoreError> {
    let mut report = SweepReport::default();
    for kind in KINDS {
        let folder = folders.folder(kind);
        let removed_before = report.removed.len();
        for entry in fs::read_dir(&folder).map_err(io("listing", &folder))? {
            let entry = entry.map_err(io("listing", &folder))?;
            let name = entry.file_name();
            let shown = format!("{}/{}", kind.name(), name.to_string_lossy());
            let is_file = entry.file_type().is_ok_and(|t| t.is_file());
            let ids = name.to_str().filter(|_| is_file).and_then(parse_name);
            match ids {
                Some((_, segment)) if kept.contains(&segment) => {}
                Some((writer, _)) if closed.contains(&writer) => {
                    fs::remove_file(entry.path()).map_err(io("removing", &entry.path()))?;
                    report.removed.push(shown);
                }
                _ => report.unknown.push(shown),
            }
        }
        if report.removed.len() > removed_before {
            sync_folder(&folder)?;
        }
    }
    counter!(FILES_SWEPT).increment(report.removed.len() as u64);
    report.removed.sort_unstable();
    report.unknown.sort_unstable();
    Ok(report)
}
