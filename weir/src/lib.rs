//! The one binary's insides: the command line, the settings, and the wiring of every service to its
//! log, store and catalog. The only crate that knows every implementation.

pub mod environment;
pub mod serve;
pub mod settings;
