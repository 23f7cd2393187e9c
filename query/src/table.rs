//! Stored windows (or members) as a table of the query engine: the columns at rest, with one column
//! per group-by key in place of the list of group values. What to read was decided by the planner;
//! the subjects and times are part of the scan already, so no filter is left to push down to it.

mod exec;
mod flatten;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use weir_store::{Store, WindowScan, schema};

pub(crate) use exec::WindowScanExec;
use flatten::Flatten;

/// Columns of the key that every row of one generation shares.
const SHARED: [&str; 4] = ["namespace", "meter", "generation", "window_size"];

/// Which of the two kinds of rows a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    Windows,
    Members,
}

impl TableKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Windows => "windows",
            Self::Members => "members",
        }
    }

    fn at_rest(self) -> SchemaRef {
        match self {
            Self::Windows => schema::windows(),
            Self::Members => schema::members(),
        }
    }
}

/// The windows or members of one meter generation that a plan takes from sources, and those that
/// were folded from rows for it.
#[derive(Clone)]
pub(crate) struct WindowTable {
    pub(crate) kind: TableKind,
    pub(crate) store: Arc<dyn Store>,
    /// Disjoint in what they read. `columns` is filled in by the scan.
    pub(crate) scans: Vec<WindowScan>,
    /// In the schema at rest.
    pub(crate) folded: Vec<RecordBatch>,
    schema: SchemaRef,
}

impl WindowTable {
    pub(crate) fn new(
        kind: TableKind,
        store: Arc<dyn Store>,
        scans: Vec<WindowScan>,
        folded: Vec<RecordBatch>,
        group_count: usize,
    ) -> Self {
        let mut fields = Vec::new();
        for field in kind.at_rest().fields() {
            match field.name().as_str() {
                "groups" => fields.extend(
                    (0..group_count).map(|i| Arc::new(Field::new(group_column(i), DataType::Utf8, false))),
                ),
                name if SHARED.contains(&name) => {}
                _ => fields.push(Arc::clone(field)),
            }
        }
        Self { kind, store, scans, folded, schema: Arc::new(Schema::new(fields)) }
    }
}

/// The name of the column of the meter's `i`th group-by key.
pub(crate) fn group_column(i: usize) -> String {
    format!("group_{i}")
}

impl std::fmt::Debug for WindowTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowTable").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for WindowTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let target = state.config().target_partitions();
        Ok(Arc::new(WindowScanExec::new(self, Flatten::new(self.kind, schema), target)))
    }
}
