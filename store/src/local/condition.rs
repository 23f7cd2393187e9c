//! What a scan asks of a row, twice over: exactly, for each row of a decoded batch, and as a bound,
//! for a whole page or row group of which only the least and the greatest value are known.

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use weir_meter::{Coordinates, OffsetRange};

/// All conditions of a scan hold together. None of them holds for a null.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// One of these texts, sorted.
    Text {
        column: &'static str,
        wanted: Vec<String>,
    },
    Id {
        column: &'static str,
        wanted: u128,
    },
    Number {
        column: &'static str,
        wanted: u32,
    },
    /// Inside one of these half-open ranges.
    Ranges {
        column: &'static str,
        wanted: Vec<(i64, i64)>,
    },
    /// At one of these offsets.
    Offsets(Vec<OffsetRange>),
}

impl Condition {
    pub(super) fn text(column: &'static str, wanted: &[impl AsRef<str>]) -> Self {
        let mut wanted: Vec<String> = wanted.iter().map(|text| text.as_ref().to_owned()).collect();
        wanted.sort_unstable();
        Self::Text { column, wanted }
    }

    /// The columns that decide.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        match self {
            Self::Text { column, .. }
            | Self::Id { column, .. }
            | Self::Number { column, .. }
            | Self::Ranges { column, .. } => vec![column],
            Self::Offsets(_) => vec!["epoch", "partition", "offset"],
        }
    }

    /// The column whose bounds tell whether a page can hold a match. Files are not ordered by
    /// offset; what segments cover decides there.
    pub(super) fn bounded_column(&self) -> Option<&'static str> {
        match self {
            Self::Text { column, .. }
            | Self::Id { column, .. }
            | Self::Number { column, .. }
            | Self::Ranges { column, .. } => Some(column),
            Self::Offsets(_) => None,
        }
    }

    /// True for the rows of the batch that match.
    pub(super) fn select(&self, batch: &RecordBatch) -> Result<BooleanBuffer, ArrowError> {
        let selected = match self {
            Self::Text { column, wanted } => {
                let array = column_of(batch, column)?.as_string_opt::<i32>().ok_or_else(|| wrong(column))?;
                array.iter().map(|value| value.is_some_and(|v| holds_text(wanted, v))).collect()
            }
            Self::Id { column, wanted } => {
                let wanted = wanted.to_be_bytes();
                let array =
                    column_of(batch, column)?.as_fixed_size_binary_opt().ok_or_else(|| wrong(column))?;
                array.iter().map(|value| value == Some(wanted.as_slice())).collect()
            }
            Self::Number { column, wanted } => {
                let array = column_of(batch, column)?
                    .as_primitive_opt::<UInt32Type>()
                    .ok_or_else(|| wrong(column))?;
                array.iter().map(|value| value == Some(*wanted)).collect()
            }
            Self::Ranges { column, wanted } => {
                let array =
                    column_of(batch, column)?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(column))?;
                array.iter().map(|value| value.is_some_and(|v| in_ranges(wanted, v))).collect()
            }
            Self::Offsets(wanted) => {
                let number = |name: &str| {
                    column_of(batch, name)?.as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong(name))
                };
                let (epochs, partitions) = (number("epoch")?, number("partition")?);
                let offsets = column_of(batch, "offset")?
                    .as_primitive_opt::<UInt64Type>()
                    .ok_or_else(|| wrong("offset"))?;
                let places = epochs.values().iter().zip(partitions.values()).zip(offsets.values());
                places
                    .map(|((epoch, partition), offset)| {
                        let at = Coordinates { epoch: *epoch, partition: *partition, offset: *offset };
                        wanted.iter().any(|range| range.contains(at))
                    })
                    .collect()
            }
        };
        Ok(selected)
    }

    /// For each pair of least and greatest value: false if no value between them can match. A bound
    /// that is null is not known.
    pub(super) fn may_match(&self, least: &ArrayRef, greatest: &ArrayRef) -> Vec<bool> {
        let all = || vec![true; least.len()];
        match self {
            Self::Text { wanted, .. } => {
                let (Some(least), Some(greatest)) =
                    (least.as_string_opt::<i32>(), greatest.as_string_opt::<i32>())
                else {
                    return all();
                };
                between(least.iter(), greatest.iter(), |low, high| {
                    let first = wanted.partition_point(|text| text.as_str() < low);
                    wanted.get(first).is_some_and(|text| text.as_str() <= high)
                })
            }
            Self::Id { wanted, .. } => {
                let wanted = wanted.to_be_bytes();
                let wanted = wanted.as_slice();
                let (Some(least), Some(greatest)) =
                    (least.as_fixed_size_binary_opt(), greatest.as_fixed_size_binary_opt())
                else {
                    return all();
                };
                between(least.iter(), greatest.iter(), |low, high| low <= wanted && wanted <= high)
            }
            Self::Number { wanted, .. } => {
                let (Some(least), Some(greatest)) =
                    (least.as_primitive_opt::<UInt32Type>(), greatest.as_primitive_opt::<UInt32Type>())
                else {
                    return all();
                };
                between(least.iter(), greatest.iter(), |low, high| low <= *wanted && *wanted <= high)
            }
            Self::Ranges { wanted, .. } => {
                let (Some(least), Some(greatest)) =
                    (least.as_primitive_opt::<Int64Type>(), greatest.as_primitive_opt::<Int64Type>())
                else {
                    return all();
                };
                between(least.iter(), greatest.iter(), |low, high| meet_ranges(wanted, low, high))
            }
            Self::Offsets(_) => all(),
        }
    }
}

/// True if the sorted texts hold this one.
fn holds_text(sorted: &[String], text: &str) -> bool {
    sorted.binary_search_by(|candidate| candidate.as_str().cmp(text)).is_ok()
}

pub(super) fn in_ranges(ranges: &[(i64, i64)], value: i64) -> bool {
    ranges.iter().any(|(from, to)| *from <= value && value < *to)
}

/// True if a value from `least` to `greatest`, both inside, can lie in one of the ranges.
pub(super) fn meet_ranges(ranges: &[(i64, i64)], least: i64, greatest: i64) -> bool {
    ranges.iter().any(|(from, to)| from < to && *from <= greatest && least < *to)
}

fn between<V>(
    least: impl Iterator<Item = Option<V>>,
    greatest: impl Iterator<Item = Option<V>>,
    may_match: impl Fn(V, V) -> bool,
) -> Vec<bool> {
    least
        .zip(greatest)
        .map(|bounds| match bounds {
            (Some(low), Some(high)) => may_match(low, high),
            _ => true,
        })
        .collect()
}

fn column_of<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| wrong(name))
}

fn wrong(column: &str) -> ArrowError {
    ArrowError::SchemaError(format!("the column {column} is missing or of another type"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn bounds_rule_out_exactly_what_no_value_between_them_matches() {
        for (least, greatest, from, to) in (0..5_i64.pow(4)).map(|n| (n % 5, n / 5 % 5, n / 25 % 5, n / 125))
        {
            let expected = (least..=greatest).any(|value| in_ranges(&[(from, to)], value));
            if least <= greatest {
                assert_eq!(
                    meet_ranges(&[(from, to)], least, greatest),
                    expected,
                    "{least}..={greatest} {from}..{to}"
                );
            }
        }
    }

    #[test]
    fn a_text_on_a_bound_may_match_and_an_unknown_bound_rules_nothing_out() {
        let array = |texts: [Option<&str>; 6]| -> ArrayRef { Arc::new(StringArray::from_iter(texts)) };
        let least = array([Some("b"), Some("a"), Some("c"), Some("bb"), None, Some("b")]);
        let greatest = array([Some("c"), Some("b"), Some("d"), Some("c"), Some("a"), None]);
        let wanted = Condition::text("subject", &["z", "b"]);
        assert_eq!(wanted.may_match(&least, &greatest), [true, true, false, false, true, true]);
        assert_eq!(
            Condition::text("subject", &[""; 0]).may_match(&least, &least),
            [false, false, false, false, true, false]
        );
    }
}
