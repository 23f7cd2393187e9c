//! Measures the rows of `docs/BENCHMARKS.md`: `weir-bench ROW`. Both sides of a row run in the same command,
//! interleaved, the server on one core and this program on another.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use weir_benches::corpus::Form;
use weir_benches::process::Cores;
use weir_benches::report::Report;
use weir_benches::rows::{Bench, disk, fill, ingest, latency, memory, restart, visible};
use weir_benches::{Fail, because};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Measures Weir beside what it is compared with; see docs/BENCHMARKS.md")]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// The server's binary [default: beside this program]
    #[arg(long, global = true, env = "WEIR_BENCH_BIN")]
    weir: Option<PathBuf>,
    /// Folder on a disk for the data of a run; everything in it is removed again [default: the temporary folder]
    #[arg(long, global = true)]
    work: Option<PathBuf>,
    /// Folder for the file with everything that was found
    #[arg(long, global = true, default_value = "target/bench")]
    out: PathBuf,
    /// Rounds, both sides in each
    #[arg(long, global = true, default_value = "5")]
    rounds: u32,
    /// Seconds of load before the clock starts
    #[arg(long, global = true, default_value = "2")]
    warmup: f64,
    /// Core of the server, and of whatever stands beside it
    #[arg(long, global = true, default_value = "0")]
    server_core: usize,
    /// Core of the load generator
    #[arg(long, global = true, default_value = "1")]
    generator_core: usize,
    #[arg(long, global = true, default_value = "10000")]
    subjects: u32,
    /// More flags for `weir serve`, such as "--flush-events 100000"; may be given several times
    #[arg(long, global = true, allow_hyphen_values = true)]
    serve: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sustained ingest over HTTP in batches, beside a handler that only parses them
    Ingest {
        #[arg(long, default_value = "100")]
        batch: usize,
        #[command(flatten)]
        time: IngestTime,
    },
    /// Single events over 64 connections, beside a handler that answers 204 without parsing
    Singles {
        #[command(flatten)]
        time: IngestTime,
    },
    /// Sustained ingest over gRPC, beside our own HTTP
    Grpc {
        #[arg(long, default_value = "100")]
        batch: usize,
        #[command(flatten)]
        time: IngestTime,
    },
    /// Acknowledgement p99 at half load, beside a handler's p99 plus that of fdatasync
    Latency {
        /// Events a request; 1 is the handler that answers 204, more is the one that parses
        #[arg(long, default_value = "1")]
        batch: usize,
        #[command(flatten)]
        half: HalfLoad,
    },
    /// Acknowledged to visible p99 at half load, beside ingest p99 plus query p50
    Visible {
        #[arg(long, default_value = "100")]
        batch: usize,
        #[command(flatten)]
        half: HalfLoad,
    },
    /// Bytes on disk per event, and bytes written per byte received
    Disk {
        #[arg(long, default_value = "20000000")]
        events: u64,
        #[arg(long, default_value = "100")]
        batch: usize,
    },
    /// Resident bytes per remembered identity
    Memory {
        #[arg(long, default_value = "5000000")]
        identities: u64,
    },
    /// Ready after kill -9 with so many events stored
    Restart {
        #[arg(long, default_value = "20000000")]
        events: u64,
    },
    /// Fills a folder for `scripts/bench/queries`
    Fill {
        /// Must not exist, or be empty
        folder: PathBuf,
        /// Window rows of the one meter, about
        #[arg(long, default_value = "2000000")]
        windows: u64,
        /// Window rows of one subject
        #[arg(long, default_value = "2000")]
        windows_per_subject: u64,
        #[arg(long, default_value = "2.5")]
        events_per_window: f64,
        #[arg(long, default_value = "1")]
        seed: u64,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct IngestTime {
    /// Seconds of a round
    #[arg(long, default_value = "60")]
    seconds: f64,
    /// Seconds of the other side in a round
    #[arg(long, default_value = "15")]
    beside_seconds: f64,
}

#[derive(Clone, Copy, Debug, Args)]
struct HalfLoad {
    /// Events a second [default: half of what a run of --seconds takes]
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of a round
    #[arg(long, default_value = "20")]
    seconds: f64,
}

/// One thread: what it starts dies with it, and it has one core anyway.
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let outcome = tokio::select! {
        outcome = run(Cli::parse()) => outcome,
        // Ends by dropping: processes are killed and folders removed.
        _ = tokio::signal::ctrl_c() => Err(because("interrupted")),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Fail> {
    let common = cli.common;
    let beside = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let bench = Bench {
        weir: common.weir.unwrap_or_else(|| beside.join("weir")),
        limits: beside.join("weir-limits"),
        work: common.work.unwrap_or_else(std::env::temp_dir),
        cores: Cores { server: common.server_core, generator: common.generator_core },
        flags: common.serve,
        subjects: common.subjects,
        rounds: common.rounds,
        warmup: Duration::from_secs_f64(common.warmup),
    };
    for program in [&bench.weir, &bench.limits] {
        if !program.is_file() {
            return Err(because(format!("{} is missing; build it first", program.display())));
        }
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a dev build: the figures mean nothing");
    }
    bench.cores.pin_generator()?;
    let report = measure(&bench, cli.command).await?;
    report.map_or(Ok(()), |report| report.finish(&common.out))
}

async fn measure(bench: &Bench, command: Command) -> Result<Option<Report>, Fail> {
    let seconds = Duration::from_secs_f64;
    let form = |batch| if batch == 1 { Form::Single } else { Form::Batch(batch) };
    let ingest = async |what, time: IngestTime| {
        ingest::run(bench, what, seconds(time.seconds), seconds(time.beside_seconds)).await
    };
    Ok(Some(match command {
        Command::Ingest { batch, time } => ingest(ingest::What::Batches(batch), time).await?,
        Command::Singles { time } => ingest(ingest::What::Singles, time).await?,
        Command::Grpc { batch, time } => ingest(ingest::What::Grpc(batch), time).await?,
        Command::Latency { batch, half } => {
            latency::run(bench, form(batch), half.rate, seconds(half.seconds)).await?
        }
        Command::Visible { batch, half } => {
            visible::run(bench, form(batch), half.rate, seconds(half.seconds)).await?
        }
        Command::Disk { events, batch } => disk::run(bench, events, batch).await?,
        Command::Memory { identities } => memory::run(bench, identities).await?,
        Command::Restart { events } => restart::run(bench, events).await?,
        Command::Fill { folder, windows, windows_per_subject, events_per_window, seed } => {
            let subjects = u32::try_from(windows / windows_per_subject.max(1))?.max(1);
            let month =
                fill::Month { subjects, minutes_per_subject: windows_per_subject, events_per_window, seed };
            fill::run(bench, month, &folder).await?;
            return Ok(None);
        }
    }))
}
