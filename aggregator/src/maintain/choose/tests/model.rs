//! A listing on paper. Each segment remembers which offsets of which generation were really folded into
//! it, so that a coverage which promises more than that is found out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use weir_catalog::{Floor, Frontier, Listing, Wide};
use weir_meter::segment::{Coverage, Generations, NewSegment, Segment, SegmentKind};
use weir_meter::window::FOLD_VERSION;
use weir_meter::{Aggregation, Generation, Meter, MeterId, Namespace, OffsetRange, SegmentId, WriterId};

use super::super::{Choice, Job, JobKind, Look, Output, choose};
use crate::maintain::choose::floors_revision;
use crate::maintain::{MaintenanceOptions, ranges};

pub(super) const DAY_US: i64 = 86_400_000_000;

type Folded = BTreeMap<Generation, Vec<OffsetRange>>;

pub(super) struct Model {
    pub(super) listing: Listing,
    pub(super) now_us: i64,
    options: MaintenanceOptions,
    /// Every generation ever.
    meters: Vec<Meter>,
    folded: HashMap<SegmentId, Folded>,
    applied: HashMap<SegmentId, u64>,
    next_id: u128,
}

pub(super) fn range(partition: u32, from: u64, to: u64) -> OffsetRange {
    OffsetRange { epoch: 1, partition, from, to }
}

impl Model {
    pub(super) fn new(options: MaintenanceOptions) -> Self {
        Self {
            listing: Listing { revision: 1, ..Listing::default() },
            now_us: 20_000 * DAY_US,
            options,
            meters: Vec::new(),
            folded: HashMap::new(),
            applied: HashMap::new(),
            next_id: 1,
        }
    }

    fn living(&self) -> Vec<Arc<Meter>> {
        let at = self.listing.revision;
        self.meters.iter().filter(|meter| meter.lives_at(at)).cloned().map(Arc::new).collect()
    }

    fn is_wide(&self, meter: &Meter) -> bool {
        self.listing.wide.contains_key(&meter.key())
    }

    pub(super) fn make_meter(&mut self) {
        self.listing.revision += 1;
        self.meters.push(Meter {
            id: MeterId(self.meters.len() as u128),
            generation: 1,
            namespace: Namespace::default(),
            slug: String::new(),
            name: String::new(),
            description: None,
            metadata: None,
            event_type: String::new(),
            aggregation: Aggregation::Count,
            value_property: None,
            group_by: BTreeMap::new(),
            event_from_us: None,
            created_revision: self.listing.revision,
            deleted_revision: None,
            created_at_us: 0,
            updated_at_us: 0,
            deleted_at_us: None,
        });
    }

    pub(super) fn end_meter(&mut self, index: usize) {
        let living = self.living();
        // One stays, so that there is something to see.
        if living.len() < 2 {
            return;
        }
        let key = living[index % living.len()].key();
        self.listing.revision += 1;
        let revision = self.listing.revision;
        self.meters.iter_mut().find(|m| m.key() == key).unwrap().deleted_revision = Some(revision);
    }

    pub(super) fn make_wide(&mut self, index: usize) {
        let living = self.living();
        if living.is_empty() {
            return;
        }
        let wide = Wide { groups: 9, noticed_at_us: 0 };
        Arc::make_mut(&mut self.listing.wide).insert(living[index % living.len()].key(), wide);
    }

    pub(super) fn drop_pair(&mut self, index: usize) {
        let windows: Vec<_> =
            self.listing.segments.iter().filter(|s| s.new.kind == SegmentKind::Windows).cloned().collect();
        if windows.is_empty() {
            return;
        }
        let gone = windows[index % windows.len()].new.coverage.clone();
        self.listing.segments.retain(|s| s.new.kind == SegmentKind::Rows || s.new.coverage != gone);
    }

    pub(super) fn flush(&mut self, lengths: &[u64]) {
        let mut ranges = Vec::new();
        for (partition, length) in (0_u32..).zip(lengths).filter(|(_, length)| **length > 0) {
            let from = self.listing.frontier(1, partition);
            ranges.push(range(partition, from, from + length));
            self.listing.frontiers.retain(|f| f.partition != partition);
            self.listing.frontiers.push(Frontier {
                epoch: 1,
                partition,
                next_offset: from + length,
                record_time_max_us: self.now_us,
                last_record_hash: 0,
            });
        }
        let left_out: Vec<_> = self.living().iter().filter(|m| self.is_wide(m)).map(|m| m.key()).collect();
        let living = self.living();
        for (kind, size) in [(SegmentKind::Rows, 0), (SegmentKind::Windows, 60), (SegmentKind::Members, 60)] {
            if kind != SegmentKind::Rows && living.len() == left_out.len() {
                continue;
            }
            let coverage = Coverage {
                ranges: ranges.clone(),
                revision: self.listing.revision,
                fold_version: FOLD_VERSION,
                window_size_s: size,
                generations: Generations::AllBut(left_out.clone()),
            };
            let keys = living.iter().map(|meter| meter.key()).filter(|key| !left_out.contains(key));
            let folded = keys.map(|key| (key, ranges::union(ranges.clone()))).collect();
            self.list(kind, coverage, 0, folded, Some((self.now_us, self.now_us)));
        }
        self.check();
    }

    fn list(
        &mut self,
        kind: SegmentKind,
        coverage: Coverage,
        level: u32,
        folded: Folded,
        time_range_us: Option<(i64, i64)>,
    ) -> SegmentId {
        let segment = SegmentId(self.next_id);
        self.next_id += 1;
        let new = NewSegment {
            segment,
            kind,
            level,
            row_count: ranges::len(&coverage.ranges),
            dropped_rows: 0,
            byte_count: 0,
            coverage,
            time_range_us,
            location: String::new(),
            checksum: 0,
        };
        let listed = Segment { new, writer: WriterId(1), listed_at_us: self.now_us, delisted_at_us: None };
        self.listing.segments.push(Arc::new(listed));
        self.folded.insert(segment, folded);
        segment
    }

    fn identities_until_us(&self) -> i64 {
        let recorded_us = self.listing.frontiers.iter().map(|f| f.record_time_max_us).min();
        recorded_us.unwrap_or(i64::MIN).saturating_sub(DAY_US)
    }

    pub(super) fn choose(&self, paused: &HashSet<JobKind>) -> Choice {
        choose(&Look {
            listing: &self.listing,
            meters: &self.living(),
            now_us: self.now_us,
            identities_until_us: self.identities_until_us(),
            options: &self.options,
            applied: &self.applied,
            paused,
        })
    }

    pub(super) fn work(&mut self, paused: &HashSet<JobKind>) -> Option<JobKind> {
        let job = self.choose(paused).job?;
        let kind = job.kind();
        self.apply(job);
        Some(kind)
    }

    pub(super) fn work_to_the_end(&mut self) -> usize {
        let mut jobs = 0;
        while self.work(&HashSet::new()).is_some() {
            jobs += 1;
            assert!(jobs < 5_000, "it never ends");
        }
        jobs
    }

    pub(super) fn apply(&mut self, job: Job) {
        let before = self.open_offsets();
        self.do_job(job);
        self.check();
        assert!(self.open_offsets() <= before, "what was folded is kept");
    }

    /// For listings that somebody has harmed.
    pub(super) fn apply_unchecked(&mut self, job: Job) {
        self.do_job(job);
    }

    /// Offsets without windows, over all living generations that are not wide.
    fn open_offsets(&self) -> u64 {
        self.choose(&HashSet::from([JobKind::Floor])).backlog
    }

    fn do_job(&mut self, job: Job) {
        match job {
            Job::RaiseFloor { namespace, floor_us } => {
                self.listing.revision += 1;
                let floor = Floor { floor_us, revision: self.listing.revision };
                let before = Arc::make_mut(&mut self.listing.floors).insert(namespace, floor);
                assert!(before.is_none_or(|before| before.floor_us < floor_us), "a floor is never lowered");
            }
            Job::Refold(refold) => {
                let at_rest = ranges::union(refold.rows.iter().flat_map(|r| r.new.coverage.ranges.clone()));
                assert!(ranges::contains(&at_rest, &refold.coverage.ranges), "the rows are at hand");
                assert!(refold.streamed || ranges::len(&refold.coverage.ranges) <= self.options.refold_rows);
                assert!(refold.meters.iter().all(|meter| !self.is_wide(meter)));
                let times = span(&refold.rows);
                let folded: Folded =
                    refold.meters.iter().map(|m| (m.key(), refold.coverage.ranges.clone())).collect();
                for kind in [SegmentKind::Windows, SegmentKind::Members] {
                    self.list(kind, refold.coverage.clone(), refold.level, folded.clone(), times);
                }
            }
            Job::Rewrite(rewrite) => {
                for removed in &rewrite.remove {
                    assert!(self.listing.segments.iter().any(|s| s.new.segment == *removed), "still listed");
                }
                let written: Vec<_> =
                    rewrite.add.iter().map(|output| (output.clone(), self.merged(output))).collect();
                self.listing.segments.retain(|s| !rewrite.remove.contains(&s.new.segment));
                let floors = floors_revision(&self.listing);
                for (output, folded) in written {
                    let floor_us = self.listing.floors.values().map(|f| f.floor_us).min().unwrap_or(0);
                    let times = span(&output.inputs)
                        .filter(|(_, last)| *last >= floor_us)
                        .map(|(first, last)| (first.max(floor_us), last));
                    let id = self.list(output.kind, output.coverage, output.level, folded, times);
                    self.applied.insert(id, floors);
                }
            }
        }
    }

    /// What the store would make of the inputs.
    fn merged(&self, output: &Output) -> Folded {
        let mut folded = Folded::new();
        for input in &output.inputs {
            assert_eq!(input.new.kind, output.kind);
            assert!(self.listing.segments.iter().any(|s| s.new.segment == input.new.segment), "is listed");
            let size = input.new.coverage.window_size_s;
            assert!(size == 0 || output.coverage.window_size_s.is_multiple_of(size));
            for (key, ranges) in &self.folded[&input.new.segment] {
                if output.kind == SegmentKind::Rows || output.generations.contains_key(key) {
                    let all = folded.entry(*key).or_default();
                    let twice = ranges::intersect(all, ranges);
                    assert!(twice.is_empty(), "{key:?} would count twice at {twice:?}");
                    *all = ranges::union(all.iter().chain(ranges).copied());
                }
            }
        }
        folded
    }

    pub(super) fn of(&self, kind: SegmentKind, size: u32) -> usize {
        let of = |s: &&Arc<Segment>| s.new.kind == kind && s.new.coverage.window_size_s == size;
        self.listing.segments.iter().filter(of).count()
    }

    /// Rows of every offset once; windows never twice, with their members, and none that is a promise only.
    fn check(&self) {
        let below = self.below();
        let mut seen: HashMap<(SegmentKind, u32, Option<Generation>), Vec<OffsetRange>> = HashMap::new();
        for segment in &self.listing.segments {
            let coverage = &segment.new.coverage;
            let own = ranges::union(coverage.ranges.iter().copied());
            let mut once = |generation: Option<Generation>| {
                let all = seen.entry((segment.new.kind, coverage.window_size_s, generation)).or_default();
                let twice = ranges::intersect(all, &own);
                assert!(twice.is_empty(), "{:?} {generation:?} twice at {twice:?}", segment.new.kind);
                *all = ranges::union(all.iter().chain(&own).copied());
            };
            if segment.new.kind == SegmentKind::Rows {
                once(None);
                continue;
            }
            for meter in self.meters.iter().filter(|meter| coverage.covers(meter)) {
                once(Some(meter.key()));
                let folded = self.folded[&segment.new.segment].get(&meter.key());
                assert_eq!(folded, Some(&own), "{segment:?} says it folded {:?}", meter.key());
            }
        }
        assert_eq!(seen.remove(&(SegmentKind::Rows, 0, None)).unwrap_or_default(), below);
        for ((kind, size, generation), all) in &seen {
            let other =
                if *kind == SegmentKind::Windows { SegmentKind::Members } else { SegmentKind::Windows };
            assert_eq!(seen.get(&(other, *size, *generation)), Some(all), "windows come with members");
        }
    }

    /// Every living generation that is not wide has windows of all that is at rest.
    pub(super) fn check_all_is_covered(&self) {
        for meter in self.living().iter().filter(|meter| !self.is_wide(meter)) {
            let sizes = [60, 3_600].map(|size| {
                let covering = self.listing.segments.iter().filter(|s| {
                    s.new.kind == SegmentKind::Windows
                        && s.new.coverage.window_size_s == size
                        && s.new.coverage.covers(meter)
                });
                ranges::union(covering.flat_map(|s| s.new.coverage.ranges.iter().copied()))
            });
            let [minutes, hours] = sizes;
            if self.options.minute_windows_kept_for.is_none() {
                assert_eq!(minutes, self.below(), "{:?}", meter.key());
            }
            assert_eq!(ranges::union(minutes.into_iter().chain(hours)), self.below(), "{:?}", meter.key());
        }
    }

    /// Every offset below the frontier has minutes of some meter.
    pub(super) fn minutes_are_whole(&self) -> bool {
        let minutes = self.listing.segments.iter().filter(|s| s.new.coverage.window_size_s == 60);
        ranges::union(minutes.flat_map(|s| s.new.coverage.ranges.iter().copied())) == self.below()
    }

    fn below(&self) -> Vec<OffsetRange> {
        ranges::union(self.listing.frontiers.iter().map(|f| range(f.partition, 0, f.next_offset)))
    }
}

fn span(segments: &[Arc<Segment>]) -> Option<(i64, i64)> {
    let times: Vec<_> = segments.iter().filter_map(|s| s.new.time_range_us).collect();
    Some((times.iter().map(|t| t.0).min()?, times.iter().map(|t| t.1).max()?))
}
