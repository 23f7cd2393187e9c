//! Inner tests.
