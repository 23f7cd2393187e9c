//! Reads the batches of a usage plan into plain values, and makes the one number of each row.

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal256Type, Int64Type};
use weir_meter::decimal::average;
use weir_meter::{Aggregation, Decimal};

use crate::error::QueryError;
use crate::request::UsageRequest;
use crate::table::group_column;

/// Values of less than 10^33 can be summed this often before a sum of 256 bits could wrap.
const COUNTED_MAX: i64 = 10_000_000_000_000;

/// One window and group of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Present with a window size.
    pub(crate) window_start_us: Option<i64>,
    pub(crate) subject: Option<String>,
    /// In the order asked for.
    pub(crate) groups: Vec<String>,
    pub(crate) first_minute_us: i64,
    pub(crate) last_minute_us: i64,
    /// Plain decimal notation, exact.
    pub(crate) value: String,
}

/// What a row takes beside its texts.
const ROW_BYTES: usize = 160;

impl Group {
    /// About how many bytes it takes, in memory or as it is sent.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.subject.iter().chain(&self.groups);
        texts.fold(ROW_BYTES + self.value.len(), |sum, text| sum.saturating_add(text.len()))
    }
}

pub(crate) fn decode(
    batches: &[RecordBatch],
    aggregation: Aggregation,
    request: &UsageRequest,
) -> Result<Vec<Group>, QueryError> {
    let mut rows = Vec::new();
    for batch in batches {
        let integers = |name: &str| Integers::of(batch, name);
        let texts = |name: &str| Texts::of(batch, name);
        let (events, counted) = (integers("events")?, integers("counted")?);
        let (first, last) = (integers("first")?, integers("last")?);
        let windows = request.window_size.map(|_| integers("window")).transpose()?;
        let subjects = request.by_subject.then(|| texts("subject")).transpose()?;
        let groups: Vec<Texts> = request
            .group_by
            .iter()
            .map(|(_, place)| texts(&group_column(*place)))
            .collect::<Result<_, _>>()?;
        let values = Values::of(batch, aggregation)?;
        for row in 0..batch.num_rows() {
            // A total over nothing is a row of nulls.
            let Some(events) = events.get(row).filter(|events| *events > 0) else { continue };
            let counted = counted.get(row).unwrap_or(0);
            if counted > COUNTED_MAX {
                return Err(QueryError::too_large(
                    "query_values_max",
                    format!(
                        "a row of the answer would sum {counted} values, and more than {COUNTED_MAX} cannot be summed safely; ask for a shorter range of time, windows or groups"
                    ),
                ));
            }
            let missing = || QueryError::internal("query engine", "a column of the answer is null");
            rows.push(Group {
                window_start_us: windows.as_ref().map(|w| w.get(row).ok_or_else(missing)).transpose()?,
                subject: subjects.as_ref().map(|s| s.get(row).ok_or_else(missing)).transpose()?,
                groups: groups.iter().map(|g| g.get(row).ok_or_else(missing)).collect::<Result<_, _>>()?,
                first_minute_us: first.get(row).ok_or_else(missing)?,
                last_minute_us: last.get(row).ok_or_else(missing)?,
                value: values.text(row, events, counted).ok_or_else(missing)?,
            });
        }
    }
    Ok(rows)
}

struct Integers(ArrayRef);

impl Integers {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self, QueryError> {
        let column = column(batch, name)?;
        match column.as_primitive_opt::<Int64Type>() {
            Some(_) => Ok(Self(column)),
            None => Err(unexpected(name, &column)),
        }
    }

    fn get(&self, row: usize) -> Option<i64> {
        let column = self.0.as_primitive_opt::<Int64Type>()?;
        (row < column.len() && column.is_valid(row)).then(|| column.value(row))
    }
}

/// Strings, in either of Arrow's layouts.
struct Texts(ArrayRef);

impl Texts {
    fn of(batch: &RecordBatch, name: &str) -> Result<Self, QueryError> {
        let column = column(batch, name)?;
        if column.as_string_opt::<i32>().is_some() || column.as_string_view_opt().is_some() {
            Ok(Self(column))
        } else {
            Err(unexpected(name, &column))
        }
    }

    fn get(&self, row: usize) -> Option<String> {
        if row >= self.0.len() || self.0.is_null(row) {
            return None;
        }
        match self.0.as_string_opt::<i32>() {
            Some(texts) => Some(texts.value(row).to_owned()),
            None => self.0.as_string_view_opt().map(|texts| texts.value(row).to_owned()),
        }
    }
}

enum Values {
    Events,
    Uniques(Integers),
    Average(ArrayRef),
    Plain(ArrayRef),
}

impl Values {
    fn of(batch: &RecordBatch, aggregation: Aggregation) -> Result<Self, QueryError> {
        let decimals = || {
            let column = column(batch, "value")?;
            match column.as_primitive_opt::<Decimal256Type>() {
                Some(_) => Ok(column),
                None => Err(unexpected("value", &column)),
            }
        };
        Ok(match aggregation {
            Aggregation::Count => Self::Events,
            Aggregation::UniqueCount => Self::Uniques(Integers::of(batch, "uniques")?),
            Aggregation::Avg => Self::Average(decimals()?),
            Aggregation::Sum | Aggregation::Min | Aggregation::Max | Aggregation::Latest => {
                Self::Plain(decimals()?)
            }
        })
    }

    fn text(&self, row: usize, events: i64, counted: i64) -> Option<String> {
        let decimal = |column: &ArrayRef| {
            let column = column.as_primitive_opt::<Decimal256Type>()?;
            (row < column.len() && column.is_valid(row)).then(|| Decimal::from_unscaled(column.value(row)))
        };
        match self {
            Self::Events => Some(events.to_string()),
            Self::Uniques(uniques) => Some(uniques.get(row)?.to_string()),
            Self::Average(sums) => {
                let counted = u64::try_from(counted).ok().filter(|count| *count > 0)?;
                Some(average(decimal(sums)?, counted))
            }
            Self::Plain(values) => Some(decimal(values)?.to_string()),
        }
    }
}

fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef, QueryError> {
    batch
        .column_by_name(name)
        .cloned()
        .ok_or_else(|| QueryError::internal("query engine", format!("no column {name} in the answer")))
}

fn unexpected(name: &str, column: &ArrayRef) -> QueryError {
    QueryError::internal("query engine", format!("column {name} is {}", column.data_type()))
}
