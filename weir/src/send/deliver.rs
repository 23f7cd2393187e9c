//! Posts batches, several at a time, and tries again what may work later. Trying again is safe: an
//! event counts once by its identity, however often it arrives.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_meter::environment::Entropy;

use super::batch::{Batch, ReadError};
use crate::client::{Client, ClientError};
use crate::environment::OsEntropy;
use crate::output::Failure;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
const NOTICE_INTERVAL: Duration = Duration::from_secs(10);

/// How a source's events are delivered.
pub struct Delivery<'a> {
    pub client: &'a Client,
    /// Requests under way at once.
    pub concurrency: usize,
    /// How long one batch is tried again after its first failure.
    pub retry_for: Duration,
    /// Told the count of events taken so far.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Told what a person should know meanwhile.
    pub notice: &'a (dyn Fn(&str) + Sync),
}

impl std::fmt::Debug for Delivery<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("client", self.client).finish_non_exhaustive()
    }
}

/// How a delivery ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Events that the server acknowledged, which makes them durable.
    pub taken: u64,
    /// From the answer to the last batch, which is sent when all others have been taken.
    pub position: Option<String>,
    pub failure: Option<Failure>,
}

/// What became of one batch.
type Sent = (Batch, Result<Option<String>, ClientError>);

impl Delivery<'_> {
    /// Delivers until there are no more batches, or until one fails; then waits for those under way.
    pub async fn deliver(&self, mut batches: mpsc::Receiver<Result<Batch, ReadError>>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut under_way: JoinSet<Sent> = JoinSet::new();
        let (retries, mut told) = mpsc::unbounded_channel();
        let mut waiting: Option<Batch> = None;
        let mut last_notice: Option<Instant> = None;
        let mut more = true;
        let mut refused = false;
        loop {
            let open = !refused && more && under_way.len() < self.concurrency;
            tokio::select! {
                next = batches.recv(), if open => match next {
                    // One batch is held back while others are under way: it may be the last.
                    Some(Ok(batch)) => {
                        if let Some(batch) = waiting.replace(batch) {
                            self.start(batch, &mut under_way, &retries);
                        }
                    }
                    Some(Err(ReadError::Gone)) | None => more = false,
                    Some(Err(error)) => {
                        more = false;
                        outcome.failure = Some(Failure::new(error.to_string()).advice(
                            "mend the line and send the whole again; what was taken counts once",
                        ));
                    }
                },
                Some(sent) = under_way.join_next() => refused |= !self.note(sent, &mut outcome),
                // Batches under way meet the same trouble at the same time; one of them tells it.
                Some(text) = told.recv() => {
                    let now = Instant::now();
                    if last_notice.is_none_or(|last| now.duration_since(last) >= NOTICE_INTERVAL) {
                        last_notice = Some(now);
                        (self.notice)(&text);
                    }
                }
                else => break,
            }
            if under_way.is_empty() {
                match waiting.take() {
                    Some(batch) if !refused => self.start(batch, &mut under_way, &retries),
                    None if more && !refused => {}
                    _ => break,
                }
            }
        }
        outcome
    }

    fn start(&self, batch: Batch, under_way: &mut JoinSet<Sent>, retries: &mpsc::UnboundedSender<String>) {
        let (client, retry_for, retries) = (self.client.clone(), self.retry_for, retries.clone());
        under_way.spawn(async move {
            let answer = send_until_taken(&client, &batch, retry_for, &retries).await;
            (batch, answer)
        });
    }

    /// Takes down what became of a batch; false if it was not taken.
    fn note(&self, sent: Result<Sent, tokio::task::JoinError>, outcome: &mut Outcome) -> bool {
        match sent {
            Ok((batch, Ok(position))) => {
                outcome.taken += batch.lines.len() as u64;
                outcome.position = position;
                (self.progress)(outcome.taken);
                return true;
            }
            // The first failure is told; later ones are mostly the same.
            Ok((batch, Err(error))) => {
                outcome.failure.get_or_insert_with(|| refusal(&batch, error));
            }
            Err(error) => {
                outcome.failure.get_or_insert_with(|| Failure::new(format!("sending broke off: {error}")));
            }
        }
        false
    }
}

/// Sends a batch until it is taken, refused for good, or has been tried long enough.
async fn send_until_taken(
    client: &Client,
    batch: &Batch,
    retry_for: Duration,
    retries: &mpsc::UnboundedSender<String>,
) -> Result<Option<String>, ClientError> {
    let mut pause = FIRST_PAUSE;
    let mut first_failure = None;
    loop {
        let error = match client.ingest(batch.body.clone()).await {
            Ok(position) => return Ok(position),
            Err(error) if error.is_temporary() => error,
            Err(error) => return Err(error),
        };
        // What the server asks for, else twice as long as last time; a bit of chance keeps many
        // clients from coming back at the same moment.
        let chance = OsEntropy::new().random_u128() % 1_000;
        let jitter = pause.mul_f64(chance as f64 / 2_000.0);
        let wait = error.retry_after().unwrap_or(pause).min(PAUSE_MAX) + jitter;
        let now = Instant::now();
        let since = *first_failure.get_or_insert(now);
        if now.duration_since(since) + wait > retry_for {
            return Err(error);
        }
        if pause == FIRST_PAUSE {
            let seconds = retry_for.as_secs_f64();
            // Nobody listening any more means nobody to tell.
            let _ = retries.send(format!("{error}; trying again for up to {seconds} seconds"));
        }
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Turns the server's complaint about events of a batch into one about lines of the file.
fn refusal(batch: &Batch, error: ClientError) -> Failure {
    const SHOWN_MAX: usize = 5;
    let named = match &error {
        ClientError::Refused(problem) => problem.events.clone(),
        _ => Vec::new(),
    };
    if named.is_empty() {
        let lines = (batch.lines.first().copied().unwrap_or(0), batch.lines.last().copied().unwrap_or(0));
        return Failure::from(error).detail(format!("in the batch of lines {} to {}", lines.0, lines.1));
    }
    let mut failure = Failure::new(match named.len() {
        1 => "the server refused an event".to_owned(),
        count => format!("the server refused {count} events of a batch"),
    });
    for event in named.iter().take(SHOWN_MAX) {
        let line = batch.lines.get(event.index).copied().unwrap_or(0);
        failure = failure.detail(format!("line {line}: {}", event.reason));
    }
    if named.len() > SHOWN_MAX {
        failure = failure.detail(format!("and {} more", named.len() - SHOWN_MAX));
    }
    failure.advice("mend these lines and send the whole again; what was taken counts once")
}
