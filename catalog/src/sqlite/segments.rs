//! Segments and their coverage as rows: listing new ones and reading what is listed.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Sqlite, Transaction};
use weir_meter::segment::{Coverage, Generations, NewSegment, Segment, SegmentKind};
use weir_meter::{Generation, MeterId, OffsetRange, SegmentId, WriterId};

use super::columns::{blob, damaged, get, id, number, range, signed};
use super::connection::failed;
use crate::CatalogError;

/// Generations in the coverage table.
#[derive(Serialize, Deserialize)]
struct StoredGenerations {
    mode: Mode,
    list: Vec<StoredGeneration>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    AllBut,
    Only,
}

#[derive(Serialize, Deserialize)]
struct StoredGeneration {
    meter: String,
    generation: u32,
}

/// Lists a segment. The caller has made sure that nothing of it is covered yet.
pub(super) async fn list(
    tx: &mut Transaction<'_, Sqlite>,
    new: &NewSegment,
    writer: WriterId,
    now_us: i64,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO segments (segment, kind, level, writer, row_count, dropped_rows, byte_count,
             time_min_us, time_max_us, location, checksum, listed_at_us)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(blob(new.segment.0))
    .bind(new.kind.name())
    .bind(new.level)
    .bind(blob(writer.0))
    .bind(signed(new.row_count, "a count of rows")?)
    .bind(signed(new.dropped_rows, "a count of rows")?)
    .bind(signed(new.byte_count, "a count of bytes")?)
    .bind(new.time_range_us.map(|(earliest, _)| earliest))
    .bind(new.time_range_us.map(|(_, latest)| latest))
    .bind(&new.location)
    .bind(new.checksum)
    .bind(now_us)
    .execute(&mut **tx)
    .await
    .map_err(failed("list a segment"))?;

    let generations = write_generations(&new.coverage.generations)?;
    for range in &new.coverage.ranges {
        sqlx::query(
            "INSERT INTO coverage (segment, epoch, partition, from_offset, to_offset, revision,
                 fold_version, window_size_s, generations)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(blob(new.segment.0))
        .bind(range.epoch)
        .bind(range.partition)
        .bind(signed(range.from, "an offset")?)
        .bind(signed(range.to, "an offset")?)
        .bind(signed(new.coverage.revision, "a revision")?)
        .bind(new.coverage.fold_version)
        .bind(new.coverage.window_size_s)
        .bind(&generations)
        .execute(&mut **tx)
        .await
        .map_err(failed("record a coverage"))?;
    }
    Ok(())
}

/// True if a segment of this id is known, listed or not.
pub(super) async fn is_known(
    tx: &mut Transaction<'_, Sqlite>,
    segment: SegmentId,
) -> Result<bool, CatalogError> {
    let row = sqlx::query("SELECT 1 FROM segments WHERE segment = ?")
        .bind(blob(segment.0))
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("look for a segment"))?;
    Ok(row.is_some())
}

/// Offsets that the coverage rows of a segment hold, counted by the database.
pub(super) async fn covered_offsets(
    tx: &mut Transaction<'_, Sqlite>,
    segment: SegmentId,
) -> Result<u64, CatalogError> {
    let row = sqlx::query(
        "SELECT coalesce(sum(to_offset - from_offset), 0) AS offsets FROM coverage WHERE segment = ?",
    )
    .bind(blob(segment.0))
    .fetch_one(&mut **tx)
    .await
    .map_err(failed("read a coverage back"))?;
    number(&row, "offsets")
}

/// Every listed segment, in the order of their ids.
pub(super) async fn listed(connection: &mut SqliteConnection) -> Result<Vec<Segment>, CatalogError> {
    let rows = sqlx::query(
        "SELECT * FROM segments JOIN coverage USING (segment)
         WHERE delisted_at_us IS NULL ORDER BY segment, epoch, partition, from_offset",
    )
    .fetch_all(connection)
    .await
    .map_err(failed("read the listing"))?;
    gather(&rows)
}

/// Every segment that was taken off the listing before this time and is not forgotten.
pub(super) async fn delisted(
    connection: &mut SqliteConnection,
    before_us: i64,
) -> Result<Vec<Segment>, CatalogError> {
    let rows = sqlx::query(
        "SELECT * FROM segments JOIN coverage USING (segment)
         WHERE delisted_at_us < ? ORDER BY segment, epoch, partition, from_offset",
    )
    .bind(before_us)
    .fetch_all(connection)
    .await
    .map_err(failed("read what was listed"))?;
    gather(&rows)
}

/// The segment of this id, if it is listed.
pub(super) async fn find_listed(
    tx: &mut Transaction<'_, Sqlite>,
    segment: SegmentId,
) -> Result<Option<Segment>, CatalogError> {
    let rows = sqlx::query(
        "SELECT * FROM segments JOIN coverage USING (segment)
         WHERE segment = ? AND delisted_at_us IS NULL ORDER BY epoch, partition, from_offset",
    )
    .bind(blob(segment.0))
    .fetch_all(&mut **tx)
    .await
    .map_err(failed("look for a listed segment"))?;
    Ok(gather(&rows)?.pop())
}

/// Takes a listed segment off the listing.
pub(super) async fn delist(
    tx: &mut Transaction<'_, Sqlite>,
    segment: SegmentId,
    now_us: i64,
) -> Result<(), CatalogError> {
    let delisted =
        sqlx::query("UPDATE segments SET delisted_at_us = ? WHERE segment = ? AND delisted_at_us IS NULL")
            .bind(now_us)
            .bind(blob(segment.0))
            .execute(&mut **tx)
            .await
            .map_err(failed("delist a segment"))?
            .rows_affected();
    if delisted != 1 {
        return Err(damaged("segments", &format!("{delisted} listed ones of the id {segment}")));
    }
    Ok(())
}

/// Deletes what was taken off the listing before this time, and says how many segments that were.
pub(super) async fn forget(tx: &mut Transaction<'_, Sqlite>, before_us: i64) -> Result<u64, CatalogError> {
    sqlx::query(
        "DELETE FROM coverage WHERE segment IN (SELECT segment FROM segments WHERE delisted_at_us < ?)",
    )
    .bind(before_us)
    .execute(&mut **tx)
    .await
    .map_err(failed("forget a coverage"))?;
    let forgotten = sqlx::query("DELETE FROM segments WHERE delisted_at_us < ?")
        .bind(before_us)
        .execute(&mut **tx)
        .await
        .map_err(failed("forget segments"))?;
    Ok(forgotten.rows_affected())
}

/// Segments of rows that are in the order of segments and offsets.
fn gather(rows: &[SqliteRow]) -> Result<Vec<Segment>, CatalogError> {
    let mut segments: Vec<Segment> = Vec::new();
    for row in rows {
        let next = read(row)?;
        match segments.last_mut().filter(|last| last.new.segment == next.new.segment) {
            Some(last) => extend(last, next)?,
            None => segments.push(next),
        }
    }
    Ok(segments)
}

/// Every segment whose files must stay: listed, or delisted and not forgotten yet.
pub(super) async fn kept(connection: &mut SqliteConnection) -> Result<Vec<SegmentId>, CatalogError> {
    let rows = sqlx::query("SELECT segment FROM segments ORDER BY segment")
        .fetch_all(connection)
        .await
        .map_err(failed("read the kept segments"))?;
    rows.iter().map(|row| id(row, "segment").map(SegmentId)).collect()
}

/// Adds the next range of the same segment.
fn extend(segment: &mut Segment, next: Segment) -> Result<(), CatalogError> {
    let coverage = &mut segment.new.coverage;
    let Coverage { ranges, revision, fold_version, window_size_s, generations } = next.new.coverage;
    if (coverage.revision, coverage.fold_version, coverage.window_size_s, &coverage.generations)
        != (revision, fold_version, window_size_s, &generations)
    {
        let text = format!("the ranges of segment {} were folded in different ways", segment.new.segment);
        return Err(damaged("coverage", &text));
    }
    coverage.ranges.extend(ranges);
    Ok(())
}

/// A segment with the one range of this row.
fn read(row: &SqliteRow) -> Result<Segment, CatalogError> {
    let kind: &str = get(row, "kind")?;
    let earliest: Option<i64> = get(row, "time_min_us")?;
    let latest: Option<i64> = get(row, "time_max_us")?;
    Ok(Segment {
        new: NewSegment {
            segment: SegmentId(id(row, "segment")?),
            kind: SegmentKind::from_name(kind)
                .ok_or_else(|| damaged("segments", &format!("unknown kind `{kind}`")))?,
            level: number(row, "level")?,
            row_count: number(row, "row_count")?,
            dropped_rows: number(row, "dropped_rows")?,
            byte_count: number(row, "byte_count")?,
            coverage: read_coverage(row, range(row)?)?,
            time_range_us: earliest.zip(latest),
            location: get(row, "location")?,
            checksum: number(row, "checksum")?,
        },
        writer: WriterId(id(row, "writer")?),
        listed_at_us: get(row, "listed_at_us")?,
        delisted_at_us: get(row, "delisted_at_us")?,
    })
}

pub(super) fn read_coverage(row: &SqliteRow, range: OffsetRange) -> Result<Coverage, CatalogError> {
    Ok(Coverage {
        ranges: vec![range],
        revision: number(row, "revision")?,
        fold_version: number(row, "fold_version")?,
        window_size_s: number(row, "window_size_s")?,
        generations: read_generations(get(row, "generations")?)?,
    })
}

fn write_generations(generations: &Generations) -> Result<String, CatalogError> {
    let (mode, list) = match generations {
        Generations::AllBut(list) => (Mode::AllBut, list),
        Generations::Only(list) => (Mode::Only, list),
    };
    let list = list
        .iter()
        .map(|one| StoredGeneration { meter: one.meter.to_string(), generation: one.generation })
        .collect();
    serde_json::to_string(&StoredGenerations { mode, list })
        .map_err(|error| CatalogError::Conflict(format!("generations cannot be written: {error}")))
}

fn read_generations(text: &str) -> Result<Generations, CatalogError> {
    let stored: StoredGenerations =
        serde_json::from_str(text).map_err(|error| damaged("generations", &error.to_string()))?;
    let mut list = Vec::with_capacity(stored.list.len());
    for one in stored.list {
        let meter: MeterId =
            one.meter.parse().map_err(|_| damaged("generations", &format!("`{}` is no meter", one.meter)))?;
        list.push(Generation { meter, generation: one.generation });
    }
    Ok(match stored.mode {
        Mode::AllBut => Generations::AllBut(list),
        Mode::Only => Generations::Only(list),
    })
}
