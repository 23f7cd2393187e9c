//! The aggregator on the real log, store and catalog, with faults where they meet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bounded;
mod damage;
mod faults;
mod flushing;
mod identities;
mod maintaining;
mod partitions;
mod power;
mod recovery;
mod sight;
mod wide;
mod world;
