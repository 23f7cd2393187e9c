//! The end of the pipeline: questions about usage over HTTP. A planner decides for each question which
//! windows and which rows at rest answer it; DataFusion sums them; answers carry exact digits.

mod aggregate;
mod budget;
mod error;
mod events;
mod filter;
mod http;
mod lanes;
mod look;
mod metrics;
mod names;
mod options;
pub mod planner;
mod position;
mod ranges;
mod request;
mod rows_path;
mod service;
mod shown;
mod table;
mod usage;
mod weigh;
mod window_bin;

pub use error::QueryError;
pub use events::{EventsRequest, LIST_MAX, ListedEvent};
pub use filter::{
    Compare, FILTER_DEPTH_MAX, FILTER_VALUE_BYTES_MAX, FILTER_VALUES_MAX, Filter, FilterBudget,
};
pub use http::router;
pub use look::{Ask, ReadOnly};
pub use metrics::describe_metrics;
pub use options::QueryOptions;
pub use request::{NAMES_MAX, PROPERTIES_MAX, UsageParams, UsageRequest};
pub use service::{LogEnds, QueryParts, QueryService};
pub use usage::{ReadCounts, UsageAnswer, UsageRow};
