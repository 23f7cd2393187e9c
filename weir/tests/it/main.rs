//! The command line from outside: its help, its reading of files, and its clients against a server
//! that answers as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commands;
mod demo;
mod fake;
mod help;
mod splitter;
