//! Every command and flag, with the help that a newcomer reads.

mod folder;
mod keys;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(super) use folder::ExportCommand;
use folder::{BackupArgs, CheckArgs, RestoreArgs, SegmentsArgs};
pub(super) use keys::roll;
pub use keys::{KeyText, KeysCommand};

use crate::client::{Client, ClientError, DEFAULT_URL};
use crate::demo;
use crate::meters::{Change, Format, NewMeter};
use crate::output::Failure;
use crate::query::{Question, times};
use crate::send;
use crate::settings::SettingFlags;
use crate::settings::values::duration;

/// Weir turns usage events into billable numbers: every event counts exactly once, to the last digit.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    disable_help_subcommand = true,
    after_help = "See it work, with real events:  weir demo\nRun a server:                   weir serve"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: take events, fold them, answer queries
    #[command(after_help = "\
Examples:
  weir serve
  weir serve --data-dir /var/lib/weir --listen 0.0.0.0:8888
  WEIR_FLUSH_INTERVAL=1m weir serve --config weir.toml

A flag wins over the environment, the environment over the file, the file over the default.")]
    Serve(SettingFlags),
    /// Print every setting of the server, what is in force and where it came from
    #[command(after_help = "\
Examples:
  weir config
  weir config --data-dir /var/lib/weir > weir.toml
  weir config --config weir.toml")]
    Config(SettingFlags),
    /// Send events from a file or a pipe
    Send(SendArgs),
    /// List, show, create, change and delete meters
    Meters {
        #[command(subcommand)]
        command: MetersCommand,
    },
    /// Ask a meter
    Query(QueryArgs),
    /// Make, list, roll and revoke API keys
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// List the segments that data at rest consists of
    Segments(SegmentsArgs),
    /// Prove that a data folder is whole, or name everything that is wrong with it
    Check(CheckArgs),
    /// Copy a data folder, also while its server runs
    Backup(BackupArgs),
    /// Make a data folder of a backup
    Restore(RestoreArgs),
    /// Write events or windows to a Parquet or CSV file
    Export {
        #[command(subcommand)]
        command: ExportCommand,
    },
    /// See it work: a server of its own, 28,834 real flights, and questions about them
    Demo(DemoArgs),
    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  weir completions bash > ~/.local/share/bash-completion/completions/weir
  weir completions fish > ~/.config/fish/completions/weir.fish")]
    Completions {
        /// The shell to complete in
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// Which server a client command talks to.
#[derive(Clone, Debug, Args)]
pub struct Server {
    /// Address of the server
    #[arg(long, env = "WEIR_URL", default_value = DEFAULT_URL, value_name = "URL", hide_env_values = true)]
    pub url: String,
    /// Key to send, if the server asks for one; better in the environment, as others can see command lines
    #[arg(long, env = "WEIR_KEY", value_name = "KEY", hide_env_values = true)]
    pub key: Option<KeyText>,
}

impl Server {
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::new(&self.url)?.with_key(self.key.as_ref().map(KeyText::as_str))
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir send events.ndjson
  weir send flights.ndjson.gz --batch 5000
  tail -f app.ndjson | weir send -

An event is a CloudEvent as JSON, such as
  {\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"api\",\"type\":\"request\",\"subject\":\"acme\",\"data\":{\"ms\":12.5}}
Its identity is (source, id). Sending a file twice is safe: what was taken counts once.")]
pub struct SendArgs {
    /// Files of events, or - for stdin: one JSON object a line or a JSON array, plain or gzip
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Most events in one request
    #[arg(long, default_value = "1000", value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,
    /// Requests under way at once
    #[arg(long, default_value = "4", value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// How long to try again while the server cannot be reached or is overloaded
    #[arg(long, default_value = "1m", value_name = "DURATION", value_parser = duration::parse)]
    retry_for: Duration,
    #[command(flatten)]
    pub(super) server: Server,
}

impl SendArgs {
    pub fn options(&self) -> send::Options {
        send::Options {
            files: self.files.clone(),
            batch_events: self.batch as usize,
            concurrency: usize::from(self.concurrency),
            retry_for: self.retry_for,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum MetersCommand {
    /// List the meters
    List {
        /// How to print them
        #[arg(long, default_value = "table")]
        format: Format,
        #[command(flatten)]
        server: Server,
    },
    /// Create a meter; it counts events that came before it, too
    Create(CreateArgs),
    /// Show a meter, and how far its windows have come
    #[command(after_help = "\
Examples:
  weir meters show distance
  weir meters show distance --format json")]
    Show {
        /// Slug or id
        meter: String,
        /// How to print it; json is the meter as the server wrote it
        #[arg(long, default_value = "table")]
        format: Format,
        #[command(flatten)]
        server: Server,
    },
    /// Change what a meter is called or grouped by; what it counts stays
    Update(UpdateArgs),
    /// Delete a meter; the events stay
    Delete {
        /// Slug or id
        meter: String,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir meters create flights --event-type flight --aggregation COUNT
  weir meters create distance --event-type flight --aggregation SUM --value '$.distance' \\
      --group-by origin='$.origin' --group-by dest='$.dest'")]
pub struct CreateArgs {
    /// Name in addresses: small letters, digits and single underscores
    slug: String,
    /// Type of the events that count
    #[arg(long, value_name = "TYPE")]
    event_type: String,
    /// How values become one number
    #[arg(long, ignore_case = true, value_parser = ["SUM", "COUNT", "UNIQUE_COUNT", "AVG", "MIN", "MAX", "LATEST"])]
    aggregation: String,
    /// JSONPath of the value inside `data`; needed unless the aggregation is COUNT
    #[arg(long, value_name = "PATH")]
    value: Option<String>,
    /// A key to group and filter by, and its JSONPath; may be given several times
    #[arg(long, value_name = "KEY=PATH", value_parser = pair)]
    group_by: Vec<(String, String)>,
    /// Name for people
    #[arg(long)]
    name: Option<String>,
    /// What the meter is for
    #[arg(long)]
    description: Option<String>,
    /// Events before this time do not count; a date or a time, UTC
    #[arg(long, value_name = "TIME")]
    event_from: Option<String>,
    /// How to print the meter: its id alone, or all of it
    #[arg(long, default_value = "table")]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) server: Server,
}

impl CreateArgs {
    pub fn meter(&self) -> Result<NewMeter, Failure> {
        let utc = times::zone(None)?;
        let event_from = self.event_from.as_ref().map(|text| times::instant("--event-from", text, &utc));
        Ok(NewMeter {
            slug: self.slug.clone(),
            event_type: self.event_type.clone(),
            aggregation: self.aggregation.to_ascii_uppercase(),
            value: self.value.clone(),
            group_by: self.group_by.clone(),
            name: self.name.clone(),
            description: self.description.clone(),
            event_from: event_from.transpose()?,
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir meters update distance --name 'Miles flown'
  weir meters update distance --group-by origin='$.origin' --group-by tail='$.tailnum'
  weir meters update distance --no-group-by

What is not named stays as it is; --group-by and --metadata replace all there were. With another
group-by the meter is right at once, and slower until its windows have been folded anew: see
`weir meters show`.")]
pub struct UpdateArgs {
    /// Slug or id
    pub(super) meter: String,
    /// Name for people
    #[arg(long)]
    name: Option<String>,
    /// What the meter is for
    #[arg(long)]
    description: Option<String>,
    /// A key to group and filter by, and its JSONPath; may be given several times
    #[arg(long, value_name = "KEY=PATH", value_parser = pair)]
    group_by: Vec<(String, String)>,
    /// No key to group and filter by
    #[arg(long, conflicts_with = "group_by")]
    no_group_by: bool,
    /// A key and a text to keep with the meter; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// No metadata
    #[arg(long, conflicts_with = "metadata")]
    no_metadata: bool,
    /// How to print the meter: its id alone, or all of it
    #[arg(long, default_value = "table")]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) server: Server,
}

impl UpdateArgs {
    pub fn change(&self) -> Result<Change, Failure> {
        let map = |pairs: &[(String, String)], none: bool| {
            (none || !pairs.is_empty()).then(|| pairs.iter().cloned().collect())
        };
        let change = Change {
            name: self.name.clone(),
            description: self.description.clone(),
            group_by: map(&self.group_by, self.no_group_by),
            metadata: map(&self.metadata, self.no_metadata),
        };
        if change == Change::default() {
            return Err(Failure::usage("nothing is to be changed").advice(
                "--name, --description, --group-by or --metadata; `weir meters update --help` has examples",
            ));
        }
        Ok(change)
    }
}

/// Windows of time.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Window {
    Minute,
    Hour,
    Day,
    Month,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir query distance
  weir query distance --from 2013-03-01 --to 2013-04-01 --window day --tz America/New_York
  weir query distance --group-by subject --filter origin=JFK --filter origin=LGA --format csv
  weir query distance --position TOKEN      (the same answer again, whatever has come since)

Each answer's own position is told on stderr.")]
pub struct QueryArgs {
    /// Slug or id of the meter
    pub(super) meter: String,
    /// Begin, inside: a date means midnight in --tz; or a time, with or without offset
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End, outside
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// One row for each window of time; without it, one total
    #[arg(long)]
    window: Option<Window>,
    /// Time zone of windows and dates [default: UTC]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Only this subject, and rows by subject; may be given several times
    #[arg(long)]
    subject: Vec<String>,
    /// Rows by this key of the meter, or by `subject`; may be given several times
    #[arg(long, value_name = "KEY")]
    group_by: Vec<String>,
    /// Only events with this value of a key; several values of one key mean any of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    filter: Vec<(String, String)>,
    /// A position: of an earlier answer, to be answered as of exactly it; of `weir send`, to include what it
    /// sent [default: include everything acknowledged so far]
    #[arg(long, value_name = "TOKEN")]
    pub(super) position: Option<String>,
    /// How to print the answer
    #[arg(long, default_value = "table")]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) server: Server,
}

impl QueryArgs {
    pub fn question(&self) -> Result<Question, Failure> {
        let zone = times::zone(self.tz.as_deref())?;
        let from = self.from.as_ref().map(|text| times::instant("--from", text, &zone)).transpose()?;
        let to = self.to.as_ref().map(|text| times::instant("--to", text, &zone)).transpose()?;
        Ok(Question {
            from,
            to,
            window: self.window.map(|window| match window {
                Window::Minute => "MINUTE",
                Window::Hour => "HOUR",
                Window::Day => "DAY",
                Window::Month => "MONTH",
            }),
            zone: self.tz.clone(),
            subjects: self.subject.clone(),
            group_by: self.group_by.clone(),
            filters: self.filter.clone(),
        })
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  weir demo
  weir demo --exit
  weir demo --data-dir ./flights     (run it twice: every flight still counts once)")]
pub struct DemoArgs {
    /// Stop after the answers instead of serving on
    #[arg(long)]
    exit: bool,
    /// Keep the data here [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to serve on [default: 127.0.0.1:8888, or a free port if that is taken]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Key with every scope, if the folder of --data-dir has keys
    #[arg(long, env = "WEIR_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<KeyText>,
}

impl DemoArgs {
    pub fn options(&self) -> demo::Options {
        demo::Options {
            exit: self.exit,
            data_dir: self.data_dir.clone(),
            listen: self.listen,
            key: self.key.clone(),
        }
    }
}

/// `KEY=VALUE`; the value may have further equals signs.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}
