//! `weir backup` and `weir restore`: a copy of everything that counts, made beside a running server. The
//! order of the steps makes it consistent: log files are held open first, then the catalog is copied as
//! of one moment, then what that copy lists, then the log. So whatever the catalog's copy says is at
//! rest is in the copied store, and whatever came later is in the copied log.

mod copy;
mod logs;
mod manifest;
mod restore;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_catalog::{Catalog, Listing};
use weir_meter::environment::Clock;
use weir_meter::segment::Segment;

use crate::data::{Place, blocking, open_catalog, unreadable, up_to};
use crate::environment::SystemClock;
use crate::output::{self, Failure, grouped_digits};
use crate::segments::counted;
use copy::{Copied, CopyError, Tree};
use manifest::{Manifest, VERSION};

pub use manifest::MANIFEST;
pub(crate) use restore::WAITING;
pub use restore::{restore, run_restore};

/// Names inside a backup; the same as in a data folder with default settings.
const CATALOG: &str = "catalog.db";
const LOG: &str = "log";
const STORE: &str = "store";
/// The store's file that names its installation.
pub(crate) const STORE_MARKER: &str = "weir-store";

/// How often a copy is begun again if the server has gone on faster than it was copied.
const ATTEMPTS: usize = 3;

/// What a backup holds.
#[derive(Clone, Debug)]
pub struct Made {
    pub files: u64,
    pub bytes: u64,
    pub linked: u64,
    pub listing: Arc<Listing>,
}

/// Makes a backup and says what it holds.
pub async fn run(place: &Place, target: &Path) -> Result<(), Failure> {
    let made = backup(place, target).await?;
    output::note(&format!(
        "backed up {} to {}: {}, {} bytes ({} hard-linked); at rest up to {}, and the log from there on",
        place.data_dir.display(),
        target.display(),
        counted(made.files, "file"),
        grouped_digits(&made.bytes.to_string()),
        grouped_digits(&made.linked.to_string()),
        up_to(&made.listing.frontiers)
    ));
    Ok(())
}

/// Makes a backup. Until it is whole it lies beside the target under another name.
pub async fn backup(place: &Place, target: &Path) -> Result<Made, Failure> {
    place.check_there()?;
    if target.symlink_metadata().is_ok() {
        return Err(Failure::new(format!("{} is there already", target.display()))
            .advice("name a folder that does not exist yet; a backup never changes another one"));
    }
    refuse_inside(place, target)?;
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    if partial.symlink_metadata().is_ok() {
        return Err(Failure::new(format!("{} is there already", partial.display())).advice(
            "another backup to this place is under way, or one broke off; if none is under way, remove that folder",
        ));
    }
    let mut attempt = 1;
    loop {
        match attempt_at(place, &partial).await {
            Ok(made) => {
                let to = target.to_owned();
                return blocking(move || copy::name(&partial, &to)).await?.map_err(failure).map(|()| made);
            }
            Err(Attempt::Outrun(reason)) if attempt < ATTEMPTS => {
                output::note(&format!("the server went on faster than it was copied ({reason}); once more"));
                attempt += 1;
            }
            Err(Attempt::Outrun(reason)) => {
                return Err(Failure::new(format!(
                    "no consistent copy after {ATTEMPTS} attempts, as the server goes on faster than it is copied"
                ))
                .detail(reason)
                .advice("back up at a quieter time, to a faster disk, or on the same file system"));
            }
            Err(Attempt::Failed(failure)) => return Err(failure),
        }
    }
}

/// A backup inside the data would be taken for a part of it, and be lost with it.
fn refuse_inside(place: &Place, target: &Path) -> Result<(), Failure> {
    let above = target.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(above) = above.canonicalize() else { return Ok(()) };
    for folder in [&place.data_dir, &place.log, &place.store] {
        if folder.canonicalize().is_ok_and(|folder| above.starts_with(folder)) {
            return Err(Failure::new(format!(
                "{} lies inside {}, which it is to be a copy of",
                target.display(),
                folder.display()
            ))
            .advice("name a folder elsewhere, best on another disk"));
        }
    }
    Ok(())
}

/// Why one attempt came to nothing.
enum Attempt {
    /// Something that was there at its beginning is gone: the next attempt may be lucky.
    Outrun(String),
    Failed(Failure),
}

impl From<Failure> for Attempt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<CopyError> for Attempt {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Gone { path } => Self::Outrun(format!("{path} is gone")),
            other => Self::Failed(failure(other)),
        }
    }
}

fn failure(error: CopyError) -> Failure {
    let advice = match &error {
        CopyError::Changed { .. } => {
            "the file is damaged: `weir check` with the server stopped says what else is; restore it from an older \
             backup"
        }
        _ => "see that there is space and that this user may read the data and write the target",
    };
    Failure::new(error.to_string()).advice(advice)
}

/// A half copy is never left behind.
struct Partial<'p>(Option<&'p Path>);

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.0 {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

async fn attempt_at(place: &Place, partial: &Path) -> Result<Made, Attempt> {
    let mut tree = Tree::make(partial)?;
    let mut cleanup = Partial(Some(partial));

    // Held open from here on, so that what the server cuts meanwhile can still be read.
    let dir = place.log.clone();
    let held = blocking(move || logs::Held::open(&dir)).await??;

    let catalog = open_catalog(&place.catalog).await?;
    let copied = tree.path(CATALOG);
    catalog.copy_to(&copied).await.map_err(unreadable(&place.catalog))?;
    catalog.close().await;
    let copy = open_catalog(&copied).await?;
    let listing = copy.listing().await.map_err(unreadable(&copied))?;
    let epochs = copy.epochs().await.map_err(unreadable(&copied))?;
    let installation = copy.installation().id;
    copy.close().await;
    drop(copy);

    let (store, log, listed) = (place.store.clone(), place.log.clone(), Arc::clone(&listing));
    let copying = blocking(move || -> Result<Tree, Attempt> {
        tree.add_existing(CATALOG)?;
        tree.copy(&store.join(STORE_MARKER), &format!("{STORE}/{STORE_MARKER}"))?;
        for segment in &listed.segments {
            copy_segment(&mut tree, &store, segment)?;
        }
        logs::copy(&mut tree, &log, &held, &epochs, &listed, installation)?;
        Ok(tree)
    });
    let tree = copying.await??;

    let files = tree.files.clone();
    let made = Made {
        files: files.len() as u64,
        bytes: files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)),
        linked: tree.linked,
        listing: Arc::clone(&listing),
    };
    let manifest = Manifest {
        version: VERSION,
        made_at: weir_meter::time::format_utc(SystemClock.now_us()),
        made_by: concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned(),
        installation: installation.to_string(),
        revision: listing.revision,
        frontiers: listing.frontiers.iter().map(manifest::Frontier::from).collect(),
        files,
    };
    blocking(move || manifest.write(&tree)).await??;
    cleanup.0 = None;
    Ok(made)
}

fn copy_segment(tree: &mut Tree, store: &Path, segment: &Segment) -> Result<(), CopyError> {
    let new = &segment.new;
    // A segment without rows has no file.
    if new.location.is_empty() {
        return Ok(());
    }
    let expected = Copied {
        path: format!("{STORE}/{}", new.location),
        bytes: new.byte_count,
        crc32c: format!("{:08x}", new.checksum),
    };
    tree.link_or_copy(&store.join(&new.location), expected)
}
