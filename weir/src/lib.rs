//! The one binary's insides: the command line, the settings, and the wiring of every service to its
//! log, store and catalog. The only crate that knows every implementation.

pub mod backup;
pub mod check;
pub mod cli;
pub mod client;
pub mod data;
pub mod demo;
pub mod environment;
pub mod export;
pub mod keys;
pub mod logging;
pub mod meters;
pub mod output;
pub mod query;
pub mod segments;
pub mod send;
pub mod serve;
pub mod settings;
