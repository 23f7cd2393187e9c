//! The format on disk: a file of each version is kept, and what a newer program has written is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use sqlx::Connection as _;
use weir_catalog::sqlite::{SqliteCatalog, SqliteOptions};
use weir_catalog::{
    Catalog, CatalogError, CommitOutcome, Grant, KeyQuery, KeysOf, MeterUpdate, NewKey, Roll, Swap, Wide,
};
use weir_files::simulated::SimulatedDisk;
use weir_meter::Generation;
use weir_meter::segment::{Generations, NewSegment};

use super::SqlitePlace;
use super::power::Machine;
use crate::place::{
    Place, at, draft, flush, key_id, members, meter_id, namespace, new_key, range, rows, secret_hash,
    segment, windows, writer,
};

/// Something in each table.
async fn tell(catalog: &dyn Catalog) {
    let default = namespace("default");
    catalog.ensure_epoch("log", 2, 35 * 86_400, at(0)).await.unwrap();
    for number in 1..4 {
        catalog.open_writer(writer(number), at(1)).await.unwrap();
        catalog.create_meter(&default, draft(&format!("m{number}")), meter_id(number), at(2)).await.unwrap();
    }
    catalog.close_writer(writer(3), at(3)).await.unwrap();
    let group_by = BTreeMap::from([("region".to_owned(), "$.region".to_owned())]);
    let update = MeterUpdate { name: Some("Zweiter".to_owned()), group_by, ..MeterUpdate::default() };
    catalog.update_meter(&default, "m2", update, at(4)).await.unwrap();
    catalog.delete_meter(&default, "m3", at(5)).await.unwrap();
    let generation = Generation { meter: meter_id(1), generation: 1 };
    catalog.note_wide(generation, Wide { groups: 100_000, noticed_at_us: at(6) }).await.unwrap();
    catalog.raise_floor(&default, 7_200_000_000, at(7)).await.unwrap();
    for (id, offsets) in [(1, range(0, 0, 10)), (2, range(0, 10, 20)), (3, range(1, 0, 10))] {
        let mut commit = flush(writer(1), id, offsets);
        if id == 1 {
            let caches = windows(11, &[offsets], 1, Generations::AllBut(Vec::new()));
            commit.segments.push(caches.clone());
            commit.segments.push(members(NewSegment { segment: segment(21), ..caches }));
        }
        assert_eq!(catalog.commit(commit).await.unwrap(), CommitOutcome::Committed);
    }
    let mut merged = rows(4, &[range(0, 0, 20)]);
    (merged.row_count, merged.dropped_rows) = (17, 3);
    let remove = [1, 2, 11, 21].map(segment).to_vec();
    catalog.swap(Swap { writer: writer(2), remove, add: vec![merged], now_us: at(20) }).await.unwrap();
}

/// Keys of every kind.
async fn tell_of_keys(catalog: &dyn Catalog) {
    for number in 1..4 {
        catalog.keys().create(new_key(number, "default"), at(21)).await.unwrap();
    }
    let operator = NewKey { grant: Grant::Operator, expires_us: None, ..new_key(4, "default") };
    catalog.keys().create(operator, at(22)).await.unwrap();
    let roll = Roll { new_id: key_id(5), new_secret_hash: secret_hash(5), old_expires_us: at(24) };
    catalog.keys().roll(&KeysOf::Everyone, &key_id(1), roll, at(23)).await.unwrap().unwrap();
    assert!(catalog.keys().revoke(&KeysOf::Everyone, &key_id(2), at(24)).await.unwrap());
}

/// The version of the tables that this program writes.
const NEWEST: usize = 3;

fn kept(version: usize) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/sqlite/format/version-{version}.db.zst"))
}

/// Files that the program of each version wrote when it told this, as far as it could. With `WEIR_WRITE_CATALOG`
/// set the newest is written: once, by the last program of that version.
#[tokio::test]
async fn a_file_of_each_version_is_read() {
    for version in [2, NEWEST] {
        let told = SqlitePlace::new();
        let expected = told.open().await;
        tell(&*expected).await;
        if version >= 3 {
            tell_of_keys(&*expected).await;
        }
        if version == NEWEST && std::env::var_os("WEIR_WRITE_CATALOG").is_some() {
            expected.close().await;
            let bytes = fs::read(told.path()).unwrap();
            fs::write(kept(NEWEST), zstd::encode_all(&bytes[..], 19).unwrap()).unwrap();
            return;
        }
        let place = SqlitePlace::new();
        fs::write(place.path(), zstd::decode_all(&fs::read(kept(version)).unwrap()[..]).unwrap()).unwrap();
        // To be looked into and copied before it is brought up to date, too.
        let looked = SqliteCatalog::open_read_only(&place.path(), SqliteOptions::default()).await.unwrap();
        assert_eq!(looked.integrity().await, Vec::<String>::new());
        let every = KeyQuery { of: KeysOf::Everyone, ended: true, now_us: at(25), offset: 0, limit: 100 };
        assert_eq!(looked.keys().page(&every).await.unwrap(), expected.keys().page(&every).await.unwrap());
        looked.copy_to(&place.path().with_extension("copy")).await.unwrap();
        looked.close().await;
        let found = place.try_open().await.unwrap();
        same(&found, &*expected).await;
        assert_eq!(found.integrity().await, Vec::<String>::new());
        let commit = flush(writer(1), 9, range(1, 10, 11));
        assert_eq!(found.commit(commit).await.unwrap(), CommitOutcome::Committed);
        found.keys().create(new_key(9, "default"), at(30)).await.unwrap();
    }
}

async fn same(found: &SqliteCatalog, expected: &dyn Catalog) {
    assert_eq!(found.installation(), expected.installation());
    assert_eq!(found.epochs().await.unwrap(), expected.epochs().await.unwrap());
    assert_eq!(found.writers().await.unwrap(), expected.writers().await.unwrap());
    assert_eq!(found.live_meters().await.unwrap(), expected.live_meters().await.unwrap());
    assert_eq!(found.kept_segments().await.unwrap(), expected.kept_segments().await.unwrap());
    let (one, other) = (found.listing().await.unwrap(), expected.listing().await.unwrap());
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    let default = namespace("default");
    for revision in 0..8 {
        for name in ["m1", "m2", "m3"] {
            let now = found.meter_at(&default, name, revision).await.unwrap();
            assert_eq!(now, expected.meter_at(&default, name, revision).await.unwrap());
        }
    }
    assert_eq!(found.keys().table(None).await.unwrap(), expected.keys().table(None).await.unwrap());
    let every = KeyQuery { of: KeysOf::Everyone, ended: true, now_us: at(25), offset: 0, limit: 100 };
    assert_eq!(found.keys().page(&every).await.unwrap(), expected.keys().page(&every).await.unwrap());
}

/// Also when the newer program was killed: its journal is left to it.
#[tokio::test]
async fn what_a_newer_program_wrote_is_refused_and_left_alone() {
    for killed in [false, true] {
        let machine = Machine::new(1);
        let catalog = machine.open().await.unwrap();
        tell(&catalog).await;
        catalog.close().await;
        let mut newer = machine.raw().await.unwrap();
        let migrate = "INSERT INTO migrations VALUES (4, 'to come', zeroblob(32), 0)";
        sqlx::query(migrate).execute(&mut newer).await.unwrap();
        if killed {
            std::mem::forget(newer);
        } else {
            newer.close().await.unwrap();
        }
        let next = machine.restart();
        let before = contents(&next.disk);
        // The database, the file that counts, and what a killed one leaves of its journal.
        assert_eq!(before.len(), if killed { 3 } else { 2 }, "{:?}", before.keys());
        match next.open().await {
            Err(CatalogError::Unusable(text)) => {
                assert!(text.contains("version 4") && text.contains("knows 3"), "{text}");
                assert!(text.contains("/catalog.db") && text.contains("start that one again"), "{text}");
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
        assert_eq!(contents(&next.disk), before, "killed: {killed}");
    }
}

fn contents(disk: &SimulatedDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.files().into_iter().map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}
