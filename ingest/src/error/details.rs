//! What a gRPC client can read of an error without parsing its sentence: `google.rpc.Status` with an
//! `ErrorInfo` (the same names as in a problem document) and, where trying again helps, a `RetryInfo`.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use prost_types::{Any, Duration};
use tonic::Code;

use super::IngestError;

/// Who names the reasons.
const DOMAIN: &str = "weir";

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

/// The bytes of `grpc-status-details-bin`.
pub(super) fn of(error: &IngestError, code: Code, message: &str) -> Bytes {
    let mut metadata = BTreeMap::new();
    if let IngestError::Invalid(invalid) = error {
        metadata.extend(invalid.index.map(|index| ("index".to_owned(), index.to_string())));
        metadata.extend(invalid.attribute.clone().map(|name| ("attribute".to_owned(), name)));
    }
    metadata.extend(error.limit().map(|limit| ("limit".to_owned(), limit.to_owned())));
    encode(error.kind(), metadata, error.retry_after_seconds(), code, message)
}

pub(super) fn encode(
    kind: &str,
    metadata: BTreeMap<String, String>,
    retry_after_seconds: Option<u32>,
    code: Code,
    message: &str,
) -> Bytes {
    let info = ErrorInfo { reason: kind.to_owned(), domain: DOMAIN.to_owned(), metadata };
    let mut details = vec![any("ErrorInfo", &info)];
    if let Some(seconds) = retry_after_seconds {
        let retry_delay = Some(Duration { seconds: i64::from(seconds), nanos: 0 });
        details.push(any("RetryInfo", &RetryInfo { retry_delay }));
    }
    let status = RpcStatus { code: code.into(), message: message.to_owned(), details };
    status.encode_to_vec().into()
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value: message.encode_to_vec() }
}
