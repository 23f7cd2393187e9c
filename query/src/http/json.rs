//! An answer as JSON: `MeterQueryResult` of OpenMeter's contract 4.5. Written row by row, so that no second
//! copy of it is made.

use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::usage::{UsageAnswer, UsageRow};

pub(super) struct Shown<'a>(pub(super) &'a UsageAnswer);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answer = self.0;
        let mut map = serializer.serialize_map(None)?;
        if let Some(from) = answer.from_us {
            map.serialize_entry("from", &answer.show(from))?;
        }
        if let Some(to) = answer.to_us {
            map.serialize_entry("to", &answer.show(to))?;
        }
        if let Some(size) = answer.window_size {
            map.serialize_entry("windowSize", size.name())?;
        }
        map.serialize_entry("data", &Rows(answer))?;
        map.end()
    }
}

struct Rows<'a>(&'a UsageAnswer);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.rows.iter().map(|row| Row { answer: self.0, row }))
    }
}

struct Row<'a> {
    answer: &'a UsageAnswer,
    row: &'a UsageRow,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { answer, row } = self;
        // The exact digits: never through a float.
        let value = RawValue::from_string(row.value.clone()).map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("value", &value)?;
        map.serialize_entry("windowStart", &answer.show(row.window_start_us))?;
        map.serialize_entry("windowEnd", &answer.show(row.window_end_us))?;
        map.serialize_entry("subject", &row.subject)?;
        map.serialize_entry("groupBy", &Groups(&answer.group_by, &row.groups))?;
        map.end()
    }
}

/// Keys and values in the order asked for.
struct Groups<'a>(&'a [String], &'a [String]);

impl Serialize for Groups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0.iter().zip(self.1) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
