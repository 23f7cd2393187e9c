//! The reference: what a meter's answer must be, computed in the plainest way there is, straight from
//! the texts of the events. Every event is looked at again for every query. It shares no code with
//! the product: numbers are rationals, zones come from another crate, and JSON is read by a parser of
//! its own that keeps each number's text.

pub mod answer;
pub mod filter;
pub mod json;
pub mod model;
pub mod number;
pub mod path;
pub mod zone;

#[cfg(test)]
mod tests;

pub use answer::answer;
pub use model::{Aggregation, Event, Filter, Meter, Query, Row, WindowSize};
