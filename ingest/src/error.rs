//! Why a request is not taken, sorted by what the client should do next, and how HTTP and gRPC say
//! it. None of a refused request's events is acknowledged.

mod details;
mod refused;

use std::time::Duration;

use ::http::StatusCode;
use tonic::{Code, Status};
use weir_log::{AppendError, Cause};
use weir_meter::event::{EventLimit, InvalidEvents};
use weir_proto::Problem;

pub use refused::Refused;

/// A request that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// Mend the event.
    #[error("{0}")]
    Invalid(InvalidEvents),
    /// Send another content type.
    #[error("{0}")]
    ContentType(String),
    /// Send another content encoding, or none.
    #[error(
        "content encoding `{0}` is not taken; send the body as it is, or compressed once with `gzip` or `zstd`"
    )]
    ContentEncoding(String),
    /// Mend how the body is sent: it cannot be read to its end, or not decompressed.
    #[error("{0}")]
    Body(String),
    /// Compress the body as one.
    #[error(
        "the body cannot be decompressed as gzip: it has more than {members_max} members; compress it as one, or \
         as fewer"
    )]
    Members { members_max: usize },
    /// Compress the body anew, or not at all.
    #[error(
        "the body cannot be decompressed as {encoding}: compressed, it has over {bytes_max} bytes more than what \
         comes of it; compress it anew, or send it plain"
    )]
    Excess { encoding: &'static str, bytes_max: usize },
    /// Send fewer events at once.
    #[error("{} has more than {bytes_max} bytes; send fewer events in one request", what.described())]
    TooLarge { what: TooMany, bytes_max: usize },
    /// Send the same again, faster.
    #[error("the body did not arrive whole within {after:?}; send it again, or in smaller parts")]
    Timeout { after: Duration },
    /// The log does not take events. The reason is for the operator, not for the client.
    #[error("the log takes no events: {reason}")]
    LogUnavailable { reason: String, retry_after_seconds: u32 },
    /// More waits for the log's disk than may wait.
    #[error(
        "the event log is behind: as many bytes wait for its disk as may wait, and none of this request's \
         events is acknowledged; send the same request again in {retry_after_seconds} s"
    )]
    LogBehind { retry_after_seconds: u32 },
    /// The log's disk has no room. Which disk is for the operator, not for the client.
    #[error("the log's disk is full: {reason}")]
    DiskFull { reason: String, retry_after_seconds: u32 },
    /// More bytes are on their way in than the service may hold.
    #[error(
        "too many bytes are being received at once; send the same request again in {retry_after_seconds} s"
    )]
    Overloaded { retry_after_seconds: u32 },
    /// The credential has sent as many events as it may.
    #[error(
        "the key's limit {limit} is used up, and none of this request's events is stored; send the same request \
         again in {retry_after_seconds} s"
    )]
    RateLimited { limit: &'static str, retry_after_seconds: u32 },
    /// This process takes no new requests; another one, or the next one, will.
    #[error("this server is shutting down; send the same request again in {retry_after_seconds} s")]
    ShuttingDown { retry_after_seconds: u32 },
    /// A fault of ours. The reason is for the operator, not for the client.
    #[error("{0}")]
    Internal(String),
}

/// Of what a request has too many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// The body as it comes.
    WireBytes,
    /// The body once it is decompressed.
    DecodedBytes,
    /// A gRPC request in the form in which it is kept.
    RenderedBytes,
    /// What the log takes in one append.
    AppendBytes,
}

impl TooMany {
    fn described(self) -> &'static str {
        match self {
            Self::WireBytes => "the body",
            Self::DecodedBytes => "the decompressed body",
            Self::RenderedBytes => "the request, rendered as JSON,",
            Self::AppendBytes => "the batch",
        }
    }
}

impl IngestError {
    /// The last part of the problem's type, and the label that counts it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-event",
            Self::ContentType(_) => "invalid-content-type",
            Self::ContentEncoding(_) => "unsupported-content-encoding",
            Self::Body(_) | Self::Members { .. } | Self::Excess { .. } => "invalid-body",
            Self::TooLarge { .. } => "body-too-large",
            Self::Timeout { .. } => "request-timeout",
            Self::LogUnavailable { .. } => "log-unavailable",
            Self::LogBehind { .. } => "log-behind",
            Self::DiskFull { .. } => "disk-full",
            Self::Overloaded { .. } => "overloaded",
            Self::RateLimited { .. } => "rate-limited",
            Self::ShuttingDown { .. } => "shutting-down",
            Self::Internal(_) => "internal",
        }
    }

    /// The bound that refused the request, by the name of its setting if it is one; None if it was not a bound.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Invalid(invalid) => invalid.limit.map(EventLimit::name),
            Self::Members { .. } => Some("gzip_members_max"),
            Self::Excess { .. } => Some("compressed_excess_bytes_max"),
            Self::TooLarge { .. } => Some("body_bytes_max"),
            Self::Timeout { .. } => Some("body_timeout"),
            Self::LogBehind { .. } => Some("log_queue_bytes"),
            Self::Overloaded { .. } => Some("buffered_bytes_max"),
            Self::RateLimited { limit, .. } => Some(limit),
            _ => None,
        }
    }

    /// When to send the same request again, if that is what helps.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::LogUnavailable { retry_after_seconds, .. }
            | Self::LogBehind { retry_after_seconds }
            | Self::DiskFull { retry_after_seconds, .. }
            | Self::Overloaded { retry_after_seconds }
            | Self::RateLimited { retry_after_seconds, .. }
            | Self::ShuttingDown { retry_after_seconds } => Some(*retry_after_seconds),
            _ => None,
        }
    }

    /// Tells the operator, who alone learns the reasons that are not the client's affair.
    pub(crate) fn log(&self) {
        match self {
            Self::Internal(reason) => tracing::error!(reason, "an ingest request failed"),
            Self::LogUnavailable { reason, .. } | Self::DiskFull { reason, .. } => {
                tracing::warn!(reason, "the log took no events");
            }
            _ => tracing::debug!(error = %self, "an ingest request was refused"),
        }
    }

    /// What the client is told.
    fn public(&self) -> String {
        match self {
            Self::LogUnavailable { retry_after_seconds, .. } => format!(
                "the event log takes no events at the moment, and none of this request's is acknowledged; \
                 send the same request again in {retry_after_seconds} s, its events still count once"
            ),
            Self::DiskFull { retry_after_seconds, .. } => format!(
                "the server's disk is full, and none of this request's events is acknowledged; send the \
                 same request again in {retry_after_seconds} s, its events still count once"
            ),
            Self::Internal(_) => String::new(),
            other => other.to_string(),
        }
    }
}

impl From<InvalidEvents> for IngestError {
    fn from(invalid: InvalidEvents) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<AppendError> for IngestError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Unavailable { cause, reason, retry_after_seconds } => match cause {
                Cause::Behind => Self::LogBehind { retry_after_seconds },
                Cause::DiskFull => Self::DiskFull { reason, retry_after_seconds },
                Cause::Closed => Self::ShuttingDown { retry_after_seconds },
                Cause::Disk | Cause::Broken => Self::LogUnavailable { reason, retry_after_seconds },
            },
            AppendError::TooLarge { bytes_max, .. } => {
                Self::TooLarge { what: TooMany::AppendBytes, bytes_max }
            }
        }
    }
}

impl From<&IngestError> for Problem {
    fn from(error: &IngestError) -> Self {
        let detail = error.public();
        let problem = match error {
            IngestError::Invalid(invalid) => {
                let mut problem =
                    Problem::invalid(error.kind(), detail).with("reason", invalid.reason.as_str());
                if let Some(index) = invalid.index {
                    problem = problem.with("index", index);
                }
                if let Some(attribute) = &invalid.attribute {
                    problem = problem.with("attribute", attribute.as_str());
                }
                problem
            }
            IngestError::ContentType(_)
            | IngestError::Body(_)
            | IngestError::Members { .. }
            | IngestError::Excess { .. } => Problem::invalid(error.kind(), detail),
            IngestError::ContentEncoding(_) => {
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.kind(), detail)
            }
            IngestError::TooLarge { bytes_max, .. } => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.kind(), detail)
                    .with("bytes_max", *bytes_max)
            }
            IngestError::Timeout { .. } => Problem::new(StatusCode::REQUEST_TIMEOUT, error.kind(), detail),
            IngestError::LogUnavailable { retry_after_seconds, .. }
            | IngestError::LogBehind { retry_after_seconds }
            | IngestError::DiskFull { retry_after_seconds, .. }
            | IngestError::Overloaded { retry_after_seconds }
            | IngestError::ShuttingDown { retry_after_seconds } => {
                Problem::unavailable(error.kind(), detail, *retry_after_seconds)
            }
            IngestError::RateLimited { retry_after_seconds, .. } => {
                let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, error.kind(), detail);
                problem.retry_after_seconds = Some(*retry_after_seconds);
                problem
            }
            IngestError::Internal(_) => Problem::internal(),
        };
        match error.limit() {
            Some(limit) => problem.with("limit", limit),
            None => problem,
        }
    }
}

impl From<&IngestError> for Status {
    fn from(error: &IngestError) -> Self {
        let code = match error {
            IngestError::Invalid(_)
            | IngestError::ContentType(_)
            | IngestError::Body(_)
            | IngestError::Members { .. }
            | IngestError::Excess { .. } => Code::InvalidArgument,
            // What gRPC's compression rules ask for.
            IngestError::ContentEncoding(_) => Code::Unimplemented,
            IngestError::TooLarge { .. } | IngestError::RateLimited { .. } => Code::ResourceExhausted,
            IngestError::Timeout { .. } => Code::DeadlineExceeded,
            IngestError::LogUnavailable { .. }
            | IngestError::LogBehind { .. }
            | IngestError::DiskFull { .. }
            | IngestError::Overloaded { .. }
            | IngestError::ShuttingDown { .. } => Code::Unavailable,
            IngestError::Internal(_) => Code::Internal,
        };
        let message = error.public();
        let mut status = Status::with_details(code, &message, details::of(error, code, &message));
        if let Some(seconds) = error.retry_after_seconds() {
            status.metadata_mut().insert("retry-after", seconds.into());
        }
        status
    }
}
