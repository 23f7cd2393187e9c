//! What a property of an event means to a meter: OpenMeter's contract 14.6, 14.7 and 14.9.

use std::borrow::Cow;

use crate::decimal::Decimal;

/// What stands at a path in an event's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extracted<'a> {
    Missing,
    Null,
    Bool(bool),
    /// The number's text as sent.
    Number(&'a str),
    /// The string, unescaped.
    String(Cow<'a, str>),
    /// An object or an array.
    Complex,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberValue {
    Exact(Decimal),
    Rounded(Decimal),
    Ignored(IgnoredValue),
}

/// Why a value is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoredValue {
    Missing,
    Null,
    NotANumber,
    OutOfRange,
}

/// The number that SUM, AVG, MIN, MAX and LATEST count.
pub fn number(_value: &Extracted<'_>) -> NumberValue {
    todo!()
}

/// The text that a group-by shows: empty for missing, objects and arrays.
pub fn group_text<'v>(_value: &'v Extracted<'_>) -> Cow<'v, str> {
    todo!()
}

/// The text that UNIQUE_COUNT counts; None where it counts nothing (null and the string "null").
pub fn member_text<'v>(_value: &'v Extracted<'_>) -> Option<Cow<'v, str>> {
    todo!()
}
