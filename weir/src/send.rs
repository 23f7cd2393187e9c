//! `weir send`: reads events from a file or a pipe and posts them in batches. Reading, splitting and
//! checking happen on a thread of their own; a bounded channel keeps it from running ahead.

pub mod batch;
pub mod deliver;
pub mod source;
pub mod splitter;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::client::Client;
use crate::output::{self, Failure, grouped_digits};
use batch::BatchLimits;
use deliver::{Delivery, Outcome};
use source::Source;

/// Batches that wait between the reader and the senders.
const BATCHES_WAITING: usize = 4;

/// What `weir send` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    pub files: Vec<PathBuf>,
    pub batch_events: usize,
    pub concurrency: usize,
    pub retry_for: Duration,
}

/// Sends every file, one after the other, and tells how it went on stderr.
pub async fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut taken = 0;
    for file in &options.files {
        let source = Source::open(file)?;
        let name = source.name().to_owned();
        let outcome = send(client, source, options).await;
        taken += outcome.taken;
        if let Some(failure) = outcome.failure {
            let failure =
                if options.files.len() > 1 { failure.detail(format!("in {name}")) } else { failure };
            return Err(failure.detail(match taken {
                0 => "no events were taken".to_owned(),
                _ => format!("{} taken; what was taken counts once if it is sent again", counted(taken)),
            }));
        }
    }
    output::note(&summary(taken, begin.elapsed()));
    Ok(())
}

/// Reads one source to its end and delivers what it holds.
pub async fn send(client: &Client, source: Source, options: &Options) -> Outcome {
    let bar = progress_bar(source.bytes());
    let bytes_read = Arc::new(AtomicU64::new(0));
    let (batches, waiting) = mpsc::channel(BATCHES_WAITING);
    let limits = BatchLimits::of_events(options.batch_events);
    // A thread of its own, and not one of the runtime's: it may hang in a read from a pipe for ever,
    // and the program must be able to end meanwhile.
    let (finished, reader) = oneshot::channel();
    let counter = bytes_read.clone();
    std::thread::spawn(move || {
        source.read(limits, &counter, &batches);
        let _ = finished.send(());
    });
    let delivery = Delivery {
        client,
        concurrency: options.concurrency,
        retry_for: options.retry_for,
        progress: &|taken| {
            bar.set_position(bytes_read.load(Ordering::Relaxed));
            bar.set_message(grouped_digits(&taken.to_string()));
        },
        notice: &|text| bar.suspend(|| output::note(text)),
    };
    let mut outcome = delivery.deliver(waiting).await;
    bar.finish_and_clear();
    // The reader says through the channel what it finds; all that is left to say is that it died.
    if outcome.failure.is_none() && reader.await.is_err() {
        outcome.failure = Some(Failure::new("the reader stopped in the middle; this is a mistake in Weir"));
    }
    outcome
}

/// `28,834 events sent in 0.61 s (47,269 events/s)`
pub fn summary(events: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 { (events as f64 / seconds).round() } else { 0.0 };
    format!("{} sent in {seconds:.2} s ({} events/s)", counted(events), grouped_digits(&format!("{rate:.0}")))
}

/// `1 event`, `28,834 events`
fn counted(events: u64) -> String {
    let plural = if events == 1 { "" } else { "s" };
    format!("{} event{plural}", grouped_digits(&events.to_string()))
}

/// A bar on a terminal, nothing anywhere else.
fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    let template = match bytes {
        Some(_) => "{bar:32} {percent:>3}%  {msg} events taken  {elapsed}",
        None => "{spinner} {msg} events taken  {elapsed}",
    };
    let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let cells = if output::Style::of_stderr().unicode { "█▉▊▋▌▍▎▏ " } else { "=> " };
    bar.with_style(style.progress_chars(cells)).with_message("0")
}
