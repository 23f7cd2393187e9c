//! What can go wrong with a question, sorted by who can do something about it: the client, time, or
//! an operator. Each becomes one problem document at the HTTP edge.

use datafusion::error::DataFusionError;
use http::StatusCode;
use weir_catalog::CatalogError;
use weir_proto::{PositionError, Problem};
use weir_store::StoreError;

use crate::planner::PlanError;

/// Seconds after which a client may try again when something was busy or away.
const RETRY_AFTER_S: u32 = 2;

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Change the request.
    #[error("{detail}")]
    Invalid { kind: &'static str, detail: String },
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    /// What was asked for has been deleted, or may be any moment.
    #[error("{detail}")]
    Gone { kind: &'static str, detail: String },
    /// The question forbids what its answer needs.
    #[error("{0}")]
    RowsNeeded(String),
    /// Ask again: what was acknowledged is not visible yet.
    #[error(
        "the position was not visible within {waited_s} seconds; ask again with the same position, or without one to take what is visible now"
    )]
    PositionNotVisible { waited_s: u64 },
    /// Ask for less, or again when less is going on.
    #[error(
        "the answer was not ready within {limit_s} seconds; ask for a shorter range of time or fewer groups"
    )]
    Deadline { limit_s: u64 },
    #[error("too many queries are waiting; ask again in a moment")]
    Busy,
    /// The catalog did not answer.
    #[error("{0}")]
    Unavailable(String),
    /// What is at rest contradicts itself: an operator has to look.
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{context}: {reason}")]
    Internal { context: &'static str, reason: String },
}

impl QueryError {
    /// A 400; `kind` is the last part of the problem's type.
    pub fn invalid(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid { kind, detail: detail.into() }
    }

    pub fn internal(context: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Internal { context, reason: reason.to_string() }
    }

    pub fn no_meter(id_or_slug: &str) -> Self {
        Self::NotFound(format!("meter not found: {id_or_slug}"))
    }

    /// What a metric calls it.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Invalid { .. }
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Gone { .. }
            | Self::RowsNeeded(_) => "refused",
            Self::PositionNotVisible { .. } | Self::Deadline { .. } => "late",
            Self::Busy | Self::Unavailable(_) => "unavailable",
            Self::Plan(_) | Self::Store(_) | Self::Internal { .. } => "failed",
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let detail = error.to_string();
        match error {
            QueryError::Invalid { kind, detail } => Problem::invalid(kind, detail),
            QueryError::NotFound(detail) => Problem::not_found(detail),
            QueryError::Conflict(detail) => Problem::conflict(detail),
            QueryError::Gone { kind, detail } => Problem::new(StatusCode::GONE, kind, detail),
            QueryError::RowsNeeded(detail) => Problem::new(StatusCode::CONFLICT, "rows-needed", detail),
            QueryError::PositionNotVisible { .. } => {
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "position-not-visible", detail)
            }
            QueryError::Deadline { .. } => {
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "query-deadline", detail)
            }
            QueryError::Busy => Problem::unavailable("query-overload", detail, RETRY_AFTER_S),
            QueryError::Unavailable(_) => {
                tracing::error!(error = detail, "the catalog did not answer");
                let detail = "the catalog does not answer now; ask again in a moment";
                Problem::unavailable("catalog-unavailable", detail, RETRY_AFTER_S)
            }
            QueryError::Plan(_) | QueryError::Store(_) | QueryError::Internal { .. } => {
                tracing::error!(error = detail, "a query failed");
                Problem::internal()
            }
        }
    }
}

impl From<CatalogError> for QueryError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Conflict(detail) => Self::Conflict(detail),
            CatalogError::NotFound(detail) => Self::NotFound(detail),
            CatalogError::Unusable(reason) => Self::Internal { context: "catalog", reason },
            CatalogError::Database { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<PositionError> for QueryError {
    fn from(error: PositionError) -> Self {
        Self::invalid("invalid-position", error.to_string())
    }
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::invalid(
                "query-too-large",
                "the query needs more memory than one query may use; ask for a shorter range of time, larger windows or fewer groups",
            ),
            DataFusionError::External(inner) => match inner.downcast_ref() {
                Some(StoreError::Damaged { path, reason }) => {
                    Self::Store(StoreError::Damaged { path: path.clone(), reason: reason.clone() })
                }
                _ => Self::internal("query engine", inner),
            },
            root => Self::internal("query engine", root),
        }
    }
}
