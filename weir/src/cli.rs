//! The command line as clap knows it, and the way from arguments to commands.

mod args;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use args::{Cli, Command, KeyText, KeysCommand, MetersCommand};
use args::{ExportCommand, roll};

use crate::output::{self, Failure, Style};
use crate::serve;
use crate::settings::stray_variables;
use crate::{backup, check, demo, export, keys, logging, meters, query, segments, send};

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(format!("cannot start threads: {error}"));
            return failed(&failure);
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> ExitCode {
    output::note(failure.render(Style::of_stderr()).trim_end());
    failure.exit_code()
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(flags) => {
            let settings = flags.resolve()?;
            logging::start(&settings);
            for sentence in stray_variables(std::env::vars_os()) {
                tracing::warn!("{sentence}");
            }
            let in_force = settings.summary();
            let ready = move |addr| output::note(&format!("listening on http://{addr}\n{in_force}"));
            // Boxed, because it holds every service and would otherwise be copied about.
            Box::pin(serve::run(settings, ready)).await?;
            Ok(())
        }
        Command::Config(flags) => {
            let settings = flags.resolve()?;
            for sentence in stray_variables(std::env::vars_os()) {
                output::note(&format!("warning: {sentence}"));
            }
            output::data(&settings.render())
        }
        Command::Send(args) => send::run(&args.server.client()?, &args.options()).await,
        Command::Meters { command } => match command {
            MetersCommand::List { server, format } => meters::list(&server.client()?, format).await,
            MetersCommand::Create(args) => {
                meters::create(&args.server.client()?, &args.meter()?, args.format).await
            }
            MetersCommand::Show { meter, format, server } => {
                meters::show(&server.client()?, &meter, format).await
            }
            MetersCommand::Update(args) => {
                let client = args.server.client()?;
                meters::update(&client, &args.meter, &args.change()?, args.format).await
            }
            MetersCommand::Delete { server, meter } => meters::delete(&server.client()?, &meter).await,
        },
        Command::Query(args) => {
            let client = args.server.client()?;
            query::run(&client, &args.meter, &args.question()?, args.position.as_deref(), args.format).await
        }
        Command::Keys { command } => match command {
            KeysCommand::Create(args) => keys::create(&args.place.place()?, &args.key()?, args.format).await,
            KeysCommand::List { all, format, place } => keys::list(&place.place()?, all, format).await,
            KeysCommand::Roll { id, overlap, format, place } => {
                keys::roll(&place.place()?, &id, roll(overlap), format).await
            }
            KeysCommand::Revoke { id, place } => keys::revoke(&place.place()?, &id).await,
        },
        Command::Segments(args) => segments::run(&args.folder.place()?, args.options()).await,
        Command::Check(args) => Box::pin(check::run(&args.place()?, args.windows)).await,
        Command::Backup(args) => Box::pin(backup::run(&args.folder.place()?, &args.target)).await,
        Command::Restore(args) => Box::pin(backup::run_restore(&args.backup, &args.data_dir)).await,
        Command::Export { command } => match command {
            ExportCommand::Events(args) => {
                export::run_events(&args.folder.place()?, &args.events()?, &args.output.output()).await
            }
            ExportCommand::Windows(args) => {
                let (place, wanted) = (args.folder.place()?, args.windows()?);
                Box::pin(export::run_windows(&place, &wanted, &args.output.output())).await
            }
        },
        Command::Demo(args) => Box::pin(demo::run(&args.options())).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
            output::data(&String::from_utf8_lossy(&script))
        }
        Command::Version => output::data(&format!("weir {}\n", env!("CARGO_PKG_VERSION"))),
    }
}
