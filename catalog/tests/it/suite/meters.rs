//! Meters: identity, ends, revisions, lists.

use weir_catalog::{CatalogError, MeterDraft, MeterOrder, MeterQuery};
use weir_meter::{Aggregation, Meter};

use crate::place::{Place, at, draft, meter_id, namespace};

const EVERYTHING: MeterQuery = MeterQuery {
    include_deleted: false,
    order_by: MeterOrder::Key,
    descending: false,
    offset: 0,
    limit: 100,
};

pub(crate) async fn a_meter_is_found_by_id_and_slug(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    let asked = draft("tokens");
    let made = catalog.create_meter(&default, asked.clone(), meter_id(1), at(1)).await.unwrap();
    let expected = Meter {
        id: meter_id(1),
        generation: 1,
        namespace: default.clone(),
        slug: "tokens".to_owned(),
        name: "tokens".to_owned(),
        description: asked.description,
        metadata: asked.metadata,
        event_type: asked.event_type,
        aggregation: asked.aggregation,
        value_property: asked.value_property,
        group_by: asked.group_by,
        event_from_us: asked.event_from_us,
        created_revision: 1,
        deleted_revision: None,
        created_at_us: at(1),
        updated_at_us: at(1),
        deleted_at_us: None,
    };
    assert_eq!(made, expected);
    let id = meter_id(1).to_string();
    for catalog in [catalog, place.open().await] {
        for name in ["tokens", id.as_str(), id.to_lowercase().as_str()] {
            assert_eq!(catalog.meter(&default, name).await.unwrap().as_ref(), Some(&expected), "{name}");
        }
        for name in ["Tokens", "", meter_id(2).to_string().as_str()] {
            assert_eq!(catalog.meter(&default, name).await.unwrap(), None, "{name}");
        }
        let (revision, living) = catalog.live_meters().await.unwrap();
        assert_eq!((revision, living.len()), (1, 1));
        assert_eq!(*living[0], expected);
        assert_eq!(catalog.listing().await.unwrap().revision, 1);
    }
    let count = MeterDraft {
        name: Some("Calls".to_owned()),
        description: None,
        metadata: None,
        aggregation: Aggregation::Count,
        value_property: None,
        group_by: Default::default(),
        event_from_us: None,
        ..draft("calls")
    };
    let catalog = place.open().await;
    let made = catalog.create_meter(&default, count, meter_id(2), at(2)).await.unwrap();
    assert_eq!(catalog.meter(&default, "calls").await.unwrap(), Some(made.clone()));
    assert_eq!((made.name.as_str(), made.created_revision), ("Calls", 2));
}

pub(crate) async fn a_slug_names_one_living_meter(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    catalog.create_meter(&default, draft("tokens"), meter_id(1), at(1)).await.unwrap();
    match catalog.create_meter(&default, draft("tokens"), meter_id(2), at(2)).await {
        Err(CatalogError::Conflict(text)) => assert!(text.contains("`tokens`"), "{text}"),
        other => panic!("{other:?}"),
    }
    match catalog.create_meter(&default, draft("other"), meter_id(1), at(2)).await {
        Err(CatalogError::Conflict(text)) => assert!(text.contains("used before"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(catalog.live_meters().await.unwrap().0, 1, "what is refused takes no revision");
    assert!(catalog.delete_meter(&default, "tokens", at(3)).await.unwrap());
    let again = catalog.create_meter(&default, draft("tokens"), meter_id(2), at(4)).await.unwrap();
    assert_eq!(again.created_revision, 3);
    assert_eq!(catalog.meter(&default, "tokens").await.unwrap().unwrap().id, meter_id(2));
}

pub(crate) async fn a_deleted_meter_is_found_by_its_id(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    catalog.create_meter(&default, draft("tokens"), meter_id(1), at(1)).await.unwrap();
    assert!(!catalog.delete_meter(&default, "none", at(2)).await.unwrap());
    assert!(!catalog.delete_meter(&default, &meter_id(9).to_string(), at(2)).await.unwrap());
    assert!(catalog.delete_meter(&default, "tokens", at(2)).await.unwrap());
    assert_eq!(catalog.meter(&default, "tokens").await.unwrap(), None);
    assert!(!catalog.delete_meter(&default, "tokens", at(3)).await.unwrap());
    let id = meter_id(1).to_string().to_lowercase();
    for catalog in [&catalog, &place.open().await] {
        let ended = catalog.meter(&default, &id).await.unwrap().unwrap();
        assert_eq!((ended.deleted_at_us, ended.deleted_revision), (Some(at(2)), Some(2)));
        assert!(ended.lives_at(1) && !ended.lives_at(2));
        assert!(catalog.delete_meter(&default, &id, at(9)).await.unwrap(), "ending again is fine");
        let (revision, living) = catalog.live_meters().await.unwrap();
        assert_eq!((revision, living.len()), (2, 0), "and takes no revision");
        assert_eq!(catalog.listing().await.unwrap().revision, 2);
    }
}

pub(crate) async fn revisions_count_every_change(place: &dyn Place) {
    let catalog = place.open().await;
    for number in 1..=5_u64 {
        let tenant = namespace(if number % 2 == 0 { "a" } else { "b" });
        let id = meter_id(u128::from(number));
        let made = catalog.create_meter(&tenant, draft(&format!("m{number}")), id, at(1)).await.unwrap();
        assert_eq!(made.created_revision, number, "one counter for all namespaces");
    }
    let (revision, living) = catalog.live_meters().await.unwrap();
    assert_eq!((revision, living.len()), (5, 5));
    assert!(living.is_sorted_by_key(|meter| meter.key()));
}

pub(crate) async fn namespaces_do_not_meet(place: &dyn Place) {
    let catalog = place.open().await;
    let (ours, theirs) = (namespace("ours"), namespace("theirs"));
    catalog.create_meter(&ours, draft("tokens"), meter_id(1), at(1)).await.unwrap();
    let id = meter_id(1).to_string();
    for name in ["tokens", id.as_str()] {
        assert_eq!(catalog.meter(&theirs, name).await.unwrap(), None);
        assert!(!catalog.delete_meter(&theirs, name, at(2)).await.unwrap());
    }
    assert!(catalog.meters(&theirs, &EVERYTHING).await.unwrap().is_empty());
    catalog.create_meter(&theirs, draft("tokens"), meter_id(2), at(3)).await.unwrap();
    catalog.delete_meter(&ours, &id, at(4)).await.unwrap();
    for name in ["tokens", id.as_str()] {
        let seen = catalog.meter(&theirs, name).await.unwrap();
        assert_eq!(seen.map(|meter| meter.id), (name == "tokens").then(|| meter_id(2)));
    }
}

pub(crate) async fn meters_are_listed_in_order_and_pages(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    let named = |slug: &str, name: &str, aggregation| MeterDraft {
        name: Some(name.to_owned()),
        aggregation,
        ..draft(slug)
    };
    for (number, (slug, name, aggregation)) in [
        ("c", "Zeta", Aggregation::Sum),
        ("a", "Alpha", Aggregation::Max),
        ("b", "Alpha", Aggregation::Avg),
        ("d", "Mu", Aggregation::Latest),
    ]
    .into_iter()
    .enumerate()
    {
        let id = meter_id(number as u128);
        catalog.create_meter(&default, named(slug, name, aggregation), id, at(number as i64)).await.unwrap();
    }
    catalog.delete_meter(&default, "d", at(9)).await.unwrap();
    let slugs = async |query: MeterQuery| {
        let page = catalog.meters(&default, &query).await.unwrap();
        page.into_iter().map(|meter| meter.slug).collect::<String>()
    };
    let by = |order_by, descending| MeterQuery { order_by, descending, ..EVERYTHING };
    assert_eq!(slugs(EVERYTHING).await, "abc");
    assert_eq!(slugs(by(MeterOrder::Key, true)).await, "cba");
    assert_eq!(slugs(by(MeterOrder::Name, false)).await, "abc");
    assert_eq!(slugs(by(MeterOrder::Name, true)).await, "cba");
    assert_eq!(slugs(by(MeterOrder::Aggregation, false)).await, "bac");
    assert_eq!(slugs(by(MeterOrder::CreatedAt, false)).await, "cab");
    assert_eq!(slugs(by(MeterOrder::UpdatedAt, true)).await, "bac");
    assert_eq!(slugs(MeterQuery { include_deleted: true, ..EVERYTHING }).await, "abcd");
    assert_eq!(slugs(MeterQuery { limit: 2, ..EVERYTHING }).await, "ab");
    assert_eq!(slugs(MeterQuery { offset: 2, limit: 2, ..EVERYTHING }).await, "c");
    assert_eq!(slugs(MeterQuery { offset: u64::MAX, limit: u64::MAX, ..EVERYTHING }).await, "");
    assert_eq!(slugs(MeterQuery { limit: 0, ..EVERYTHING }).await, "");
}

pub(crate) async fn a_slug_may_look_like_an_id(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    let slug = meter_id(1).to_string().to_lowercase();
    catalog.create_meter(&default, draft(&slug), meter_id(2), at(1)).await.unwrap();
    assert_eq!(catalog.meter(&default, &slug).await.unwrap().unwrap().id, meter_id(2));
    catalog.create_meter(&default, draft("other"), meter_id(1), at(1)).await.unwrap();
    assert_eq!(catalog.meter(&default, &slug).await.unwrap().unwrap().id, meter_id(1), "ids come first");
    assert!(catalog.delete_meter(&default, &slug, at(2)).await.unwrap());
    assert_eq!(catalog.meter(&default, "other").await.unwrap(), None);
}
