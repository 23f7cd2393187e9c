//! From a question to a plan that is ready to run: one look at what there is, the plan over it, and windows
//! folded of the rows that none answers for.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use jiff::tz::TimeZone;
use weir_meter::zone::Windows;
use weir_meter::{Aggregation, Meter, OffsetRange};
use weir_proto::Position;
use weir_store::{ScanCounters, WindowScan, WindowSource, convert};

use super::Question;
use crate::aggregate::{Tables, frame, session};
use crate::budget::Share;
use crate::error::QueryError;
use crate::look::{Ask, ReadOnly};
use crate::planner::{self, MINUTE_S, Plan, Scope, TimeRange, TimeSplit, WindowPart};
use crate::request::UsageRequest;
use crate::rows_path::RowsPath;
use crate::service::QueryService;
use crate::table::{TableKind, WindowTable};

/// How many parts of a plan an error spells out.
const PARTS_SHOWN: usize = 3;

/// A question that has been looked at and planned.
pub(super) struct Planned {
    pub(super) frame: DataFrame,
    /// Of the share, for windows that were folded.
    pub(super) folded_bytes: usize,
    pub(super) request: UsageRequest,
    pub(super) aggregation: Aggregation,
    pub(super) slug: String,
    pub(super) position: Position,
    pub(super) floor_us: Option<i64>,
}

/// What a request asks a plan for, up to these ends.
pub(crate) fn scope(request: &UsageRequest, ask: &Ask, ends: Vec<OffsetRange>) -> Scope {
    let times = TimeRange::new(request.from_us, request.to_us);
    let zone = zone(request);
    Scope {
        times: TimeSplit::new(times, request.window_size.map(|size| (size, &zone))),
        retired_after_us: None,
        // Windows know nothing of properties that are no group-by.
        windows: ask.only != Some(ReadOnly::Rows) && request.properties.is_empty(),
        ends,
    }
}

fn zone(request: &UsageRequest) -> TimeZone {
    request.zone.clone().unwrap_or(TimeZone::UTC)
}

impl QueryService {
    /// The plan of the question, ready to run; rows that no window covers have been folded.
    pub(super) async fn planned(
        &self,
        question: Question<'_>,
        counters: &Arc<ScanCounters>,
        share: &Arc<Share>,
    ) -> Result<Planned, QueryError> {
        let Question { namespace, id_or_slug, params, ask, expected } = question;
        let kept_us = i64::try_from(self.options.segments_kept_for.as_micros()).unwrap_or(i64::MAX);
        let kept_since_us = self.parts.clock.now_us().saturating_sub(kept_us);
        let look = self.look(namespace, id_or_slug, &ask, expected).await?;
        let mut request = UsageRequest::new(params, &look.meter)?;
        let floor_us = look.hold_to_floor(&mut request, &ask)?;
        let retired_after_us = ask.exactly().map(|_| kept_since_us);
        let scope = Scope { retired_after_us, ..scope(&request, &ask, look.ends) };
        let plan = planner::plan(&look.meter, &look.shelf, &scope)?;
        if ask.only == Some(ReadOnly::Segments) && !plan.rows.is_empty() {
            return Err(if request.properties.is_empty() {
                rows_needed(&plan)
            } else {
                QueryError::RowsNeeded(
                    "no stored window keeps the properties of filterProperties; leave Weir-Read-From away"
                        .to_owned(),
                )
            });
        }
        let meter = request.widened(&look.meter);
        let folded = self.fold_rows(&meter, &request, &plan, counters, share).await?;
        let folded_bytes = folded.bytes();
        let tables = self.tables(&meter, &request, &plan, folded, counters);
        let session = session(share)?;
        let frame = frame(&session, tables, meter.aggregation, &request, self.options.result_rows_max)?;
        Ok(Planned {
            frame,
            folded_bytes,
            request,
            aggregation: meter.aggregation,
            slug: meter.slug,
            position: look.position,
            floor_us,
        })
    }

    async fn fold_rows(
        &self,
        meter: &Meter,
        request: &UsageRequest,
        plan: &Plan,
        counters: &Arc<ScanCounters>,
        share: &Share,
    ) -> Result<Folded, QueryError> {
        if plan.rows.is_empty() {
            return Ok(Folded::default());
        }
        let path = RowsPath {
            store: &*self.parts.store,
            meter,
            subjects: request.subjects.as_ref(),
            windows: request.window_size.map(|size| Windows::new(size, zone(request))),
            key: self.hash_key,
            rows_max: self.options.rows_folded_max,
            windows_max: self.options.windows_folded_max,
            bytes_max: self.options.folded_bytes_max,
            share,
        };
        let (windows, windows_bytes) = path.fold(&plan.rows, counters).await?;
        let (namespace, key) = (&meter.namespace, meter.key());
        let mut members = Vec::new();
        if meter.aggregation == Aggregation::UniqueCount {
            members = convert::member_batches_of(namespace, key, MINUTE_S, &windows)?;
        }
        let folded =
            Folded { windows: convert::window_batches_of(namespace, key, MINUTE_S, &windows)?, members };
        drop(windows);
        share.shrink(windows_bytes);
        share.grow(folded.bytes())?;
        Ok(folded)
    }

    fn tables(
        &self,
        meter: &Meter,
        request: &UsageRequest,
        plan: &Plan,
        folded: Folded,
        counters: &Arc<ScanCounters>,
    ) -> Tables {
        let scan = |part: &WindowPart, sources: &[WindowSource]| WindowScan {
            sources: sources.to_vec(),
            namespace: meter.namespace.clone(),
            generation: meter.key(),
            window_size_s: part.size_s,
            subjects: request.subjects.clone(),
            starts_us: Some(part.times.pairs()),
            columns: Vec::new(),
            counters: Arc::clone(counters),
        };
        let table = |kind, scans, folded| {
            WindowTable::new(kind, Arc::clone(&self.parts.store), scans, folded, meter.group_by.len())
        };
        let windows = plan.windows.iter().map(|part| scan(part, &part.sources)).collect();
        let members = plan.windows.iter().map(|part| scan(part, &part.members)).collect();
        Tables {
            windows: table(TableKind::Windows, windows, folded.windows),
            members: (meter.aggregation == Aggregation::UniqueCount)
                .then(|| table(TableKind::Members, members, folded.members)),
        }
    }
}

/// Says which rows a question would need that forbids them.
fn rows_needed(plan: &Plan) -> QueryError {
    let parts = plan.rows.iter().take(PARTS_SHOWN).map(|part| {
        let offsets = part.offsets.iter().fold(0_u64, |sum, range| sum.saturating_add(range.len()));
        format!("{offsets} offsets at times {}", part.times)
    });
    let parts: Vec<String> = parts.collect();
    QueryError::RowsNeeded(format!(
        "no stored window answers for {}; ask for whole minutes, ask again when these offsets have been folded, or leave Weir-Read-From away",
        parts.join(", nor for ")
    ))
}

/// What folding rows gave, as batches at rest.
#[derive(Default)]
struct Folded {
    windows: Vec<RecordBatch>,
    members: Vec<RecordBatch>,
}

impl Folded {
    fn bytes(&self) -> usize {
        let batches = self.windows.iter().chain(&self.members);
        batches.map(RecordBatch::get_array_memory_size).fold(0, usize::saturating_add)
    }
}
