//! What goes on beside folding so that windows stay a cache that can be dropped and built again: rows are
//! folded for meters that came after them, many small segments become few large ones, and what lies below
//! the floor goes. One job at a time; what to do next is read off the listing (`choose`), so that a crash
//! or a failure at any point costs only the job it hit.

mod choose;
mod damage;
pub(crate) mod ranges;
mod refold;
mod rewrite;
mod run;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;
use weir_catalog::{Catalog, Listing};
use weir_meter::environment::{Clock, Entropy};
use weir_meter::hash::HashKey;
use weir_meter::segment::SegmentKind;
use weir_meter::{Generation, Meter, Namespace, SegmentId};
use weir_store::Store;

use self::choose::{Choice, Job, JobKind, Look};
use crate::error::AggregatorError;
use crate::metrics;
use crate::writer::Writer;
use damage::LeftOut;
use run::Pauses;

/// Of rows segments that were replaced the listing says nothing, so they are asked for now and then.
const FORGET_INTERVAL_MAX: Duration = Duration::from_secs(600);
/// A meter may come or go between two looks, but not for ever.
const LOOKS_MAX: usize = 5;

/// What maintenance aims at.
#[derive(Clone, Debug)]
pub struct MaintenanceOptions {
    /// Segments of one level that become one of the next. At least 2.
    pub fanout: usize,
    /// For how long segments that others have replaced stay, for queries at old positions.
    pub segments_kept_for: Duration,
    /// How much later than that they are forgotten. Longer than a query may take: one that began in time
    /// still reads them.
    pub forget_margin: Duration,
    /// For how long events are kept. None: for ever.
    pub retention: Option<Duration>,
    /// For how long minutes are kept where there are hours. None: for ever.
    pub minute_windows_kept_for: Option<Duration>,
    /// Groups of one hour beyond which a meter gets no windows.
    pub wide_groups_max: u64,
    /// Rows that are folded in memory at once.
    pub refold_rows: u64,
    /// Bytes that a job may hold in memory, about.
    pub memory_max: usize,
    /// Rows, or windows with their members, beyond which segments are not merged.
    pub segment_rows_max: u64,
    /// Pause between looks when there is nothing to do.
    pub poll: Duration,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self {
            fanout: 8,
            segments_kept_for: Duration::from_secs(24 * 60 * 60),
            forget_margin: Duration::from_secs(60),
            retention: None,
            minute_windows_kept_for: None,
            wide_groups_max: 200_000,
            refold_rows: 1_000_000,
            memory_max: 1 << 30,
            segment_rows_max: 100_000_000,
            poll: Duration::from_secs(1),
        }
    }
}

impl MaintenanceOptions {
    /// One segment in the place of one would never end.
    fn fanout_min(&self) -> usize {
        self.fanout.max(2)
    }
}

/// What maintenance works on.
#[derive(Clone)]
pub struct MaintenanceParts {
    pub store: Arc<dyn Store>,
    pub catalog: Arc<dyn Catalog>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub hash_key: HashKey,
}

impl fmt::Debug for MaintenanceParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaintenanceParts").finish_non_exhaustive()
    }
}

/// The one job that a step has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There was nothing to do.
    Idle,
    /// Segments that were replaced long ago are gone for good.
    Forgot {
        segments: usize,
    },
    RaisedFloor {
        namespace: Namespace,
        floor_us: i64,
    },
    /// Rows were folded for generations that had no windows of them. `offsets` counts each offset once.
    Refolded {
        generations: usize,
        offsets: u64,
        windows: u64,
    },
    /// A refold met too many groups: the generation is answered from rows from now on.
    NotedWide {
        generation: Generation,
        groups: u64,
    },
    /// Segments became fewer; `kind` is `Windows` if members and hours went along.
    Compacted {
        kind: SegmentKind,
        segments: usize,
    },
    /// A segment was rewritten without what lies below the floor.
    Retained {
        kind: SegmentKind,
    },
    LeftMinutes {
        segments: usize,
    },
    /// Windows that another version had folded were taken off the listing; they are folded again.
    LeftOldFolding {
        segments: usize,
    },
    /// Windows that could not be read, and their members, were taken off the listing; they are folded again.
    LeftDamaged {
        segments: usize,
    },
}

/// How maintenance is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceStatus {
    /// Why the last attempt at some job failed, until it succeeds; and which rows cannot be read.
    pub error: Option<String>,
    /// Offsets below the frontier without windows, summed over the meters: what queries read from rows.
    pub refold_backlog: u64,
}

/// Looks at running maintenance.
#[derive(Clone, Debug)]
pub struct MaintenanceHandle {
    status: watch::Receiver<MaintenanceStatus>,
}

impl MaintenanceHandle {
    pub fn status(&self) -> MaintenanceStatus {
        self.status.borrow().clone()
    }
}

/// Ready to run, under a writer of its own.
#[derive(Debug)]
pub struct Maintenance {
    parts: MaintenanceParts,
    options: MaintenanceOptions,
    writer: Writer,
    /// The longest of all epochs.
    identity_window_us: i64,
    forgotten_at_us: Option<i64>,
    applied: HashMap<SegmentId, u64>,
    left_out: LeftOut,
    pauses: Pauses,
    status: watch::Sender<MaintenanceStatus>,
    /// Tells work on other threads to end.
    stop: Arc<AtomicBool>,
}

impl Maintenance {
    /// Registers a writer. Only for the process that holds the data folder, and after the aggregator has
    /// recovered: until then every open writer is taken for a dead one's.
    pub async fn start(
        parts: MaintenanceParts,
        options: MaintenanceOptions,
    ) -> Result<(Self, MaintenanceHandle), AggregatorError> {
        let writer = Writer::open(&parts.store, &parts.catalog, &parts.clock, &parts.entropy).await?;
        let epochs = parts.catalog.epochs().await?;
        let window_s = epochs.iter().map(|epoch| epoch.identity_window_s).max().unwrap_or(0);
        let identity_window_us = i64::try_from(window_s.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let (status, receiver) = watch::channel(MaintenanceStatus::default());
        let maintenance = Self {
            parts,
            options,
            writer,
            identity_window_us,
            forgotten_at_us: None,
            applied: HashMap::new(),
            left_out: LeftOut::default(),
            pauses: Pauses::default(),
            status,
            stop: Arc::default(),
        };
        Ok((maintenance, MaintenanceHandle { status: receiver }))
    }

    /// Does the one job that is most urgent, if there is any.
    pub async fn step(&mut self) -> Result<Step, AggregatorError> {
        match self.step_without(HashSet::new()).await {
            Ok((_, step)) => Ok(step),
            Err((_, error)) => Err(error),
        }
    }

    /// The same, leaving out kinds of jobs; tells the kind of the one that it did or tried.
    async fn step_without(
        &mut self,
        paused: HashSet<JobKind>,
    ) -> Result<(Option<JobKind>, Step), (Option<JobKind>, AggregatorError)> {
        if !paused.contains(&JobKind::Forget) && self.is_time_to_forget() {
            let kind = Some(JobKind::Forget);
            let forgot = self.timed(JobKind::Forget, Self::forget).await.map_err(|error| (kind, error))?;
            if let Some(step) = forgot {
                return Ok((kind, step));
            }
        }
        let looked = self.look().await.map_err(|error| (None, error))?;
        let Some((listing, meters)) = looked else { return Ok((None, Step::Idle)) };
        metrics::measure_listing(&listing);
        let choice = self.choose(&listing, meters, paused).await.map_err(|error| (None, error))?;
        metrics::measure_backlog(choice.backlog);
        self.status.send_if_modified(|status| {
            std::mem::replace(&mut status.refold_backlog, choice.backlog) != choice.backlog
        });
        let Some(job) = choice.job else { return Ok((None, Step::Idle)) };
        let (kind, inputs) = (job.kind(), job.inputs());
        let done = self.timed(kind, async |maintenance: &mut Self| maintenance.work(job, &listing).await);
        let done = match Box::pin(done).await {
            Err(error) => self.meet_damage(error, &inputs, &listing).await,
            done => done,
        };
        done.map(|step| (Some(kind), step)).map_err(|error| (Some(kind), error))
    }

    /// A listing and the meters of the same revision. None if meters come and go faster than that.
    async fn look(&self) -> Result<Option<(Arc<Listing>, Arc<Vec<Arc<Meter>>>)>, AggregatorError> {
        for _ in 0..LOOKS_MAX {
            let listing = self.parts.catalog.listing().await?;
            let (revision, meters) = self.parts.catalog.live_meters().await?;
            if listing.revision == revision {
                return Ok(Some((listing, meters)));
            }
        }
        Ok(None)
    }

    async fn choose(
        &mut self,
        listing: &Arc<Listing>,
        meters: Arc<Vec<Arc<Meter>>>,
        paused: HashSet<JobKind>,
    ) -> Result<Choice, AggregatorError> {
        let listed: HashSet<SegmentId> = listing.segments.iter().map(|s| s.new.segment).collect();
        self.applied.retain(|segment, _| listed.contains(segment));
        let now_us = self.parts.clock.now_us();
        let (options, applied) = (self.options.clone(), self.applied.clone());
        let identities_until_us = self.identities_until_us(listing);
        let listing = self.left_out.without(listing, now_us);
        let chosen = tokio::task::spawn_blocking(move || {
            choose::choose(&Look {
                listing: &listing,
                meters: &meters,
                now_us,
                identities_until_us,
                options: &options,
                applied: &applied,
                paused: &paused,
            })
        });
        chosen.await.map_err(|error| AggregatorError::Task(error.to_string()))
    }

    /// Whatever was written under the writer when an error came never counts.
    async fn work(&mut self, job: Job, listing: &Listing) -> Result<Step, AggregatorError> {
        let done = match job {
            Job::RaiseFloor { namespace, floor_us } => {
                let now_us = self.parts.clock.now_us();
                let floor = self.parts.catalog.raise_floor(&namespace, floor_us, now_us).await?;
                tracing::info!(%namespace, floor_us = floor.floor_us, "events before the floor may be deleted from now on");
                return Ok(Step::RaisedFloor { namespace, floor_us: floor.floor_us });
            }
            Job::Refold(refold) => self.refold(refold, listing).await,
            Job::Rewrite(rewrite) => self.rewrite(rewrite, listing).await,
        };
        if done.is_err() {
            self.writer.replace().await;
        }
        done
    }
}
