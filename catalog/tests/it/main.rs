//! The catalog's contract, run against every implementation. A further one adds a `Place` and one
//! line; what only concerns SQLite's file is in `sqlite`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod place;
mod sqlite;
mod suite;
