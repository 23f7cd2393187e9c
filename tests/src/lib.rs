//! What the end-to-end suites share: a slow model of what a metering answer must be (`reference`),
//! random events, meters and queries (`generate`), and the built binary as a process that can be
//! started, asked and killed (`server`, `http`). Nothing here links the product's code, so that an
//! error in it cannot be made twice; only the gRPC client's generated types are borrowed.

// This crate is test code: a broken expectation should end the test, loudly and at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod folder;
pub mod generate;
pub mod grpc;
pub mod http;
pub mod maintenance;
pub mod plain;
pub mod process;
pub mod raw;
pub mod reference;
pub mod server;
pub mod small_disk;
pub mod workload;
