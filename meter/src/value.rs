//! What a property of an event means to a meter: OpenMeter's contract 14.6, 14.7 and 14.9.

use std::borrow::Cow;

use crate::decimal::{Decimal, Parsed, normalise_number_text};

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
pub fn number(value: &Extracted<'_>) -> NumberValue {
    let parsed = match value {
        Extracted::Missing => return NumberValue::Ignored(IgnoredValue::Missing),
        Extracted::Null => return NumberValue::Ignored(IgnoredValue::Null),
        Extracted::Bool(_) | Extracted::Complex => Parsed::NotANumber,
        Extracted::Number(text) => Decimal::parse_json_number(text),
        Extracted::String(text) => Decimal::parse_numeric_string(text),
    };
    match parsed {
        Parsed::Exact(decimal) => NumberValue::Exact(decimal),
        Parsed::Rounded(decimal) => NumberValue::Rounded(decimal),
        Parsed::OutOfRange => NumberValue::Ignored(IgnoredValue::OutOfRange),
        Parsed::NotANumber => NumberValue::Ignored(IgnoredValue::NotANumber),
    }
}

/// The text that a group-by shows: empty for missing, objects and arrays.
pub fn group_text<'v>(value: &'v Extracted<'_>) -> Cow<'v, str> {
    Cow::Borrowed(match value {
        Extracted::Missing | Extracted::Complex => "",
        Extracted::Null => "null",
        Extracted::Bool(true) => "true",
        Extracted::Bool(false) => "false",
        Extracted::Number(text) => return normalise_number_text(text),
        Extracted::String(text) => text,
    })
}

/// The text that UNIQUE_COUNT counts; None where it counts nothing (null and the string "null").
/// Missing, the empty string, objects and arrays are one member, the empty text.
pub fn member_text<'v>(value: &'v Extracted<'_>) -> Option<Cow<'v, str>> {
    match value {
        Extracted::Null => None,
        Extracted::String(text) if text == "null" => None,
        other => Some(group_text(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Extracted<'_> {
        Extracted::String(Cow::Borrowed(text))
    }

    fn shown(value: &Extracted<'_>) -> Option<String> {
        match number(value) {
            NumberValue::Exact(decimal) | NumberValue::Rounded(decimal) => Some(decimal.to_string()),
            NumberValue::Ignored(_) => None,
        }
    }

    #[test]
    fn numbers_and_numeric_strings_count() {
        assert_eq!(shown(&Extracted::Number("2.50")).as_deref(), Some("2.5"));
        assert_eq!(shown(&string("+4")).as_deref(), Some("4"));
        // A JSON number has no plus sign; nothing but a reader's bug brings one here.
        assert_eq!(shown(&Extracted::Number("+4")), None);
        assert!(matches!(
            number(&Extracted::Number("0.00000000000000000000000000000012")),
            NumberValue::Rounded(_)
        ));
    }

    #[test]
    fn says_why_a_value_is_ignored() {
        let ignored = |value: Extracted<'_>| match number(&value) {
            NumberValue::Ignored(why) => why,
            counted => panic!("{counted:?}"),
        };
        assert_eq!(ignored(Extracted::Missing), IgnoredValue::Missing);
        assert_eq!(ignored(Extracted::Null), IgnoredValue::Null);
        assert_eq!(ignored(Extracted::Number("1e33")), IgnoredValue::OutOfRange);
        for value in [string(""), string("null"), string("abc"), Extracted::Bool(true), Extracted::Complex] {
            assert_eq!(ignored(value), IgnoredValue::NotANumber);
        }
    }

    #[test]
    fn group_texts() {
        let texts: Vec<String> = [
            Extracted::Missing,
            Extracted::Complex,
            Extracted::Null,
            Extracted::Bool(true),
            Extracted::Bool(false),
            Extracted::Number("1.50"),
            string("1.50"),
            string("null"),
            string(""),
        ]
        .iter()
        .map(|value| group_text(value).into_owned())
        .collect();
        assert_eq!(texts, ["", "", "null", "true", "false", "1.5", "1.50", "null", ""]);
    }

    #[test]
    fn members() {
        assert_eq!(member_text(&Extracted::Null), None);
        assert_eq!(member_text(&string("null")), None);
        assert_eq!(member_text(&Extracted::Number("1")), member_text(&string("1")));
        assert_eq!(member_text(&Extracted::Number("1.0")), member_text(&string("1")));
        for empty in [Extracted::Missing, Extracted::Complex, string("")] {
            assert_eq!(member_text(&empty).as_deref(), Some(""));
        }
        assert_eq!(member_text(&Extracted::Bool(true)).as_deref(), Some("true"));
    }
}
