//! A meter's answer as it came over the wire. Values stay the texts that the server wrote: a binary
//! float in between could change the last digit of a bill.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::output::{Column, Grid};

/// The answer to a query.
#[derive(Debug, Deserialize)]
pub struct Answer<'a> {
    #[serde(borrow)]
    pub data: Vec<Row<'a>>,
}

/// One window of one group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    /// RFC 3339, inside.
    pub window_start: String,
    /// RFC 3339, outside.
    pub window_end: String,
    #[serde(default)]
    pub subject: Option<String>,
    #[serde(default)]
    pub group_by: Option<BTreeMap<String, Option<String>>>,
}

impl Row<'_> {
    /// The number, digit by digit as the server wrote it.
    pub fn value(&self) -> &str {
        self.value.get()
    }

    /// A group's value; absent and null are empty.
    pub fn group(&self, key: &str) -> &str {
        self.group_by.as_ref().and_then(|groups| groups.get(key)?.as_deref()).unwrap_or_default()
    }
}

impl Answer<'_> {
    /// Columns in the order of the contract's CSV, groups in the order in which they were asked for.
    pub fn grid(&self, asked: &[String]) -> Grid {
        let by_subject =
            asked.iter().any(|key| key == "subject") || self.data.iter().any(|row| row.subject.is_some());
        let keys: Vec<&String> = asked.iter().filter(|key| *key != "subject").collect();
        let mut columns = vec![Column::text("window_start"), Column::text("window_end")];
        if by_subject {
            columns.push(Column::text("subject"));
        }
        columns.extend(keys.iter().map(|key| Column::text(key.as_str())));
        columns.push(Column::number("value"));
        let mut grid = Grid::new(columns);
        for row in &self.data {
            let mut cells = vec![row.window_start.clone(), row.window_end.clone()];
            if by_subject {
                cells.push(row.subject.clone().unwrap_or_default());
            }
            cells.extend(keys.iter().map(|key| row.group(key).to_owned()));
            cells.push(row.value().to_owned());
            grid.row(cells);
        }
        grid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;

    #[test]
    fn digits_pass_through_to_every_form() {
        let text = r#"{"from":"2013-03-01T00:00:00Z","data":[
            {"value":123456789012345678901234567890123.000000000000000000000000000001,
             "windowStart":"2013-03-10T00:00:00-05:00","windowEnd":"2013-03-11T00:00:00-04:00",
             "subject":"UA","groupBy":{"origin":"EWR","dest":null}},
            {"value":-1e3,"windowStart":"2013-03-11T00:00:00-04:00","windowEnd":"2013-03-12T00:00:00-04:00",
             "subject":null,"groupBy":{}}]}"#;
        let answer: Answer<'_> = serde_json::from_str(text).unwrap();
        let grid = answer.grid(&["dest".into(), "subject".into(), "origin".into()]);
        insta::assert_snapshot!(grid.table(Style::PLAIN));
        insta::assert_snapshot!(grid.csv());
    }
}
