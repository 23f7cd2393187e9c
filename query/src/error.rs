//! What can go wrong with a question, sorted by who can do something about it: the client, time, or
//! an operator. Each becomes one problem document at the HTTP edge.

use datafusion::error::DataFusionError;
use http::StatusCode;
use weir_catalog::CatalogError;
use weir_proto::{PositionError, Problem};
use weir_store::StoreError;

use crate::metrics;
use crate::planner::PlanError;
use crate::shown::{DETAIL_CHARS_MAX, shortened, shown};

/// Seconds after which a client may try again when something was busy or away.
const RETRY_AFTER_S: u32 = 2;

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Change the request.
    #[error("{detail}")]
    Invalid { kind: &'static str, detail: String },
    /// Ask for less: the named limit of this server refuses it.
    #[error("{detail}")]
    OverLimit { limit: &'static str, status: StatusCode, kind: &'static str, detail: String },
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
    /// Ask again when less is going on: the named limit is taken up by others.
    #[error("{detail}")]
    Busy { limit: &'static str, detail: String },
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
        Self::NotFound(format!("meter not found: {}", shown(id_or_slug)))
    }

    /// A 400 because of a limit; `kind` is the last part of the problem's type.
    pub fn over(limit: &'static str, kind: &'static str, detail: impl Into<String>) -> Self {
        Self::OverLimit { limit, status: StatusCode::BAD_REQUEST, kind, detail: detail.into() }
    }

    /// A query that reads or holds more than one may.
    pub fn too_large(limit: &'static str, detail: impl Into<String>) -> Self {
        Self::over(limit, "query-too-large", detail)
    }

    /// The limit that refused it, as metrics and documents name it.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::OverLimit { limit, .. } | Self::Busy { limit, .. } => Some(limit),
            Self::Deadline { .. } => Some("query_deadline"),
            Self::PositionNotVisible { .. } => Some("query_position_wait"),
            _ => None,
        }
    }

    /// What a metric calls it.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Invalid { .. }
            | Self::OverLimit { .. }
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Gone { .. }
            | Self::RowsNeeded(_) => "refused",
            Self::PositionNotVisible { .. } | Self::Deadline { .. } => "late",
            Self::Busy { .. } | Self::Unavailable(_) => "unavailable",
            Self::Plan(_) | Self::Store(_) | Self::Internal { .. } => "failed",
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        if let Some(limit) = error.limit() {
            metrics::refused(limit);
        }
        let whole = error.to_string();
        let detail = shortened(&whole, DETAIL_CHARS_MAX).into_owned();
        match error {
            QueryError::Invalid { kind, .. } => Problem::invalid(kind, detail),
            QueryError::OverLimit { status: StatusCode::BAD_REQUEST, kind, .. } => {
                Problem::invalid(kind, detail)
            }
            QueryError::OverLimit { status, kind, .. } => Problem::new(status, kind, detail),
            QueryError::NotFound(_) => Problem::not_found(detail),
            QueryError::Conflict(_) => Problem::conflict(detail),
            QueryError::Gone { kind, .. } => Problem::new(StatusCode::GONE, kind, detail),
            QueryError::RowsNeeded(_) => Problem::new(StatusCode::CONFLICT, "rows-needed", detail),
            QueryError::PositionNotVisible { .. } => {
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "position-not-visible", detail)
            }
            QueryError::Deadline { .. } => {
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "query-deadline", detail)
            }
            QueryError::Busy { .. } => Problem::unavailable("query-overload", detail, RETRY_AFTER_S),
            QueryError::Unavailable(_) => {
                tracing::error!(error = whole, "the catalog did not answer");
                let detail = "the catalog does not answer now; ask again in a moment";
                Problem::unavailable("catalog-unavailable", detail, RETRY_AFTER_S)
            }
            QueryError::Plan(_) | QueryError::Store(_) | QueryError::Internal { .. } => {
                tracing::error!(error = whole, "a query failed");
                Problem::internal()
            }
        }
    }
}

impl From<CatalogError> for QueryError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Full { setting, detail } => Self::OverLimit {
                limit: setting,
                status: StatusCode::CONFLICT,
                kind: "too-many-meters",
                detail,
            },
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
            DataFusionError::ResourcesExhausted(_) => Self::too_large(
                "query_memory_max",
                "the query needs more memory than one query may hold; ask for a shorter range of time, larger windows or fewer groups",
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
