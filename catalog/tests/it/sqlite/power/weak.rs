//! That the syncs matter: without any one of them the same histories come out wrong.

use std::time::Duration;

use sqlx::Connection as _;
use weir_files::simulated::{Effect, Operation, Rule};

use super::Machine;
use super::history::Calm;

fn rule(operation: Operation, path_contains: &str, effect: Effect) -> Rule {
    Rule { operation, path_contains: path_contains.to_owned(), skip: 0, times: u64::MAX, effect }
}

/// Whether some cut shows that a disk which keeps to these rules loses something.
async fn is_noticed(rules: &[Rule]) -> bool {
    for history in 0..12 {
        let calm = Calm::play(history, 24).await;
        for cut in 0..9 {
            if calm.cut(history * 1_000 + cut, rules).await.is_err() {
                return true;
            }
        }
    }
    false
}

#[tokio::test]
async fn a_journal_that_is_not_synced_loses_commits() {
    assert!(is_noticed(&[rule(Operation::SyncFile, "catalog.db-wal", Effect::Lie)]).await);
}

/// The first rule lets the journal's syncs pass the second.
#[tokio::test]
async fn a_file_that_is_not_synced_loses_what_was_moved_into_it() {
    let pass = rule(Operation::SyncFile, "catalog.db-", Effect::Slow(Duration::ZERO));
    assert!(is_noticed(&[pass, rule(Operation::SyncFile, "catalog.db", Effect::Lie)]).await);
}

#[tokio::test]
async fn a_folder_that_is_not_synced_loses_the_journal() {
    assert!(is_noticed(&[rule(Operation::SyncFolder, "/", Effect::Lie)]).await);
}

/// How many of some cuts lose a row that was committed under this setting.
async fn losses(synchronous: &'static str) -> usize {
    let mut lost = 0;
    for seed in 0..12 {
        let machine = Machine::new(seed);
        machine.open().await.unwrap();
        let mut connection = machine.raw().await.unwrap();
        sqlx::query(synchronous).execute(&mut connection).await.unwrap();
        sqlx::query("CREATE TABLE kept (row TEXT)").execute(&mut connection).await.unwrap();
        for _ in 0..3 {
            sqlx::query("INSERT INTO kept VALUES ('one')").execute(&mut connection).await.unwrap();
        }
        let after = machine.reboot(seed);
        let found = match after.raw().await {
            Ok(mut connection) => {
                sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connection).await
            }
            Err(error) => Err(error),
        };
        lost += usize::from(!matches!(found, Ok(3_i64)));
        drop(connection.close().await);
    }
    lost
}

#[tokio::test]
async fn only_a_full_sync_of_each_commit_keeps_it() {
    assert_eq!(losses("PRAGMA synchronous = FULL").await, 0);
    assert!(losses("PRAGMA synchronous = NORMAL").await > 0);
    assert!(losses("PRAGMA synchronous = OFF").await > 0);
}
