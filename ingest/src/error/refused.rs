//! A refusal that is not ingest's own, as gRPC says it: layers around the services refuse in the same form.

use std::collections::BTreeMap;

use tonic::{Code, Status};

use super::details;

/// Why a layer does not let a request in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: Code,
    /// The last part of the type that the problem document of the same refusal has.
    pub kind: &'static str,
    pub message: String,
    pub limit: Option<&'static str>,
    pub retry_after_seconds: Option<u32>,
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let Refused { code, kind, message, limit, retry_after_seconds } = refused;
        let metadata: BTreeMap<_, _> =
            limit.map(|limit| ("limit".to_owned(), limit.to_owned())).into_iter().collect();
        let bytes = details::encode(kind, metadata, retry_after_seconds, code, &message);
        let mut status = Self::with_details(code, message, bytes);
        if let Some(seconds) = retry_after_seconds {
            status.metadata_mut().insert("retry-after", seconds.into());
        }
        status
    }
}
