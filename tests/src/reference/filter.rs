//! Filters on a group-by text: every operator of the contract's FilterString, one character at a time.

use super::model::Filter;

impl Filter {
    /// Whether the text passes.
    pub fn admits(&self, text: &str) -> bool {
        match self {
            Filter::Compare(operator, operand) => match *operator {
                "$eq" => text == operand,
                "$ne" => text != operand,
                "$gt" => text > operand.as_str(),
                "$gte" => text >= operand.as_str(),
                "$lt" => text < operand.as_str(),
                "$lte" => text <= operand.as_str(),
                "$like" => like(text, operand),
                "$nlike" => !like(text, operand),
                "$ilike" => like(&text.to_lowercase(), &operand.to_lowercase()),
                "$nilike" => !like(&text.to_lowercase(), &operand.to_lowercase()),
                other => panic!("no operator {other:?}"),
            },
            Filter::In(texts) => texts.iter().any(|t| t == text),
            Filter::NotIn(texts) => texts.iter().all(|t| t != text),
            Filter::And(filters) => filters.iter().all(|f| f.admits(text)),
            Filter::Or(filters) => filters.iter().any(|f| f.admits(text)),
        }
    }

    /// The filter as a client writes it.
    pub fn to_json(&self) -> serde_json::Value {
        let list = |filters: &[Filter]| filters.iter().map(Filter::to_json).collect::<Vec<_>>();
        match self {
            Filter::Compare(operator, operand) => serde_json::json!({ *operator: operand }),
            Filter::In(texts) => serde_json::json!({ "$in": texts }),
            Filter::NotIn(texts) => serde_json::json!({ "$nin": texts }),
            Filter::And(filters) => serde_json::json!({ "$and": list(filters) }),
            Filter::Or(filters) => serde_json::json!({ "$or": list(filters) }),
        }
    }
}

/// SQL's LIKE: `%` is any run of characters, `_` is one.
fn like(text: &str, pattern: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let pattern = &pattern[first.len_utf8()..];
    if first == '%' {
        return (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| like(&text[at..], pattern));
    }
    match text.chars().next() {
        Some(c) if first == '_' || first == c => like(&text[c.len_utf8()..], pattern),
        _ => false,
    }
}
