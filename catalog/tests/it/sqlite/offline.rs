//! What operators do with the file: looking into it, copying it, giving it a new incarnation.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{Catalog, CatalogError, Commit, CommitOutcome, Swap, Wide};
use weir_meter::Generation;
use weir_meter::segment::{Generations, NewSegment};

use super::SqlitePlace;
use crate::place::{
    CountingEntropy, Place, at, draft, flush, members, meter_id, namespace, range, ready, rows, segment,
    windows, writer,
};

async fn look(path: &Path) -> Result<SqliteCatalog, CatalogError> {
    SqliteCatalog::open_read_only(path, SqliteOptions::default()).await
}

async fn refusal(path: &Path) -> String {
    match look(path).await {
        Err(CatalogError::Unusable(text)) => text,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Two partitions with rows, and a pair of caches over ten offsets of one.
async fn filled(place: &SqlitePlace) -> Arc<dyn Catalog> {
    let catalog = ready(place).await;
    catalog.create_meter(&namespace("default"), draft("first"), meter_id(1), at(1)).await.unwrap();
    for (id, offsets) in [(1, range(0, 0, 10)), (2, range(0, 10, 20)), (3, range(1, 0, 10))] {
        let mut commit = flush(writer(1), id, offsets);
        if id == 1 {
            let caches = windows(11, &[offsets], 1, Generations::AllBut(Vec::new()));
            commit.segments.push(caches.clone());
            commit.segments.push(members(NewSegment { segment: segment(21), ..caches }));
        }
        assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
    }
    catalog
}

async fn assert_same(a: &dyn Catalog, b: &dyn Catalog) {
    assert_eq!(a.installation(), b.installation());
    let (one, other) = (a.listing().await.unwrap(), b.listing().await.unwrap());
    assert_eq!(one.segments, other.segments);
    assert_eq!(one.retired, other.retired);
    assert_eq!(one.frontiers, other.frontiers);
    assert_eq!(a.live_meters().await.unwrap(), b.live_meters().await.unwrap());
    assert_eq!(a.writers().await.unwrap(), b.writers().await.unwrap());
    assert_eq!(a.epochs().await.unwrap(), b.epochs().await.unwrap());
}

#[tokio::test]
async fn a_look_beside_the_server_sees_what_it_commits() {
    let place = SqlitePlace::new();
    let server = filled(&place).await;
    let reader = look(&place.path()).await.unwrap();
    assert_same(&reader, &*server).await;
    let commit = flush(writer(1), 4, range(1, 10, 15));
    assert_eq!(server.commit(commit).await.unwrap(), CommitOutcome::Committed);
    assert_same(&reader, &*server).await;
    let default = namespace("default");
    assert_eq!(reader.meter(&default, "first").await.unwrap().unwrap().id, meter_id(1));
    assert!(reader.meter_at(&default, "first", 0).await.unwrap().is_none());
    assert_eq!(reader.kept_segments().await.unwrap(), server.kept_segments().await.unwrap());
    reader.close().await;
    server.commit(flush(writer(1), 5, range(1, 15, 16))).await.unwrap();
}

#[tokio::test]
async fn a_look_changes_nothing() {
    let place = SqlitePlace::new();
    filled(&place).await.close().await;
    let before = fs::read(place.path()).unwrap();
    let reader = look(&place.path()).await.unwrap();
    let default = namespace("default");
    let name = "first";
    let swap = Swap { writer: writer(1), remove: vec![segment(11)], add: Vec::new(), now_us: at(9) };
    let generation = Generation { meter: meter_id(1), generation: 1 };
    for result in [
        reader.ensure_epoch("log", 1, 60, at(9)).await.map(drop),
        reader.open_writer(writer(2), at(9)).await,
        reader.close_writer(writer(1), at(9)).await,
        reader.commit(flush(writer(1), 4, range(1, 10, 11))).await.map(drop),
        reader.swap(swap).await.map(drop),
        reader.forget_segments(at(9)).await.map(drop),
        reader.create_meter(&default, draft("second"), meter_id(2), at(9)).await.map(drop),
        reader.update_meter(&default, name, Default::default(), at(9)).await.map(drop),
        reader.delete_meter(&default, name, at(9)).await.map(drop),
        reader.note_wide(generation, Wide { groups: 1, noticed_at_us: at(9) }).await,
        reader.raise_floor(&default, 0, at(9)).await.map(drop),
    ] {
        match result {
            Err(CatalogError::Unusable(text)) => assert!(text.contains("reading only"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(reader.integrity().await.is_empty());
    reader.close().await;
    assert_eq!(fs::read(place.path()).unwrap(), before);
    assert_eq!(place.open().await.listing().await.unwrap().segments.len(), 5);
}

#[tokio::test]
async fn only_a_catalog_of_this_version_is_looked_into() {
    let nothing = SqlitePlace::new();
    assert!(refusal(&nothing.path()).await.contains("started once"));
    assert!(!nothing.path().exists(), "and none is made");
    let empty = SqlitePlace::new();
    fs::write(empty.path(), "").unwrap();
    assert!(refusal(&empty.path()).await.contains("weir serve"));
    let theirs = SqlitePlace::new();
    theirs.execute("CREATE TABLE theirs (a)").await;
    assert!(refusal(&theirs.path()).await.contains("name another file"));

    let newer = SqlitePlace::new();
    newer.open().await.close().await;
    newer.execute("INSERT INTO migrations VALUES (4, 'to come', zeroblob(32), 0)").await;
    assert!(refusal(&newer.path()).await.contains("version 4"));
    let older = SqlitePlace::new();
    older.make_first_version().await;
    let text = refusal(&older.path()).await;
    assert!(text.contains("version 1") && text.contains("start the server once"), "{text}");
    older.open().await.close().await;
    look(&older.path()).await.unwrap();
}

#[tokio::test]
async fn a_copy_is_whole_and_private() {
    let place = SqlitePlace::new();
    let server = filled(&place).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("a copy's name.db");
    look(&place.path()).await.unwrap().copy_to(&target).await.unwrap();
    let found: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(found, ["a copy's name.db"], "one file and nothing beside it");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let copy = look(&target).await.unwrap();
    assert_same(&copy, &*server).await;
    assert!(copy.integrity().await.is_empty());
    copy.close().await;

    // The server's own handle makes one too, and it is opened as a catalog of its own.
    let second = SqlitePlace::new();
    place.try_open().await.unwrap().copy_to(&second.path()).await.unwrap();
    let opened = second.open().await;
    assert_same(&*opened, &*server).await;
    assert_eq!(opened.commit(flush(writer(1), 9, range(1, 10, 11))).await.unwrap(), CommitOutcome::Committed);
}

#[tokio::test]
async fn a_copy_takes_no_others_place() {
    let place = SqlitePlace::new();
    filled(&place).await.close().await;
    let catalog = look(&place.path()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let taken = folder.path().join("taken");
    fs::write(&taken, "precious").unwrap();
    let part = folder.path().join("begun.part");
    fs::write(&part, "half").unwrap();
    for (target, reason) in [(&taken, "exists already"), (&folder.path().join("begun"), "did not end")] {
        match catalog.copy_to(target).await {
            Err(CatalogError::Conflict(text)) => assert!(text.contains(reason), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fs::read(&taken).unwrap(), b"precious");
    assert_eq!(fs::read(&part).unwrap(), b"half");
    assert!(catalog.copy_to(&folder.path().join("nowhere").join("x")).await.is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "what failed leaves nothing");
}

/// Copies made while flushes go on: each is a state that was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment() {
    let place = SqlitePlace::new();
    let server = ready(&place).await;
    let folder = tempfile::tempdir().unwrap();
    let flushing = tokio::spawn(async move {
        for offset in 0..60_u64 {
            let both = [range(0, offset, offset + 1), range(1, offset, offset + 1)];
            let commit = Commit {
                moves: both.map(crate::place::step).to_vec(),
                segments: vec![rows(u128::from(offset) + 1, &both)],
                ..flush(writer(1), 0, both[0])
            };
            assert_eq!(server.commit(commit).await.unwrap(), CommitOutcome::Committed);
        }
    });
    let reader = look(&place.path()).await.unwrap();
    for number in 0..6 {
        let target = folder.path().join(format!("{number}"));
        reader.copy_to(&target).await.unwrap();
        let copy = look(&target).await.unwrap();
        assert_eq!(copy.integrity().await, Vec::<String>::new());
        let listing = copy.listing().await.unwrap();
        assert_eq!(listing.frontier(0, 0), listing.frontier(0, 1));
        assert_eq!(listing.segments.len() as u64, listing.frontier(0, 0));
    }
    flushing.await.unwrap();
}

#[tokio::test]
async fn a_restored_copy_takes_a_new_incarnation() {
    let place = SqlitePlace::new();
    let server = filled(&place).await;
    let restored = SqlitePlace::new();
    place.try_open().await.unwrap().copy_to(&restored.path()).await.unwrap();
    let old = server.installation().clone();
    // A source that has already given the numbers which the installation was made of.
    let entropy = Arc::new(CountingEntropy::default());
    for _ in 0..8 {
        weir_meter::environment::Entropy::random_u128(&*entropy);
    }
    let new = SqliteCatalog::renew_incarnation(&restored.path(), entropy).await.unwrap();
    assert_ne!(new, old.incarnation);
    let files: Vec<_> =
        fs::read_dir(restored.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(files, ["catalog.db"]);
    let opened = restored.open().await;
    let expected = weir_catalog::Installation { incarnation: new, ..old.clone() };
    assert_eq!(opened.installation(), &expected, "and nothing else has changed");
    opened.open_writer(writer(2), at(9)).await.unwrap();
    let known: Vec<_> = opened.writers().await.unwrap().iter().map(|w| w.incarnation).collect();
    assert_eq!(known.len(), 2);
    assert!(known.contains(&old.incarnation) && known.contains(&new));

    let nowhere = SqlitePlace::new();
    let entropy = Arc::new(CountingEntropy::default());
    let refused = SqliteCatalog::renew_incarnation(&nowhere.path(), entropy.clone()).await;
    assert!(matches!(refused, Err(CatalogError::Unusable(_))));
    assert!(!nowhere.path().exists());
    let theirs = SqlitePlace::new();
    theirs.execute("CREATE TABLE theirs (a)").await;
    let before = fs::read(theirs.path()).unwrap();
    assert!(SqliteCatalog::renew_incarnation(&theirs.path(), entropy).await.is_err());
    assert_eq!(fs::read(theirs.path()).unwrap(), before);
}

#[tokio::test]
async fn contradictions_are_named() {
    let one = "segment = x'00000000000000000000000000005001'";
    let two = "segment = x'00000000000000000000000000005002'";
    let caches = "segment = x'0000000000000000000000000000500b'";
    for (damage, sentences) in [
        ("SELECT 1".to_owned(), &[][..]),
        (
            format!("UPDATE segments SET delisted_at_us = 1 WHERE {two}"),
            &["epoch 0 partition 0 has no listed rows for offsets 10..20"][..],
        ),
        (
            format!("UPDATE segments SET delisted_at_us = 1 WHERE {one}"),
            &["no listed rows for offsets 0..10"],
        ),
        (
            format!("UPDATE coverage SET from_offset = 8 WHERE {two}"),
            &["lists the rows of offsets 8..10 twice", "covers 12 offsets, and has 10 rows and 0"],
        ),
        (
            "UPDATE frontiers SET next_offset = 19 WHERE partition = 0".to_owned(),
            &["lists rows up to offset 20, and its frontier is 19"],
        ),
        ("DELETE FROM frontiers WHERE partition = 1".to_owned(), &["up to offset 10, and its frontier is 0"]),
        (format!("UPDATE segments SET dropped_rows = 1 WHERE {one}"), &["10 rows and 1 that are gone"]),
        (format!("UPDATE segments SET delisted_at_us = 1 WHERE {caches}"), &["has no windows beside it"]),
        (
            format!("UPDATE coverage SET window_size_s = 3600 WHERE {caches}"),
            &["has no members beside it", "has no windows beside it"],
        ),
        (
            format!(
                "INSERT INTO segments SELECT x'ff000000000000000000000000000000', kind, level, writer, \
                 row_count, byte_count, time_min_us, time_max_us, location, checksum, listed_at_us, \
                 delisted_at_us, dropped_rows FROM segments WHERE {caches}; \
                 INSERT INTO coverage SELECT x'ff000000000000000000000000000000', epoch, partition, 9, 20, \
                 revision, fold_version, window_size_s, generations FROM coverage WHERE {caches}"
            ),
            &["hold windows of 60 s of one meter at the same offsets", "has no members beside it"],
        ),
        (
            format!("DELETE FROM coverage WHERE {two}"),
            &["covers no offsets", "no listed rows for offsets 10..20"],
        ),
        (
            "DELETE FROM writers".to_owned(),
            &[
                "table owners has 2 rows that refer to rows of table writers",
                "names writer 0000000000000000000000000000a001, which was never opened",
            ],
        ),
        (
            "UPDATE installation SET revision = 7".to_owned(),
            &["stands at 7, and 1 are recorded, the newest 1"],
        ),
        ("UPDATE coverage SET generations = 'x' WHERE revision = 1".to_owned(), &["damaged: generations"]),
    ] {
        let place = SqlitePlace::new();
        filled(&place).await.close().await;
        // By a handle that was opened before: a damaged file may refuse to be opened at all.
        let catalog = place.try_open().await.unwrap();
        place.execute(&format!("PRAGMA foreign_keys = OFF; {damage}")).await;
        let found = catalog.integrity().await;
        assert_eq!(found.is_empty(), sentences.is_empty(), "{damage}: {found:?}");
        for sentence in sentences {
            assert!(found.iter().any(|text| text.contains(sentence)), "{damage}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_torn_file_is_named() {
    let place = SqlitePlace::new();
    filled(&place).await.close().await;
    let mut bytes = fs::read(place.path()).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 64].fill(0xff);
    fs::write(place.path(), bytes).unwrap();
    let found = match look(&place.path()).await {
        Ok(catalog) => catalog.integrity().await,
        Err(error) => vec![error.to_string()],
    };
    assert!(found.iter().any(|text| text.contains("damaged")), "{found:?}");
}
