//! Arguments of the commands that look into a data folder instead of asking a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use weir_meter::Namespace;

use super::times;
use crate::data::Place;
use crate::export::{Events, FileFormat, Output, WindowsOf};
use crate::output::Failure;
use crate::segments;

/// Which data folder is looked into.
#[derive(Clone, Debug, Args)]
pub(crate) struct Folder {
    /// The server's data folder [default: ./weir-data] [env: WEIR_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's settings, where they say that log, store or catalog lie elsewhere
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

impl Folder {
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        Place::of_server(self.config.clone(), self.data_dir.as_deref())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir segments
  weir segments --data-dir /var/lib/weir --all
  weir segments --json | jq '.segments[] | select(.kind == \"windows\")'

Offsets are EPOCH/PARTITION:FROM-TO, the end outside. The catalog is only read, also beside a
running server.")]
pub struct SegmentsArgs {
    /// Also those that others have replaced and that are kept for queries at old positions
    #[arg(long)]
    all: bool,
    /// As JSON, with everything that is known of each segment
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(in crate::cli) folder: Folder,
}

impl SegmentsArgs {
    pub fn options(&self) -> segments::Options {
        segments::Options { all: self.all, json: self.json }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir check
  weir check /var/lib/weir --windows
  weir backup /tmp/b && weir restore /tmp/b /tmp/r && weir check /tmp/r   (a server may run)

Ends with 0 if all is well, 1 if there are problems, 2 if it could not look. It changes nothing.")]
pub struct CheckArgs {
    /// Data folder of a server that is stopped [default: ./weir-data, or what the settings say]
    #[arg(value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The server's settings, where they say that log, store or catalog lie elsewhere
    #[arg(long, value_name = "FILE", env = "WEIR_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Also compare every meter's windows with its rows, which reads all events once for each meter
    #[arg(long)]
    pub(in crate::cli) windows: bool,
}

impl CheckArgs {
    /// A folder that is named is taken as it is, whatever this environment says of another server.
    pub fn place(&self) -> Result<Place, Failure> {
        match &self.data_dir {
            Some(folder) => Place::in_folder(folder),
            None => Place::of_server(self.config.clone(), None),
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir backup /backups/2026-04-01
  weir backup /backups/2026-04-01 --data-dir /var/lib/weir

The server may go on meanwhile. Everything that was acknowledged before the command began is in the backup.
On the same file system, files that never change are hard-linked: copy the backup elsewhere to be
safe from the loss of a disk. It holds the installation's keys: keep it as you keep the data folder.")]
pub struct BackupArgs {
    /// Folder to make; it must not exist
    pub(in crate::cli) target: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) folder: Folder,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir restore /backups/2026-04-01 /var/lib/weir
  weir check /var/lib/weir && weir serve --data-dir /var/lib/weir

Positions of the installation that was backed up are refused by the restored one: what they meant
may be missing here.")]
pub struct RestoreArgs {
    /// Folder that `weir backup` has made
    pub(in crate::cli) backup: PathBuf,
    /// Folder to restore into: a new or an empty one
    pub(in crate::cli) data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Every event that counts, one row each
    Events(ExportEventsArgs),
    /// A meter's windows, one row for each window, subject and group
    Windows(ExportWindowsArgs),
}

/// The file that an export makes.
#[derive(Debug, Args)]
pub(crate) struct ExportOutput {
    /// File to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Its format [default: by the file's suffix]
    #[arg(long)]
    format: Option<FileFormat>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

impl ExportOutput {
    pub(crate) fn output(&self) -> Output {
        Output { file: self.output.clone(), format: self.format, force: self.force }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir export events --output events.parquet
  weir export events --type request --from 2026-03-01 --to 2026-04-01 --output march.csv
  weir export events --subject acme --output acme.parquet --data-dir /var/lib/weir

Read from what is at rest, also beside a running server; the newest events may still be in its log.")]
pub struct ExportEventsArgs {
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only this subject; may be given several times
    #[arg(long)]
    subject: Vec<String>,
    /// Begin, inside; a date or a time, UTC
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End, outside
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Whose events
    #[arg(long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    pub(in crate::cli) output: ExportOutput,
    #[command(flatten)]
    pub(in crate::cli) folder: Folder,
}

impl ExportEventsArgs {
    pub fn events(&self) -> Result<Events, Failure> {
        Ok(Events {
            namespace: Namespace::new(&self.namespace),
            event_type: self.event_type.clone(),
            subjects: self.subject.clone(),
            from_us: times::microseconds("--from", self.from.as_deref())?,
            to_us: times::microseconds("--to", self.to.as_deref())?,
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir export windows --meter distance --window-size DAY --output distance.parquet
  weir export windows --meter distance --window-size MONTH --zone America/New_York \\
      --from 2013-01-01 --to 2014-01-01 --group-by origin --output year.csv

The column `value` is text with every digit. Without --group-by there is a column for the
subject and for every key of the meter.")]
pub struct ExportWindowsArgs {
    /// Slug or id
    #[arg(long, value_name = "METER")]
    meter: String,
    /// One row for each window of time; without it, one for all time
    #[arg(long, visible_alias = "window", ignore_case = true, value_name = "SIZE",
        value_parser = ["MINUTE", "HOUR", "DAY", "MONTH"])]
    window_size: Option<String>,
    /// Time zone of windows and dates [default: UTC]
    #[arg(long, visible_alias = "tz", value_name = "ZONE")]
    zone: Option<String>,
    /// Begin, inside: a date means midnight in --zone; or a time, with or without offset
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End, outside
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Rows by this key of the meter, or by `subject`; may be given several times
    #[arg(long, value_name = "KEY")]
    group_by: Vec<String>,
    /// Whose meter
    #[arg(long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    pub(in crate::cli) output: ExportOutput,
    #[command(flatten)]
    pub(in crate::cli) folder: Folder,
}

impl ExportWindowsArgs {
    pub fn windows(&self) -> Result<WindowsOf, Failure> {
        let zone = times::zone(self.zone.as_deref())?;
        let instant = |flag: &str, text: &Option<String>| {
            text.as_ref().map(|text| times::instant(flag, text, &zone)).transpose()
        };
        let size = self.window_size.as_deref().map(str::to_ascii_uppercase);
        let size = size.as_deref().and_then(weir_meter::zone::WindowSize::from_name);
        Ok(WindowsOf {
            namespace: Namespace::new(&self.namespace),
            meter: self.meter.clone(),
            window_size: size.map(|size| size.name()),
            zone: self.zone.clone(),
            from: instant("--from", &self.from)?,
            to: instant("--to", &self.to)?,
            group_by: self.group_by.clone(),
        })
    }
}
