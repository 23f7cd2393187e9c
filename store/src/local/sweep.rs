//! Sweeping: removes files that closed writers wrote and no listing knows. Everything else that the
//! catalog does not know is reported and stays: a restored or wrong catalog must not eat a store.

use std::collections::HashSet;

use metrics::counter;
use weir_files::Entry;
use weir_meter::{SegmentId, WriterId};

use super::files::{Folders, KINDS, io, parse_name};
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
        for Entry { name, is_file } in folders.disk().list(&folder).map_err(io("listing", &folder))? {
            let shown = format!("{}/{name}", kind.name());
            let ids = if is_file { parse_name(&name) } else { None };
            match ids {
                Some((_, segment)) if kept.contains(&segment) => {}
                Some((writer, _)) if closed.contains(&writer) => {
                    let path = folder.join(&name);
                    folders.disk().remove(&path).map_err(io("removing", &path))?;
                    report.removed.push(shown);
                }
                _ => report.unknown.push(shown),
            }
        }
        if report.removed.len() > removed_before {
            folders.sync(kind)?;
        }
    }
    counter!(FILES_SWEPT).increment(report.removed.len() as u64);
    report.removed.sort_unstable();
    report.unknown.sort_unstable();
    Ok(report)
}
