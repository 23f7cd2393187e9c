//! The store's marker file: which installation the folder belongs to and which format it has. A
//! store beside the wrong catalog would look empty to it, and a sweep would take it for garbage.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};

use weir_meter::InstallationId;

use super::files::{Folders, KINDS, io, sync_folder};
use crate::StoreError;

const NAME: &str = "weir-store";

/// Version of folders, names and columns. A newer one is refused, older ones are read.
const FORMAT: u32 = 1;

pub(super) fn check_or_write(folders: &Folders, installation: InstallationId) -> Result<(), StoreError> {
    let path = folders.root().join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => check(&text, folders, installation),
        Err(error) if error.kind() == ErrorKind::NotFound => write(folders, installation),
        Err(error) if error.kind() == ErrorKind::InvalidData => check("", folders, installation),
        Err(error) => Err(io("reading", &path)(error)),
    }
}

/// For a folder that nothing may be written to.
pub(super) fn check_only(folders: &Folders, installation: InstallationId) -> Result<(), StoreError> {
    let path = folders.root().join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => check(&text, folders, installation),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::Mismatch(format!(
            "{} holds no store: the file {NAME} is missing; give the folder that `weir serve` uses",
            folders.root().display()
        ))),
        Err(error) if error.kind() == ErrorKind::InvalidData => check("", folders, installation),
        Err(error) => Err(io("reading", &path)(error)),
    }
}

fn check(text: &str, folders: &Folders, installation: InstallationId) -> Result<(), StoreError> {
    let place = folders.root().display();
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).map(str::trim);
    let format: Option<u32> = value("format").and_then(|v| v.parse().ok());
    let owner: Option<InstallationId> = value("installation").and_then(|v| v.parse().ok());
    let reason = match (format, owner) {
        (Some(format), _) if format > FORMAT => format!(
            "{place} has store format {format}, this Weir reads up to {FORMAT}; use the newer Weir that wrote it"
        ),
        (Some(_), Some(owner)) if owner == installation => return Ok(()),
        (Some(_), Some(owner)) => format!(
            "{place} is of installation {owner}, the catalog of {installation}; give the two that belong together"
        ),
        _ => format!("the file {NAME} in {place} cannot be read; restore it from a copy"),
    };
    Err(StoreError::Mismatch(reason))
}

/// Written under another name first, so that a crash never leaves half a marker.
fn write(folders: &Folders, installation: InstallationId) -> Result<(), StoreError> {
    for kind in KINDS {
        let folder = folders.folder(kind);
        let holds_files = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        if holds_files {
            return Err(StoreError::Mismatch(format!(
                "{} holds files, but the file {NAME} that names their installation is missing from {}; restore it from a copy, or give an empty folder",
                folder.display(),
                folders.root().display()
            )));
        }
    }
    let (path, draft) = (folders.root().join(NAME), folders.root().join("weir-store.new"));
    let text = format!("format {FORMAT}\ninstallation {installation}\n");
    let mut file = File::create(&draft).map_err(io("making", &draft))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io("writing", &draft))?;
    fs::rename(&draft, &path).map_err(io("naming", &path))?;
    sync_folder(folders.root())
}
