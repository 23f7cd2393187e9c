//! The command line from outside: its help, its reading of files, and its clients against a server
//! that answers as it is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod backup;
mod check;
mod commands;
mod demo;
mod export;
mod fake;
mod folder;
mod help;
mod inspect;
mod splitter;
