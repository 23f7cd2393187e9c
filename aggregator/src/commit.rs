//! Flushing: a frozen piece of the head becomes files, then one catalog transaction makes them count.
//! The order is the whole of exactly-once on this side: files and folders synced, then the
//! compare-and-set of every frontier, then (and only below the commit before this one) the log is cut.

use std::sync::Arc;

use metrics::{counter, histogram};
use tokio::time::Instant;
use weir_catalog::{CatalogError, Commit, CommitOutcome, FrontierMove, Listing};
use weir_log::phase::{self, Lane, Phase};
use weir_store::{PieceSnapshot, StoreError};

use crate::error::AggregatorError;
use crate::metrics::{FLUSH_SECONDS, FLUSHES};
use crate::service::{Parts, StatusCell};
use crate::writer::{RETRY_FIRST, RETRY_MAX, Writer};

/// A frozen piece and where its commit moves the frontiers.
#[derive(Clone, Debug)]
pub(crate) struct FlushJob {
    pub(crate) piece: Arc<PieceSnapshot>,
    pub(crate) moves: Vec<FrontierMove>,
}

/// Writes and commits pieces, one after the other, in the order they were frozen.
#[derive(Debug)]
pub(crate) struct Flusher {
    parts: Parts,
    status: Arc<StatusCell>,
    writer: Writer,
    /// Frontiers of the commit before the last: below them the log may go.
    settled: Vec<FrontierMove>,
}

/// What to do after one attempt.
enum Attempt {
    Done,
    /// It counts, but the writer was closed before that was known.
    DoneWithoutAnswer,
    /// It is certain that nothing of this attempt counts, or ever will.
    Again(String),
}

impl Flusher {
    /// Registers a fresh writer.
    pub(crate) async fn new(parts: Parts, status: Arc<StatusCell>) -> Result<Self, AggregatorError> {
        let writer = Writer::open(&parts.store, &parts.catalog, &parts.clock, &parts.entropy).await?;
        Ok(Self { parts, status, writer, settled: Vec::new() })
    }

    /// Returns once the piece is listed and dropped from the head. A full disk or a busy database
    /// is waited for; what can never succeed is an error.
    pub(crate) async fn flush(&mut self, job: &FlushJob) -> Result<(), AggregatorError> {
        let begun = Instant::now();
        let mut pause = RETRY_FIRST;
        loop {
            match self.attempt(job).await? {
                Attempt::Done => break,
                Attempt::DoneWithoutAnswer => {
                    self.writer.replace().await;
                    break;
                }
                Attempt::Again(reason) => {
                    counter!(FLUSHES, "result" => "failed").increment(1);
                    tracing::error!(%reason, retry_in = ?pause, "a flush failed and will be tried again");
                    self.status.set_flush_error(Some(reason));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                    self.writer.replace().await;
                }
            }
        }
        self.status.set_flush_error(None);
        counter!(FLUSHES, "result" => "committed").increment(1);
        histogram!(FLUSH_SECONDS).record(begun.elapsed().as_secs_f64());
        self.parts.store.head().drop_piece(&job.piece);
        self.cut_log(job).await;
        phase::enter(Lane::Aggregator, Phase::Idle);
        Ok(())
    }

    async fn attempt(&self, job: &FlushJob) -> Result<Attempt, AggregatorError> {
        phase::enter(Lane::Aggregator, Phase::Flush);
        let segments = match self.parts.store.write(self.writer.id(), &job.piece).await {
            Ok(segments) => segments,
            Err(error @ (StoreError::Inconsistent(_) | StoreError::Mismatch(_))) => return Err(error.into()),
            Err(error) => return Ok(Attempt::Again(error.to_string())),
        };
        phase::enter(Lane::Aggregator, Phase::Commit);
        let commit = Commit {
            writer: self.writer.id(),
            moves: job.moves.clone(),
            segments,
            now_us: self.parts.clock.now_us(),
        };
        match self.parts.catalog.commit(commit).await {
            Ok(CommitOutcome::Committed) => Ok(Attempt::Done),
            Ok(CommitOutcome::WriterClosed) => Ok(Attempt::Again("the writer was closed".to_owned())),
            Ok(CommitOutcome::NotOwner { range, frontier }) => {
                Err(AggregatorError::NotOwner { range, frontier })
            }
            Ok(CommitOutcome::Overlap { segment, listed }) => {
                Err(AggregatorError::Overlap { segment: segment.to_string(), listed: listed.to_string() })
            }
            Err(error @ CatalogError::Database { .. }) => {
                self.status.set_flush_error(Some(error.to_string()));
                let moved = self.took_effect(&job.moves).await?;
                Ok(if moved { Attempt::DoneWithoutAnswer } else { Attempt::Again(error.to_string()) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a commit without an answer moved its frontiers. Not whether its segments are listed: others
    /// may have taken their place since. Asks until the catalog says: to try again before that could count
    /// twice, and to give up would stop the server for a full disk.
    async fn took_effect(&self, moves: &[FrontierMove]) -> Result<bool, AggregatorError> {
        let mut pause = RETRY_FIRST;
        loop {
            match self.writer.close_and_list().await {
                Err(error @ CatalogError::Database { .. }) => {
                    tracing::error!(%error, retry_in = ?pause, "it is not known whether a flush took effect");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(error) => return Err(error.into()),
                Ok(listing) => return Ok(has_moved(&listing, moves)),
            }
        }
    }

    /// Cuts the log below the commit before this one, so that this commit's records are still there
    /// if its files turn out to be lost.
    async fn cut_log(&mut self, job: &FlushJob) {
        phase::enter(Lane::Aggregator, Phase::Cut);
        for settled in &self.settled {
            if let Err(error) = self.parts.log.cut(settled.range.partition, settled.range.to).await {
                tracing::warn!(%error, "the log could not be cut; it keeps more than it needs");
            }
        }
        for step in &job.moves {
            self.settled.retain(|settled| settled.range.partition != step.range.partition);
            self.settled.push(step.clone());
        }
    }
}

fn has_moved(listing: &Listing, moves: &[FrontierMove]) -> bool {
    moves.iter().all(|FrontierMove { range, .. }| {
        let mut frontiers = listing.frontiers.iter();
        let known = frontiers.find(|f| (f.epoch, f.partition) == (range.epoch, range.partition));
        known.is_some_and(|frontier| frontier.next_offset >= range.to)
    })
}
