//! Stub.
pub fn describe_metrics() {}
