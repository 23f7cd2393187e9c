//! Rows, windows and members of a batch by their place in it, for merges: what orders them, and the
//! states of windows, read back exactly as they were written.

use arrow::array::{
    Array as _, AsArray as _, Decimal256Array, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray,
    UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Decimal256Type;
use weir_meter::window::{LatestKey, Values, WindowState};
use weir_meter::{Coordinates, Decimal, Generation, MeterId};

use super::columns::{hash_at, hash_column, i64s, texts, typed, u32s, u64s};
use super::failed;
use crate::StoreError;

/// What names a window, of a batch of windows or of members.
#[derive(Clone, Debug)]
pub(crate) struct WindowKeys {
    namespaces: StringArray,
    meters: FixedSizeBinaryArray,
    generations: UInt32Array,
    sizes: UInt32Array,
    subjects: StringArray,
    starts: Int64Array,
    group_ends: OffsetBuffer<i32>,
    group_values: StringArray,
}

impl WindowKeys {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, StoreError> {
        let lists = typed(batch, "groups", |a| a.as_list_opt::<i32>())?;
        let values = lists.values().as_string_opt::<i32>();
        let values = values.ok_or_else(|| failed("reading a batch", &"the column groups holds no texts"))?;
        Ok(Self {
            namespaces: texts(batch, "namespace")?.clone(),
            meters: hash_column(batch, "meter")?.clone(),
            generations: u32s(batch, "generation")?.clone(),
            sizes: u32s(batch, "window_size")?.clone(),
            subjects: texts(batch, "subject")?.clone(),
            starts: i64s(batch, "window_start")?.clone(),
            group_ends: lists.offsets().clone(),
            group_values: values.clone(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn namespace(&self, row: usize) -> &str {
        self.namespaces.value(row)
    }

    pub(crate) fn generation(&self, row: usize) -> Generation {
        Generation { meter: MeterId(hash_at(&self.meters, row)), generation: self.generations.value(row) }
    }

    pub(crate) fn window_size_s(&self, row: usize) -> u32 {
        self.sizes.value(row)
    }

    pub(crate) fn subject(&self, row: usize) -> &str {
        self.subjects.value(row)
    }

    pub(crate) fn start_us(&self, row: usize) -> i64 {
        self.starts.value(row)
    }

    pub(crate) fn groups(&self, row: usize) -> impl Iterator<Item = &str> {
        let place = |row: usize| {
            self.group_ends.get(row).and_then(|end| usize::try_from(*end).ok()).unwrap_or_default()
        };
        (place(row)..place(row.saturating_add(1))).map(|at| self.group_values.value(at))
    }
}

/// The states of a batch of windows.
#[derive(Clone, Debug)]
pub(crate) struct StoredWindows {
    events: Int64Array,
    counted: Int64Array,
    sum: Decimal256Array,
    min: Decimal256Array,
    max: Decimal256Array,
    latest: Decimal256Array,
    latest_time: Int64Array,
    latest_record_time: Int64Array,
    latest_epoch: UInt32Array,
    latest_partition: UInt32Array,
    latest_offset: UInt64Array,
    first_minute: Int64Array,
    last_minute: Int64Array,
}

impl StoredWindows {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, StoreError> {
        let decimals = |name: &str| typed(batch, name, |a| a.as_primitive_opt::<Decimal256Type>()).cloned();
        Ok(Self {
            events: i64s(batch, "events")?.clone(),
            counted: i64s(batch, "counted")?.clone(),
            sum: decimals("sum")?,
            min: decimals("min")?,
            max: decimals("max")?,
            latest: decimals("latest")?,
            latest_time: i64s(batch, "latest_time")?.clone(),
            latest_record_time: i64s(batch, "latest_record_time")?.clone(),
            latest_epoch: u32s(batch, "latest_epoch")?.clone(),
            latest_partition: u32s(batch, "latest_partition")?.clone(),
            latest_offset: u64s(batch, "latest_offset")?.clone(),
            first_minute: i64s(batch, "first_minute")?.clone(),
            last_minute: i64s(batch, "last_minute")?.clone(),
        })
    }

    pub(crate) fn state(&self, row: usize) -> WindowState {
        WindowState {
            events: self.events.value(row),
            counted: self.counted.value(row),
            values: self.values(row),
            first_minute_us: self.first_minute.value(row),
            last_minute_us: self.last_minute.value(row),
        }
    }

    /// Windows without a number have none of these but a sum of 0.
    fn values(&self, row: usize) -> Option<Box<Values>> {
        let decimal = |array: &Decimal256Array| Decimal::from_unscaled(array.value(row));
        self.latest.is_valid(row).then(|| {
            let at = Coordinates {
                epoch: self.latest_epoch.value(row),
                partition: self.latest_partition.value(row),
                offset: self.latest_offset.value(row),
            };
            let (time_us, record_time_us) = (self.latest_time.value(row), self.latest_record_time.value(row));
            Box::new(Values {
                sum: decimal(&self.sum),
                min: decimal(&self.min),
                max: decimal(&self.max),
                latest: (LatestKey { time_us, record_time_us, at }, decimal(&self.latest)),
            })
        })
    }
}

/// A batch of members, but for their keys.
#[derive(Clone, Debug)]
pub(crate) struct StoredMembers {
    members: FixedSizeBinaryArray,
    holders: Int64Array,
}

impl StoredMembers {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, StoreError> {
        Ok(Self { members: hash_column(batch, "member")?.clone(), holders: i64s(batch, "holders")?.clone() })
    }

    pub(crate) fn member(&self, row: usize) -> u128 {
        hash_at(&self.members, row)
    }

    pub(crate) fn holders(&self, row: usize) -> i64 {
        self.holders.value(row)
    }
}

/// What orders rows at rest, and what retention goes by.
#[derive(Clone, Debug)]
pub(crate) struct StoredRows {
    namespaces: StringArray,
    types: StringArray,
    subjects: StringArray,
    times: Int64Array,
    epochs: UInt32Array,
    partitions: UInt32Array,
    offsets: UInt64Array,
    record_times: Int64Array,
    data: StringArray,
    attributes: StringArray,
}

impl StoredRows {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, StoreError> {
        Ok(Self {
            namespaces: texts(batch, "namespace")?.clone(),
            types: texts(batch, "type")?.clone(),
            subjects: texts(batch, "subject")?.clone(),
            times: i64s(batch, "time")?.clone(),
            epochs: u32s(batch, "epoch")?.clone(),
            partitions: u32s(batch, "partition")?.clone(),
            offsets: u64s(batch, "offset")?.clone(),
            record_times: i64s(batch, "record_time")?.clone(),
            data: texts(batch, "data")?.clone(),
            attributes: texts(batch, "attributes")?.clone(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(crate) fn namespace(&self, row: usize) -> &str {
        self.namespaces.value(row)
    }

    pub(crate) fn at(&self, row: usize) -> Coordinates {
        Coordinates {
            epoch: self.epochs.value(row),
            partition: self.partitions.value(row),
            offset: self.offsets.value(row),
        }
    }

    /// Type, subject and time; all are null in a bare row.
    pub(crate) fn event(&self, row: usize) -> (Option<&str>, Option<&str>, Option<i64>) {
        let text = |array: &StringArray| array.is_valid(row);
        (
            text(&self.types).then(|| self.types.value(row)),
            text(&self.subjects).then(|| self.subjects.value(row)),
            self.times.is_valid(row).then(|| self.times.value(row)),
        )
    }

    pub(crate) fn record_time_us(&self, row: usize) -> i64 {
        self.record_times.value(row)
    }

    /// Bytes of the texts whose length only the size of an event bounds.
    pub(crate) fn text_bytes(&self, row: usize) -> usize {
        let length = |array: &StringArray| usize::try_from(array.value_length(row)).unwrap_or(0);
        length(&self.data).saturating_add(length(&self.attributes))
    }
}
