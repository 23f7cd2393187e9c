//! `weir export`: events or windows as a file for other tools, Parquet or CSV, read from what is at rest
//! beside a running server. What has not come to rest yet is not in it, and the command says up to where
//! it goes.

mod events;
mod sink;
mod windows;

use std::path::{Path, PathBuf};

use crate::data::{AtRest, Place, up_to};
use crate::output::{self, Failure, grouped_digits};
use crate::segments::counted;

pub use events::Events;
pub use sink::FileFormat;
pub use windows::WindowsOf;

/// Where an export goes.
#[derive(Clone, Debug)]
pub struct Output {
    pub file: PathBuf,
    /// By the file's suffix if None.
    pub format: Option<FileFormat>,
    /// Replaces a file that is there.
    pub force: bool,
}

impl Output {
    /// The format, and whether the file may be written, said before anything is read.
    fn check(&self) -> Result<FileFormat, Failure> {
        let by_suffix = || match self.file.extension().and_then(|suffix| suffix.to_str()) {
            Some("parquet") => Some(FileFormat::Parquet),
            Some("csv") => Some(FileFormat::Csv),
            _ => None,
        };
        let format = self.format.or_else(by_suffix).ok_or_else(|| {
            Failure::usage(format!("{}: the suffix does not say which format", self.file.display()))
                .advice("name the file .parquet or .csv, or give --format")
        })?;
        if !self.force && self.file.symlink_metadata().is_ok() {
            return Err(Failure::new(format!("{} is there already", self.file.display()))
                .advice("name another file, or replace this one with --force"));
        }
        Ok(format)
    }
}

/// Writes events and says what was written.
pub async fn run_events(place: &Place, wanted: &Events, output: &Output) -> Result<(), Failure> {
    let format = output.check()?;
    let at_rest = AtRest::open(place).await?;
    let written = events::export(&at_rest, wanted, output, format).await?;
    tell(&written, "event", &at_rest, output);
    Ok(())
}

/// Writes windows and says what was written.
pub async fn run_windows(place: &Place, wanted: &WindowsOf, output: &Output) -> Result<(), Failure> {
    let format = output.check()?;
    let at_rest = AtRest::open(place).await?;
    let written = windows::export(&at_rest, wanted, output, format).await?;
    tell(&written, "window", &at_rest, output);
    Ok(())
}

/// What came of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    rows: u64,
    bytes: u64,
    /// Events before this time were left out, as retention may have deleted them.
    floor_us: Option<i64>,
}

fn tell(written: &Written, what: &str, at_rest: &AtRest, output: &Output) {
    output::note(&format!(
        "wrote {} ({} bytes) to {}; complete up to {}",
        counted(written.rows, what),
        grouped_digits(&written.bytes.to_string()),
        output.file.display(),
        up_to(&at_rest.listing.frontiers)
    ));
    if let Some(floor_us) = written.floor_us {
        output::note(&format!(
            "events before {} are left out: retention deletes them",
            weir_meter::time::format_utc(floor_us)
        ));
    }
}

fn unwritable(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
        .advice("see that the folder is there, that this user may write to it, and that there is space")
}
