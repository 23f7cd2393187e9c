//! The manifest: what a backup holds, file by file. It is written last, so a folder that has one is whole.

use std::fs;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::copy::{Copied, Tree};
use crate::output::Failure;

/// Its name in the backup's folder.
pub const MANIFEST: &str = "manifest.json";

/// Version of the manifest and of the folder around it.
pub(super) const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) version: u32,
    pub(super) made_at: String,
    pub(super) made_by: String,
    pub(super) installation: String,
    pub(super) revision: u64,
    pub(super) frontiers: Vec<Frontier>,
    pub(super) files: Vec<Copied>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Frontier {
    pub(super) epoch: u32,
    pub(super) partition: u32,
    pub(super) next_offset: u64,
}

impl From<&weir_catalog::Frontier> for Frontier {
    fn from(frontier: &weir_catalog::Frontier) -> Self {
        let weir_catalog::Frontier { epoch, partition, next_offset, .. } = *frontier;
        Self { epoch, partition, next_offset }
    }
}

impl Manifest {
    pub(super) fn write(&self, tree: &Tree) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(format!("cannot write the manifest: {error}")))?;
        tree.write_last(MANIFEST, (text + "\n").as_bytes()).map_err(super::failure)
    }

    pub(super) fn read(backup: &Path) -> Result<Self, Failure> {
        let path = backup.join(MANIFEST);
        let text = fs::read_to_string(&path).map_err(|error| {
            Failure::new(format!("{} is no whole backup: {}: {error}", backup.display(), path.display()))
                .advice("name a folder that `weir backup` has made and ended")
        })?;
        /// What every version has.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable = |error: serde_json::Error| {
            Failure::new(format!("{} cannot be read: {error}", path.display()))
                .advice("take another backup, or another copy of this one")
        };
        let Version { version } = serde_json::from_str(&text).map_err(unreadable)?;
        if version > VERSION {
            return Err(Failure::new(format!(
                "{} has version {version}, this Weir reads up to {VERSION}",
                path.display()
            ))
            .advice("restore with the newer Weir that made it"));
        }
        let manifest: Self = serde_json::from_str(&text).map_err(unreadable)?;
        // A manifest is only a file: it must not name places outside of the folder.
        let inside = |name: &str| {
            !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
        };
        match manifest.files.iter().find(|file| !inside(&file.path)) {
            None => Ok(manifest),
            Some(file) => {
                Err(Failure::new(format!("{} names `{}`, which no backup holds", path.display(), file.path))
                    .advice("take another backup, or another copy of this one"))
            }
        }
    }
}
