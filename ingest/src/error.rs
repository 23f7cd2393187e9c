//! Why a request is not taken, sorted by what the client should do next, and how HTTP and gRPC say
//! it. None of a refused request's events is acknowledged.

use ::http::StatusCode;
use tonic::{Code, Status};
use weir_log::AppendError;
use weir_meter::event::InvalidEvents;
use weir_proto::Problem;

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
    /// Send fewer events at once.
    #[error("{what} has more than {bytes_max} bytes; send fewer events in one request")]
    TooLarge { what: &'static str, bytes_max: usize },
    /// Send the same again, faster.
    #[error("the body did not arrive whole within {seconds} seconds; send it again, or in smaller parts")]
    Timeout { seconds: u64 },
    /// The log does not take events. The reason is for the operator, not for the client.
    #[error("the log takes no events: {reason}")]
    LogUnavailable { reason: String, retry_after_seconds: u32 },
    /// More bytes are on their way in than the service may hold.
    #[error(
        "too many bytes are being received at once; send the same request again in {retry_after_seconds} s"
    )]
    Overloaded { retry_after_seconds: u32 },
    /// This process takes no new requests; another one, or the next one, will.
    #[error("this server is shutting down; send the same request again in {retry_after_seconds} s")]
    ShuttingDown { retry_after_seconds: u32 },
    /// A fault of ours. The reason is for the operator, not for the client.
    #[error("{0}")]
    Internal(String),
}

impl IngestError {
    /// The last part of the problem's type, and the label that counts it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-event",
            Self::ContentType(_) => "invalid-content-type",
            Self::ContentEncoding(_) => "unsupported-content-encoding",
            Self::Body(_) => "invalid-body",
            Self::TooLarge { .. } => "body-too-large",
            Self::Timeout { .. } => "request-timeout",
            Self::LogUnavailable { .. } => "log-unavailable",
            Self::Overloaded { .. } => "overloaded",
            Self::ShuttingDown { .. } => "shutting-down",
            Self::Internal(_) => "internal",
        }
    }

    /// When to send the same request again, if that is what helps.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::LogUnavailable { retry_after_seconds, .. }
            | Self::Overloaded { retry_after_seconds }
            | Self::ShuttingDown { retry_after_seconds } => Some(*retry_after_seconds),
            _ => None,
        }
    }

    /// Tells the operator, who alone learns the reasons that are not the client's affair.
    pub(crate) fn log(&self) {
        match self {
            Self::Internal(reason) => tracing::error!(reason, "an ingest request failed"),
            Self::LogUnavailable { reason, .. } => tracing::warn!(reason, "the log took no events"),
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
            AppendError::Unavailable { reason, retry_after_seconds } => {
                Self::LogUnavailable { reason, retry_after_seconds }
            }
            AppendError::TooLarge { bytes_max, .. } => Self::TooLarge { what: "the batch", bytes_max },
        }
    }
}

impl From<&IngestError> for Problem {
    fn from(error: &IngestError) -> Self {
        let detail = error.public();
        match error {
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
            IngestError::ContentType(_) | IngestError::Body(_) => Problem::invalid(error.kind(), detail),
            IngestError::ContentEncoding(_) => {
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.kind(), detail)
            }
            IngestError::TooLarge { bytes_max, .. } => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.kind(), detail)
                    .with("bytes_max", *bytes_max)
            }
            IngestError::Timeout { .. } => Problem::new(StatusCode::REQUEST_TIMEOUT, error.kind(), detail),
            IngestError::LogUnavailable { retry_after_seconds, .. }
            | IngestError::Overloaded { retry_after_seconds }
            | IngestError::ShuttingDown { retry_after_seconds } => {
                Problem::unavailable(error.kind(), detail, *retry_after_seconds)
            }
            IngestError::Internal(_) => Problem::internal(),
        }
    }
}

impl From<&IngestError> for Status {
    fn from(error: &IngestError) -> Self {
        let code = match error {
            IngestError::Invalid(_)
            | IngestError::ContentType(_)
            | IngestError::ContentEncoding(_)
            | IngestError::Body(_) => Code::InvalidArgument,
            IngestError::TooLarge { .. } => Code::ResourceExhausted,
            IngestError::Timeout { .. } => Code::DeadlineExceeded,
            IngestError::LogUnavailable { .. }
            | IngestError::Overloaded { .. }
            | IngestError::ShuttingDown { .. } => Code::Unavailable,
            IngestError::Internal(_) => Code::Internal,
        };
        let mut status = Status::new(code, error.public());
        if let Some(seconds) = error.retry_after_seconds() {
            status.metadata_mut().insert("retry-after", seconds.into());
        }
        status
    }
}
