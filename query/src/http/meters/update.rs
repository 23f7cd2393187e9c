//! Changing a meter: OpenMeter's contract 4.1 and 14.5. What a meter counts never changes, only what it
//! is called and by what it can be grouped; a changed group-by begins a new generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::HeaderMap;
use serde::Deserialize;
use weir_catalog::MeterUpdate;
use weir_meter::Meter;
use weir_meter::definition::DefinitionDraft;
use weir_proto::Problem;

use super::super::body::json_body;
use super::super::{MeterPath, Tenant, find_meter};
use super::definition::check;
use super::{MEMBERS, MeterBody};
use crate::error::QueryError;
use crate::names::check_members;
use crate::request::read_object;
use crate::service::QueryService;

pub(crate) async fn update(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    meter: MeterPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<MeterBody>, Problem> {
    let Path(id_or_slug) = meter?;
    let body = json_body(&service, &headers, body).await?;
    let change: MeterChange = read_object(&body, "a change of a meter")?;
    check_members(&body, &MEMBERS)?;
    let meter = find_meter(&service, &namespace, &id_or_slug).await?;
    let update = change.update(&meter)?;
    let now_us = service.parts.clock.now_us();
    let catalog = &service.parts.catalog;
    let changed =
        catalog.update_meter(&namespace, &id_or_slug, update, now_us).await.map_err(QueryError::from)?;
    let meter = changed.ok_or_else(|| QueryError::no_meter(&id_or_slug))?;
    Ok(Json(MeterBody::new(&meter, &*catalog.listing().await.map_err(QueryError::from)?)))
}

/// `MeterUpdate`. Members that are not in it are let pass: clients send back a whole meter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MeterChange {
    name: Option<String>,
    description: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    group_by: Option<BTreeMap<String, String>>,
}

impl MeterChange {
    /// The change, if the meter that comes of it is a good one.
    fn update(self, meter: &Meter) -> Result<MeterUpdate, QueryError> {
        let group_by = self.group_by.unwrap_or_default();
        check(&DefinitionDraft {
            slug: &meter.slug,
            name: self.name.as_deref(),
            description: self.description.as_deref().or(meter.description.as_deref()),
            metadata: self.metadata.as_ref(),
            event_type: &meter.event_type,
            aggregation: meter.aggregation,
            value_property: meter.value_property.as_deref(),
            group_by: &group_by,
        })?;
        Ok(MeterUpdate { name: self.name, description: self.description, metadata: self.metadata, group_by })
    }
}
