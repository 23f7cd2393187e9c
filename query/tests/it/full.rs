//! Refusals of the catalog, sorted by what was full.

use std::collections::BTreeMap;

use weir_catalog::sqlite::SqliteOptions;
use weir_catalog::{Catalog as _, MeterDraft, MeterUpdate};
use weir_meter::{Aggregation, MeterId, Namespace};
use weir_query::QueryError;

use crate::world::catalog;

fn draft(slug: &str) -> MeterDraft {
    MeterDraft {
        slug: slug.to_owned(),
        name: None,
        description: None,
        metadata: None,
        event_type: "t".to_owned(),
        aggregation: Aggregation::Count,
        value_property: None,
        group_by: BTreeMap::new(),
        event_from_us: None,
    }
}

/// Each refusal names its setting; a slug of the same name is taken, and no limit.
#[tokio::test]
async fn what_has_been_too_often_is_told_from_what_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { living_meters_max: 2, meters_ever_max: 3, ..SqliteOptions::default() };
    let catalog = catalog(folder.path(), options).await;
    let namespace = Namespace::default();
    let slug = "meters_ever_max";
    catalog.create_meter(&namespace, draft(slug), MeterId(1), 0).await.unwrap();
    let taken = catalog.create_meter(&namespace, draft(slug), MeterId(2), 0).await.unwrap_err();
    let taken = QueryError::from(taken);
    assert!(matches!(taken, QueryError::Conflict(_)), "{taken}");

    let regrouped = |key: &str| MeterUpdate {
        name: None,
        description: None,
        metadata: None,
        group_by: [(key.to_owned(), "$.k".to_owned())].into(),
    };
    catalog.create_meter(&namespace, draft("second"), MeterId(4), 0).await.unwrap();
    let living = catalog.create_meter(&namespace, draft("third"), MeterId(5), 0).await.unwrap_err();
    assert_eq!(QueryError::from(living).limit(), Some("meters_max"));
    catalog.delete_meter(&namespace, "second", 0).await.unwrap();
    catalog.update_meter(&namespace, slug, regrouped("a"), 0).await.unwrap().unwrap();
    let created = catalog.create_meter(&namespace, draft("other"), MeterId(3), 0).await.unwrap_err();
    let changed = catalog.update_meter(&namespace, slug, regrouped("b"), 0).await.unwrap_err();
    for full in [created, changed].map(QueryError::from) {
        assert_eq!(full.limit(), Some("meters_ever_max"), "{full}");
    }
}
