//! Decides what maintenance does next: a pure function of the listing, the meters that live at its
//! revision, the options and the time. Nothing is remembered between jobs but what spares work: whatever
//! is half done after a crash shows in the listing and is chosen again.

mod compact;
mod covered;
mod refold;
mod retain;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use weir_catalog::Listing;
use weir_meter::segment::{Coverage, Segment, SegmentKind};
use weir_meter::{Generation, Meter, Namespace, SegmentId};

pub(super) use self::covered::pair_of;
pub(super) use self::retain::floors_revision;
use super::MaintenanceOptions;

/// What maintenance does, for metrics and for pausing what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum JobKind {
    Forget,
    Floor,
    Refold,
    Windows,
    Rows,
    Retain,
    Minutes,
}

impl JobKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forget => "forget",
            Self::Floor => "floor",
            Self::Refold => "refold",
            Self::Windows => "windows",
            Self::Rows => "rows",
            Self::Retain => "retain",
            Self::Minutes => "minutes",
        }
    }
}

/// What the choice is made from.
pub(super) struct Look<'l> {
    pub(super) listing: &'l Listing,
    /// Those that live at the listing's revision.
    pub(super) meters: &'l [Arc<Meter>],
    pub(super) now_us: i64,
    /// Bare rows recorded before this have no use any more.
    pub(super) identities_until_us: i64,
    pub(super) options: &'l MaintenanceOptions,
    /// Segments that were written with the floors of a revision: these floors take nothing more away.
    pub(super) applied: &'l HashMap<SegmentId, u64>,
    /// What failed a moment ago and is not tried again yet.
    pub(super) paused: &'l HashSet<JobKind>,
}

/// What to do next, and how much folding is left.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) job: Option<Job>,
    /// Offsets below the frontier that no listed window covers, summed over the generations.
    pub(super) backlog: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Job {
    RaiseFloor { namespace: Namespace, floor_us: i64 },
    Refold(Refold),
    Rewrite(Rewrite),
}

impl Job {
    pub(super) fn kind(&self) -> JobKind {
        match self {
            Self::RaiseFloor { .. } => JobKind::Floor,
            Self::Refold(_) => JobKind::Refold,
            Self::Rewrite(rewrite) => match rewrite.why {
                Why::Compaction(SegmentKind::Rows) => JobKind::Rows,
                Why::Compaction(_) => JobKind::Windows,
                Why::Retention(_) => JobKind::Retain,
                Why::Minutes | Why::OldFolding => JobKind::Minutes,
            },
        }
    }

    /// What it reads.
    pub(super) fn inputs(&self) -> Vec<Arc<Segment>> {
        match self {
            Self::RaiseFloor { .. } => Vec::new(),
            Self::Refold(refold) => refold.rows.clone(),
            Self::Rewrite(rewrite) => rewrite.add.iter().flat_map(|output| &output.inputs).cloned().collect(),
        }
    }
}

/// Rows at rest to be folded for generations that have no windows of them.
#[derive(Clone, Debug)]
pub(super) struct Refold {
    pub(super) rows: Vec<Arc<Segment>>,
    pub(super) coverage: Coverage,
    pub(super) level: u32,
    /// The generations of the coverage, by namespace and then by generation.
    pub(super) meters: Vec<Arc<Meter>>,
    /// More rows than are folded at once: there is one segment, and its rows come subject by subject.
    pub(super) streamed: bool,
}

/// Segments in the place of others, in one swap.
#[derive(Clone, Debug)]
pub(super) struct Rewrite {
    pub(super) why: Why,
    pub(super) remove: Vec<SegmentId>,
    pub(super) add: Vec<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Compaction(SegmentKind),
    Retention(SegmentKind),
    /// Hours are kept, minutes go.
    Minutes,
    /// Folded by other rules than today's.
    OldFolding,
}

/// One segment to be written, and from which.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) kind: SegmentKind,
    pub(super) inputs: Vec<Arc<Segment>>,
    pub(super) coverage: Coverage,
    pub(super) level: u32,
    pub(super) generations: Arc<BTreeMap<Generation, Namespace>>,
}

/// The next job. Deleting and forgetting come first, then what makes queries slow, then what keeps the
/// number of segments low.
pub(super) fn choose(look: &Look<'_>) -> Choice {
    let may = |kind: JobKind| !look.paused.contains(&kind);
    let open = refold::open(look);
    let backlog = open.iter().fold(0_u64, |sum, group| {
        sum.saturating_add(super::ranges::len(&group.ranges).saturating_mul(group.meters.len() as u64))
    });
    let job = None
        .or_else(|| may(JobKind::Floor).then(|| retain::floor(look)).flatten())
        .or_else(|| may(JobKind::Minutes).then(|| retain::old_folding(look)).flatten())
        .or_else(|| may(JobKind::Refold).then(|| refold::choose(look, &open)).flatten())
        .or_else(|| compaction(look))
        .or_else(|| may(JobKind::Retain).then(|| retain::rewrite(look)).flatten())
        .or_else(|| may(JobKind::Minutes).then(|| retain::minutes(look)).flatten());
    Choice { job, backlog }
}

/// Whichever of the two has more segments goes first: behind a steady stream of flushes the other would
/// never have its turn.
fn compaction(look: &Look<'_>) -> Option<Job> {
    let may = |kind: JobKind| !look.paused.contains(&kind);
    let listed = |kind: SegmentKind, size_s: u32| {
        let same = |s: &&Arc<Segment>| s.new.kind == kind && s.new.coverage.window_size_s == size_s;
        look.listing.segments.iter().filter(same).count()
    };
    let windows = || may(JobKind::Windows).then(|| compact::windows(look)).flatten();
    let rows = || may(JobKind::Rows).then(|| compact::rows(look)).flatten();
    if listed(SegmentKind::Rows, 0) > listed(SegmentKind::Windows, covered::MINUTE_S) {
        rows().or_else(windows)
    } else {
        windows().or_else(rows)
    }
}

impl Look<'_> {
    fn of_kind(&self, kind: SegmentKind) -> impl Iterator<Item = &Arc<Segment>> {
        self.listing.segments.iter().filter(move |segment| segment.new.kind == kind)
    }

    /// Where there are hours, minutes are not made again.
    fn hours_suffice(&self) -> bool {
        self.options.minute_windows_kept_for.is_some()
    }

    fn is_wide(&self, meter: &Meter) -> bool {
        self.listing.wide.contains_key(&meter.key())
    }
}
