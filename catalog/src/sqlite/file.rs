//! The file before the database opens it: made so that only its owner can read it (it holds the
//! installation's keys), and its name durable in its folder.

use std::io;
use std::path::Path;

use weir_files::{Disk, File, Open};

use crate::CatalogError;

const HEADER: &[u8; 16] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
/// Where the header keeps the application id.
const APPLICATION_ID_AT: std::ops::Range<usize> = 68..72;

/// Makes the file if there is none. A file that is something else is refused before anything is
/// written to it.
pub(super) fn prepare(disk: &Disk, path: &Path, application_id: i64) -> Result<(), CatalogError> {
    let failed = |error: io::Error| {
        CatalogError::Unusable(format!("the catalog {} cannot be opened: {error}", path.display()))
    };
    match disk.open(path, Open::CreateNewPrivate) {
        Ok(file) => file.sync_all().map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = disk.open(path, Open::Read).map_err(failed)?;
            check_header(&file, application_id).map_err(failed)??;
        }
        Err(error) => return Err(failed(error)),
    }
    // Every time, not only after making it: the process may have been killed in between.
    disk.sync_name(path).map_err(failed)
}

/// Refuses a file that is not there, or is something else. Nothing is made.
pub(super) fn check(disk: &Disk, path: &Path, application_id: i64) -> Result<(), CatalogError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => CatalogError::Unusable(format!(
            "there is no catalog at {}; name the data folder of a server that has been started once",
            path.display()
        )),
        _ => CatalogError::Unusable(format!("the catalog {} cannot be opened: {error}", path.display())),
    };
    let file = disk.open(path, Open::Read).map_err(failed)?;
    check_header(&file, application_id).map_err(failed)?
}

/// An id of zero may be a catalog whose first transaction is still in the journal; the tables tell.
fn check_header(file: &File, application_id: i64) -> io::Result<Result<(), CatalogError>> {
    let header = read_header(file)?;
    let stored = header.get(APPLICATION_ID_AT).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let fits = header.is_empty()
        || (header.starts_with(HEADER)
            && stored
                .is_some_and(|bytes| [0, application_id].contains(&i64::from(i32::from_be_bytes(bytes)))));
    Ok(if fits {
        Ok(())
    } else {
        let path = file.path().display();
        Err(CatalogError::Unusable(format!("{path} is not a catalog; name another file")))
    })
}

/// What there is of the header.
fn read_header(file: &File) -> io::Result<Vec<u8>> {
    let length = file.len()?.min(HEADER_BYTES as u64);
    let mut header = vec![0; usize::try_from(length).unwrap_or(HEADER_BYTES)];
    file.read_exact_at(&mut header, 0)?;
    Ok(header)
}
