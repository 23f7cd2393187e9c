//! From windows to an answer's rows: the logical plan of a usage query, built from expressions and
//! never from text, and the reading of what it gives.

mod decode;

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions_aggregate::expr_fn::{count, last_value, max, min, sum};
use datafusion::logical_expr::{Expr, ExprFunctionExt as _, lit};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext, ident};
use jiff::tz::TimeZone;
use weir_meter::Aggregation;

use crate::budget::Share;
use crate::error::QueryError;
use crate::request::UsageRequest;
use crate::table::{WindowTable, group_column};
use crate::window_bin::window_bin;

pub(crate) use decode::{Group, decode};

/// Windows are summed on as many cores as a query may have.
const TARGET_PARTITIONS: usize = 2;
const BATCH_ROWS: usize = 8_192;

/// The query engine for one query, with memory from its share.
pub(crate) fn session(share: &Arc<Share>) -> Result<SessionContext, QueryError> {
    let config = SessionConfig::new().with_target_partitions(TARGET_PARTITIONS).with_batch_size(BATCH_ROWS);
    let no_spilling = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(share) as Arc<dyn MemoryPool>)
        .with_disk_manager_builder(no_spilling)
        .build_arc()?;
    // No functions by name: plans are made of expressions that carry theirs.
    let state = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).build();
    Ok(SessionContext::new_with_state(state))
}

/// A physical plan as EXPLAIN shows it.
pub(crate) fn display(plan: &dyn ExecutionPlan) -> String {
    displayable(plan).indent(false).to_string()
}

/// The tables of a query; members only for UNIQUE_COUNT.
pub(crate) struct Tables {
    pub(crate) windows: WindowTable,
    pub(crate) members: Option<WindowTable>,
}

/// The plan of a usage query: one row per window and group, in their total order, at most
/// `rows_max` of them and one more that tells of too many. Columns: `window` (with a window size),
/// `subject`, `group_i` (as grouped), `events`, `counted`, `first`, `last`, and the aggregate's own.
pub(crate) fn frame(
    session: &SessionContext,
    tables: Tables,
    aggregation: Aggregation,
    request: &UsageRequest,
    rows_max: usize,
) -> Result<DataFrame, DataFusionError> {
    let keys = keys(request);
    let key_columns: Vec<Expr> = keys.iter().map(|(_, name)| ident(name)).collect();
    let windows = keyed(session, tables.windows, request, &keys, aggregation.columns())?;
    let mut frame = match tables.members {
        None => windows.aggregate(key_columns, aggregation.states()?)?,
        Some(members) => {
            let members = keyed(session, members, request, &keys, &["member", "holders"])?;
            unique_count(windows, members, &key_columns)?
        }
    };
    if aggregation.needs_value() {
        // Events whose values are all ignored make no row.
        frame = frame.filter(ident("counted").gt(lit(0_i64)))?;
    }
    let mut order: Vec<Expr> = Vec::new();
    if request.window_size.is_none() && request.from_us.is_none() {
        order.push(ident("first"));
    }
    order.extend(key_columns_of(&keys));
    if !order.is_empty() {
        frame = frame.sort(order.into_iter().map(|key| key.sort(true, false)).collect())?;
    }
    frame.limit(0, Some(rows_max.saturating_add(1)))
}

/// What a query groups by, with the name of each: the window, then the subject, then group values.
fn keys(request: &UsageRequest) -> Vec<(Expr, String)> {
    let mut keys = Vec::new();
    if let Some(size) = request.window_size {
        let bin = window_bin(size, request.zone.clone().unwrap_or(TimeZone::UTC));
        keys.push((bin.call(vec![ident("window_start")]), "window".to_owned()));
    }
    if request.by_subject {
        keys.push((ident("subject"), "subject".to_owned()));
    }
    for (_, place) in &request.group_by {
        keys.push((ident(group_column(*place)), group_column(*place)));
    }
    keys
}

fn key_columns_of(keys: &[(Expr, String)]) -> impl Iterator<Item = Expr> {
    keys.iter().map(|(_, name)| ident(name))
}

/// The table's rows that pass the filters, with the keys and the named columns.
fn keyed(
    session: &SessionContext,
    table: WindowTable,
    request: &UsageRequest,
    keys: &[(Expr, String)],
    columns: &[&str],
) -> Result<DataFrame, DataFusionError> {
    let mut frame = session.read_table(Arc::new(table))?;
    for (place, filter) in &request.filters {
        frame = frame.filter(filter.expression(&ident(group_column(*place))))?;
    }
    let keys = keys.iter().map(|(key, name)| key.clone().alias(name));
    frame.select(keys.chain(columns.iter().map(|name| ident(*name))).collect::<Vec<_>>())
}

/// Members with a holder left are counted once per window and group; the windows beside them tell
/// of windows whose events have no member at all.
fn unique_count(windows: DataFrame, members: DataFrame, keys: &[Expr]) -> Result<DataFrame, DataFusionError> {
    let none = lit(ScalarValue::Int64(None));
    let mut per_member = keys.to_vec();
    per_member.push(ident("member"));
    let with = |columns: [Expr; 5]| keys.iter().cloned().chain(columns).collect::<Vec<_>>();
    let members = members
        .aggregate(per_member, vec![sum(ident("holders")).alias("holders")])?
        .filter(ident("holders").gt(lit(0_i64)))?
        .aggregate(keys.to_vec(), vec![count(lit(1_i64)).alias("uniques")])?
        .select(with([
            lit(0_i64).alias("events"),
            lit(0_i64).alias("counted"),
            none.clone().alias("first_minute"),
            none.alias("last_minute"),
            ident("uniques"),
        ]))?;
    let windows = windows.select(with([
        ident("events"),
        ident("counted"),
        ident("first_minute"),
        ident("last_minute"),
        lit(0_i64).alias("uniques"),
    ]))?;
    let mut states = common_states();
    states.push(sum(ident("uniques")).alias("uniques"));
    windows.union(members)?.aggregate(keys.to_vec(), states)
}

fn common_states() -> Vec<Expr> {
    vec![
        sum(ident("events")).alias("events"),
        sum(ident("counted")).alias("counted"),
        min(ident("first_minute")).alias("first"),
        max(ident("last_minute")).alias("last"),
    ]
}

/// How an aggregation reads windows.
trait WindowAggregation {
    /// Columns of a window that it needs.
    fn columns(self) -> &'static [&'static str];
    /// What it makes of them.
    fn states(self) -> Result<Vec<Expr>, DataFusionError>;
    /// True if there is no number without a counted value.
    fn needs_value(self) -> bool;
}

impl WindowAggregation for Aggregation {
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Count | Self::UniqueCount => &["events", "counted", "first_minute", "last_minute"],
            Self::Sum | Self::Avg => &["events", "counted", "first_minute", "last_minute", "sum"],
            Self::Min => &["events", "counted", "first_minute", "last_minute", "min"],
            Self::Max => &["events", "counted", "first_minute", "last_minute", "max"],
            Self::Latest => &[
                "events",
                "counted",
                "first_minute",
                "last_minute",
                "latest",
                "latest_time",
                "latest_record_time",
                "latest_epoch",
                "latest_partition",
                "latest_offset",
            ],
        }
    }

    fn states(self) -> Result<Vec<Expr>, DataFusionError> {
        let mut states = common_states();
        match self {
            Self::Count | Self::UniqueCount => {}
            Self::Sum | Self::Avg => states.push(sum(ident("sum")).alias("value")),
            Self::Min => states.push(min(ident("min")).alias("value")),
            Self::Max => states.push(max(ident("max")).alias("value")),
            Self::Latest => {
                let key = [
                    "latest_time",
                    "latest_record_time",
                    "latest_epoch",
                    "latest_partition",
                    "latest_offset",
                ];
                let order = key.iter().map(|column| ident(*column).sort(true, false)).collect();
                // The order goes to the builder: it forgets one that is given as an argument.
                let latest = last_value(ident("latest"), Vec::new())
                    .order_by(order)
                    .filter(ident("latest").is_not_null())
                    .build()?;
                states.push(latest.alias("value"));
            }
        }
        Ok(states)
    }

    fn needs_value(self) -> bool {
        !matches!(self, Self::Count | Self::UniqueCount)
    }
}
