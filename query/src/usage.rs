//! One usage question from end to end: look, plan, fold what no window covers, sum, and shape rows.

mod answer;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::error::DataFusionError;
use futures::StreamExt as _;
use weir_meter::{Generation, Namespace};
use weir_store::{ScanCounters, StoreError};

use crate::aggregate::{self, Group, decode};
use crate::budget::Share;
use crate::error::QueryError;
use crate::lanes::Weight;
use crate::look::{Ask, ReadOnly};
use crate::metrics;
use crate::request::{UsageParams, UsageRequest};
use crate::service::QueryService;

use plan::Planned;

pub use answer::{UsageAnswer, UsageRow};
pub(crate) use plan::scope;

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
