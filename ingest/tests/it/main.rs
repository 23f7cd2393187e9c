//! The ingest service against a log in memory, through its router and its gRPC service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bodies;
mod contract;
mod grpc;
mod refusals;
mod support;
