//! The three kinds of scan under one roof: which columns, which conditions, and which segments can
//! be left out by what the catalog says of them alone.

use arrow::datatypes::SchemaRef;
use weir_meter::OffsetRange;
use weir_meter::segment::{Segment, SegmentKind};

use crate::local::condition::{Condition, meet_ranges};
use crate::{Fate, RowScan, RowSource, StoreError, WindowScan, schema};

#[derive(Debug)]
pub(in crate::local) enum Wanted {
    Rows(RowScan),
    Windows(WindowScan),
    Members(WindowScan),
}

impl Wanted {
    pub(in crate::local) fn kind(&self) -> SegmentKind {
        match self {
            Self::Rows(_) => SegmentKind::Rows,
            Self::Windows(_) => SegmentKind::Windows,
            Self::Members(_) => SegmentKind::Members,
        }
    }

    pub(in crate::local) fn sources(&self) -> &[RowSource] {
        match self {
            Self::Rows(scan) => &scan.sources,
            Self::Windows(scan) | Self::Members(scan) => &scan.sources,
        }
    }

    fn columns(&self) -> &[&'static str] {
        match self {
            Self::Rows(scan) => &scan.columns,
            Self::Windows(scan) | Self::Members(scan) => &scan.columns,
        }
    }

    /// The columns that come out.
    pub(in crate::local) fn schema(&self) -> SchemaRef {
        schema::project(&schema::of_kind(self.kind()), self.columns())
    }

    /// A name that is no column would otherwise be left out in silence.
    pub(in crate::local) fn check(&self) -> Result<(), StoreError> {
        let all = schema::of_kind(self.kind());
        match self.columns().iter().find(|name| all.index_of(name).is_err()) {
            None => Ok(()),
            Some(name) => Err(StoreError::Arrow {
                context: format!("scanning {}", self.kind().name()),
                reason: format!("no column is called {name}"),
            }),
        }
    }

    /// False if what the catalog says of the segment rules every match out.
    pub(super) fn may_hold(&self, segment: &Segment) -> bool {
        let new = &segment.new;
        let in_time = |wanted: &Option<Vec<(i64, i64)>>| match (wanted, new.time_range_us) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some((least, greatest))) => meet_ranges(wanted, least, greatest),
        };
        new.kind == self.kind()
            && new.row_count > 0
            && match self {
                Self::Rows(scan) => {
                    let at_offsets = scan.offsets.as_ref().is_none_or(|wanted| {
                        wanted.iter().any(|w| new.coverage.ranges.iter().any(|r| r.overlaps(w)))
                    });
                    at_offsets && in_time(&scan.times_us)
                }
                Self::Windows(scan) | Self::Members(scan) => {
                    new.coverage.window_size_s == scan.window_size_s && in_time(&scan.starts_us)
                }
            }
    }

    /// What each row has to meet, the cheapest to rule out first.
    pub(super) fn conditions(&self, held: &[OffsetRange]) -> Vec<Condition> {
        let mut conditions = Vec::new();
        match self {
            Self::Rows(scan) => {
                conditions.extend(scan.namespace.iter().map(|n| Condition::text("namespace", &[n.as_str()])));
                conditions.extend(scan.event_type.iter().map(|t| Condition::text("type", &[t])));
                conditions.extend(scan.subjects.iter().map(|s| Condition::text("subject", s)));
                conditions.extend(
                    scan.times_us.iter().map(|t| Condition::Ranges { column: "time", wanted: t.clone() }),
                );
                conditions.extend(scan.recorded_after_us.map(|after_us| Condition::Ranges {
                    column: "record_time",
                    wanted: vec![(after_us.saturating_add(1), i64::MAX)],
                }));
                if scan.counted_only {
                    conditions.push(Condition::text("fate", &[Fate::Counted.name()]));
                }
                if let Some(wanted) = &scan.offsets
                    && !held.iter().all(|range| holds_all(wanted, range))
                {
                    conditions.push(Condition::Offsets(wanted.clone()));
                }
            }
            Self::Windows(scan) | Self::Members(scan) => {
                conditions.push(Condition::text("namespace", &[scan.namespace.as_str()]));
                conditions.push(Condition::Id { column: "meter", wanted: scan.generation.meter.0 });
                conditions
                    .push(Condition::Number { column: "generation", wanted: scan.generation.generation });
                conditions.push(Condition::Number { column: "window_size", wanted: scan.window_size_s });
                conditions.extend(scan.subjects.iter().map(|s| Condition::text("subject", s)));
                conditions.extend(
                    scan.starts_us
                        .iter()
                        .map(|s| Condition::Ranges { column: "window_start", wanted: s.clone() }),
                );
            }
        }
        conditions
    }
}

/// True if one of the wanted ranges holds all of this one. (Several may do so together; then the
/// offsets are asked row by row, which is right as well.)
fn holds_all(wanted: &[OffsetRange], range: &OffsetRange) -> bool {
    wanted.iter().any(|w| {
        w.epoch == range.epoch && w.partition == range.partition && w.from <= range.from && range.to <= w.to
    })
}
