//! The local log from outside: what was acknowledged is there, in order, after whatever happened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod ageing;
mod appending;
mod belonging;
mod cutting;
mod damage;
mod failing;
mod fixture;
mod frontiers;
mod hooked;
mod inspecting;
mod machine;
mod model;
mod phase;
mod power_cut;
