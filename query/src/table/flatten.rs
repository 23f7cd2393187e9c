//! From batches as they are at rest to the table's columns: the list of group values becomes one
//! column per key, and only columns that somebody reads are made.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err};

use super::{TableKind, group_column};

#[derive(Clone, Debug)]
pub(super) struct Flatten {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// What to ask the store for, in the order at rest.
    wanted: Vec<&'static str>,
}

#[derive(Clone, Debug)]
enum Column {
    Plain(String),
    Group(usize),
}

impl Flatten {
    /// `schema` is what shall come out.
    pub(super) fn new(kind: TableKind, schema: SchemaRef) -> Self {
        let columns: Vec<Column> = schema
            .fields()
            .iter()
            .map(|field| match field.name().strip_prefix("group_").and_then(|i| i.parse().ok()) {
                Some(i) if group_column(i) == *field.name() => Column::Group(i),
                _ => Column::Plain(field.name().clone()),
            })
            .collect();
        let reads = |name: &str| {
            columns.iter().any(|column| match column {
                Column::Plain(plain) => plain == name,
                Column::Group(_) => name == "groups",
            })
        };
        let mut wanted: Vec<&'static str> = names(kind).iter().copied().filter(|n| reads(n)).collect();
        if wanted.is_empty() {
            // Rows must be counted by something.
            wanted.push("window_start");
        }
        Self { schema, columns, wanted }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn wanted(&self) -> &[&'static str] {
        &self.wanted
    }

    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let named = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| exec_datafusion_err!("the scan left out column {name}"))
        };
        let columns: Result<Vec<ArrayRef>> = self
            .columns
            .iter()
            .map(|column| match column {
                Column::Plain(name) => named(name).cloned(),
                Column::Group(i) => element(named("groups")?, *i),
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns?, &options)?)
    }
}

/// The `i`th element of every list.
fn element(lists: &ArrayRef, i: usize) -> Result<ArrayRef> {
    let Some(lists) = lists.as_any().downcast_ref::<ListArray>() else {
        return exec_err!("groups are {}, not a list", lists.data_type());
    };
    let indexes: Result<UInt64Array> = lists
        .offsets()
        .windows(2)
        .map(|ends| match ends {
            [start, end] if i < (end - start) as usize => Ok(*start as u64 + i as u64),
            _ => exec_err!("a window has no group value {i}"),
        })
        .collect::<Result<Vec<u64>>>()
        .map(UInt64Array::from);
    take(lists.values(), &indexes?, None).map_err(DataFusionError::from)
}

/// Column names at rest as the scan takes them.
fn names(kind: TableKind) -> &'static [&'static str] {
    match kind {
        TableKind::Windows => &[
            "subject",
            "window_start",
            "groups",
            "events",
            "counted",
            "sum",
            "min",
            "max",
            "latest",
            "latest_time",
            "latest_record_time",
            "latest_epoch",
            "latest_partition",
            "latest_offset",
            "first_minute",
            "last_minute",
        ],
        TableKind::Members => &["subject", "window_start", "groups", "member", "holders"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::SHARED;
    use arrow::array::{Int64Array, ListBuilder, StringBuilder, cast::AsArray as _};
    use arrow::datatypes::{DataType, Field, Schema};

    #[test]
    fn the_names_are_those_at_rest() {
        for kind in [TableKind::Windows, TableKind::Members] {
            let at_rest = kind.at_rest();
            let names_at_rest: Vec<&str> =
                at_rest.fields().iter().map(|f| f.name().as_str()).filter(|n| !SHARED.contains(n)).collect();
            assert_eq!(names(kind), names_at_rest);
        }
    }

    #[test]
    fn lists_become_columns_also_in_a_slice() {
        let mut lists =
            ListBuilder::new(StringBuilder::new()).with_field(Field::new("item", DataType::Utf8, false));
        for row in [["a", "b"], ["c", "d"], ["e", "f"]] {
            lists.append_value(row.map(Some));
        }
        let starts: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([
            ("window_start", starts),
            ("groups", Arc::new(lists.finish()) as ArrayRef),
        ])
        .unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("group_1", DataType::Utf8, false)]));
        let flatten = Flatten::new(TableKind::Windows, schema);
        assert_eq!(flatten.wanted(), ["groups"]);
        let flat = flatten.apply(&batch.slice(1, 2)).unwrap();
        let values: Vec<_> = flat.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(values, ["d", "f"]);
        let schema = Arc::new(Schema::new(vec![Field::new("group_2", DataType::Utf8, false)]));
        assert!(Flatten::new(TableKind::Windows, schema).apply(&batch).is_err());
    }
}
