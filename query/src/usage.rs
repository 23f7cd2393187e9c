//! One usage question from end to end: look, plan, fold what no window covers, sum, and shape rows.

mod answer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use futures::StreamExt as _;
use jiff::tz::TimeZone;
use weir_meter::zone::Windows;
use weir_meter::{Aggregation, Generation, Meter, Namespace};
use weir_proto::Position;
use weir_store::{ScanCounters, StoreError, WindowScan, WindowSource, convert};

use crate::aggregate::{self, Group, Tables, decode, frame, session};
use crate::budget::Share;
use crate::error::QueryError;
use crate::lanes::Weight;
use crate::look::{Ask, ReadOnly};
use crate::metrics;
use crate::planner::{self, MINUTE_S, Plan, Scope, TimeRange, TimeSplit, WindowPart};
use crate::request::{UsageParams, UsageRequest};
use crate::rows_path::RowsPath;
use crate::service::QueryService;
use crate::table::{TableKind, WindowTable};

pub use answer::{UsageAnswer, UsageRow};

/// What a query read, for the `Weir-Read` header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    pub windows: u64,
    pub events: u64,
    pub bytes: u64,
    pub segments: u64,
}

impl ReadCounts {
    pub(crate) fn of(counters: &ScanCounters) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            windows: read(&counters.window_rows),
            events: read(&counters.event_rows),
            bytes: read(&counters.bytes),
            segments: read(&counters.segments),
        }
    }
}

impl std::fmt::Display for ReadCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { windows, events, bytes, segments } = self;
        write!(f, "windows={windows}, events={events}, bytes={bytes}, segments={segments}")
    }
}

/// How many parts of a plan an error spells out.
const PARTS_SHOWN: usize = 3;

/// A question that has been checked and whose position is visible.
#[derive(Clone)]
struct Question<'q> {
    namespace: &'q Namespace,
    id_or_slug: &'q str,
    params: UsageParams,
    ask: Ask,
    /// The meter's generation a moment ago.
    expected: Generation,
}

/// A question that has been looked at and planned.
struct Planned {
    frame: DataFrame,
    /// Of the share, for windows that were folded.
    folded_bytes: usize,
    request: UsageRequest,
    aggregation: Aggregation,
    slug: String,
    position: Position,
    floor_us: Option<i64>,
}

impl QueryService {
    /// Answers a question about a meter, as of what is visible when it is asked, or as of exactly the
    /// position that it asks for.
    pub async fn usage(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        params: UsageParams,
        ask: Ask,
    ) -> Result<UsageAnswer, QueryError> {
        self.usage_held(namespace, id_or_slug, params, ask).await.map(|(answer, _)| answer)
    }

    /// The same, with the share of memory that the answer holds.
    pub(crate) async fn usage_held(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        params: UsageParams,
        ask: Ask,
    ) -> Result<(UsageAnswer, Arc<Share>), QueryError> {
        let (question, weight) = self.question(namespace, id_or_slug, params, ask).await?;
        // Boxed: a query's state is large.
        self.run("usage", weight, Box::pin(self.answer(question))).await
    }

    async fn answer(&self, question: Question<'_>) -> Result<(UsageAnswer, Arc<Share>), QueryError> {
        let counters = Arc::new(ScanCounters::default());
        let share = self.share();
        let planned = self.planned(question.clone(), &counters, &share).await?;
        let groups = match self.groups(&planned, &share).await {
            // Windows are a cache: where one cannot be read, rows have the same numbers.
            Err(QueryError::Store(StoreError::Damaged { path, reason })) if question.ask.only.is_none() => {
                tracing::error!(%path, %reason, "a file of the store cannot be read; answering from rows alone");
                let ask = Ask { only: Some(ReadOnly::Rows), ..question.ask };
                drop(planned);
                return Box::pin(self.answer(Question { ask, ..question })).await;
            }
            read => read?,
        };
        let read = ReadCounts::of(&counters);
        metrics::read(&read);
        let folded_bytes = planned.folded_bytes;
        let answer = UsageAnswer::new(groups, planned, read);
        share.shrink(folded_bytes);
        Ok((answer, share))
    }

    /// Runs the plan. What its rows hold stays taken from the share.
    async fn groups(&self, planned: &Planned, share: &Share) -> Result<Vec<Group>, QueryError> {
        let engine = |error: DataFusionError| match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => share.refusal(),
            _ => QueryError::from(error),
        };
        let mut batches = planned.frame.clone().execute_stream().await.map_err(engine)?;
        let (rows_max, bytes_max) = (self.options.result_rows_max, self.options.result_bytes_max);
        let mut groups: Vec<Group> = Vec::new();
        let mut bytes = 0_usize;
        while let Some(batch) = batches.next().await {
            let more = decode(&[batch.map_err(engine)?], planned.aggregation, &planned.request)?;
            if groups.len().saturating_add(more.len()) > rows_max {
                return Err(too_many_rows(rows_max));
            }
            let grown = more.iter().map(Group::bytes).fold(0, usize::saturating_add);
            bytes = bytes.saturating_add(grown);
            if bytes > bytes_max {
                return Err(QueryError::over(
                    "query_result_bytes_max",
                    "result-too-large",
                    format!(
                        "the answer has more than {bytes_max} bytes; ask for a shorter range of time, larger windows or fewer groups"
                    ),
                ));
            }
            share.grow(grown)?;
            groups.extend(more);
        }
        Ok(groups)
    }

    /// The physical plan of a question, as text.
    pub async fn explain(
        &self,
        namespace: &Namespace,
        id_or_slug: &str,
        params: UsageParams,
        ask: Ask,
    ) -> Result<String, QueryError> {
        let (question, weight) = self.question(namespace, id_or_slug, params, ask).await?;
        self.run("explain", weight, async {
            let planned = self.planned(question, &Arc::default(), &self.share()).await?;
            let plan = planned.frame.create_physical_plan().await?;
            Ok(aggregate::display(&*plan))
        })
        .await
    }

    /// What can be said to be wrong is said before anything is waited for.
    async fn question<'q>(
        &self,
        namespace: &'q Namespace,
        id_or_slug: &'q str,
        params: UsageParams,
        ask: Ask,
    ) -> Result<(Question<'q>, Weight), QueryError> {
        params.check()?;
        let meter = self.meter_for(namespace, id_or_slug, ask.exactly()).await?;
        let request = UsageRequest::new(params.clone(), &meter)?;
        self.wait_for(ask.position.as_ref()).await?;
        let weight = self.weigh(&meter, &request, &ask).await?;
        Ok((Question { namespace, id_or_slug, params, ask, expected: meter.key() }, weight))
    }

    /// The plan of the question, ready to run; rows that no window covers have been folded.
    async fn planned(
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
        let zone = request.zone.clone().unwrap_or(TimeZone::UTC);
        let times = TimeRange::new(request.from_us, request.to_us);
        let scope = Scope {
            times: TimeSplit::new(times, request.window_size.map(|size| (size, &zone))),
            retired_after_us: ask.exactly().map(|_| kept_since_us),
            // Windows know nothing of properties that are no group-by.
            windows: ask.only != Some(ReadOnly::Rows) && request.properties.is_empty(),
            ends: look.ends,
        };
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
        let folded = self.fold_rows(&meter, &request, &zone, &plan, counters, share).await?;
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
        zone: &TimeZone,
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
            windows: request.window_size.map(|size| Windows::new(size, zone.clone())),
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

fn too_many_rows(rows_max: usize) -> QueryError {
    QueryError::over(
        "query_result_rows_max",
        "result-too-large",
        format!(
            "the answer has more than {rows_max} rows; ask for a shorter range of time, larger windows or fewer groups"
        ),
    )
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
