//! Wires the services to their log, store and catalog, and runs them in this process.

use std::net::SocketAddr;

use crate::settings::Settings;

/// Why the server could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("not built yet")]
    NotBuilt,
}

/// A server that runs in this process.
#[derive(Debug)]
pub struct Running {
    pub addr: SocketAddr,
    pub telemetry_addr: Option<SocketAddr>,
}

impl Running {
    /// Stops taking requests, finishes what is under way and closes the files.
    pub async fn stop(self) {}
}

/// Runs until the process is told to stop; calls `ready` once requests are taken.
pub async fn run(_settings: Settings, _ready: impl FnOnce(SocketAddr)) -> Result<(), ServeError> {
    Err(ServeError::NotBuilt)
}

/// Starts the server and returns once it takes requests.
pub async fn start(_settings: Settings) -> Result<Running, ServeError> {
    Err(ServeError::NotBuilt)
}
