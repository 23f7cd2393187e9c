//! From the log to rows at rest and windows: decides each record's fate, folds what counts into the
//! head, and commits the head flush by flush. `Options` build a `Service` with `run`; callers hold a
//! `Handle`. All it knows after a crash comes from the catalog, the rows at rest and the log.

mod commit;
mod error;
mod fate;
mod identity;
mod maintain;
mod metrics;
mod recover;
mod service;
mod take;
mod wide;
mod writer;

pub use error::AggregatorError;
pub use fate::{Accepted, decide};
pub use identity::{IdentityIndex, IndexCounts, IndexError, IndexFolder};
pub use maintain::{
    Maintenance, MaintenanceHandle, MaintenanceOptions, MaintenanceParts, MaintenanceStatus, Step,
};
pub use metrics::describe_metrics;
pub use service::{Handle, Options, Parts, Service, Status};
