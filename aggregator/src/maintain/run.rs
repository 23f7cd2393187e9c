//! The loop of maintenance: one job after the other as long as there are any, then a look every now and
//! then. A kind of job that failed waits and lets the others go on; nothing here ever stops the server.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_log::phase::{self, Lane, Phase};
use weir_store::StoreError;

use super::choose::JobKind;
use super::{Maintenance, Step};
use crate::error::AggregatorError;
use crate::metrics;

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long work that was told to stop may take to notice. What it had begun never counts.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What failed and waits. None stands for looking at what there is to do.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<Option<JobKind>, Pause>);

#[derive(Debug)]
struct Pause {
    until: Instant,
    length: Duration,
    error: String,
}

impl Pauses {
    /// Kinds of jobs that are not tried now.
    fn paused(&self) -> HashSet<JobKind> {
        let now = Instant::now();
        self.0.iter().filter(|(_, pause)| now < pause.until).filter_map(|(kind, _)| *kind).collect()
    }

    fn failed(&mut self, kind: Option<JobKind>, error: String, longest: Duration) -> Duration {
        let length =
            self.0.get(&kind).map_or(PAUSE_FIRST, |pause| pause.length.saturating_mul(2).min(longest));
        let pause = Pause { until: Instant::now() + length, length, error };
        self.0.insert(kind, pause);
        length
    }

    fn succeeded(&mut self, kind: Option<JobKind>) {
        self.0.remove(&None);
        self.0.remove(&kind);
    }

    /// What was not paused had its chance, and there was nothing to do.
    fn settle(&mut self, paused: &HashSet<JobKind>) {
        self.0.retain(|kind, _| kind.is_some_and(|kind| paused.contains(&kind)));
    }

    fn error(&self) -> Option<String> {
        self.0.iter().next().map(|(kind, pause)| match kind {
            Some(kind) => format!("{}: {}", kind.name(), pause.error),
            None => pause.error.clone(),
        })
    }
}

impl Maintenance {
    /// Works until `stop`. What is half done then is given up: it never counts, and is chosen again.
    pub async fn run(self, stop: CancellationToken) {
        let flag = Arc::clone(&self.stop);
        let mut work = Box::pin(self.work_until(stop.clone()));
        tokio::select! {
            () = &mut work => return,
            () = stop.cancelled() => flag.store(true, Ordering::Release),
        }
        if tokio::time::timeout(STOP_GRACE, work).await.is_err() {
            tracing::warn!(grace = ?STOP_GRACE, "maintenance did not end in time; it is cut off");
        }
    }

    async fn work_until(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let paused = self.pauses.paused();
            let pause = match self.step_without(paused.clone()).await {
                Ok((_, Step::Idle)) => {
                    self.pauses.settle(&paused);
                    self.options.poll
                }
                Ok((kind, Step::LeftDamaged { .. })) => {
                    // They are folded again. A disk that damages that too must not be kept busy.
                    let error = "damaged windows were taken off, to be folded again".to_owned();
                    self.pauses.failed(kind, error, PAUSE_MAX);
                    Duration::ZERO
                }
                Ok((kind, step)) => {
                    tracing::debug!(?step, "a job of maintenance is done");
                    self.pauses.succeeded(kind);
                    Duration::ZERO
                }
                Err((_, AggregatorError::Store(StoreError::Stopped))) if stop.is_cancelled() => break,
                Err((kind, error)) => self.note_failure(kind, &error),
            };
            let errors: Vec<String> = self.left_out.error().into_iter().chain(self.pauses.error()).collect();
            let error = Some(errors.join("; ")).filter(|error| !error.is_empty());
            self.status.send_if_modified(|status| {
                let changed = status.error != error;
                status.error = error;
                changed
            });
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// How long to wait before anything is done at all.
    fn note_failure(&mut self, kind: Option<JobKind>, error: &AggregatorError) -> Duration {
        let damaged = match error {
            AggregatorError::Store(StoreError::Damaged { path, reason }) => Some((path, reason)),
            _ => None,
        };
        // The next job does without rows that are left out, so it need not wait for long.
        let left_out = damaged.is_some_and(|(path, _)| self.left_out.has(path));
        let longest = if left_out { PAUSE_FIRST } else { PAUSE_MAX };
        let retry_in = self.pauses.failed(kind, error.to_string(), longest);
        let job = kind.map_or("look", JobKind::name);
        if let Some((path, reason)) = damaged {
            tracing::error!(
                job, %path, %reason, ?retry_in,
                "A FILE OF THE STORE IS DAMAGED: maintenance cannot read it, and neither can queries; \
                 bring it back from a copy"
            );
        } else {
            tracing::error!(job, %error, ?retry_in, "a job of maintenance failed and will be tried again");
        }
        if kind.is_some() { Duration::ZERO } else { retry_in }
    }

    /// Does one job, and tells how long it took and how it ended.
    pub(super) async fn timed<T>(
        &mut self,
        kind: JobKind,
        job: impl AsyncFnOnce(&mut Self) -> Result<T, AggregatorError>,
    ) -> Result<T, AggregatorError> {
        let begun = Instant::now();
        let result = job(self).await;
        phase::enter(Lane::Maintenance, Phase::Idle);
        metrics::count_job(kind.name(), result.is_ok(), begun.elapsed());
        result
    }
}
