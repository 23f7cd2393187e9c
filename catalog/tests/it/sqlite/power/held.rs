//! A journal that may hold what is not on the disk, and another program that reads it and so keeps it from
//! being begun anew: nothing is written on top, and it works again as soon as that program has ended.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, CatalogError};
use weir_files::simulated::{Effect, Operation};

use super::Machine;
use super::faults::{filled, goes_on, killed, long, rule};
use crate::place::{at, writer};

/// Nobody ends while this is waited for.
fn impatient() -> SqliteOptions {
    SqliteOptions { busy_timeout: Duration::from_millis(20), ..SqliteOptions::default() }
}

/// Looks at one state for as long as it lives.
async fn reader(machine: &Machine) -> SqliteConnection {
    let mut connection = machine.raw().await.unwrap();
    sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
    let writers: i64 =
        sqlx::query_scalar("SELECT count(*) FROM writers").fetch_one(&mut connection).await.unwrap();
    assert!(writers > 0);
    connection
}

#[tokio::test]
async fn a_start_beside_a_reader_builds_nothing_on_what_was_left() {
    for seed in 0..2 {
        let next = killed(seed).await;
        let other = reader(&next).await;
        match next.open_with(impatient()).await {
            Ok(catalog) => {
                goes_on(&next, &catalog, 1, "beside the reader").await;
                panic!("the journal was continued");
            }
            Err(CatalogError::Unusable(text)) => {
                assert!(text.contains("/catalog.db") && text.contains("end that program"), "{text}");
            }
            Err(error) => panic!("{error}"),
        }
        other.close().await.unwrap();
        let catalog = next.open_with(impatient()).await.unwrap();
        goes_on(&next, &catalog, 1, "after the reader").await;
    }
}

#[tokio::test]
async fn a_failed_commit_beside_a_reader_waits_for_it() {
    for seed in 0..2 {
        let machine = Machine::new(seed);
        filled(&machine).await.close().await;
        let catalog = machine.open_with(impatient()).await.unwrap();
        catalog.open_writer(writer(3), at(0)).await.unwrap();
        let other = reader(&machine).await;
        machine.disk.add_rule(rule(Operation::SyncFile, 0, 1, Effect::Fail(ErrorKind::Other)));
        catalog.commit(long(1, 1)).await.unwrap_err();
        machine.disk.clear_rules();
        for _ in 0..2 {
            let refused = catalog.open_writer(writer(4), at(0)).await;
            assert!(
                matches!(&refused, Err(CatalogError::Database { reason, .. }) if reason.contains("end that program")),
                "{refused:?}"
            );
            assert!(catalog.listing().await.unwrap().frontier(0, 0) >= 1, "reading goes on");
        }
        other.close().await.unwrap();
        goes_on(&machine, &catalog, 1, "after the reader").await;
    }
}

/// A backup reads the catalog only while it copies it: the server starts beside the rest of it.
#[tokio::test]
async fn a_copy_that_has_been_made_is_in_nobodys_way() {
    let next = killed(1).await;
    let backup =
        SqliteCatalog::open_read_only_on(next.storage(), Machine::path(), impatient()).await.unwrap();
    backup.copy_to(Path::new("/copy.db")).await.unwrap();
    backup.listing().await.unwrap();
    let catalog = next.open_with(impatient()).await.unwrap();
    goes_on(&next, &catalog, 1, "beside a backup").await;
    backup.close().await;
}
