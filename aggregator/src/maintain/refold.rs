//! Folding rows at rest for generations that have no windows of them: meters that came after their events,
//! and windows that were dropped. The windows go to the store generation by generation. Up to so many rows
//! are folded at once in memory; of a larger segment, whose rows come subject by subject, the windows of
//! finished subjects are handed on as soon as there are some.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use hashbrown::HashMap;
use tokio::sync::mpsc;
use weir_catalog::{Floor, Listing, Wide};
use weir_log::phase::{self, Lane, Phase};
use weir_meter::fold::{FoldScratch, Folder};
use weir_meter::hash::HashKey;
use weir_meter::segment::{NewSegment, SegmentKind};
use weir_meter::window::{MINUTE_US, MeterWindows, WindowSet};
use weir_meter::{Generation, Meter, Namespace};
use weir_store::{RowScan, RowSource, Store, StoreError, WindowChunk};

use super::choose::Refold;
use super::{Maintenance, Step, ranges, rows};
use crate::error::AggregatorError;
use crate::metrics;
use crate::wide::GroupsPerHour;

/// Windows of finished subjects are handed on from this many bytes on.
const CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// Windows of several generations of one type are folded in one go as long as they stay below this.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

type Chunks = mpsc::Sender<Result<WindowChunk, StoreError>>;

/// What was handed on.
#[derive(Clone, Copy, Debug, Default)]
struct Emitted {
    windows: u64,
    members: u64,
}

/// Why folding broke off.
#[derive(Debug)]
enum Broken {
    Error(AggregatorError),
    TooWide { generation: Generation, groups: u64 },
}

impl<E: Into<AggregatorError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Maintenance {
    pub(super) async fn refold(
        &mut self,
        refold: Refold,
        listing: &Listing,
    ) -> Result<Step, AggregatorError> {
        phase::enter(Lane::Maintenance, Phase::Refold);
        let (sender, mut receiver) = mpsc::channel(1);
        let chunks = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let work = Work {
            store: Arc::clone(&self.parts.store),
            floors: Arc::clone(&listing.floors),
            key: self.parts.hash_key,
            wide_groups_max: self.options.wide_groups_max,
            stop: Arc::clone(&self.stop),
            refold: refold.clone(),
            chunks: sender,
            emitted: Emitted::default(),
        };
        // A task of its own: the store waits for chunks while it holds a writer's thread.
        let folding = tokio::spawn(work.run());
        let coverage = refold.coverage.clone();
        let written = self.parts.store.write_windows(self.writer.id(), coverage, Box::pin(chunks)).await;
        let folded = folding.await.map_err(|error| AggregatorError::Task(error.to_string()))?;
        let emitted = match folded {
            Ok(emitted) => emitted,
            Err(Broken::Error(error)) => {
                // If the store gave up first, folding only knows that nobody listens.
                written?;
                return Err(error);
            }
            Err(Broken::TooWide { generation, groups }) => {
                // Nothing of this job counts; the writer goes with what it wrote.
                self.writer.replace().await;
                let wide = Wide { groups, noticed_at_us: self.parts.clock.now_us() };
                self.parts.catalog.note_wide(generation, wide).await?;
                metrics::warn_wide(generation, groups, self.options.wide_groups_max);
                return Ok(Step::NotedWide { generation, groups });
            }
        };
        let mut add = written?;
        check_counts(&add, emitted)?;
        for segment in &mut add {
            segment.level = refold.level;
            metrics::count_rows(segment);
        }
        self.swap(Vec::new(), add).await?;
        Ok(Step::Refolded {
            generations: refold.meters.len(),
            offsets: ranges::len(&refold.coverage.ranges),
            windows: emitted.windows,
        })
    }
}

/// What was written is what was folded.
fn check_counts(written: &[NewSegment], emitted: Emitted) -> Result<(), AggregatorError> {
    for (kind, count) in [(SegmentKind::Windows, emitted.windows), (SegmentKind::Members, emitted.members)] {
        let rows: Vec<u64> = written.iter().filter(|s| s.kind == kind).map(|s| s.row_count).collect();
        if rows != [count] {
            let text = format!("a refold made {count} {}, written were {rows:?}", kind.name());
            return Err(StoreError::Inconsistent(text).into());
        }
    }
    Ok(())
}

struct Work {
    store: Arc<dyn Store>,
    floors: Arc<BTreeMap<Namespace, Floor>>,
    key: HashKey,
    wide_groups_max: u64,
    stop: Arc<AtomicBool>,
    refold: Refold,
    chunks: Chunks,
    emitted: Emitted,
}

impl Work {
    async fn run(mut self) -> Result<Emitted, Broken> {
        let meters = self.refold.meters.clone();
        let folded =
            if self.refold.streamed { self.stream(&meters).await } else { self.in_memory(&meters).await };
        if let Err(broken) = folded {
            // Whoever writes must not take the end of the chunks for the end of the work.
            let _ = self.chunks.send(Err(StoreError::Stopped)).await;
            return Err(broken);
        }
        Ok(self.emitted)
    }

    /// All rows of a generation are folded before its windows go: they come from several segments.
    async fn in_memory(&mut self, meters: &[Arc<Meter>]) -> Result<(), Broken> {
        let mut held: HashMap<Generation, Arc<MeterWindows>> = HashMap::new();
        let mut held_bytes = 0_usize;
        for (at, meter) in meters.iter().enumerate() {
            let windows = match held.remove(&meter.key()) {
                Some(windows) => windows,
                None => {
                    // Those that take the same events are folded along, if there is room for their windows.
                    let room = held_bytes < HELD_BYTES_MAX;
                    let rest = meters.iter().skip(at + 1).filter(|_| room);
                    let alike = rest.filter(|other| {
                        other.namespace == meter.namespace && other.event_type == meter.event_type
                    });
                    let alike: Vec<Arc<Meter>> =
                        alike.filter(|other| !held.contains_key(&other.key())).cloned().collect();
                    let (own, others, bytes) = self.fold_alike(meter, alike, HELD_BYTES_MAX).await?;
                    held_bytes = held_bytes.saturating_add(bytes);
                    held.extend(others);
                    own
                }
            };
            if held.is_empty() {
                held_bytes = 0;
            }
            let mut groups = GroupsPerHour::default();
            groups.add(&windows);
            self.emit(meter, windows, &groups).await?;
        }
        Ok(())
    }

    /// The windows of a meter, and of as many others of its type as fit.
    async fn fold_alike(
        &self,
        meter: &Arc<Meter>,
        others: Vec<Arc<Meter>>,
        bytes_max: usize,
    ) -> Result<(Arc<MeterWindows>, HashMap<Generation, Arc<MeterWindows>>, usize), Broken> {
        let mut fold = Fold::new(self.key, std::iter::once(meter).chain(&others))?;
        let mut batches = self.store.scan_rows(self.scan(meter, &others));
        while let Some(batch) = batches.next().await {
            self.check_stop()?;
            let (batch, of) = (batch?, Arc::clone(meter));
            fold = blocking(move || {
                rows::each_event(&batch, &of.namespace, &of.event_type, |event| {
                    fold.add(event);
                    Ok(())
                })?;
                Ok(fold)
            })
            .await?;
            if fold.meters > 1 && fold.bytes > bytes_max {
                fold.keep_only(meter, self.key)?;
            }
        }
        let mut folded = fold.set.meters;
        let own = folded.remove(&meter.key()).unwrap_or_default();
        let mut rest = HashMap::new();
        if fold.meters > 1 {
            // A meter that met no event has been folded all the same.
            rest.extend(
                others.iter().map(|other| (other.key(), folded.remove(&other.key()).unwrap_or_default())),
            );
        }
        Ok((own, rest, fold.bytes))
    }

    /// One segment, generation by generation: its rows of a type come subject by subject.
    async fn stream(&mut self, meters: &[Arc<Meter>]) -> Result<(), Broken> {
        for meter in meters {
            let mut fold = Fold::new(self.key, [meter])?;
            let mut groups = GroupsPerHour::default();
            let mut batches = self.store.scan_rows(self.scan(meter, &[]));
            while let Some(batch) = batches.next().await {
                self.check_stop()?;
                let (batch, of) = (batch?, Arc::clone(meter));
                let folded = blocking(move || {
                    let mut finished = Vec::new();
                    rows::each_event(&batch, &of.namespace, &of.event_type, |event| {
                        if fold.begins_subject(event.subject)? && fold.bytes >= CHUNK_BYTES {
                            finished.push(fold.take(&of));
                        }
                        fold.add(event);
                        Ok(())
                    })?;
                    finished.iter().for_each(|windows| groups.add(windows));
                    Ok((fold, groups, finished))
                });
                let finished;
                (fold, groups, finished) = folded.await?;
                for windows in finished {
                    self.emit(meter, windows, &groups).await?;
                }
            }
            let windows = fold.take(meter);
            groups.add(&windows);
            self.emit(meter, windows, &groups).await?;
        }
        Ok(())
    }

    async fn emit(
        &mut self,
        meter: &Meter,
        windows: Arc<MeterWindows>,
        groups: &GroupsPerHour,
    ) -> Result<(), Broken> {
        if groups.max() > self.wide_groups_max {
            return Err(Broken::TooWide { generation: meter.key(), groups: groups.max() });
        }
        if windows.windows.is_empty() {
            return Ok(());
        }
        let members: usize = windows.members.iter().map(|(_, members)| members.len()).sum();
        self.emitted.windows = self.emitted.windows.saturating_add(windows.windows.len() as u64);
        self.emitted.members = self.emitted.members.saturating_add(members as u64);
        let chunk = WindowChunk { namespace: meter.namespace.clone(), generation: meter.key(), windows };
        self.chunks.send(Ok(chunk)).await.map_err(|_| Broken::from(StoreError::Stopped))
    }

    fn scan(&self, meter: &Meter, others: &[Arc<Meter>]) -> RowScan {
        let floor_us = self.floors.get(&meter.namespace).map(|floor| floor.floor_us);
        RowScan {
            sources: self.refold.rows.iter().map(|rows| RowSource::Segment(Arc::clone(rows))).collect(),
            offsets: Some(self.refold.coverage.ranges.clone()),
            namespace: Some(meter.namespace.clone()),
            event_type: Some(meter.event_type.clone()),
            subjects: None,
            // No query sees below the floor.
            times_us: floor_us.map(|floor_us| vec![(floor_us, i64::MAX)]),
            counted_only: true,
            recorded_after_us: None,
            columns: rows::columns(std::iter::once(meter).chain(others.iter().map(AsRef::as_ref))),
            counters: Arc::default(),
        }
    }

    fn check_stop(&self) -> Result<(), StoreError> {
        if self.stop.load(Ordering::Acquire) { Err(StoreError::Stopped) } else { Ok(()) }
    }
}

/// Windows on the way.
struct Fold {
    folder: Folder,
    scratch: FoldScratch,
    set: WindowSet,
    bytes: usize,
    /// How many meters are folded.
    meters: usize,
    subject: Option<Box<str>>,
}

impl Fold {
    fn new<'m>(
        key: HashKey,
        meters: impl IntoIterator<Item = &'m Arc<Meter>>,
    ) -> Result<Self, AggregatorError> {
        let folder = Folder::new(meters.into_iter().map(AsRef::as_ref), key)?;
        Ok(Self {
            meters: folder.generations().len(),
            folder,
            scratch: FoldScratch::default(),
            set: WindowSet::default(),
            bytes: 0,
            subject: None,
        })
    }

    fn add(&mut self, event: &weir_meter::fold::FoldEvent<'_>) {
        let start_us = event.time_us.saturating_sub(event.time_us.rem_euclid(MINUTE_US));
        let counts = self.folder.fold(event, start_us, &mut self.scratch, &mut self.set);
        self.bytes = self.bytes.saturating_add(counts.window_bytes);
    }

    /// Lets the others go: they get a turn of their own.
    fn keep_only(&mut self, meter: &Arc<Meter>, key: HashKey) -> Result<(), AggregatorError> {
        self.set.meters.retain(|generation, _| *generation == meter.key());
        self.folder = Folder::new([meter.as_ref()], key)?;
        self.meters = 1;
        Ok(())
    }

    /// True if this is not the subject of the event before. A subject that came earlier would give
    /// windows that were handed on already.
    fn begins_subject(&mut self, subject: &str) -> Result<bool, StoreError> {
        match self.subject.as_deref() {
            Some(last) if last == subject => return Ok(false),
            Some(last) if subject < last => {
                return Err(rows::damaged("the subjects of a type do not come in order"));
            }
            _ => {}
        }
        self.subject = Some(subject.into());
        Ok(true)
    }

    fn take(&mut self, meter: &Meter) -> Arc<MeterWindows> {
        self.bytes = 0;
        self.set.meters.remove(&meter.key()).unwrap_or_default()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, AggregatorError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| AggregatorError::Task(error.to_string()))??)
}
