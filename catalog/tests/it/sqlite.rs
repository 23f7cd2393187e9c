//! The suite against SQLite, and what only concerns its file.

mod format;
mod offline;
mod power;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use proptest::test_runner::{Config, TestRunner};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{
    ApiKey, Catalog, CatalogError, CommitOutcome, Grant, KeyId, KeyQuery, KeysOf, MeterUpdate, NewKey, Roll,
};

use crate::place::{
    CountingEntropy, FixedClock, Place, at, draft, flush, key_id, meter_id, namespace, new_key, range, ready,
    secret_hash, writer,
};
use crate::suite::{for_each_rule, model};

for_each_rule!(SqlitePlace::new());

#[derive(Debug)]
struct SqlitePlace {
    folder: TempDir,
    options: SqliteOptions,
}

impl SqlitePlace {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), options: SqliteOptions::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    async fn try_open(&self) -> Result<SqliteCatalog, CatalogError> {
        let entropy = Arc::new(CountingEntropy::default());
        SqliteCatalog::open(&self.path(), self.options.clone(), Arc::new(FixedClock), entropy).await
    }

    /// The sentence with which opening is refused.
    async fn refusal(&self) -> String {
        match self.try_open().await {
            Err(CatalogError::Unusable(text)) => text,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    async fn raw(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path()).create_if_missing(true);
        options.connect().await.unwrap()
    }

    async fn execute(&self, sql: &str) {
        let mut connection = self.raw().await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The file as the first version of the tables left it.
    async fn make_first_version(&self) {
        self.open().await.close().await;
        self.execute(
            "DELETE FROM migrations WHERE version > 1;
             DROP TABLE floors; DROP TABLE wide_meters; DROP TABLE api_keys; DROP TABLE api_key_changes;
             DROP INDEX segments_listed; DROP INDEX segments_delisted; DROP INDEX meters_by_slug;
             ALTER TABLE segments DROP COLUMN dropped_rows",
        )
        .await;
    }

    async fn rows(&self, sql: &str) -> Vec<(i64, i64, i64, i64)> {
        let mut connection = self.raw().await;
        let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows
    }
}

#[async_trait]
impl Place for SqlitePlace {
    async fn open(&self) -> Arc<dyn Catalog> {
        Arc::new(self.try_open().await.unwrap())
    }
}

#[test]
fn histories_agree_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    runner
        .run(&model::acts(), |acts| {
            runtime.block_on(model::play(&SqlitePlace::new(), acts));
            Ok(())
        })
        .unwrap();
}

/// The files as a killed process leaves them: copied while the catalog is open.
#[tokio::test]
async fn a_killed_process_loses_nothing() {
    let place = SqlitePlace::new();
    let catalog = ready(&place).await;
    for offset in 0..5 {
        let commit = flush(writer(1), u128::from(offset), range(0, offset, offset + 1));
        assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
        let copy = SqlitePlace::new();
        for name in ["catalog.db", "catalog.db-wal"] {
            fs::copy(place.folder.path().join(name), copy.folder.path().join(name)).unwrap();
        }
        let reopened = copy.open().await;
        assert_eq!(reopened.installation(), catalog.installation());
        let (found, expected) = (reopened.listing().await.unwrap(), catalog.listing().await.unwrap());
        assert_eq!(found.segments, expected.segments);
        assert_eq!(found.frontiers, expected.frontiers);
    }
}

#[tokio::test]
async fn a_closed_catalog_leaves_no_journal_and_answers_no_more() {
    let place = SqlitePlace::new();
    let catalog = ready(&place).await;
    catalog.close().await;
    catalog.close().await;
    let mut files: Vec<_> =
        fs::read_dir(place.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["catalog.commits", "catalog.db"]);
    assert!(matches!(catalog.open_writer(writer(2), at(0)).await, Err(CatalogError::Unusable(_))));
    assert!(matches!(catalog.writers().await, Err(CatalogError::Unusable(_))));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_keys() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = SqlitePlace::new();
    let _catalog = ready(&place).await;
    for file in fs::read_dir(place.folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn opening_again_changes_no_table() {
    let place = SqlitePlace::new();
    let schema = "SELECT rootpage, length(sql), 0, 0 FROM sqlite_master ORDER BY 1, 2";
    let versions = "SELECT version, length(checksum), applied_at_us, 0 FROM migrations";
    place.open().await.close().await;
    let (tables, applied) = (place.rows(schema).await, place.rows(versions).await);
    assert_eq!(applied, [(1, 32, at(0), 0), (2, 32, at(0), 0), (3, 32, at(0), 0)]);
    place.open().await.close().await;
    assert_eq!((place.rows(schema).await, place.rows(versions).await), (tables, applied));
}

#[tokio::test]
async fn a_catalog_of_the_first_version_goes_on() {
    let place = SqlitePlace::new();
    place.make_first_version().await;
    let first = "INSERT INTO epochs VALUES (0, 'log', 3, 60, 0, NULL);
         INSERT INTO writers VALUES (x'0000000000000000000000000000a001', zeroblob(16), 0, NULL);
         INSERT INTO frontiers VALUES (0, 0, 5, 0, zeroblob(16));
         INSERT INTO segments VALUES (x'00000000000000000000000000005001', 'rows', 0,
             x'0000000000000000000000000000a001', 5, 1, NULL, NULL, 'x', 0, 7, NULL);
         INSERT INTO coverage VALUES (x'00000000000000000000000000005001', 0, 0, 0, 5, 0, 1, 0,
             '{\"mode\":\"all_but\",\"list\":[]}')";
    place.execute(first).await;
    let catalog = place.open().await;
    let listing = catalog.listing().await.unwrap();
    assert_eq!((listing.frontier(0, 0), listing.segments[0].new.dropped_rows), (5, 0));
    assert_eq!(catalog.commit(flush(writer(1), 2, range(0, 5, 9))).await.unwrap(), CommitOutcome::Committed);
    assert!(place.try_open().await.unwrap().integrity().await.is_empty());
}

#[tokio::test]
async fn a_schema_of_other_steps_is_refused() {
    let place = SqlitePlace::new();
    place.open().await.close().await;
    place.execute("UPDATE migrations SET checksum = zeroblob(32)").await;
    let text = place.refusal().await;
    assert!(text.contains("other steps"), "{text}");
}

#[tokio::test]
async fn foreign_files_are_refused_and_left_alone() {
    let text = SqlitePlace::new();
    fs::write(text.path(), "this is not a database, but it is longer than a hundred bytes: ".repeat(3))
        .unwrap();
    let database = SqlitePlace::new();
    database.execute("CREATE TABLE theirs (a)").await;
    let claimed = SqlitePlace::new();
    claimed.execute("PRAGMA application_id = 7; CREATE TABLE theirs (a)").await;
    for place in [text, database, claimed] {
        let before = fs::read(place.path()).unwrap();
        let refusal = place.refusal().await;
        assert!(refusal.contains("name another file"), "{refusal}");
        assert_eq!(fs::read(place.path()).unwrap(), before);
    }
    let nowhere = SqlitePlace::new();
    fs::remove_dir(nowhere.folder.path()).unwrap();
    assert!(nowhere.refusal().await.contains("cannot be opened"));
}

#[tokio::test]
async fn a_process_killed_while_making_the_file_is_no_harm() {
    let place = SqlitePlace::new();
    fs::write(place.path(), "").unwrap();
    let catalog = ready(&place).await;
    assert_eq!(catalog.listing().await.unwrap().revision, 0);
}

#[tokio::test]
async fn a_lost_installation_row_is_refused() {
    let place = SqlitePlace::new();
    place.open().await.close().await;
    place.execute("DELETE FROM installation").await;
    assert!(place.refusal().await.contains("every key"));
}

#[tokio::test]
async fn damage_is_named_at_open() {
    let place = SqlitePlace::new();
    let catalog = ready(&place).await;
    catalog.commit(flush(writer(1), 1, range(0, 0, 5))).await.unwrap();
    catalog.close().await;
    place.execute("UPDATE coverage SET generations = '{\"mode\":\"some\",\"list\":[]}'").await;
    let text = place.refusal().await;
    assert!(text.contains("damaged: generations"), "{text}");
}

#[tokio::test]
async fn owners_and_times_say_who_and_when() {
    let place = SqlitePlace::new();
    let catalog = ready(&place).await;
    for number in 2..4 {
        catalog.open_writer(writer(number), at(0)).await.unwrap();
    }
    // Writers 1, 1, 2, 1; times 10, 10.9, 8, and 12 under revision 1.
    let commits = [(1, 0, 10_000_000), (1, 2, 10_900_000), (2, 4, 8_000_000), (1, 6, 12_000_000)];
    for (who, from, now_us) in commits {
        if now_us == 12_000_000 {
            let default = namespace("default");
            catalog.create_meter(&default, draft("first"), meter_id(1), now_us).await.unwrap();
        }
        let mut commit = flush(writer(who), from.into(), range(1, from, from + 2));
        commit.now_us = now_us;
        assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
    }
    catalog.close().await;
    let times = "SELECT partition, second, next_offset, revision FROM frontier_times ORDER BY second";
    assert_eq!(place.rows(times).await, [(1, 8, 6, 0), (1, 10, 4, 0), (1, 12, 8, 1)]);
    let owners = "SELECT partition, from_offset, writer = x'0000000000000000000000000000a001',
                      writer = x'0000000000000000000000000000a002' FROM owners ORDER BY from_offset";
    assert_eq!(place.rows(owners).await, [(1, 0, 1, 0), (1, 4, 0, 1), (1, 6, 1, 0)]);
    let revisions =
        "SELECT revision, at_us, namespace = 'default', what LIKE 'meter % created' FROM revisions";
    assert_eq!(place.rows(revisions).await, [(1, 12_000_000, 1, 1)]);
}

/// Two days of seconds, before that one row for each hour: the one that got furthest.
#[tokio::test]
async fn old_times_are_thinned_to_hours() {
    const HOUR_S: i64 = 3_600;
    let place = SqlitePlace::new();
    let catalog = ready(&place).await;
    let mut next = [0_u64; 2];
    let mut at_second = async |partition: u32, second: i64| {
        let from = next[partition as usize];
        next[partition as usize] += 1;
        let mut commit = flush(
            writer(1),
            1 + u128::from(partition) * 1_000 + u128::from(from),
            range(partition, from, from + 1),
        );
        commit.now_us = second * 1_000_000;
        assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
    };
    let begin = 100 * HOUR_S;
    // The clock is set back in the first hour: the second 300 got furthest.
    for second in [10, 3_599, 300] {
        at_second(0, begin + second).await;
    }
    for second in [0, 1, 2, HOUR_S - 1] {
        at_second(0, begin + HOUR_S + second).await;
        at_second(1, begin + HOUR_S + second).await;
    }
    let times = async |partition: u32| -> Vec<(i64, i64)> {
        let sql = format!(
            "SELECT second, next_offset, 0, 0 FROM frontier_times WHERE partition = {partition} ORDER BY second"
        );
        place.rows(&sql).await.into_iter().map(|row| (row.0 - begin, row.1)).collect()
    };
    // An hour later than two days after the first one: that hour is thinned, the next is not yet.
    at_second(0, begin + 49 * HOUR_S + 5).await;
    let second_hour = [(HOUR_S, 4), (HOUR_S + 1, 5), (HOUR_S + 2, 6), (2 * HOUR_S - 1, 7)];
    let mut expected = vec![(300, 3)];
    expected.extend(second_hour);
    expected.push((49 * HOUR_S + 5, 8));
    assert_eq!(times(0).await, expected);
    assert_eq!(times(1).await.len(), 4, "each partition in its own time");
    // Later in the same hour nothing is looked at; in the next one it is.
    at_second(0, begin + 49 * HOUR_S + 6).await;
    assert_eq!(times(0).await.len(), 7);
    at_second(0, begin + 50 * HOUR_S).await;
    at_second(1, begin + 500 * HOUR_S).await;
    let expected =
        [(300, 3), (2 * HOUR_S - 1, 7), (49 * HOUR_S + 5, 8), (49 * HOUR_S + 6, 9), (50 * HOUR_S, 10)];
    assert_eq!(times(0).await, expected);
    assert_eq!(times(1).await, [(2 * HOUR_S - 1, 4), (500 * HOUR_S, 5)]);
}

#[tokio::test]
async fn a_namespace_has_room_for_so_many_meters() {
    let mut place = SqlitePlace::new();
    place.options.living_meters_max = 2;
    place.options.meters_ever_max = 3;
    let catalog = place.open().await;
    let (full, other) = (namespace("full"), namespace("other"));
    let create = async |namespace, number: u128| {
        let slug = format!("m{number}");
        catalog
            .create_meter(namespace, draft(&slug), meter_id(number), at(1))
            .await
            .map_err(|e| e.to_string())
    };
    create(&full, 1).await.unwrap();
    create(&full, 2).await.unwrap();
    let text = create(&full, 3).await.unwrap_err();
    assert!(text.contains("has 2 meters") && text.contains("delete one"), "{text}");
    create(&other, 4).await.unwrap();
    catalog.delete_meter(&full, "m1", at(2)).await.unwrap();
    create(&full, 5).await.unwrap();
    catalog.delete_meter(&full, "m2", at(3)).await.unwrap();
    let text = create(&full, 6).await.unwrap_err();
    assert!(text.contains("deleted ones included"), "{text}");
    create(&other, 7).await.unwrap();
    // A change of the group-by takes room like a meter; one of the words takes none.
    let regroup = async |namespace| {
        catalog.update_meter(namespace, "m4", MeterUpdate::default(), at(4)).await.map_err(|e| e.to_string())
    };
    assert_eq!(regroup(&other).await.unwrap().unwrap().generation, 2);
    let words = MeterUpdate { name: Some("New".to_owned()), ..MeterUpdate::default() };
    catalog.update_meter(&other, "m4", words, at(4)).await.unwrap().unwrap();
    let grouped = MeterUpdate { group_by: draft("any").group_by, ..MeterUpdate::default() };
    let refused = catalog.update_meter(&other, "m4", grouped, at(5)).await.map_err(|e| e.to_string());
    assert!(refused.unwrap_err().contains("each change of a group-by"));
    assert_eq!(catalog.meter(&other, "m4").await.unwrap().unwrap().generation, 2);
}

/// Neither can a client fill the table by making and revoking, nor does an end keep others from their room.
#[tokio::test]
async fn keys_are_bounded_and_ended_ones_are_forgotten() {
    let mut place = SqlitePlace::new();
    place.options = SqliteOptions { keys_max: 2, keys_total_max: 6, ..SqliteOptions::default() };
    let catalog = place.try_open().await.unwrap();
    let ours = KeysOf::Namespace(namespace("ours"));
    let full = |made: Result<ApiKey, CatalogError>| match made {
        Err(CatalogError::Full { setting, detail }) => (setting, detail),
        other => panic!("{other:?}"),
    };
    catalog.keys().create(new_key(1, "ours"), at(1)).await.unwrap();
    catalog.keys().create(new_key(2, "ours"), at(2)).await.unwrap();
    let (setting, detail) = full(catalog.keys().create(new_key(3, "ours"), at(3)).await);
    assert!(setting == "keys_max" && detail.contains("`ours` has 2 keys"), "{detail}");
    let overlapping = Roll { new_id: key_id(3), new_secret_hash: secret_hash(3), old_expires_us: at(60) };
    let rolled = catalog.keys().roll(&ours, &key_id(1), overlapping.clone(), at(3)).await;
    assert_eq!(full(rolled.map(Option::unwrap)).0, "keys_max");
    let at_once = Roll { old_expires_us: at(3), ..overlapping };
    catalog.keys().roll(&ours, &key_id(1), at_once, at(3)).await.unwrap().unwrap();
    for number in 4..9 {
        catalog.keys().revoke(&ours, &key_id(number - 1), at(i64::from(number))).await.unwrap();
        catalog.keys().create(new_key(number, "ours"), at(i64::from(number))).await.unwrap();
    }
    let query = KeyQuery { of: ours, ended: true, now_us: at(20), offset: 0, limit: 100 };
    let kept: Vec<KeyId> = catalog.keys().page(&query).await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(kept, [8, 7, 6, 2].map(key_id), "the two usable ones and the two that ended last");
    catalog.keys().create(new_key(10, "theirs"), at(20)).await.unwrap();
    catalog.keys().create(new_key(11, "others"), at(20)).await.unwrap();
    let operator = NewKey { grant: Grant::Operator, ..new_key(12, "ours") };
    let (setting, detail) = full(catalog.keys().create(operator, at(20)).await);
    assert!(setting == "keys_total_max" && detail.contains("6 keys"), "{detail}");
    assert_eq!(catalog.integrity().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_a_problem() {
    let place = SqlitePlace::new();
    let catalog = place.try_open().await.unwrap();
    catalog.keys().create(new_key(1, "ours"), at(1)).await.unwrap();
    catalog.close().await;
    place.execute("UPDATE api_keys SET scopes = 'ingest everything'").await;
    let catalog = place.try_open().await.unwrap();
    assert!(matches!(catalog.keys().table(None).await, Err(CatalogError::Unusable(_))));
    let problems = catalog.integrity().await;
    assert!(problems.len() == 1 && problems[0].contains("`everything`"), "{problems:?}");
}
