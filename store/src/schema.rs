//! The Arrow schemas at rest. Times are microseconds since 1970 as Int64 (32-bit date columns end in
//! 2106 and nanoseconds in 2262); numbers are Decimal256(76, 30); hashes and ids are 16 big-endian bytes.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use weir_meter::segment::SegmentKind;

pub const DECIMAL: DataType = DataType::Decimal256(76, 30);
const HASH: DataType = DataType::FixedSizeBinary(16);

/// One row per offset. Ordered by (namespace, type, subject, time, coordinates).
pub fn rows() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("epoch", DataType::UInt32, false),
            Field::new("partition", DataType::UInt32, false),
            Field::new("offset", DataType::UInt64, false),
            Field::new("record_time", DataType::Int64, false),
            Field::new("record_time_raw", DataType::Int64, false),
            Field::new("namespace", DataType::Utf8, false),
            Field::new("kind", DataType::Utf8, false),
            Field::new("fate", DataType::Utf8, false),
            Field::new("sign", DataType::Int8, false),
            Field::new("target_epoch", DataType::UInt32, true),
            Field::new("target_partition", DataType::UInt32, true),
            Field::new("target_offset", DataType::UInt64, true),
            Field::new("identity", HASH, false),
            Field::new("content", HASH, false),
            Field::new("request", HASH, false),
            Field::new("source", DataType::Utf8, true),
            Field::new("id", DataType::Utf8, true),
            Field::new("type", DataType::Utf8, true),
            Field::new("subject", DataType::Utf8, true),
            Field::new("time", DataType::Int64, true),
            Field::new("time_given", DataType::Boolean, true),
            Field::new("data", DataType::Utf8, true),
            Field::new("attributes", DataType::Utf8, true),
            Field::new("writer", HASH, false),
            Field::new("stored_at", DataType::Int64, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}

/// One row per window. Ordered by (namespace, meter, generation, size, subject, start, groups).
pub fn windows() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields = key_fields();
        fields.extend([
            Field::new("events", DataType::Int64, false),
            Field::new("counted", DataType::Int64, false),
            Field::new("sum", DECIMAL, false),
            Field::new("min", DECIMAL, true),
            Field::new("max", DECIMAL, true),
            Field::new("latest", DECIMAL, true),
            Field::new("latest_time", DataType::Int64, true),
            Field::new("latest_record_time", DataType::Int64, true),
            Field::new("latest_epoch", DataType::UInt32, true),
            Field::new("latest_partition", DataType::UInt32, true),
            Field::new("latest_offset", DataType::UInt64, true),
            Field::new("first_minute", DataType::Int64, false),
            Field::new("last_minute", DataType::Int64, false),
        ]);
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

/// One row per window and distinct member. Ordered like windows, then by member.
pub fn members() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let mut fields = key_fields();
        fields.extend([Field::new("member", HASH, false), Field::new("holders", DataType::Int64, false)]);
        Arc::new(Schema::new(fields))
    });
    Arc::clone(&SCHEMA)
}

/// The columns of a kind of segment.
pub fn of_kind(kind: SegmentKind) -> SchemaRef {
    match kind {
        SegmentKind::Rows => rows(),
        SegmentKind::Windows => windows(),
        SegmentKind::Members => members(),
    }
}

/// The columns that name a window.
fn key_fields() -> Vec<Field> {
    vec![
        Field::new("namespace", DataType::Utf8, false),
        Field::new("meter", HASH, false),
        Field::new("generation", DataType::UInt32, false),
        Field::new("window_size", DataType::UInt32, false),
        Field::new("subject", DataType::Utf8, false),
        Field::new("window_start", DataType::Int64, false),
        Field::new("groups", DataType::List(Arc::new(Field::new("item", DataType::Utf8, false))), false),
    ]
}

/// The fields of `schema` named by `columns`, in the schema's order.
pub fn project(schema: &SchemaRef, columns: &[&str]) -> SchemaRef {
    let fields: Vec<_> =
        schema.fields().iter().filter(|f| columns.contains(&f.name().as_str())).cloned().collect();
    Arc::new(Schema::new(fields))
}
