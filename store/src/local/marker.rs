//! The store's marker file: which installation the folder belongs to and which format it has. A
//! store beside the wrong catalog would look empty to it, and a sweep would take it for garbage.

use std::io::ErrorKind;

use weir_meter::InstallationId;

use super::files::{Folders, KINDS, io};
use crate::StoreError;

const NAME: &str = "weir-store";

/// Version of folders, names and columns. A newer one is refused, older ones are read.
const FORMAT: u32 = 1;

/// Bytes of a marker at most; no version of Weir has come near.
const BYTES_MAX: u64 = 4096;

pub(super) fn check_or_write(folders: &Folders, installation: InstallationId) -> Result<(), StoreError> {
    match read(folders)? {
        Some(text) => check(&text, folders, installation),
        None => write(folders, installation),
    }
}

/// For a folder that nothing may be written to.
pub(super) fn check_only(folders: &Folders, installation: InstallationId) -> Result<(), StoreError> {
    match read(folders)? {
        Some(text) => check(&text, folders, installation),
        None => Err(StoreError::Mismatch(format!(
            "{} holds no store: the file {NAME} is missing; give the folder that `weir serve` uses",
            folders.root().display()
        ))),
    }
}

/// None if there is none; what cannot be a marker reads as an empty one.
fn read(folders: &Folders) -> Result<Option<String>, StoreError> {
    let path = folders.root().join(NAME);
    match folders.disk().read(&path, BYTES_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8(bytes).unwrap_or_default())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Some(String::new())),
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

/// The first start; also one whose predecessor lost power before the marker was durable.
fn write(folders: &Folders, installation: InstallationId) -> Result<(), StoreError> {
    for kind in KINDS {
        let folder = folders.folder(kind);
        let holds_files = match folders.disk().list(&folder) {
            Ok(entries) => !entries.is_empty(),
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(io("listing", &folder)(error)),
        };
        if holds_files {
            return Err(StoreError::Mismatch(format!(
                "{} holds files, but the file {NAME} that names their installation is missing from {}; restore it from a copy, or give an empty folder",
                folder.display(),
                folders.root().display()
            )));
        }
    }
    let path = folders.root().join(NAME);
    let text = format!("format {FORMAT}\ninstallation {installation}\n");
    folders.disk().replace(&path, text.as_bytes()).map_err(io("writing", &path))
}
