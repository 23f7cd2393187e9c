//! Queries against the real catalog and the real local store, without the services around them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod events;
mod explain;
mod floors;
mod full;
mod http;
mod positions;
mod reading;
mod splits;
mod world;
