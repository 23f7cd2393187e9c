//! What only a look inside shows: a COMMIT that fails, and steps that are added later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::Connection as _;
use tempfile::TempDir;
use weir_meter::environment::{Clock, Entropy};
use weir_meter::segment::{Coverage, Generations, NewSegment, SegmentKind};
use weir_meter::{OffsetRange, SegmentId, WriterId};

use super::migrations::{MIGRATIONS, Migration, migrate};
use super::{SqliteCatalog, SqliteOptions};
use crate::{Catalog, CatalogError, Commit, CommitOutcome, FrontierMove};

struct Still;

impl Clock for Still {
    fn now_us(&self) -> i64 {
        7
    }
}

#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn random_u128(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1
    }
}

async fn open(folder: &TempDir) -> SqliteCatalog {
    let path = folder.path().join("catalog.db");
    SqliteCatalog::open(&path, SqliteOptions::default(), Arc::new(Still), Arc::new(Counting::default()))
        .await
        .unwrap()
}

fn flush(writer: u128, from: u64) -> Commit {
    let range = OffsetRange { epoch: 0, partition: 0, from, to: from + 1 };
    let rows = NewSegment {
        segment: SegmentId(u128::from(from) + writer * 1_000),
        kind: SegmentKind::Rows,
        level: 0,
        row_count: 1,
        dropped_rows: 0,
        byte_count: 1,
        coverage: Coverage {
            ranges: vec![range],
            revision: 0,
            fold_version: 1,
            window_size_s: 0,
            generations: Generations::AllBut(Vec::new()),
        },
        time_range_us: None,
        location: String::new(),
        checksum: 0,
    };
    let step = FrontierMove { range, record_time_max_us: 0, last_record_hash: 0 };
    Commit { writer: WriterId(writer), moves: vec![step], segments: vec![rows], now_us: 0 }
}

/// SQLite turns the COMMIT into a rollback and an error, as it does when a write to the file fails.
async fn break_next_commit(catalog: &SqliteCatalog) {
    let mut writing = catalog.database.writing().await.unwrap();
    let mut handle = writing.raw().lock_handle().await.unwrap();
    handle.set_commit_hook(|| false);
}

#[tokio::test]
async fn a_failed_commit_is_unknown_until_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(&folder).await;
    catalog.ensure_epoch("log", 1, 60, 0).await.unwrap();
    catalog.open_writer(WriterId(1), 0).await.unwrap();
    catalog.commit(flush(1, 0)).await.unwrap();

    break_next_commit(&catalog).await;
    let failed = catalog.commit(flush(1, 1)).await;
    assert!(matches!(failed, Err(CatalogError::Database { context: "commit", .. })), "{failed:?}");
    let listing = catalog.listing().await.unwrap();
    assert_eq!((listing.frontier(0, 0), listing.segments.len()), (1, 1));

    // What the caller does: close the writer, look, take a new one.
    catalog.close_writer(WriterId(1), 1).await.unwrap();
    catalog.open_writer(WriterId(2), 1).await.unwrap();
    assert_eq!(catalog.commit(flush(1, 1)).await.unwrap(), CommitOutcome::WriterClosed);
    assert_eq!(catalog.commit(flush(2, 1)).await.unwrap(), CommitOutcome::Committed);
    assert_eq!(catalog.listing().await.unwrap().frontier(0, 0), 2);

    break_next_commit(&catalog).await;
    assert!(catalog.open_writer(WriterId(3), 1).await.is_err());
    catalog.open_writer(WriterId(3), 1).await.unwrap();
}

/// A mark on the writing connection, which a new one does not have.
async fn mark(catalog: &SqliteCatalog) {
    let mut writing = catalog.database.writing().await.unwrap();
    sqlx::query("PRAGMA cache_size = 77").execute(writing.raw()).await.unwrap();
}

async fn is_marked(catalog: &SqliteCatalog) -> bool {
    let mut writing = catalog.database.writing().await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA cache_size").fetch_one(writing.raw()).await.unwrap();
    pages == 77
}

#[tokio::test]
async fn a_refusal_costs_no_connection_and_an_error_of_the_database_does() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(&folder).await;
    catalog.ensure_epoch("log", 1, 60, 0).await.unwrap();
    catalog.open_writer(WriterId(1), 0).await.unwrap();
    mark(&catalog).await;
    assert!(matches!(catalog.open_writer(WriterId(1), 0).await, Err(CatalogError::Conflict(_))));
    assert!(matches!(catalog.commit(flush(1, 5)).await.unwrap(), CommitOutcome::NotOwner { .. }));
    catalog.close_writer(WriterId(1), 1).await.unwrap();
    assert_eq!(catalog.commit(flush(1, 0)).await.unwrap(), CommitOutcome::WriterClosed);
    assert!(is_marked(&catalog).await);

    // What SQLite does by itself when the disk fails.
    let mut writing = catalog.database.writing().await.unwrap();
    let mut tx = writing.begin().await.unwrap();
    sqlx::query("ROLLBACK").execute(&mut *tx).await.unwrap();
    drop(tx);
    drop(writing);
    catalog.open_writer(WriterId(2), 1).await.unwrap();
    assert!(!is_marked(&catalog).await);
    assert_eq!(catalog.commit(flush(2, 0)).await.unwrap(), CommitOutcome::Committed);

    // A connection on which nothing can begin.
    let mut writing = catalog.database.writing().await.unwrap();
    sqlx::query("BEGIN").execute(writing.raw()).await.unwrap();
    drop(writing);
    catalog.open_writer(WriterId(3), 1).await.unwrap_err();
    catalog.open_writer(WriterId(3), 1).await.unwrap();
}

/// The file says otherwise than memory after a COMMIT that failed for the caller only.
#[tokio::test]
async fn a_commit_that_took_effect_after_all_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(&folder).await;
    catalog.ensure_epoch("log", 1, 60, 0).await.unwrap();
    catalog.open_writer(WriterId(1), 0).await.unwrap();
    let twin = open(&folder).await;
    let writing = catalog.database.writing().await.unwrap();
    // Another connection has done what this one's COMMIT is said to have failed at.
    let (snapshot, doubt) = (writing.snapshot(), sqlx::Error::WorkerCrashed);
    assert!(writing.settle(Err(doubt), snapshot).await.is_err());
    twin.commit(flush(1, 0)).await.unwrap();
    let listing = catalog.listing().await.unwrap();
    assert_eq!((listing.frontier(0, 0), listing.segments.len()), (1, 1));
}

#[tokio::test]
async fn later_steps_run_once_and_all_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(&folder).await;
    let mut connection = catalog.database.connect().await.unwrap();
    let good = Migration { name: "good", sql: "CREATE TABLE later (a INTEGER) STRICT" };
    let bad = Migration { name: "bad", sql: "CREATE TABLE never (a INTEGER) STRICT; SELECT nothing" };
    let (mut with_bad, mut with_good) = (MIGRATIONS.to_vec(), MIGRATIONS.to_vec());
    with_bad.extend([good, bad]);
    with_good.push(good);

    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert!(migrate(&mut tx, &with_bad, "catalog.db", 1).await.is_err());
    drop(tx);
    for _ in 0..2 {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        assert!(!migrate(&mut tx, &with_good, "catalog.db", 1).await.unwrap());
        tx.commit().await.unwrap();
    }
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name IN ('later', 'never')")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(tables, 1);
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let refused = migrate(&mut tx, MIGRATIONS, "catalog.db", 1).await;
    assert!(matches!(refused, Err(CatalogError::Unusable(text)) if text.contains("version 4")));
}
