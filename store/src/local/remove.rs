//! Removing the files of segments that the catalog has forgotten. A query that has one open reads on:
//! the file goes when the last reader closes it.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use metrics::counter;
use weir_meter::segment::Segment;

use super::Shared;
use super::files::io;
use crate::StoreError;
use crate::metrics::FILES_REMOVED;

/// What is gone already is no error. A location that this store would not have chosen is one, and stays;
/// so is a file that cannot be deleted. All others are deleted all the same: nobody asks a second time.
pub(super) fn remove(shared: &Shared, segments: &[Segment]) -> Result<(), StoreError> {
    let (mut kinds, mut first_error) = (BTreeSet::new(), None);
    for segment in segments {
        let removed = shared.folders.file_of(segment).and_then(|path| {
            let Some(path) = path else { return Ok(()) };
            shared.footers.forget(segment.new.segment);
            match shared.folders.disk().remove(&path) {
                Ok(()) => {
                    counter!(FILES_REMOVED, "kind" => segment.new.kind.name()).increment(1);
                    kinds.insert(segment.new.kind);
                    Ok(())
                }
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(io("removing", &path)(error)),
            }
        });
        first_error = first_error.or(removed.err());
    }
    for kind in kinds {
        let synced = shared.folders.sync(kind);
        first_error = first_error.or(synced.err());
    }
    first_error.map_or(Ok(()), Err)
}
