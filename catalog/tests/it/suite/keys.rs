//! API keys: what is kept of them, how they end, and who sees them.

use weir_catalog::{ApiKey, Catalog, CatalogError, Grant, KeyLimits, KeyQuery, KeysOf, NewKey, Roll, Scopes};

use crate::place::{Place, at, draft, key_id, meter_id, namespace, new_key, secret_hash};

fn of(tenant: &str) -> KeysOf {
    KeysOf::Namespace(namespace(tenant))
}

fn roll_to(number: u8, old_expires_us: i64) -> Roll {
    Roll { new_id: key_id(number), new_secret_hash: secret_hash(number), old_expires_us }
}

/// Ids of a list, in its order.
async fn listed(catalog: &dyn Catalog, of: KeysOf, ended: bool, second: i64) -> Vec<String> {
    let query = KeyQuery { of, ended, now_us: at(second), offset: 0, limit: 100 };
    catalog.keys().page(&query).await.unwrap().iter().map(|key| key.id.to_string()).collect()
}

fn ids(numbers: &[u8]) -> Vec<String> {
    numbers.iter().map(|number| key_id(*number).to_string()).collect()
}

pub(crate) async fn keys_are_kept_as_they_were_made(place: &dyn Place) {
    let catalog = place.open().await;
    let empty = catalog.keys().table(None).await.unwrap().unwrap();
    assert_eq!((empty.number, empty.any, empty.keys), (0, false, Vec::new()));
    let asked = new_key(1, "ours");
    let made = catalog.keys().create(asked.clone(), at(1)).await.unwrap();
    let expected = ApiKey {
        id: asked.id,
        grant: asked.grant,
        name: asked.name,
        secret_hash: asked.secret_hash,
        limits: asked.limits,
        created_us: at(1),
        expires_us: asked.expires_us,
        revoked_us: None,
        rolled_to: None,
    };
    assert_eq!(made, expected);
    let operator = NewKey {
        grant: Grant::Operator,
        limits: KeyLimits::default(),
        expires_us: None,
        ..new_key(2, "ours")
    };
    let operator = catalog.keys().create(operator, at(2)).await.unwrap();
    for catalog in [&catalog, &place.open().await] {
        let table = catalog.keys().table(None).await.unwrap().unwrap();
        assert_eq!((table.number, table.any), (2, true));
        assert_eq!(table.keys, [expected.clone(), operator.clone()]);
    }
    let shown = format!("{expected:?}");
    assert!(shown.contains("SecretHash(…)") && !shown.contains("1, 1, 1"), "{shown}");
}

pub(crate) async fn keys_of_namespaces_do_not_meet(place: &dyn Place) {
    let catalog = place.open().await;
    catalog.keys().create(new_key(1, "ours"), at(1)).await.unwrap();
    catalog.keys().create(new_key(2, "theirs"), at(2)).await.unwrap();
    let operator = NewKey { grant: Grant::Operator, ..new_key(3, "ours") };
    catalog.keys().create(operator, at(3)).await.unwrap();
    assert_eq!(listed(&*catalog, of("ours"), true, 4).await, ids(&[1]));
    assert_eq!(listed(&*catalog, of("theirs"), true, 4).await, ids(&[2]));
    assert_eq!(listed(&*catalog, KeysOf::Everyone, true, 4).await, ids(&[3, 2, 1]));
    let before = catalog.keys().table(None).await.unwrap();
    for number in [1, 3, 9] {
        assert!(!catalog.keys().revoke(&of("theirs"), &key_id(number), at(5)).await.unwrap());
        let roll = roll_to(8, at(6));
        assert_eq!(catalog.keys().roll(&of("theirs"), &key_id(number), roll, at(5)).await.unwrap(), None);
    }
    assert_eq!(catalog.keys().table(None).await.unwrap(), before, "nothing has changed");
    assert!(catalog.keys().revoke(&KeysOf::Everyone, &key_id(1), at(6)).await.unwrap());
    assert_eq!(listed(&*catalog, of("ours"), false, 7).await, ids(&[]));
}

pub(crate) async fn a_rolled_key_ends_and_another_goes_on(place: &dyn Place) {
    let catalog = place.open().await;
    let old = catalog.keys().create(new_key(1, "ours"), at(0)).await.unwrap();
    let new =
        catalog.keys().roll(&of("ours"), &key_id(1), roll_to(2, at(60)), at(10)).await.unwrap().unwrap();
    let expected = ApiKey {
        id: key_id(2),
        secret_hash: secret_hash(2),
        created_us: at(10),
        expires_us: Some(at(1_010)),
        ..old.clone()
    };
    assert_eq!(new, expected, "it lives as long as the old one did");
    let ended = ApiKey { expires_us: Some(at(60)), rolled_to: Some(key_id(2)), ..old };
    for catalog in [&catalog, &place.open().await] {
        let keys = catalog.keys().table(None).await.unwrap().unwrap().keys;
        assert_eq!(keys, [ended.clone(), new.clone()]);
    }
    assert!(ended.is_usable(at(60) - 1) && !ended.is_usable(at(60)));
    match catalog.keys().roll(&of("ours"), &key_id(1), roll_to(3, at(60)), at(11)).await {
        Err(CatalogError::Conflict(text)) => assert!(text.contains(key_id(2).as_str()), "{text}"),
        other => panic!("{other:?}"),
    }
    // One that would end sooner anyway still does.
    let third = catalog.keys().roll(&of("ours"), &key_id(2), roll_to(3, at(9_999)), at(20)).await.unwrap();
    assert_eq!(third.unwrap().expires_us, Some(at(1_020)));
    let keys = catalog.keys().table(None).await.unwrap().unwrap().keys;
    assert_eq!(keys[1].expires_us, Some(at(1_010)));
    // An ended one is not rolled, and an id is not taken twice.
    let late = catalog.keys().roll(&of("ours"), &key_id(3), roll_to(4, at(9_999)), at(5_000)).await;
    assert!(matches!(late, Err(CatalogError::Conflict(_))), "{late:?}");
    let again = catalog.keys().roll(&of("ours"), &key_id(3), roll_to(1, at(60)), at(21)).await;
    assert!(matches!(again, Err(CatalogError::Conflict(_))), "{again:?}");
    assert_eq!(
        catalog.keys().table(None).await.unwrap().unwrap().number,
        3,
        "what is refused changes nothing"
    );
}

pub(crate) async fn a_revoked_key_stays_revoked(place: &dyn Place) {
    let catalog = place.open().await;
    catalog.keys().create(new_key(1, "ours"), at(0)).await.unwrap();
    assert!(catalog.keys().revoke(&of("ours"), &key_id(1), at(5)).await.unwrap());
    for catalog in [&catalog, &place.open().await] {
        let table = catalog.keys().table(None).await.unwrap().unwrap();
        assert_eq!((table.any, table.keys), (true, Vec::new()), "there is one, and it lets nobody in");
        assert!(
            catalog.keys().revoke(&of("ours"), &key_id(1), at(6)).await.unwrap(),
            "revoking again is fine"
        );
        assert_eq!(catalog.keys().table(Some(2)).await.unwrap(), None);
        let query = KeyQuery { of: of("ours"), ended: true, now_us: at(7), offset: 0, limit: 9 };
        assert_eq!(catalog.keys().page(&query).await.unwrap()[0].revoked_us, Some(at(5)));
    }
    let roll = catalog.keys().roll(&of("ours"), &key_id(1), roll_to(2, at(9)), at(8)).await;
    assert!(matches!(roll, Err(CatalogError::Conflict(_))), "{roll:?}");
}

pub(crate) async fn keys_are_listed_in_pages(place: &dyn Place) {
    let catalog = place.open().await;
    for number in 1..8 {
        catalog.keys().create(new_key(number, "ours"), at(i64::from(number / 2))).await.unwrap();
    }
    let all = listed(&*catalog, of("ours"), false, 9).await;
    assert_eq!(all, ids(&[6, 7, 4, 5, 2, 3, 1]), "the newest first, then by id");
    let mut paged = Vec::new();
    for page in 0..4 {
        let query = KeyQuery { of: of("ours"), ended: false, now_us: at(9), offset: page * 2, limit: 2 };
        paged.extend(catalog.keys().page(&query).await.unwrap().iter().map(|key| key.id.to_string()));
    }
    assert_eq!(paged, all);
    assert_eq!(listed(&*catalog, of("ours"), false, 1_000).await, ids(&[]), "all have expired");
    assert_eq!(listed(&*catalog, of("ours"), true, 1_000).await.len(), 7);
}

pub(crate) async fn a_table_is_read_again_only_after_a_change(place: &dyn Place) {
    let catalog = place.open().await;
    let mut known = catalog.keys().table(None).await.unwrap().unwrap().number;
    assert_eq!(catalog.keys().table(Some(known)).await.unwrap(), None);
    for number in 1..4 {
        catalog.keys().create(new_key(number, "ours"), at(1)).await.unwrap();
        let table = catalog.keys().table(Some(known)).await.unwrap().unwrap();
        assert_eq!((table.number, table.keys.len()), (known + 1, usize::from(number)));
        known = table.number;
        catalog.ensure_epoch("log", 3, 35 * 86_400, at(0)).await.unwrap();
        assert_eq!(catalog.keys().table(Some(known)).await.unwrap(), None);
    }
}

pub(crate) async fn wrong_keys_are_refused(place: &dyn Place) {
    let catalog = place.open().await;
    let good = new_key(1, "ours");
    let tenant = |name: &str, scopes| Grant::Tenant { namespace: namespace(name), scopes };
    let wrong = [
        NewKey { name: String::new(), ..good.clone() },
        NewKey { name: "n".repeat(129), ..good.clone() },
        NewKey { name: "a\nb".to_owned(), ..good.clone() },
        NewKey { grant: tenant("ours", Scopes::default()), ..good.clone() },
        NewKey { grant: tenant("Ours", Scopes::all()), ..good.clone() },
        NewKey { grant: tenant("", Scopes::all()), ..good.clone() },
        NewKey { expires_us: Some(at(1)), ..good.clone() },
    ];
    for wrong in wrong {
        let refused = catalog.keys().create(wrong, at(1)).await;
        assert!(matches!(refused, Err(CatalogError::Conflict(_))), "{refused:?}");
    }
    assert!(!catalog.keys().table(None).await.unwrap().unwrap().any);
    catalog.keys().create(good.clone(), at(1)).await.unwrap();
    let again = NewKey { secret_hash: secret_hash(2), ..good };
    assert!(matches!(catalog.keys().create(again, at(1)).await, Err(CatalogError::Conflict(_))));
}

pub(crate) async fn keys_change_no_number(place: &dyn Place) {
    let catalog = place.open().await;
    let default = namespace("default");
    catalog.create_meter(&default, draft("tokens"), meter_id(1), at(0)).await.unwrap();
    catalog.keys().create(new_key(1, "default"), at(1)).await.unwrap();
    catalog.keys().roll(&KeysOf::Everyone, &key_id(1), roll_to(2, at(9)), at(2)).await.unwrap().unwrap();
    catalog.keys().revoke(&KeysOf::Everyone, &key_id(2), at(3)).await.unwrap();
    assert_eq!(catalog.listing().await.unwrap().revision, 1);
    assert_eq!(catalog.live_meters().await.unwrap().0, 1);
}
