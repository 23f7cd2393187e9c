//! The file before the database opens it: made so that only its owner can read it (it holds the
//! installation's keys), and its name durable in its folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use crate::CatalogError;

const HEADER: &[u8; 16] = b"SQLite format 3\0";
/// Where the header keeps the application id.
const APPLICATION_ID_AT: std::ops::Range<usize> = 68..72;

/// Makes the file if there is none. A file that is something else is refused before anything is
/// written to it.
pub(super) fn prepare(path: &Path, application_id: i64) -> Result<(), CatalogError> {
    let failed = |error: io::Error| {
        CatalogError::Unusable(format!("the catalog {} cannot be opened: {error}", path.display()))
    };
    match create(path) {
        Ok(file) => file.sync_all().map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check_header(path, application_id, File::open(path).map_err(failed)?).map_err(failed)??;
        }
        Err(error) => return Err(failed(error)),
    }
    // Every time, not only after making it: the process may have been killed in between.
    sync_folder(path).map_err(failed)
}

/// Refuses a file that is not there, or is something else. Nothing is made.
pub(super) fn check(path: &Path, application_id: i64) -> Result<(), CatalogError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => CatalogError::Unusable(format!(
            "there is no catalog at {}; name the data folder of a server that has been started once",
            path.display()
        )),
        _ => CatalogError::Unusable(format!("the catalog {} cannot be opened: {error}", path.display())),
    };
    check_header(path, application_id, File::open(path).map_err(failed)?).map_err(failed)?
}

/// Makes the name of the file durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all())
}

/// Makes a new file that only its owner can read.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// An id of zero may be a catalog whose first transaction is still in the journal; the tables tell.
fn check_header(path: &Path, application_id: i64, file: File) -> io::Result<Result<(), CatalogError>> {
    let mut header = Vec::new();
    file.take(100).read_to_end(&mut header)?;
    let stored = header.get(APPLICATION_ID_AT).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let fits = header.is_empty()
        || (header.starts_with(HEADER)
            && stored
                .is_some_and(|bytes| [0, application_id].contains(&i64::from(i32::from_be_bytes(bytes)))));
    Ok(if fits {
        Ok(())
    } else {
        Err(CatalogError::Unusable(format!("{} is not a catalog; name another file", path.display())))
    })
}
