//! What goes over the wire: the .proto files with the code made from them, the position tokens that
//! ingest hands out and queries take, and the problem document that every HTTP error is.

pub mod position;
pub mod problem;

pub use position::{Position, PositionError, PositionKey, PositionKind};
pub use problem::Problem;

/// The code made from the .proto files; its modules are their packages.
#[allow(
    clippy::all,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    missing_debug_implementations,
    unreachable_pub,
    reason = "generated"
)]
mod generated {
    tonic::include_proto!("all");
}

/// The official protobuf form of CloudEvents.
pub use generated::io::cloudevents::v1 as cloudevents;
/// Weir's own gRPC services.
pub use generated::weir::v1;

/// Describes every service and message here, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
