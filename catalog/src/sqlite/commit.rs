//! The compare-and-set that makes counting exactly once. Everything a flush means happens in one
//! transaction: the writer is still open, every frontier stands where the flush began, what it brings
//! overlaps nothing. What was written is read back before COMMIT and compared with what was asked.

use sqlx::{Sqlite, Transaction};
use weir_meter::{OffsetRange, WriterId};

use super::columns::{blob, damaged, id, number, signed};
use super::connection::{Database, failed};
use super::overlap::Where;
use super::snapshot::{Snapshot, read_frontier, revision};
use super::{listing, times};
use crate::check::check_commit;
use crate::{CatalogError, Commit, CommitOutcome, Frontier, FrontierMove};

/// All of a flush, or nothing of it.
pub(super) async fn commit(database: &Database, mut commit: Commit) -> Result<CommitOutcome, CatalogError> {
    check_commit(&commit)?;
    // As they will be read back after a restart.
    commit.segments.iter_mut().for_each(|segment| segment.coverage.ranges.sort());

    let mut writing = database.writing().await?;
    let before = writing.snapshot();
    let mut tx = writing.begin().await?;
    // Every return before COMMIT drops the transaction, which rolls it back.
    if !listing::is_open(&mut tx, commit.writer).await? {
        return Ok(CommitOutcome::WriterClosed);
    }
    let revision = revision(&mut tx).await?;
    for step in &commit.moves {
        check_place(&mut tx, step, &before).await?;
        if let Some(frontier) = move_frontier(&mut tx, step).await? {
            return Ok(CommitOutcome::NotOwner { range: step.range, frontier });
        }
        record_owner(&mut tx, step.range, commit.writer).await?;
        times::record(&mut tx, step.range, revision, commit.now_us).await?;
    }
    let overlap =
        listing::list_all(&mut tx, &commit.segments, Where::AtTheEnd, revision, commit.writer, commit.now_us)
            .await?;
    if let Some(listing::Overlap { segment, listed }) = overlap {
        return Ok(CommitOutcome::Overlap { segment, listed });
    }
    let moved = read_back(&mut tx, &commit).await?;
    let committed = tx.commit().await;
    let listed = listing::as_listed(commit.segments, commit.writer, commit.now_us);
    writing.settle(committed, before.with_flush(moved, listed)).await?;
    Ok(CommitOutcome::Committed)
}

/// The partition exists, and record times do not go back.
async fn check_place(
    tx: &mut Transaction<'_, Sqlite>,
    step: &FrontierMove,
    before: &Snapshot,
) -> Result<(), CatalogError> {
    let range = step.range;
    let row = sqlx::query("SELECT partitions FROM epochs WHERE epoch = ?")
        .bind(range.epoch)
        .fetch_optional(&mut **tx)
        .await
        .map_err(failed("read an epoch"))?;
    let partitions: u32 = match &row {
        Some(row) => number(row, "partitions")?,
        None => {
            return Err(CatalogError::Conflict(format!("epoch {} was never opened: {range}", range.epoch)));
        }
    };
    if range.partition >= partitions {
        return Err(CatalogError::Conflict(format!(
            "epoch {} has {partitions} partitions, numbered from 0: {range}",
            range.epoch
        )));
    }
    let last =
        before.listing.frontiers.iter().find(|f| {
            f.epoch == range.epoch && f.partition == range.partition && f.next_offset == range.from
        });
    match last {
        Some(last) if last.record_time_max_us > step.record_time_max_us => {
            Err(CatalogError::Conflict(format!(
                "the greatest record time goes back from {} to {} in {range}",
                last.record_time_max_us, step.record_time_max_us
            )))
        }
        _ => Ok(()),
    }
}

/// None once the frontier has moved; where it stands if that is not where the flush began.
async fn move_frontier(
    tx: &mut Transaction<'_, Sqlite>,
    step: &FrontierMove,
) -> Result<Option<u64>, CatalogError> {
    let range = step.range;
    // A partition that never committed stands at 0 without a row. The row made here does not
    // outlive the transaction unless the frontier moves.
    sqlx::query(
        "INSERT INTO frontiers (epoch, partition, next_offset, max_record_time_us, last_record_hash)
         VALUES (?, ?, 0, ?, ?) ON CONFLICT (epoch, partition) DO NOTHING",
    )
    .bind(range.epoch)
    .bind(range.partition)
    .bind(step.record_time_max_us)
    .bind(blob(step.last_record_hash))
    .execute(&mut **tx)
    .await
    .map_err(failed("make a frontier"))?;
    let moved = sqlx::query(
        "UPDATE frontiers SET next_offset = ?, max_record_time_us = ?, last_record_hash = ?
         WHERE epoch = ? AND partition = ? AND next_offset = ?",
    )
    .bind(signed(range.to, "an offset")?)
    .bind(step.record_time_max_us)
    .bind(blob(step.last_record_hash))
    .bind(range.epoch)
    .bind(range.partition)
    .bind(signed(range.from, "an offset")?)
    .execute(&mut **tx)
    .await
    .map_err(failed("move a frontier"))?;
    match moved.rows_affected() {
        1 => Ok(None),
        0 => {
            let row = sqlx::query("SELECT next_offset FROM frontiers WHERE epoch = ? AND partition = ?")
                .bind(range.epoch)
                .bind(range.partition)
                .fetch_one(&mut **tx)
                .await
                .map_err(failed("read a frontier"))?;
            number(&row, "next_offset").map(Some)
        }
        rows => Err(damaged("frontiers", &format!("{rows} rows for one partition: {range}"))),
    }
}

/// From the first offset of the flush on this writer's rows count, if another's did before.
async fn record_owner(
    tx: &mut Transaction<'_, Sqlite>,
    range: OffsetRange,
    writer: WriterId,
) -> Result<(), CatalogError> {
    let owner = sqlx::query(
        "SELECT writer FROM owners WHERE epoch = ? AND partition = ? ORDER BY from_offset DESC LIMIT 1",
    )
    .bind(range.epoch)
    .bind(range.partition)
    .fetch_optional(&mut **tx)
    .await
    .map_err(failed("read an owner"))?;
    if let Some(row) = &owner
        && id(row, "writer")? == writer.0
    {
        return Ok(());
    }
    sqlx::query("INSERT INTO owners (epoch, partition, from_offset, writer) VALUES (?, ?, ?, ?)")
        .bind(range.epoch)
        .bind(range.partition)
        .bind(signed(range.from, "an offset")?)
        .bind(blob(writer.0))
        .execute(&mut **tx)
        .await
        .map_err(failed("record an owner"))?;
    Ok(())
}

/// The other half of the checks before writing: what the tables say now is what the flush asked for.
async fn read_back(tx: &mut Transaction<'_, Sqlite>, commit: &Commit) -> Result<Vec<Frontier>, CatalogError> {
    let mut moved = Vec::with_capacity(commit.moves.len());
    for step in &commit.moves {
        let row = sqlx::query("SELECT * FROM frontiers WHERE epoch = ? AND partition = ?")
            .bind(step.range.epoch)
            .bind(step.range.partition)
            .fetch_one(&mut **tx)
            .await
            .map_err(failed("read a frontier back"))?;
        let asked = Frontier {
            epoch: step.range.epoch,
            partition: step.range.partition,
            next_offset: step.range.to,
            record_time_max_us: step.record_time_max_us,
            last_record_hash: step.last_record_hash,
        };
        let stored = read_frontier(&row)?;
        if stored != asked {
            return Err(damaged("frontiers", &format!("wrote {asked:?} and read {stored:?}")));
        }
        moved.push(stored);
    }
    listing::read_back(tx, &commit.segments).await?;
    Ok(moved)
}
