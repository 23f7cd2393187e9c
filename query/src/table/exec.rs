//! The leaf of every usage plan: reads windows from sources through the store, and hands on those
//! that were folded from rows. EXPLAIN tells where the numbers come from.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SendableRecordBatchStream,
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use weir_store::{WindowScan, WindowSource};

use super::WindowTable;
use super::flatten::Flatten;
use crate::planner::{TimeRange, Times};

/// How many subjects EXPLAIN spells out.
const SUBJECTS_SHOWN: usize = 3;

#[derive(Clone)]
pub(crate) struct WindowScanExec {
    table: WindowTable,
    flatten: Flatten,
    /// One scan per partition; windows that were folded for the query come in a last partition.
    scans: Vec<WindowScan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WindowScanExec {
    pub(super) fn new(table: &WindowTable, flatten: Flatten, target_partitions: usize) -> Self {
        let mut scans = Vec::new();
        for scan in &table.scans {
            for sources in deal(&scan.sources, target_partitions) {
                scans.push(WindowScan { sources, columns: flatten.wanted().to_vec(), ..scan.clone() });
            }
        }
        let partitions = scans.len() + usize::from(!table.folded.is_empty());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(flatten.schema())),
            // A plan needs at least one partition, even an empty one.
            Partitioning::UnknownPartitioning(partitions.max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            table: table.clone(),
            flatten,
            scans,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn input(
        &self,
        partition: usize,
        batch_size: usize,
    ) -> Result<stream::BoxStream<'static, Result<RecordBatch>>> {
        if let Some(scan) = self.scans.get(partition) {
            let store = &self.table.store;
            let batches = match self.table.kind {
                super::TableKind::Windows => store.scan_windows(scan.clone()),
                super::TableKind::Members => store.scan_members(scan.clone()),
            };
            return Ok(batches.map_err(|error| DataFusionError::External(Box::new(error))).boxed());
        }
        if partition > self.scans.len() {
            return exec_err!("the scan has no partition {partition}");
        }
        let slices = self.table.folded.clone().into_iter().flat_map(move |folded| {
            let rows = folded.num_rows();
            (0..rows)
                .step_by(batch_size.max(1))
                .map(move |at| Ok(folded.slice(at, batch_size.min(rows - at))))
        });
        Ok(stream::iter(slices).boxed())
    }
}

/// Deals sources into at most `hands` hands of about equal size.
fn deal(sources: &[WindowSource], hands: usize) -> Vec<Vec<WindowSource>> {
    let bytes = |source: &WindowSource| match source {
        WindowSource::Segment(segment) => segment.new.byte_count,
        // In memory: cheap to read.
        WindowSource::Piece(_) => 1,
    };
    let mut dealt: Vec<(u64, Vec<WindowSource>)> =
        vec![(0, Vec::new()); hands.clamp(1, sources.len().max(1))];
    for source in sources {
        if let Some((held, hand)) = dealt.iter_mut().min_by_key(|(held, hand)| (*held, hand.len())) {
            *held = held.saturating_add(bytes(source));
            hand.push(source.clone());
        }
    }
    dealt.into_iter().map(|(_, hand)| hand).filter(|hand| !hand.is_empty()).collect()
}

/// Counts what one partition hands on.
struct Counted {
    baseline: BaselineMetrics,
    bytes: Count,
}

impl Counted {
    fn stream(
        self,
        flatten: Flatten,
        input: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
        input.map(move |batch| {
            let timer = self.baseline.elapsed_compute().timer();
            let flat = batch.and_then(|batch| flatten.apply(&batch));
            timer.done();
            if let Ok(flat) = &flat {
                self.baseline.record_output(flat.num_rows());
                self.bytes.add(flat.get_array_memory_size());
            }
            flat
        })
    }
}

impl fmt::Debug for WindowScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowScanExec").field("table", &self.table).finish_non_exhaustive()
    }
}

impl DisplayAs for WindowScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folded: usize = self.table.folded.iter().map(RecordBatch::num_rows).sum();
        write!(f, "WindowScanExec: {}", self.table.kind.name())?;
        for scan in &self.table.scans {
            let pieces = scan.sources.iter().filter(|s| matches!(s, WindowSource::Piece(_))).count();
            let segments = scan.sources.len() - pieces;
            let pairs = scan.starts_us.iter().flatten();
            let starts =
                Times::new(pairs.map(|(from_us, to_us)| TimeRange { from_us: *from_us, to_us: *to_us }));
            let size = scan.window_size_s;
            write!(f, ", size={size}s {{segments={segments}, pieces={pieces}, starts=[{starts}]}}")?;
        }
        write!(f, ", rows_path={folded}")?;
        match self.table.scans.first().and_then(|scan| scan.subjects.as_ref()) {
            None => {}
            Some(subjects) if subjects.len() > SUBJECTS_SHOWN => write!(f, ", subjects={}", subjects.len())?,
            Some(subjects) => write!(f, ", subjects={subjects:?}")?,
        }
        write!(f, ", columns=[{}]", self.flatten.wanted().join(", "))
    }
}

impl ExecutionPlan for WindowScanExec {
    fn name(&self) -> &'static str {
        "WindowScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { exec_err!("WindowScanExec is a leaf") }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input(partition, context.session_config().batch_size())?;
        let counted = Counted {
            baseline: BaselineMetrics::new(&self.metrics, partition),
            bytes: MetricBuilder::new(&self.metrics).counter("bytes", partition),
        };
        let output = counted.stream(self.flatten.clone(), input);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(self.flatten.schema()), output)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
