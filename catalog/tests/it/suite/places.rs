//! What stays: installation, epochs, writers, and everything after opening again.

use weir_catalog::CatalogError;
use weir_meter::segment::Generations;

use crate::place::{Place, at, draft, flush, meter_id, namespace, range, ready, windows, writer};

pub(crate) async fn the_installation_stays(place: &dyn Place) {
    let first = place.open().await.installation().clone();
    assert_ne!(first.id.0, 0);
    assert_ne!(first.incarnation, first.id.0);
    assert_ne!(first.hash_key, [0; 16]);
    assert_ne!(first.position_key[..16], first.position_key[16..]);
    assert_eq!(place.open().await.installation(), &first);
}

pub(crate) async fn keys_stay_out_of_debug(place: &dyn Place) {
    let catalog = place.open().await;
    let installation = catalog.installation();
    let shown = format!("{installation:?}");
    assert!(shown.contains(&installation.id.to_string()));
    assert!(!shown.contains("key") && !shown.contains(&format!("{:?}", installation.hash_key)), "{shown}");
}

pub(crate) async fn the_first_epoch_stays(place: &dyn Place) {
    let catalog = place.open().await;
    assert!(catalog.epochs().await.unwrap().is_empty());
    let opened = catalog.ensure_epoch("log", 3, 3_600, at(1)).await.unwrap();
    assert_eq!((opened.epoch, opened.place.as_str(), opened.partitions), (0, "log", 3));
    assert_eq!((opened.identity_window_s, opened.opened_at_us), (3_600, at(1)));
    assert_eq!(opened.sealed_at_us, None);
    let again = catalog.ensure_epoch("elsewhere", 5, 7_200, at(2)).await.unwrap();
    assert_eq!(again, opened, "what an epoch says is for ever");
    assert_eq!(place.open().await.epochs().await.unwrap(), [opened]);
}

pub(crate) async fn impossible_epochs_are_refused(place: &dyn Place) {
    let catalog = place.open().await;
    for (partitions, window_s) in [(0, 60), (257, 60), (1, 0), (1, u64::MAX)] {
        let result = catalog.ensure_epoch("log", partitions, window_s, at(1)).await;
        assert!(matches!(result, Err(CatalogError::Conflict(_))), "{result:?}");
    }
    assert!(catalog.epochs().await.unwrap().is_empty());
    catalog.ensure_epoch("log", 256, 1, at(1)).await.unwrap();
}

pub(crate) async fn writers_are_never_used_twice(place: &dyn Place) {
    let catalog = place.open().await;
    catalog.open_writer(writer(1), at(1)).await.unwrap();
    catalog.open_writer(writer(2), at(2)).await.unwrap();
    assert!(matches!(catalog.open_writer(writer(1), at(3)).await, Err(CatalogError::Conflict(_))));
    catalog.close_writer(writer(1), at(4)).await.unwrap();
    catalog.close_writer(writer(1), at(5)).await.unwrap();
    assert!(matches!(catalog.open_writer(writer(1), at(6)).await, Err(CatalogError::Conflict(_))));
    assert!(matches!(catalog.close_writer(writer(3), at(6)).await, Err(CatalogError::NotFound(_))));
    let writers = catalog.writers().await.unwrap();
    let shown: Vec<_> = writers.iter().map(|w| (w.writer, w.opened_at_us, w.closed_at_us)).collect();
    assert_eq!(shown, [(writer(1), at(1), Some(at(4))), (writer(2), at(2), None)]);
    assert!(writers.iter().all(|w| w.incarnation == catalog.installation().incarnation));
}

pub(crate) async fn everything_survives_reopening(place: &dyn Place) {
    let catalog = ready(place).await;
    let default = namespace("default");
    let meter = catalog.create_meter(&default, draft("first"), meter_id(1), at(1)).await.unwrap();
    for number in 0..6_u64 {
        let partition = u32::try_from(number % 3).unwrap();
        let offsets = range(partition, number / 3 * 4, number / 3 * 4 + 4);
        let mut commit = flush(writer(1), 100 - u128::from(number), offsets);
        let but = Generations::AllBut(vec![meter.key()]);
        commit.segments.push(windows(200 + u128::from(number), &[offsets], 1, but));
        catalog.commit(commit).await.unwrap();
    }
    let before = catalog.listing().await.unwrap();
    let (revision, meters) = catalog.live_meters().await.unwrap();
    assert_eq!((before.segments.len(), before.frontiers.len(), revision), (12, 3, 1));
    catalog.close().await;
    drop(catalog);

    let catalog = place.open().await;
    let after = catalog.listing().await.unwrap();
    assert_eq!(after.segments, before.segments, "also in the same order");
    assert_eq!(after.frontiers, before.frontiers);
    assert_eq!(after.revision, before.revision);
    assert_eq!(catalog.live_meters().await.unwrap(), (revision, meters));
    assert_eq!(catalog.writers().await.unwrap().len(), 1);
    assert_eq!(catalog.kept_segments().await.unwrap().len(), 12);
}
