//! The words of the reference: events by the text that was sent, meters and queries as a client
//! writes them, and the rows of an answer.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use num_rational::BigRational;

use super::json::Json;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    Sum,
    Count,
    UniqueCount,
    Avg,
    Min,
    Max,
    Latest,
}

impl Aggregation {
    pub const ALL: [Aggregation; 7] =
        [Self::Sum, Self::Count, Self::UniqueCount, Self::Avg, Self::Min, Self::Max, Self::Latest];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "SUM",
            Self::Count => "COUNT",
            Self::UniqueCount => "UNIQUE_COUNT",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Latest => "LATEST",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSize {
    Minute,
    Hour,
    Day,
    Month,
}

impl WindowSize {
    pub const ALL: [WindowSize; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Month];

    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Month => "MONTH",
        }
    }
}

/// An event that was accepted and is not a copy of an earlier one.
#[derive(Clone, Debug)]
pub struct Event {
    pub event_type: String,
    pub subject: String,
    pub time_us: i64,
    pub data: Option<Json>,
}

/// All events of one namespace in the order they arrived; copies are dropped on the way in.
#[derive(Clone, Debug, Default)]
pub struct Events {
    seen: BTreeSet<(String, String)>,
    pub accepted: Vec<Event>,
}

impl Events {
    /// Takes an event as the JSON text that was sent. False if its identity was there before.
    pub fn add(&mut self, text: &str) -> bool {
        let event = Json::parse(text);
        if !self.seen.insert((event.text("source").to_owned(), event.text("id").to_owned())) {
            return false;
        }
        self.accepted.push(Event {
            event_type: event.text("type").to_owned(),
            subject: event.text("subject").to_owned(),
            time_us: micros(event.text("time")),
            data: event.get("data").filter(|data| **data != Json::Null).cloned(),
        });
        true
    }
}

/// Microseconds since 1970 of an RFC 3339 text; what is finer than a microsecond is dropped.
pub fn micros(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{text:?}: {e}")).timestamp_micros()
}

#[derive(Clone, Debug)]
pub struct Meter {
    pub slug: String,
    pub event_type: String,
    pub aggregation: Aggregation,
    pub value_property: Option<String>,
    pub group_by: BTreeMap<String, String>,
    /// Whole seconds since 1970.
    pub event_from: Option<i64>,
}

/// A condition on a text, as `advancedMeterGroupByFilters` has it.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Operator and operand, such as `$gte`.
    Compare(&'static str, String),
    In(Vec<String>),
    NotIn(Vec<String>),
    And(Vec<Filter>),
    Or(Vec<Filter>),
}

#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Microseconds since 1970; a query sees only the whole seconds of them.
    pub from_us: Option<i64>,
    pub to_us: Option<i64>,
    pub window: Option<WindowSize>,
    pub zone: Option<&'static str>,
    pub subjects: Vec<String>,
    pub group_by: Vec<String>,
    /// Any of these values, for each key.
    pub filter_group_by: BTreeMap<String, Vec<String>>,
    pub advanced: BTreeMap<String, Filter>,
    /// By path into the data, whether or not the meter groups by it.
    pub properties: BTreeMap<String, Filter>,
}

/// One row of an answer. Times are whole seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub value: String,
    pub window_start: i64,
    pub window_end: i64,
    pub subject: Option<String>,
    pub group_by: BTreeMap<String, String>,
}

/// A value with the number it counts as.
pub type Number = BigRational;
