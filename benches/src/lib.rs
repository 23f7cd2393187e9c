//! What the benchmarks share: events as a service would send them (`corpus`), what they must add up to
//! (`recount`), a load generator over HTTP and gRPC (`load`, `wire`), the server and the limit programs as
//! pinned processes (`process`), and the rows of `docs/BENCHMARKS.md` that need no other engine (`rows`).
//! The programs are `src/bin/weir-bench.rs`, which measures, and `src/bin/weir-limits.rs`, which holds what
//! we are measured against. The rows beside other engines are in `scripts/bench`.

// Measuring code: an index that is wrong must end the run, not give a figure.
#![allow(clippy::indexing_slicing)]

pub mod calendar;
pub mod corpus;
pub mod draw;
pub mod load;
pub mod process;
pub mod recount;
pub mod report;
pub mod rows;
pub mod wire;

/// Why a measurement was given up. Nothing is done about it but telling.
pub type Fail = Box<dyn std::error::Error + Send + Sync>;

/// A reason in words.
pub fn because(reason: impl Into<String>) -> Fail {
    reason.into().into()
}
