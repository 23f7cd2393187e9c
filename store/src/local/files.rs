//! Where files lie and what they are called: `rows/<writer>-<segment>.parquet`, and the same under
//! `windows` and `members`. A name says whose the file is without opening it, which is what a
//! sweep goes by.

use std::path::{Path, PathBuf};

use weir_files::Disk;
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::{InstallationId, SegmentId, WriterId};

use super::marker;
use crate::StoreError;

pub(super) const KINDS: [SegmentKind; 3] = [SegmentKind::Rows, SegmentKind::Windows, SegmentKind::Members];

const SUFFIX: &str = ".parquet";

/// The store's folder with its three subfolders; all of them are there.
#[derive(Debug)]
pub(super) struct Folders {
    disk: Disk,
    root: PathBuf,
}

impl Folders {
    pub(super) fn open(disk: Disk, root: &Path, installation: InstallationId) -> Result<Self, StoreError> {
        disk.create_folders(root).map_err(io("making the store's folder", root))?;
        let folders = Self { disk, root: root.to_owned() };
        marker::check_or_write(&folders, installation)?;
        for kind in KINDS {
            let folder = folders.folder(kind);
            folders.disk.create_folders(&folder).map_err(io("making", &folder))?;
        }
        Ok(folders)
    }

    /// Changes nothing: marker and folders have to be there.
    pub(super) fn open_read_only(
        disk: Disk,
        root: &Path,
        installation: InstallationId,
    ) -> Result<Self, StoreError> {
        let folders = Self { disk, root: root.to_owned() };
        marker::check_only(&folders, installation)?;
        for folder in KINDS.map(|kind| folders.folder(kind)) {
            folders.disk.list(&folder).map_err(io("listing", &folder))?;
        }
        Ok(folders)
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn folder(&self, kind: SegmentKind) -> PathBuf {
        self.root.join(kind.name())
    }

    pub(super) fn path(&self, location: &str) -> PathBuf {
        self.root.join(location)
    }

    /// Makes names that were added to or removed from a folder durable.
    pub(super) fn sync(&self, kind: SegmentKind) -> Result<(), StoreError> {
        let folder = self.folder(kind);
        self.disk.sync_folder(&folder).map_err(io("syncing the folder", &folder))
    }

    /// The file of a listed segment; None if it is empty and has none. A location that this store
    /// would not have chosen is never opened.
    pub(super) fn file_of(&self, segment: &Segment) -> Result<Option<PathBuf>, StoreError> {
        let new = &segment.new;
        if new.location.is_empty() {
            return Ok(None);
        }
        if new.location != location(new.kind, segment.writer, new.segment) {
            return Err(damaged(
                &self.path(&new.location),
                &format!("segment {} of writer {} cannot lie there", new.segment, segment.writer),
            ));
        }
        Ok(Some(self.path(&new.location)))
    }
}

/// Path of a segment's file, relative to the store's folder.
pub(super) fn location(kind: SegmentKind, writer: WriterId, segment: SegmentId) -> String {
    format!("{}/{writer}-{segment}{SUFFIX}", kind.name())
}

/// Whose a file is; None for a name that this store would not have chosen.
pub(super) fn parse_name(name: &str) -> Option<(WriterId, SegmentId)> {
    let (writer, segment) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let ids: (WriterId, SegmentId) = (writer.parse().ok()?, segment.parse().ok()?);
    (name == format!("{}-{}{SUFFIX}", ids.0, ids.1)).then_some(ids)
}

pub(super) fn io(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let context = format!("{doing} {}", path.display());
    move |source| StoreError::Io { context, source }
}

pub(super) fn damaged(path: &Path, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), reason: reason.to_string() }
}
