//! How many transactions have been committed, told by a small file beside the database. SQLite ends reading
//! its journal at the first frame that is damaged and takes what follows for never written; the
//! database alone cannot tell that from a commit that never was. The number in the database (its user
//! version) moves with each commit, and this file follows it: a database that has counted less than the
//! file has lost commits that were acknowledged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use parking_lot::Mutex;
use weir_files::{Disk, File, Open};
use weir_meter::InstallationId;

use crate::CatalogError;

/// Written in turns, so that one of them is always whole.
const SLOTS: u64 = 2;
/// What disks write whole.
const SLOT_BYTES: u64 = 512;
const MAGIC: &[u8; 8] = b"weir-tly";
/// Magic, installation, number, checksum.
const ENTRY_BYTES: usize = 8 + 16 + 8 + 4;

/// Follows the database's number.
#[derive(Debug)]
pub(super) struct Tally {
    disk: Disk,
    path: PathBuf,
    installation: OnceLock<InstallationId>,
    file: Mutex<Option<File>>,
}

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) installation: InstallationId,
    pub(super) committed: u64,
}

impl Tally {
    pub(super) fn new(disk: Disk, database: &Path) -> Self {
        let path = path_of(database);
        Self { disk, path, installation: OnceLock::new(), file: Mutex::default() }
    }

    pub(super) fn belongs_to(&self, installation: InstallationId) {
        self.installation.get_or_init(|| installation);
    }

    /// Notes a number of commits, durably. A failure is only logged: the file then says too little, which is
    /// always true.
    pub(super) fn note(&self, committed: u64) {
        let Some(installation) = self.installation.get() else { return };
        let mut file = self.file.lock();
        if let Err(error) = self.write(&mut file, Noted { installation: *installation, committed }) {
            tracing::warn!(%error, path = %self.path.display(), "the number of commits could not be noted");
            *file = None;
        }
    }

    fn write(&self, open: &mut Option<File>, noted: Noted) -> io::Result<()> {
        if open.is_none() {
            let file = match self.disk.open(&self.path, Open::Write) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let file = self.disk.open(&self.path, Open::CreateNewPrivate)?;
                    self.disk.sync_name(&self.path)?;
                    file
                }
                opened => opened?,
            };
            *open = Some(file);
        }
        let Some(file) = open else { return Ok(()) };
        file.write_all_at(&encode(noted), (noted.committed % SLOTS) * SLOT_BYTES)?;
        file.sync_data()
    }
}

/// The newest entry that is whole; None if there is no file, or nothing whole in it.
pub(super) fn read(disk: &Disk, database: &Path) -> Result<Option<Noted>, CatalogError> {
    let path = path_of(database);
    let bytes = match disk.read(&path, SLOTS * SLOT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(CatalogError::Unusable(format!("{} cannot be read: {error}", path.display())));
        }
    };
    let slots = (0..SLOTS).filter_map(|slot| {
        let at = usize::try_from(slot * SLOT_BYTES).ok()?;
        decode(bytes.get(at..)?.get(..ENTRY_BYTES)?)
    });
    Ok(slots.max_by_key(|noted| noted.committed))
}

/// The sentence for a database that has counted less than was noted.
pub(super) fn lost(database: &Path, noted: u64, committed: u64) -> CatalogError {
    CatalogError::Unusable(format!(
        "the catalog {} is older than what was committed to it: {committed} of {noted} transactions are there; its \
         journal was damaged, cut or removed, or an older copy was put in its place. Bring the newer files back. To go on \
         from this state instead, remove {} and start again: meters made since are gone, and events since are folded again",
        database.display(),
        path_of(database).display()
    ))
}

fn path_of(database: &Path) -> PathBuf {
    database.with_extension("commits")
}

fn encode(noted: Noted) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&noted.installation.0.to_be_bytes());
    bytes.extend_from_slice(&noted.committed.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Noted> {
    let (entry, checksum) = bytes.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*checksum) != crc32c::crc32c(entry) {
        return None;
    }
    let (installation, committed) = entry.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
    Some(Noted {
        installation: InstallationId(u128::from_be_bytes(*installation)),
        committed: u64::from_le_bytes(committed.try_into().ok()?),
    })
}
