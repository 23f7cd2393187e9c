//! One usage question from end to end: look, plan, fold what no window covers, sum, and shape rows.

mod answer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use datafusion::dataframe::DataFrame;
use jiff::tz::TimeZone;
use weir_meter::zone::{Windows, sub_minute_edges_until};
use weir_meter::{Aggregation, Meter};
use weir_store::{ScanCounters, WindowScan, convert};

use crate::aggregate::{self, Tables, decode, frame, session};
use crate::error::QueryError;
use crate::metrics;
use crate::planner::{self, Plan, TimeRange, TimeSplit, WINDOW_SIZE_S};
use crate::request::UsageRequest;
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

impl QueryService {
    /// Answers a question about a meter, as of what is visible when it is asked.
    pub async fn usage(&self, meter: &Meter, request: &UsageRequest) -> Result<UsageAnswer, QueryError> {
        self.run("usage", async {
            let counters = Arc::new(ScanCounters::default());
            let frame = self.usage_frame(meter, request, &counters).await?;
            let batches = frame.collect().await?;
            let read = ReadCounts::of(&counters);
            metrics::read(&read);
            let groups = decode(&batches, meter.aggregation, request)?;
            if groups.len() > self.options.result_rows_max {
                return Err(QueryError::invalid(
                    "result-too-large",
                    format!(
                        "the answer has more than {} rows; ask for a shorter range of time, larger windows or fewer groups",
                        self.options.result_rows_max
                    ),
                ));
            }
            Ok(UsageAnswer::new(groups, meter.aggregation, request, read))
        })
        .await
    }

    /// The plan of the question, ready to run; rows that no window covers have been folded.
    async fn usage_frame(
        &self,
        meter: &Meter,
        request: &UsageRequest,
        counters: &Arc<ScanCounters>,
    ) -> Result<DataFrame, QueryError> {
        let zone = request.zone.clone().unwrap_or(TimeZone::UTC);
        let rows_below_us = request.window_size.and_then(|_| sub_minute_edges_until(&zone));
        let split = TimeSplit::new(TimeRange::new(request.from_us, request.to_us), rows_below_us);
        let shelf = self.shelf(&[meter.key()]).await?;
        // The meter was read before the wait for a position and for a turn. One that was deleted since
        // is not in the windows that were folded after that, so how long it lived is read again.
        let now = self.parts.catalog.meter(&meter.namespace, &meter.id.to_string()).await?;
        let meter = now.as_ref().filter(|now| now.key() == meter.key()).unwrap_or(meter);
        let plan = planner::plan(meter, &shelf, &split)?;
        let folded = self.fold_rows(meter, request, &zone, &plan, counters).await?;
        let tables = self.tables(meter, request, plan, folded, counters);
        let session = session(self.options.memory_bytes_max)?;
        Ok(frame(&session, tables, meter.aggregation, request, self.options.result_rows_max)?)
    }

    async fn fold_rows(
        &self,
        meter: &Meter,
        request: &UsageRequest,
        zone: &TimeZone,
        plan: &Plan,
        counters: &Arc<ScanCounters>,
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
        };
        let folded = path.fold(&plan.rows, counters).await?;
        let members = meter.aggregation == Aggregation::UniqueCount;
        Ok(Folded {
            windows: Some(convert::windows_of(&meter.namespace, meter.key(), WINDOW_SIZE_S, &folded)?),
            members: members
                .then(|| convert::members_of(&meter.namespace, meter.key(), WINDOW_SIZE_S, &folded))
                .transpose()?,
        })
    }

    fn tables(
        &self,
        meter: &Meter,
        request: &UsageRequest,
        plan: Plan,
        folded: Folded,
        counters: &Arc<ScanCounters>,
    ) -> Tables {
        let table = |kind, sources, folded| {
            let scan = WindowScan {
                sources,
                namespace: meter.namespace.clone(),
                generation: meter.key(),
                window_size_s: WINDOW_SIZE_S,
                subjects: request.subjects.clone(),
                starts_us: Some(plan.interior.iter().map(|t| t.pair()).collect()),
                columns: Vec::new(),
                counters: Arc::clone(counters),
            };
            WindowTable::new(kind, Arc::clone(&self.parts.store), scan, folded, meter.group_by.len())
        };
        Tables {
            windows: table(TableKind::Windows, plan.windows.clone(), folded.windows),
            members: (meter.aggregation == Aggregation::UniqueCount)
                .then(|| table(TableKind::Members, plan.members.clone(), folded.members)),
        }
    }

    /// The physical plan of a question, as text.
    pub async fn explain(&self, meter: &Meter, request: &UsageRequest) -> Result<String, QueryError> {
        self.run("explain", async {
            let counters = Arc::new(ScanCounters::default());
            let plan = self.usage_frame(meter, request, &counters).await?.create_physical_plan().await?;
            Ok(aggregate::display(&*plan))
        })
        .await
    }
}

/// What folding rows gave, as batches at rest.
#[derive(Default)]
struct Folded {
    windows: Option<RecordBatch>,
    members: Option<RecordBatch>,
}
