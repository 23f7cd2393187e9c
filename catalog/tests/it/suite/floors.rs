//! Floors and wide meters: what is noted once, in one direction only.

use std::collections::BTreeMap;

use weir_catalog::{CatalogError, Floor, MeterUpdate, Wide};
use weir_meter::Generation;

use crate::place::{Place, at, draft, meter_id, namespace};

const HOUR_US: i64 = 3_600_000_000;

pub(crate) async fn a_floor_is_only_raised(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    catalog.create_meter(&default, draft("tokens"), meter_id(1), at(1)).await.unwrap();
    assert!(catalog.listing().await.unwrap().floors.is_empty());
    let first = Floor { floor_us: 10 * HOUR_US, revision: 2 };
    assert_eq!(catalog.raise_floor(&default, 10 * HOUR_US, at(2)).await.unwrap(), first);
    for lower in [10, 9, 0, -5] {
        let floor = catalog.raise_floor(&default, lower * HOUR_US, at(3)).await.unwrap();
        assert_eq!(floor, first, "what is in force, under no new revision");
    }
    let meter = catalog.create_meter(&default, draft("calls"), meter_id(2), at(4)).await.unwrap();
    assert_eq!(meter.created_revision, 3, "one counter for all changes");
    let second = Floor { floor_us: 11 * HOUR_US, revision: 4 };
    assert_eq!(catalog.raise_floor(&default, 11 * HOUR_US, at(5)).await.unwrap(), second);
    for catalog in [&catalog, &place.open().await] {
        let listing = catalog.listing().await.unwrap();
        assert_eq!(*listing.floors, BTreeMap::from([(default.clone(), second)]));
        assert_eq!((listing.revision, catalog.live_meters().await.unwrap().0), (4, 4));
    }
}

pub(crate) async fn a_floor_is_a_whole_hour(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    for odd in [1, -1, HOUR_US - 1, HOUR_US / 2, i64::MAX, i64::MIN] {
        match catalog.raise_floor(&default, odd, at(1)).await {
            Err(CatalogError::Conflict(text)) => assert!(text.contains("whole hour"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    let listing = catalog.listing().await.unwrap();
    assert!(listing.floors.is_empty() && listing.revision == 0);
    assert_eq!(catalog.raise_floor(&default, -HOUR_US, at(1)).await.unwrap().floor_us, -HOUR_US);
}

pub(crate) async fn floors_of_namespaces_do_not_meet(place: &dyn Place) {
    let catalog = place.open().await;
    let (ours, theirs) = (namespace("ours"), namespace("theirs"));
    let high = catalog.raise_floor(&ours, 9 * HOUR_US, at(1)).await.unwrap();
    let low = catalog.raise_floor(&theirs, 3 * HOUR_US, at(2)).await.unwrap();
    assert_eq!((low.floor_us, low.revision), (3 * HOUR_US, 2));
    for catalog in [&catalog, &place.open().await] {
        let floors = &catalog.listing().await.unwrap().floors;
        assert_eq!(**floors, BTreeMap::from([(ours.clone(), high), (theirs.clone(), low)]));
    }
}

pub(crate) async fn the_first_note_of_a_wide_meter_stays(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    let first = catalog.create_meter(&default, draft("tokens"), meter_id(1), at(1)).await.unwrap();
    let note = Wide { groups: 100_001, noticed_at_us: at(2) };
    catalog.note_wide(first.key(), note).await.unwrap();
    let later = Wide { groups: 7, noticed_at_us: at(3) };
    catalog.note_wide(first.key(), later).await.unwrap();
    let second =
        catalog.update_meter(&default, "tokens", MeterUpdate::default(), at(4)).await.unwrap().unwrap();
    catalog.delete_meter(&default, "tokens", at(5)).await.unwrap();
    catalog.note_wide(second.key(), later).await.unwrap();
    for catalog in [&catalog, &place.open().await] {
        catalog.note_wide(first.key(), later).await.unwrap();
        let listing = catalog.listing().await.unwrap();
        assert_eq!(*listing.wide, BTreeMap::from([(first.key(), note), (second.key(), later)]));
        assert_eq!(listing.revision, 3, "a note changes no number");
    }
}

pub(crate) async fn only_known_generations_are_wide(place: &dyn Place) {
    let catalog = place.open().await;
    catalog.create_meter(&namespace("default"), draft("tokens"), meter_id(1), at(1)).await.unwrap();
    let note = Wide { groups: 1, noticed_at_us: at(2) };
    for (id, generation) in [(1, 2), (2, 1)] {
        let unknown = Generation { meter: meter_id(id), generation };
        assert!(matches!(catalog.note_wide(unknown, note).await, Err(CatalogError::NotFound(_))));
    }
    let known = Generation { meter: meter_id(1), generation: 1 };
    let much = Wide { groups: u64::MAX, ..note };
    assert!(matches!(catalog.note_wide(known, much).await, Err(CatalogError::Conflict(_))));
    assert!(catalog.listing().await.unwrap().wide.is_empty());
}
