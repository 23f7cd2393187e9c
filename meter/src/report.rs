//! What an event says of a meter that cannot use it: the reasons of `validationError` in OpenMeter's
//! contract 14.4, which clients match literally, and those of our own exact numbers.

use crate::meter::Aggregation;
use crate::value::{self, Extracted, IgnoredValue, NumberValue};

/// Most characters of a value that a reason repeats.
const SHOWN_MAX: usize = 64;

/// Why a meter does not count an event's value, or not to its last digit; None if all is well. The
/// contract puts `invalid event: ` before it. `path` is the meter's valueProperty as defined, and
/// `has_data` is false if the event has no data at all.
pub fn value_error(
    aggregation: Aggregation,
    has_data: bool,
    value: &Extracted<'_>,
    path: &str,
) -> Option<String> {
    if aggregation == Aggregation::Count {
        return None;
    }
    if !has_data {
        return Some("null and missing value property".to_owned());
    }
    match value {
        Extracted::Missing => return Some(format!("missing value property: {path:?}")),
        Extracted::Null => return Some("value cannot be null".to_owned()),
        Extracted::String(text) if aggregation == Aggregation::UniqueCount => {
            return (text == "null").then(|| "value cannot be null".to_owned());
        }
        _ if aggregation == Aggregation::UniqueCount => return None,
        Extracted::Bool(_) => return Some("unsupported value property type: boolean".to_owned()),
        Extracted::Complex => return Some("unsupported value property type: object or array".to_owned()),
        Extracted::Number(_) | Extracted::String(_) => {}
    }
    let text: &str = match value {
        Extracted::Number(text) => text,
        Extracted::String(text) => text,
        _ => "",
    };
    match value::number(value) {
        NumberValue::Exact(_) => None,
        NumberValue::Rounded(_) => {
            Some(format!("value was rounded to 30 digits after the point: {}", shortened(text)))
        }
        NumberValue::Ignored(IgnoredValue::OutOfRange) => {
            Some(format!("value must be below 10^33 in magnitude: {}", shortened(text)))
        }
        NumberValue::Ignored(_) => Some(not_a_number(text)),
    }
}

fn not_a_number(text: &str) -> String {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if text.eq_ignore_ascii_case("nan") {
        return "value cannot be NaN".to_owned();
    }
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return "value cannot be infinity".to_owned();
    }
    format!("value cannot be parsed as float64: {}", shortened(text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(value: &Extracted<'_>) -> Option<String> {
        value_error(Aggregation::Sum, true, value, "$.x")
    }

    fn string(text: &str) -> Extracted<'_> {
        Extracted::String(text.into())
    }

    #[test]
    fn numbers_are_told_apart() {
        let reasons = [
            (Extracted::Number("5"), None),
            (string("+4"), None),
            (Extracted::Missing, Some("missing value property: \"$.x\"")),
            (Extracted::Null, Some("value cannot be null")),
            (string("NaN"), Some("value cannot be NaN")),
            (string("-Inf"), Some("value cannot be infinity")),
            (string("Infinity"), Some("value cannot be infinity")),
            (string("abc"), Some("value cannot be parsed as float64: abc")),
            (string(""), Some("value cannot be parsed as float64: ")),
            (string("0x1p4"), Some("value cannot be parsed as float64: 0x1p4")),
            (Extracted::Bool(true), Some("unsupported value property type: boolean")),
            (Extracted::Complex, Some("unsupported value property type: object or array")),
            (Extracted::Number("1e33"), Some("value must be below 10^33 in magnitude: 1e33")),
            (Extracted::Number("1e-31"), Some("value was rounded to 30 digits after the point: 1e-31")),
        ];
        for (value, reason) in reasons {
            assert_eq!(sum(&value).as_deref(), reason, "{value:?}");
        }
        assert!(sum(&Extracted::Number(&"9".repeat(100_000))).is_some_and(|reason| reason.len() < 200));
    }

    #[test]
    fn events_without_data() {
        assert_eq!(
            value_error(Aggregation::Max, false, &Extracted::Missing, "$.x").as_deref(),
            Some("null and missing value property")
        );
        assert_eq!(value_error(Aggregation::Count, false, &Extracted::Missing, ""), None);
    }

    #[test]
    fn a_unique_count_only_needs_something() {
        let unique = |value: &Extracted<'_>| value_error(Aggregation::UniqueCount, true, value, "$.x");
        for value in
            [string("abc"), string(""), Extracted::Bool(false), Extracted::Complex, Extracted::Number("1e99")]
        {
            assert_eq!(unique(&value), None);
        }
        for value in [string("null"), Extracted::Null] {
            assert_eq!(unique(&value).as_deref(), Some("value cannot be null"));
        }
        assert_eq!(unique(&Extracted::Missing).as_deref(), Some("missing value property: \"$.x\""));
    }
}
