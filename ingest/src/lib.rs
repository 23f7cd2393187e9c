//! The edge of the pipeline: reads usage events from HTTP and gRPC requests, refuses what is not
//! valid, appends the rest to the log and answers once the log has it durably. Which namespace a
//! request belongs to was decided before it came here, from its credential.

mod allowance;
mod budget;
mod decode;
mod error;
mod grpc;
mod http;
mod metrics;
mod options;
mod receive;
mod render;
mod service;

pub use allowance::EventAllowance;
pub use error::{IngestError, Refused, TooMany};
pub use grpc::{GrpcIngest, grpc_service};
pub use http::{POSITION_HEADER, router};
pub use metrics::describe_metrics;
pub use options::IngestOptions;
pub use receive::discard;
pub use service::{Accepted, IngestKeys, IngestService};
