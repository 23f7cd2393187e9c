//! Filters on group values: `filterGroupBy` and `advancedMeterGroupByFilters` of OpenMeter's contract
//! (4.3, 14.9). Parsed into a small tree first, whose size and depth are bounded, and only then
//! made an expression; what a client wrote is only ever a literal in it.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};
use serde_json::Value;

use crate::error::QueryError;
use crate::shown::shown;

/// How deep `$and` and `$or` may nest in a filter.
pub const FILTER_DEPTH_MAX: usize = 32;
/// How many values all the filters of one request may compare with.
pub const FILTER_VALUES_MAX: usize = 1_000;
/// Bytes of one value in a filter.
pub const FILTER_VALUE_BYTES_MAX: usize = 1_024;

/// A condition on one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    Compare(Compare, String),
    /// SQL's LIKE: `%` any text, `_` any character, a backslash takes their meaning away.
    Like {
        pattern: String,
        negated: bool,
        any_case: bool,
    },
    In {
        values: Vec<String>,
        negated: bool,
    },
    All(Vec<Filter>),
    Any(Vec<Filter>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Counts what the filters of one request hold together.
#[derive(Debug, Default)]
pub struct FilterBudget {
    values: usize,
}

impl FilterBudget {
    fn spend(&mut self, value: &str) -> Result<(), QueryError> {
        if value.len() > FILTER_VALUE_BYTES_MAX {
            return Err(over(
                "filter_value_bytes_max",
                format!("a value has {} bytes, at most {FILTER_VALUE_BYTES_MAX} are allowed", value.len()),
            ));
        }
        self.node()
    }

    fn node(&mut self) -> Result<(), QueryError> {
        self.values += 1;
        if self.values > FILTER_VALUES_MAX {
            return Err(over(
                "filter_values_max",
                format!("more than {FILTER_VALUES_MAX} conditions; ask in several requests"),
            ));
        }
        Ok(())
    }
}

impl Filter {
    /// Equality with any of the given texts, empty ones too; None if there are none.
    pub fn any_of(values: Vec<String>, budget: &mut FilterBudget) -> Result<Option<Self>, QueryError> {
        for value in &values {
            budget.spend(value)?;
        }
        Ok((!values.is_empty()).then_some(Self::In { values, negated: false }))
    }

    /// From a FilterString object; None if it says nothing.
    pub fn parse(value: &Value, budget: &mut FilterBudget) -> Result<Option<Self>, QueryError> {
        Self::parse_at(value, budget, 0)
    }

    fn parse_at(value: &Value, budget: &mut FilterBudget, depth: usize) -> Result<Option<Self>, QueryError> {
        if depth > FILTER_DEPTH_MAX {
            return Err(over(
                "filter_depth_max",
                format!("$and and $or are nested more than {FILTER_DEPTH_MAX} deep"),
            ));
        }
        // Empty ones cost something too.
        budget.node()?;
        let Value::Object(members) = value else {
            return Err(invalid(r#"a filter must be an object such as {"$eq": "value"}"#));
        };
        if let Some(unknown) = members.keys().find(|name| !OPERATORS.contains(&name.as_str())) {
            return Err(unknown_operator(unknown));
        }
        let mut given = members.iter().filter(|(_, operand)| !operand.is_null());
        let Some((operator, operand)) = given.next() else { return Ok(None) };
        if let Some((second, _)) = given.next() {
            return Err(invalid(format!(
                "multiple operators set: {operator} and {second}; combine them with $and"
            )));
        }
        let filter = match operator.as_str() {
            "$eq" => Self::Compare(Compare::Equal, text(operator, operand, budget)?),
            "$ne" => Self::Compare(Compare::NotEqual, text(operator, operand, budget)?),
            "$gt" => Self::Compare(Compare::Greater, text(operator, operand, budget)?),
            "$gte" => Self::Compare(Compare::GreaterOrEqual, text(operator, operand, budget)?),
            "$lt" => Self::Compare(Compare::Less, text(operator, operand, budget)?),
            "$lte" => Self::Compare(Compare::LessOrEqual, text(operator, operand, budget)?),
            "$like" | "$nlike" | "$ilike" | "$nilike" => Self::Like {
                pattern: text(operator, operand, budget)?,
                negated: operator.starts_with("$n"),
                any_case: operator.ends_with("ilike"),
            },
            "$in" | "$nin" => Self::In {
                values: list(operator, operand)?
                    .iter()
                    .map(|value| text(operator, value, budget))
                    .collect::<Result<_, _>>()?,
                negated: operator == "$nin",
            },
            "$and" | "$or" => {
                let mut parts = Vec::new();
                for part in list(operator, operand)? {
                    parts.extend(Self::parse_at(part, budget, depth + 1)?);
                }
                if parts.is_empty() {
                    return Err(invalid(format!("{operator} must hold at least one filter")));
                }
                if operator == "$and" { Self::All(parts) } else { Self::Any(parts) }
            }
            _ => return Err(unknown_operator(operator)),
        };
        Ok(Some(filter))
    }

    /// The condition on `column`, which is never null.
    pub fn expression(&self, column: &Expr) -> Expr {
        match self {
            Self::Compare(compare, value) => {
                binary_expr(column.clone(), compare.operator(), lit(value.as_str()))
            }
            Self::Like { pattern, negated, any_case } => {
                let (value, pattern) = (column.clone(), lit(pattern.as_str()));
                match (negated, any_case) {
                    (false, false) => value.like(pattern),
                    (true, false) => value.not_like(pattern),
                    (false, true) => value.ilike(pattern),
                    (true, true) => value.not_ilike(pattern),
                }
            }
            Self::In { values, negated } if values.is_empty() => lit(*negated),
            Self::In { values, negated } => {
                let values = values.iter().map(|v| lit(ScalarValue::from(v.as_str()))).collect();
                column.clone().in_list(values, *negated)
            }
            Self::All(parts) => join(parts, Operator::And, column),
            Self::Any(parts) => join(parts, Operator::Or, column),
        }
    }
}

impl Compare {
    fn operator(self) -> Operator {
        match self {
            Self::Equal => Operator::Eq,
            Self::NotEqual => Operator::NotEq,
            Self::Greater => Operator::Gt,
            Self::GreaterOrEqual => Operator::GtEq,
            Self::Less => Operator::Lt,
            Self::LessOrEqual => Operator::LtEq,
        }
    }
}

const OPERATORS: [&str; 14] = [
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$like", "$nlike", "$ilike", "$nilike", "$in", "$nin",
    "$and", "$or",
];

/// A balanced tree, so that a long list does not make a deep one.
fn join(parts: &[Filter], operator: Operator, column: &Expr) -> Expr {
    match parts {
        [] => lit(operator == Operator::And),
        [one] => one.expression(column),
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            binary_expr(join(left, operator, column), operator, join(right, operator, column))
        }
    }
}

fn text(operator: &str, operand: &Value, budget: &mut FilterBudget) -> Result<String, QueryError> {
    let Value::String(value) = operand else {
        return Err(invalid(format!("{operator} compares with a string")));
    };
    if value.is_empty() {
        return Err(invalid(format!("{operator} must not compare with an empty string")));
    }
    budget.spend(value)?;
    Ok(value.clone())
}

fn list<'v>(operator: &str, operand: &'v Value) -> Result<&'v [Value], QueryError> {
    operand.as_array().map(Vec::as_slice).ok_or_else(|| invalid(format!("{operator} takes a list")))
}

fn unknown_operator(name: &str) -> QueryError {
    invalid(format!("unknown operator {:?}; there are {}", shown(name), OPERATORS.join(" ")))
}

fn over(limit: &'static str, detail: String) -> QueryError {
    QueryError::over(limit, "invalid-filter", format!("invalid group by filter: {detail}"))
}

fn invalid(detail: impl std::fmt::Display) -> QueryError {
    QueryError::invalid("invalid-filter", format!("invalid group by filter: {detail}"))
}

#[cfg(test)]
mod tests;
