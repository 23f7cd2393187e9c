//! A look at everything the catalog says, for contradictions: what SQLite knows of its file, and the
//! rules that commits and swaps keep. Written apart from the checks that they make themselves.

use std::collections::BTreeMap;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use weir_meter::segment::{Segment, SegmentKind};
use weir_meter::{Meter, OffsetRange};

use super::columns::{get, id, number};
use super::connection::failed;
use super::overlap::share;
use super::{keys, meters, migrations, segments, snapshot};
use crate::CatalogError;

/// Sentences of one look; what is broken once is often broken a thousand times.
const PROBLEMS_MAX: usize = 100;

/// A partition: epoch and number.
type Partition = (u32, u32);
/// One range of a segment.
type Held<'a> = (OffsetRange, &'a Segment);

pub(super) async fn problems(connection: &mut SqliteConnection) -> Result<Vec<String>, CatalogError> {
    let mut tx = connection.begin().await.map_err(failed("begin"))?;
    let mut problems = file(&mut tx).await?;
    // What is asked next takes the tables as they are.
    problems.extend(tables(&mut tx).await.unwrap_or_else(|error| vec![error.to_string()]));
    tx.rollback().await.map_err(failed("end a look"))?;
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    if more > 0 {
        problems.truncate(PROBLEMS_MAX);
        problems.push(format!("and {more} more"));
    }
    Ok(problems)
}

/// What SQLite itself finds.
async fn file(connection: &mut SqliteConnection) -> Result<Vec<String>, CatalogError> {
    let mut problems = Vec::new();
    let rows = all(connection, "SELECT integrity_check AS text FROM pragma_integrity_check").await?;
    for row in &rows {
        let text: String = get(row, "text")?;
        if text != "ok" {
            problems.push(format!("the file is damaged: {text}"));
        }
    }
    let rows = all(
        connection,
        "SELECT \"table\" AS child, parent, count(*) AS missing FROM pragma_foreign_key_check GROUP BY 1, 2",
    )
    .await?;
    for row in &rows {
        let (child, parent, missing): (String, String, i64) =
            (get(row, "child")?, get(row, "parent")?, get(row, "missing")?);
        problems.push(format!(
            "table {child} has {missing} rows that refer to rows of table {parent} that are not there"
        ));
    }
    Ok(problems)
}

/// What breaks our own rules.
async fn tables(connection: &mut SqliteConnection) -> Result<Vec<String>, CatalogError> {
    let mut problems = Vec::new();
    let listed = segments::listed(connection).await?;
    let delisted = segments::delisted(connection, i64::MAX).await?;
    let every_generation = meters::every_generation(connection).await?;
    revisions(connection, &mut problems).await?;
    writers(connection, &mut problems).await?;
    uncovered(connection, &mut problems).await?;
    readable_keys(connection, &mut problems).await?;
    let frontiers = snapshot::frontiers(connection).await?;
    let frontiers: BTreeMap<Partition, u64> =
        frontiers.into_iter().map(|f| ((f.epoch, f.partition), f.next_offset)).collect();
    rows_cover_all(&listed, &frontiers, &mut problems);
    listed.iter().chain(&delisted).for_each(|segment| counts(segment, &mut problems));
    counted_twice(&listed, &every_generation, &mut problems);
    pairs(&listed, &mut problems);
    Ok(problems)
}

/// The counter is the newest revision there is, and none is missing.
async fn revisions(
    connection: &mut SqliteConnection,
    problems: &mut Vec<String>,
) -> Result<(), CatalogError> {
    let rows = all(
        connection,
        "SELECT revision, (SELECT count(*) FROM revisions) AS recorded,
             (SELECT coalesce(max(revision), 0) FROM revisions) AS newest FROM installation",
    )
    .await?;
    if rows.is_empty() {
        problems.push("the installation's row is missing, and with it every key".to_owned());
    }
    for row in &rows {
        let (counter, recorded, newest): (u64, u64, u64) =
            (number(row, "revision")?, number(row, "recorded")?, number(row, "newest")?);
        if (recorded, newest) != (counter, counter) {
            problems.push(format!(
                "the counter of revisions stands at {counter}, and {recorded} are recorded, the newest {newest}"
            ));
        }
    }
    Ok(())
}

async fn writers(connection: &mut SqliteConnection, problems: &mut Vec<String>) -> Result<(), CatalogError> {
    let rows = all(
        connection,
        "SELECT segment, writer FROM segments WHERE writer NOT IN (SELECT writer FROM writers)",
    )
    .await?;
    for row in &rows {
        let (segment, writer) = (id(row, "segment")?, id(row, "writer")?);
        problems.push(format!("segment {segment:032x} names writer {writer:032x}, which was never opened"));
    }
    Ok(())
}

/// One key that cannot be read lets nobody in, whatever key they have.
async fn readable_keys(
    connection: &mut SqliteConnection,
    problems: &mut Vec<String>,
) -> Result<(), CatalogError> {
    if migrations::version(connection).await? < keys::SINCE_VERSION {
        return Ok(());
    }
    problems.extend(keys::all(connection).await.err().map(|error| error.to_string()));
    let rows = all(connection, "SELECT count(*) AS counters FROM api_key_changes").await?;
    for row in &rows {
        if number::<u64>(row, "counters")? != 1 {
            problems.push("the number of key changes is missing".to_owned());
        }
    }
    Ok(())
}

/// A segment without coverage is not read at all, so it has to be looked for.
async fn uncovered(
    connection: &mut SqliteConnection,
    problems: &mut Vec<String>,
) -> Result<(), CatalogError> {
    let rows =
        all(connection, "SELECT segment FROM segments WHERE segment NOT IN (SELECT segment FROM coverage)")
            .await?;
    for row in &rows {
        problems.push(format!("segment {:032x} covers no offsets", id(row, "segment")?));
    }
    Ok(())
}

/// Listed rows begin at 0, end at the frontier, and leave out and repeat nothing in between.
fn rows_cover_all(listed: &[Segment], frontiers: &BTreeMap<Partition, u64>, problems: &mut Vec<String>) {
    let mut held: BTreeMap<Partition, Vec<OffsetRange>> =
        frontiers.keys().map(|partition| (*partition, Vec::new())).collect();
    for segment in listed.iter().filter(|segment| segment.new.kind == SegmentKind::Rows) {
        for range in &segment.new.coverage.ranges {
            held.entry((range.epoch, range.partition)).or_default().push(*range);
        }
    }
    for (partition, mut ranges) in held {
        ranges.sort();
        let place = format!("epoch {} partition {}", partition.0, partition.1);
        let mut next = 0_u64;
        for range in ranges {
            if range.from > next {
                problems.push(format!("{place} has no listed rows for offsets {next}..{}", range.from));
            }
            if range.from < next {
                let end = next.min(range.to);
                problems.push(format!("{place} lists the rows of offsets {}..{end} twice", range.from));
            }
            next = next.max(range.to);
        }
        let frontier = frontiers.get(&partition).copied().unwrap_or(0);
        if next < frontier {
            problems.push(format!("{place} has no listed rows for offsets {next}..{frontier}"));
        } else if next > frontier {
            problems.push(format!("{place} lists rows up to offset {next}, and its frontier is {frontier}"));
        }
    }
}

fn counts(segment: &Segment, problems: &mut Vec<String>) {
    let new = &segment.new;
    if new.kind != SegmentKind::Rows {
        return;
    }
    let offsets = new.coverage.ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.len()));
    if new.row_count.checked_add(new.dropped_rows) != Some(offsets) {
        problems.push(format!(
            "segment {} covers {offsets} offsets, and has {} rows and {} that are gone",
            new.segment, new.row_count, new.dropped_rows
        ));
    }
}

/// No two listed windows or members of one size cover the same generation at the same offset.
fn counted_twice(listed: &[Segment], every_generation: &[Meter], problems: &mut Vec<String>) {
    let mut places: BTreeMap<(&str, u32, Partition), Vec<Held>> = BTreeMap::new();
    for segment in listed.iter().filter(|segment| segment.new.kind != SegmentKind::Rows) {
        let (kind, size_s) = (segment.new.kind.name(), segment.new.coverage.window_size_s);
        for range in &segment.new.coverage.ranges {
            let place = (kind, size_s, (range.epoch, range.partition));
            places.entry(place).or_default().push((*range, segment));
        }
    }
    for ((kind, size_s, _), mut held) in places {
        held.sort_by_key(|(range, segment)| (*range, segment.new.segment));
        // Those that reach beyond where the next one begins.
        let mut open: Vec<Held> = Vec::new();
        for (range, segment) in held {
            open.retain(|(earlier, _)| earlier.to > range.from);
            for (_, earlier) in &open {
                if share(&earlier.new.coverage, &segment.new.coverage, every_generation) {
                    problems.push(format!(
                        "segments {} and {} hold {kind} of {size_s} s of one meter at the same offsets, \
                         from {range} on",
                        earlier.new.segment, segment.new.segment
                    ));
                }
            }
            open.push((range, segment));
        }
    }
}

/// Windows and members are written together, and tell what is counted only together.
fn pairs(listed: &[Segment], problems: &mut Vec<String>) {
    let of = |kind| listed.iter().filter(move |segment| segment.new.kind == kind);
    let mut members: Vec<&Segment> = of(SegmentKind::Members).collect();
    for windows in of(SegmentKind::Windows) {
        match members.iter().position(|other| other.new.coverage == windows.new.coverage) {
            Some(at) => drop(members.swap_remove(at)),
            None => {
                problems.push(format!("windows segment {} has no members beside it", windows.new.segment))
            }
        }
    }
    for members in members {
        problems.push(format!("members segment {} has no windows beside it", members.new.segment));
    }
}

async fn all(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<Vec<SqliteRow>, CatalogError> {
    sqlx::query(statement).fetch_all(connection).await.map_err(failed("look for contradictions"))
}
