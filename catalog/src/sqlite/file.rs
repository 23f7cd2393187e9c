//! The file before the database opens it: made so that only its owner can read it (it holds the
//! installation's keys), and its name durable in its folder.

use std::io;
use std::path::Path;

use weir_files::{Disk, Open};

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
            let header = read_header(disk, path).map_err(failed)?;
            if !(is_blank(&header) && has_journal(disk, path)) {
                check_header(&header, path, application_id)?;
            }
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
    let header = read_header(disk, path).map_err(failed)?;
    if !header.is_empty() && is_blank(&header) && has_journal(disk, path) {
        return Err(CatalogError::Unusable(format!(
            "{} was being made when the power went; start the server once with `weir serve`",
            path.display()
        )));
    }
    check_header(&header, path, application_id)
}

/// An id of zero may be a catalog whose first transaction is still in the journal; the tables tell.
fn check_header(header: &[u8], path: &Path, application_id: i64) -> Result<(), CatalogError> {
    let stored = header.get(APPLICATION_ID_AT).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let fits = header.is_empty()
        || (header.starts_with(HEADER)
            && stored
                .is_some_and(|bytes| [0, application_id].contains(&i64::from(i32::from_be_bytes(bytes)))));
    if fits {
        return Ok(());
    }
    Err(CatalogError::Unusable(format!("{} is not a catalog; name another file", path.display())))
}

/// A power cut during the very first start can leave a file that has got its length, but not its bytes. The
/// rollback journal beside it, which was durable before, tells SQLite that there was nothing in it.
fn is_blank(header: &[u8]) -> bool {
    header.iter().all(|byte| *byte == 0)
}

fn has_journal(disk: &Disk, path: &Path) -> bool {
    has_beside(disk, path, "-journal")
}

/// Whether there is anything in the file that SQLite keeps beside this one under such an ending.
pub(super) fn has_beside(disk: &Disk, path: &Path, ending: &str) -> bool {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    disk.file_len(Path::new(&beside)).is_ok_and(|length| length > 0)
}

/// What there is of the header.
fn read_header(disk: &Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Read)?;
    let length = file.len()?.min(HEADER_BYTES as u64);
    let mut header = vec![0; usize::try_from(length).unwrap_or(HEADER_BYTES)];
    file.read_exact_at(&mut header, 0)?;
    Ok(header)
}
