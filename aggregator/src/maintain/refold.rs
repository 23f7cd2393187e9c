//! Folding rows at rest for generations that have no windows of them: meters that came after their events,
//! and windows that were dropped. The windows go to the store generation by generation. Up to so many rows
//! are folded at once in memory; of a larger segment, whose rows come by subject and time, the windows of
//! finished hours are handed on as soon as there are some. What is held on the way has a bound in bytes
//! either way: rows that give more than memory should hold are folded in smaller parts, and an hour of one
//! subject that no part is small enough for is too wide for windows. While one chunk is written, the next
//! one is made, and no more.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use hashbrown::HashMap;
use tokio::sync::mpsc;
use weir_catalog::{Floor, Listing, Wide};
use weir_log::phase::{self, Lane, Phase};
use weir_meter::fold::{FoldEvent, FoldScratch, Folder};
use weir_meter::hash::HashKey;
use weir_meter::segment::{Coverage, NewSegment, SegmentKind};
use weir_meter::window::{MINUTE_US, MeterWindows, WindowSet};
use weir_meter::{Generation, Meter, Namespace};
use weir_store::{RowScan, RowSource, Store, StoreError, WindowChunk, convert};

use super::choose::Refold;
use super::{Maintenance, Step, ranges};
use crate::error::AggregatorError;
use crate::metrics;
use crate::wide::GroupsPerHour;

/// Windows of finished hours are handed on from this many bytes on, at most.
const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// When an hour of one subject has grown by so many bytes, its groups are counted before it is finished.
const COUNT_BYTES: usize = 64 * 1024 * 1024;

const HOUR_US: i64 = 60 * MINUTE_US;

type Chunks = mpsc::Sender<Result<WindowChunk, StoreError>>;

/// How many bytes of windows are held on the way, as folding reckons them.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    chunk: usize,
    count: usize,
    /// An hour of one subject that makes so many bytes gets no windows, however few its groups are; and all
    /// windows that a fold in memory may make.
    hour_max: usize,
    /// Windows of several generations of one type are folded in one go as long as they stay below this.
    held_max: usize,
}

impl Bounds {
    /// Two chunks of the largest kind, one being made and one being written, and twice what is folded along
    /// make thirteen sixteenths. The rest is for the files that are written, and for the rows that are read.
    fn of(memory_max: usize) -> Self {
        let sixteenth = memory_max / 16;
        Self {
            chunk: CHUNK_BYTES_MAX.min(sixteenth),
            count: COUNT_BYTES,
            hour_max: sixteenth.saturating_mul(6),
            held_max: sixteenth / 2,
        }
    }
}

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
    TooWide {
        generation: Generation,
        groups: u64,
    },
    /// More windows than are held in memory. Never said of one segment that is streamed.
    TooLarge,
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
        let folded = self.fold_to_fit(refold, listing, Bounds::of(self.options.memory_max)).await;
        let (refold, mut add, emitted) = match folded {
            Ok(done) => done,
            Err(Broken::Error(error)) => return Err(error),
            Err(Broken::TooWide { generation, groups }) => {
                // Nothing of this job counts; the writer goes with what it wrote.
                self.writer.replace().await;
                let wide = Wide { groups, noticed_at_us: self.parts.clock.now_us() };
                self.parts.catalog.note_wide(generation, wide).await?;
                metrics::warn_wide(generation, groups, self.options.wide_groups_max);
                return Ok(Step::NotedWide { generation, groups });
            }
            Err(Broken::TooLarge) => {
                let text = "a refold of one segment is larger than its bounds".to_owned();
                return Err(StoreError::Inconsistent(text).into());
            }
        };
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

    /// Folds all of the job, or as much of it as the bounds allow.
    async fn fold_to_fit(
        &mut self,
        mut refold: Refold,
        listing: &Listing,
        bounds: Bounds,
    ) -> Result<(Refold, Vec<NewSegment>, Emitted), Broken> {
        loop {
            match self.fold_and_write(&refold, listing, bounds).await {
                Ok((add, emitted)) => return Ok((refold, add, emitted)),
                Err(Broken::TooLarge) if !refold.streamed => {}
                Err(broken) => return Err(broken),
            }
            // What was written is not listed and never will be.
            self.writer.replace().await;
            refold = smaller(refold);
            let (segments, streamed) = (refold.rows.len(), refold.streamed);
            tracing::info!(
                segments,
                streamed,
                "rows made more windows than memory should hold; fewer are folded at once"
            );
        }
    }

    async fn fold_and_write(
        &self,
        refold: &Refold,
        listing: &Listing,
        bounds: Bounds,
    ) -> Result<(Vec<NewSegment>, Emitted), Broken> {
        let (sender, mut receiver) = mpsc::channel(1);
        let chunks = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let work = Work {
            store: Arc::clone(&self.parts.store),
            floors: Arc::clone(&listing.floors),
            key: self.parts.hash_key,
            wide_groups_max: self.options.wide_groups_max,
            bounds,
            stop: Arc::clone(&self.stop),
            refold: refold.clone(),
            chunks: sender,
            emitted: Emitted::default(),
        };
        // A task of its own: the store waits for chunks while it holds a writer's thread.
        let folding = tokio::spawn(work.run());
        let coverage = refold.coverage.clone();
        let written = self.parts.store.write_windows(self.writer.id(), coverage, Box::pin(chunks)).await;
        match folding.await.map_err(|error| AggregatorError::Task(error.to_string()))? {
            Ok(emitted) => Ok((written?, emitted)),
            Err(Broken::Error(AggregatorError::Store(StoreError::Stopped))) => {
                // If the store gave up first, folding only knows that nobody listens. Of what breaks
                // folding off the store knows as little.
                written?;
                Err(StoreError::Stopped.into())
            }
            Err(broken) => Err(broken),
        }
    }
}

/// Half of the segments, the newest; of a single one the same, streamed. What is left out stays open and
/// is chosen again.
fn smaller(refold: Refold) -> Refold {
    let mut rows = refold.rows;
    let streamed = rows.len() < 2;
    rows.truncate(rows.len().div_ceil(2));
    let own = ranges::union(rows.iter().flat_map(|segment| segment.new.coverage.ranges.iter().copied()));
    let ranges = ranges::intersect(&own, &refold.coverage.ranges);
    Refold {
        level: rows.iter().map(|segment| segment.new.level).max().unwrap_or(refold.level),
        rows,
        coverage: Coverage { ranges, ..refold.coverage },
        meters: refold.meters,
        streamed,
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
    bounds: Bounds,
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
                    let room = held_bytes < self.bounds.held_max;
                    let rest = meters.iter().skip(at + 1).filter(|_| room);
                    let alike = rest.filter(|other| {
                        other.namespace == meter.namespace && other.event_type == meter.event_type
                    });
                    let alike: Vec<Arc<Meter>> =
                        alike.filter(|other| !held.contains_key(&other.key())).cloned().collect();
                    let (own, others, bytes) = self.fold_alike(meter, alike).await?;
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
    ) -> Result<(Arc<MeterWindows>, HashMap<Generation, Arc<MeterWindows>>, usize), Broken> {
        let mut fold = Fold::new(self.key, std::iter::once(meter).chain(&others))?;
        let mut batches = self.store.scan_rows(self.scan(meter, &others));
        while let Some(batch) = batches.next().await {
            self.check_stop()?;
            let (batch, of) = (batch?, Arc::clone(meter));
            fold = blocking(move || {
                convert::each_event(&batch, &of.namespace, &of.event_type, |event| {
                    fold.add(event);
                    Ok::<_, Broken>(())
                })?;
                Ok(fold)
            })
            .await?;
            if fold.meters > 1 && fold.bytes > self.bounds.held_max {
                fold.keep_only(meter, self.key)?;
            } else if fold.bytes > self.bounds.hour_max {
                let groups = fold.groups_with(meter, &GroupsPerHour::default());
                return Err(self.wide(meter, groups).unwrap_or(Broken::TooLarge));
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

    /// One segment, generation by generation: its rows of a type come by subject and time.
    async fn stream(&mut self, meters: &[Arc<Meter>]) -> Result<(), Broken> {
        let (bounds, groups_max) = (self.bounds, self.wide_groups_max);
        for meter in meters {
            let mut fold = Fold::new(self.key, [meter])?;
            let mut groups = GroupsPerHour::default();
            let mut batches = self.store.scan_rows(self.scan(meter, &[]));
            while let Some(batch) = batches.next().await {
                self.check_stop()?;
                let (batch, of) = (batch?, Arc::clone(meter));
                let folded = blocking(move || {
                    let mut finished = Vec::new();
                    convert::each_event(&batch, &of.namespace, &of.event_type, |event| {
                        if fold.begins_hour(event)? && fold.bytes >= bounds.chunk {
                            finished.push(fold.hand_on(&of, &mut groups));
                        }
                        fold.add(event);
                        fold.check_hour(&of, &groups, bounds, groups_max)
                    })?;
                    Ok((fold, groups, finished))
                });
                let finished;
                (fold, groups, finished) = folded.await?;
                for windows in finished {
                    self.emit(meter, windows, &groups).await?;
                }
            }
            let windows = fold.hand_on(meter, &mut groups);
            self.emit(meter, windows, &groups).await?;
        }
        Ok(())
    }

    fn wide(&self, meter: &Meter, groups: u64) -> Option<Broken> {
        let generation = meter.key();
        (groups > self.wide_groups_max).then_some(Broken::TooWide { generation, groups })
    }

    async fn emit(
        &mut self,
        meter: &Meter,
        windows: Arc<MeterWindows>,
        groups: &GroupsPerHour,
    ) -> Result<(), Broken> {
        if let Some(wide) = self.wide(meter, groups.max()) {
            return Err(wide);
        }
        if windows.windows.is_empty() {
            return Ok(());
        }
        let members = windows.member_count();
        self.emitted.windows = self.emitted.windows.saturating_add(windows.windows.len() as u64);
        self.emitted.members = self.emitted.members.saturating_add(members as u64);
        let chunk = WindowChunk { namespace: meter.namespace.clone(), generation: meter.key(), windows };
        self.chunks.send(Ok(chunk)).await.map_err(|_| StoreError::Stopped)?;
        // The store takes a chunk once the one before is written: so there are never more than two, this
        // one and the one that is made next.
        self.chunks.reserve().await.map(drop).map_err(|_| Broken::from(StoreError::Stopped))
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
            columns: convert::foldable_columns(
                std::iter::once(meter).chain(others.iter().map(AsRef::as_ref)),
            ),
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
    /// Of the event before, if they come in order, and the hour of that.
    subject: Option<Box<str>>,
    hour_us: i64,
    /// Of `bytes`, those of this hour of this subject.
    hour_bytes: usize,
    /// What `hour_bytes` were when the groups were counted last; 0 if they were not.
    counted_bytes: usize,
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
            hour_us: i64::MIN,
            hour_bytes: 0,
            counted_bytes: 0,
        })
    }

    fn add(&mut self, event: &FoldEvent<'_>) {
        let start_us = event.time_us.saturating_sub(event.time_us.rem_euclid(MINUTE_US));
        let counts = self.folder.fold(event, start_us, &mut self.scratch, &mut self.set);
        self.bytes = self.bytes.saturating_add(counts.window_bytes);
        self.hour_bytes = self.hour_bytes.saturating_add(counts.window_bytes);
    }

    /// Lets the others go: they get a turn of their own. What they took stays in `bytes`, as nobody knows
    /// how much it was; at worst the rows are folded in smaller parts than they need be.
    fn keep_only(&mut self, meter: &Arc<Meter>, key: HashKey) -> Result<(), AggregatorError> {
        self.set.meters.retain(|generation, _| *generation == meter.key());
        self.folder = Folder::new([meter.as_ref()], key)?;
        self.meters = 1;
        Ok(())
    }

    /// True if the event before was in another hour or of another subject. One that came earlier would
    /// give windows that may have been handed on already.
    fn begins_hour(&mut self, event: &FoldEvent<'_>) -> Result<bool, StoreError> {
        let hour_us = event.time_us.saturating_sub(event.time_us.rem_euclid(HOUR_US));
        match self.subject.as_deref() {
            Some(last) if event.subject < last => {
                return Err(out_of_order("the subjects of a type do not come in order"));
            }
            Some(last) if event.subject == last => {
                if hour_us < self.hour_us {
                    return Err(out_of_order("the events of a subject do not come in the order of time"));
                }
                if hour_us == self.hour_us {
                    return Ok(false);
                }
            }
            _ => self.subject = Some(event.subject.into()),
        }
        self.hour_us = hour_us;
        self.hour_bytes = 0;
        self.counted_bytes = 0;
        Ok(true)
    }

    /// An hour of one subject is handed on whole, so it must not grow for ever before its groups are counted.
    fn check_hour(
        &mut self,
        meter: &Meter,
        handed_on: &GroupsPerHour,
        bounds: Bounds,
        groups_max: u64,
    ) -> Result<(), Broken> {
        let next = self.counted_bytes.saturating_add(bounds.count).min(bounds.hour_max);
        if self.hour_bytes < next {
            return Ok(());
        }
        self.counted_bytes = self.hour_bytes;
        let groups = self.groups_with(meter, handed_on);
        if groups > groups_max || self.hour_bytes >= bounds.hour_max {
            return Err(Broken::TooWide { generation: meter.key(), groups });
        }
        Ok(())
    }

    /// Groups of the hour that has most, with those that were handed on.
    fn groups_with(&self, meter: &Meter, handed_on: &GroupsPerHour) -> u64 {
        let mut groups = handed_on.clone();
        if let Some(windows) = self.set.meters.get(&meter.key()) {
            groups.add(windows);
        }
        groups.max()
    }

    /// What is finished. No hour of a subject is handed on twice, so none of its groups counts twice.
    fn hand_on(&mut self, meter: &Meter, groups: &mut GroupsPerHour) -> Arc<MeterWindows> {
        self.bytes = 0;
        let windows = self.set.meters.remove(&meter.key()).unwrap_or_default();
        groups.add(&windows);
        windows
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Broken> + Send + 'static,
) -> Result<T, Broken> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| AggregatorError::Task(error.to_string()))?
}

/// Streaming hands windows on, so it relies on the order at rest.
fn out_of_order(reason: &str) -> StoreError {
    StoreError::Damaged { path: "rows at rest".to_owned(), reason: reason.to_owned() }
}
