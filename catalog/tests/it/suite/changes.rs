//! Meters that change: what is said about them in place, how they group as a new generation, and what
//! each revision knew of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_catalog::{Catalog, MeterOrder, MeterQuery, MeterUpdate};
use weir_meter::{Meter, Namespace};

use crate::place::{Place, at, draft, meter_id, namespace};

/// An update that groups as `draft` does.
fn same_groups() -> MeterUpdate {
    MeterUpdate { group_by: draft("any").group_by, ..MeterUpdate::default() }
}

fn grouped(by: &[&str]) -> MeterUpdate {
    let group_by = by.iter().map(|key| ((*key).to_owned(), format!("$.{key}"))).collect();
    MeterUpdate { group_by, ..MeterUpdate::default() }
}

fn all_of(include_deleted: bool) -> MeterQuery {
    MeterQuery { include_deleted, order_by: MeterOrder::Key, descending: false, offset: 0, limit: 100 }
}

async fn change(catalog: &dyn Catalog, name: &str, update: MeterUpdate, second: i64) -> Option<Meter> {
    catalog.update_meter(&namespace("default"), name, update, at(second)).await.unwrap()
}

/// The one and only living meter, in memory and after a restart.
async fn assert_lives(place: &dyn Place, catalog: Arc<dyn Catalog>, revision: u64, expected: &Meter) {
    for catalog in [catalog, place.open().await] {
        let (newest, living) = catalog.live_meters().await.unwrap();
        assert_eq!(newest, revision);
        assert_eq!(living.iter().map(|meter| &**meter).collect::<Vec<_>>(), [expected]);
        assert_eq!(catalog.listing().await.unwrap().revision, revision);
        for name in [expected.slug.clone(), expected.id.to_string()] {
            let found = catalog.meter(&expected.namespace, &name).await.unwrap();
            assert_eq!(found.as_ref(), Some(expected));
        }
        for include_deleted in [false, true] {
            let page = catalog.meters(&expected.namespace, &all_of(include_deleted)).await.unwrap();
            assert_eq!(page, std::slice::from_ref(expected));
        }
    }
}

pub(crate) async fn words_change_in_place(place: &dyn Place) {
    let catalog = place.open().await;
    let made =
        catalog.create_meter(&namespace("default"), draft("tokens"), meter_id(1), at(1)).await.unwrap();
    let metadata = Some(BTreeMap::from([("owner".to_owned(), "billing".to_owned())]));
    let update = MeterUpdate {
        name: Some("Tokens".to_owned()),
        description: Some("Those that were used".to_owned()),
        metadata: metadata.clone(),
        ..same_groups()
    };
    let changed = change(&*catalog, "tokens", update, 5).await.unwrap();
    let expected = Meter {
        name: "Tokens".to_owned(),
        description: Some("Those that were used".to_owned()),
        metadata,
        updated_at_us: at(5),
        ..made
    };
    assert_eq!(changed, expected);
    assert_lives(place, Arc::clone(&catalog), 1, &expected).await;

    // Left out: the name goes back to the slug, the description stays, the metadata goes.
    let changed = change(&*catalog, &meter_id(1).to_string(), same_groups(), 6).await.unwrap();
    let expected = Meter { name: "tokens".to_owned(), metadata: None, updated_at_us: at(6), ..expected };
    assert_eq!(changed, expected);
    assert_lives(place, catalog, 1, &expected).await;
}

pub(crate) async fn a_changed_group_by_is_a_new_generation(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    let first = catalog.create_meter(&default, draft("tokens"), meter_id(1), at(1)).await.unwrap();
    let update = MeterUpdate { name: Some("Tokens".to_owned()), ..grouped(&["model", "region"]) };
    let second = change(&*catalog, "tokens", update.clone(), 5).await.unwrap();
    let expected = Meter {
        generation: 2,
        name: "Tokens".to_owned(),
        metadata: None,
        group_by: update.group_by,
        created_revision: 2,
        updated_at_us: at(5),
        ..first.clone()
    };
    assert_eq!(second, expected, "and the same id, slug and time of creation");
    assert_lives(place, Arc::clone(&catalog), 2, &expected).await;
    let old = catalog.meter_at(&default, "tokens", 1).await.unwrap().unwrap();
    assert_eq!(old, Meter { deleted_revision: Some(2), ..first.clone() }, "ended, not deleted");

    // Back again is a third one, and so is nothing at all a fourth.
    let third = change(&*catalog, "tokens", same_groups(), 6).await.unwrap();
    assert_eq!((third.generation, third.created_revision, &third.group_by), (3, 3, &first.group_by));
    let fourth = change(&*catalog, "tokens", MeterUpdate::default(), 7).await.unwrap();
    assert_eq!((fourth.generation, fourth.group_by.len()), (4, 0));
    assert_lives(place, Arc::clone(&catalog), 4, &fourth).await;

    assert!(catalog.delete_meter(&default, "tokens", at(8)).await.unwrap());
    let ended = catalog.meter(&default, &meter_id(1).to_string()).await.unwrap().unwrap();
    assert_eq!((ended.generation, ended.deleted_at_us), (4, Some(at(8))));
}

pub(crate) async fn superseded_generations_are_not_listed(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    for (number, slug) in [(1, "a"), (2, "b")] {
        catalog.create_meter(&default, draft(slug), meter_id(number), at(1)).await.unwrap();
        change(&*catalog, slug, grouped(&["x"]), 2).await.unwrap();
        change(&*catalog, slug, grouped(&["y"]), 3).await.unwrap();
    }
    catalog.delete_meter(&default, "b", at(4)).await.unwrap();
    for catalog in [&catalog, &place.open().await] {
        for (include_deleted, expected) in [(false, &[("a", 3)][..]), (true, &[("a", 3), ("b", 3)][..])] {
            let page = catalog.meters(&default, &all_of(include_deleted)).await.unwrap();
            let shown: Vec<_> = page.iter().map(|m| (m.slug.as_str(), m.generation)).collect();
            assert_eq!(shown, expected);
        }
    }
}

pub(crate) async fn only_living_meters_change(place: &dyn Place) {
    let catalog = place.open().await;
    let (default, other) = (namespace("default"), namespace("other"));
    catalog.create_meter(&default, draft("tokens"), meter_id(1), at(1)).await.unwrap();
    let id = meter_id(1).to_string();
    for name in ["tokens", id.as_str()] {
        assert_eq!(catalog.update_meter(&other, name, same_groups(), at(2)).await.unwrap(), None);
    }
    assert_eq!(change(&*catalog, "none", same_groups(), 2).await, None);
    catalog.delete_meter(&default, "tokens", at(3)).await.unwrap();
    for name in ["tokens", id.as_str()] {
        assert_eq!(change(&*catalog, name, grouped(&["x"]), 4).await, None);
    }
    assert_eq!(catalog.live_meters().await.unwrap().0, 2, "and no revision is taken");
    let again = catalog.create_meter(&default, draft("tokens"), meter_id(2), at(5)).await.unwrap();
    let changed = change(&*catalog, "tokens", grouped(&["x"]), 6).await.unwrap();
    assert_eq!((changed.id, changed.generation), (again.id, 2));
}

/// What a revision knew stays what it was, asked at any time later.
pub(crate) async fn a_meter_is_what_it_was_at_a_revision(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    let id = meter_id(1).to_string();
    let seen = async |catalog: &dyn Catalog, name: &str| {
        let mut seen = Vec::new();
        for revision in 0..=8 {
            let found = catalog.meter_at(&default, name, revision).await.unwrap();
            seen.push(found.map_or(0, |meter| meter.generation));
        }
        seen
    };
    catalog.create_meter(&default, draft("else"), meter_id(7), at(1)).await.unwrap();
    assert_eq!(seen(&*catalog, &id).await, [0; 9]);
    catalog.create_meter(&default, draft("tokens"), meter_id(1), at(2)).await.unwrap();
    assert_eq!(seen(&*catalog, "tokens").await, [0, 0, 1, 1, 1, 1, 1, 1, 1], "as far as is known");
    change(&*catalog, "tokens", grouped(&["x"]), 3).await;
    catalog.create_meter(&default, draft("third"), meter_id(3), at(4)).await.unwrap();
    change(&*catalog, "tokens", grouped(&["y"]), 5).await;
    for name in ["tokens", id.as_str()] {
        assert_eq!(seen(&*catalog, name).await, [0, 0, 1, 2, 2, 3, 3, 3, 3], "{name}");
    }
    catalog.delete_meter(&default, "tokens", at(6)).await.unwrap();
    for catalog in [&catalog, &place.open().await] {
        assert_eq!(seen(&**catalog, "tokens").await, [0, 0, 1, 2, 2, 3, 0, 0, 0]);
        assert_eq!(seen(&**catalog, &id).await, [0, 0, 1, 2, 2, 3, 3, 3, 3], "an id also after its end");
        assert_eq!(seen(&**catalog, &id.to_lowercase()).await, [0, 0, 1, 2, 2, 3, 3, 3, 3]);
        let newest = catalog.meter_at(&default, &id, u64::MAX).await.unwrap().unwrap();
        assert_eq!((newest.generation, newest.deleted_revision), (3, Some(6)));
    }
}

pub(crate) async fn a_slug_names_what_it_named_at_a_revision(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    for number in 1..=3 {
        catalog.create_meter(&default, draft("tokens"), meter_id(number), at(1)).await.unwrap();
        catalog.delete_meter(&default, "tokens", at(2)).await.unwrap();
    }
    catalog.create_meter(&default, draft("tokens"), meter_id(4), at(3)).await.unwrap();
    // A slug that reads like an id, of which no meter has been made yet at the older revision.
    let odd = meter_id(9).to_string();
    catalog.create_meter(&default, draft(&odd), meter_id(5), at(4)).await.unwrap();
    catalog.create_meter(&default, draft("nine"), meter_id(9), at(5)).await.unwrap();
    for catalog in [&catalog, &place.open().await] {
        let mut seen = Vec::new();
        for revision in 0..=8 {
            let found = catalog.meter_at(&default, "tokens", revision).await.unwrap();
            seen.push(found.map_or(0, |meter| meter.id.0 - meter_id(0).0));
        }
        assert_eq!(seen, [0, 1, 0, 2, 0, 3, 0, 4, 4]);
        for (revision, expected) in [(7, None), (8, Some(meter_id(5))), (9, Some(meter_id(9)))] {
            let found = catalog.meter_at(&default, &odd, revision).await.unwrap();
            assert_eq!(found.map(|meter| meter.id), expected, "at {revision}");
        }
    }
}

pub(crate) async fn a_meter_at_a_revision_stays_in_its_namespace(place: &dyn Place) {
    let catalog = place.open().await;
    let (ours, theirs): (Namespace, Namespace) = (namespace("ours"), namespace("theirs"));
    catalog.create_meter(&ours, draft("tokens"), meter_id(1), at(1)).await.unwrap();
    catalog.delete_meter(&ours, "tokens", at(2)).await.unwrap();
    catalog.create_meter(&ours, draft("tokens"), meter_id(2), at(3)).await.unwrap();
    for name in ["tokens".to_owned(), meter_id(1).to_string(), meter_id(2).to_string()] {
        for revision in 0..=4 {
            assert_eq!(catalog.meter_at(&theirs, &name, revision).await.unwrap(), None);
        }
    }
}
