//! The suites that run the built binary and know nothing of its insides. Each file is one subject;
//! `reference` and `crash` have long forms that are asked for by the environment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backup;
mod crash;
mod flights;
mod folders;
mod full_disk;
mod hostile;
mod kept_format;
mod keys;
mod memory;
mod months;
mod open_format;
mod positions;
mod questions;
mod reference;
mod refold;
mod retention;
mod retries;
mod settings;
mod soak;
mod stopping;
mod surroundings;
mod wire;
