//! Meters over HTTP: OpenMeter's contract 4.1 and 4.2.

mod definition;
mod list;
mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use weir_catalog::Listing;
use weir_meter::time::format_utc;
use weir_meter::{Meter, MeterId};
use weir_proto::Problem;

use super::body::json_body;
use super::{MeterPath, Tenant, find_meter};
use crate::error::QueryError;
use crate::names::check_members;
use crate::request::read_object;
use crate::service::QueryService;

pub(super) use list::list;
pub(super) use update::update;

use definition::MeterCreate;

/// Members of a meter, those included that are only sent and let pass when they come back.
const MEMBERS: [&str; 13] = [
    "id",
    "slug",
    "name",
    "description",
    "metadata",
    "annotations",
    "aggregation",
    "eventType",
    "eventFrom",
    "valueProperty",
    "groupBy",
    "createdAt",
    "updatedAt",
];

pub(super) async fn create(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<MeterBody>), Problem> {
    let body = json_body(&service, &headers, body).await?;
    let create: MeterCreate = read_object(&body, "a meter")?;
    check_members(&body, &MEMBERS)?;
    let draft = create.draft()?;
    let now_us = service.parts.clock.now_us();
    let id = new_id(now_us, service.parts.entropy.random_u128());
    let meter =
        service.parts.catalog.create_meter(&namespace, draft, id, now_us).await.map_err(QueryError::from)?;
    // Nothing of it has been folded yet, so it cannot be known to be wide.
    Ok((StatusCode::CREATED, Json(MeterBody::new(&meter, &Listing::default()))))
}

pub(super) async fn read(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    meter: MeterPath,
) -> Result<Json<MeterBody>, Problem> {
    let Path(id_or_slug) = meter?;
    let meter = find_meter(&service, &namespace, &id_or_slug).await?;
    Ok(Json(MeterBody::new(&meter, &*listing(&service).await?)))
}

async fn listing(service: &QueryService) -> Result<Arc<Listing>, QueryError> {
    Ok(service.parts.catalog.listing().await?)
}

pub(super) async fn delete(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    meter: MeterPath,
) -> Result<StatusCode, Problem> {
    let Path(id_or_slug) = meter?;
    let now_us = service.parts.clock.now_us();
    let deleted = service.parts.catalog.delete_meter(&namespace, &id_or_slug, now_us).await;
    if deleted.map_err(QueryError::from)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(QueryError::no_meter(&id_or_slug).into())
    }
}

/// A ULID: the time in milliseconds, then 80 random bits.
fn new_id(now_us: i64, random: u128) -> MeterId {
    let now_ms = u128::from((now_us / 1_000).max(0).unsigned_abs()) & ((1 << 48) - 1);
    MeterId((now_ms << 80) | (random & ((1 << 80) - 1)))
}

/// `Meter`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MeterBody {
    id: String,
    slug: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<BTreeMap<String, String>>,
    aggregation: &'static str,
    event_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_property: Option<String>,
    group_by: BTreeMap<String, String>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
    /// Ours, and only there if there is something to be warned of.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

impl MeterBody {
    fn new(meter: &Meter, listing: &Listing) -> Self {
        Self {
            id: meter.id.to_string(),
            slug: meter.slug.clone(),
            name: meter.name.clone(),
            description: meter.description.clone(),
            metadata: meter.metadata.clone(),
            aggregation: meter.aggregation.name(),
            event_type: meter.event_type.clone(),
            event_from: meter.event_from_us.map(format_utc),
            value_property: meter.value_property.clone(),
            group_by: meter.group_by.clone(),
            created_at: format_utc(meter.created_at_us),
            updated_at: format_utc(meter.updated_at_us),
            deleted_at: meter.deleted_at_us.map(format_utc),
            warning: listing.wide.get(&meter.key()).map(|wide| {
                format!(
                    "one hour of this meter has {} groups (subjects and group-by values), too many to keep \
                     windows of: queries read its events one by one and are slow over long ranges; group by \
                     fewer or coarser keys",
                    wide.groups
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_begin_with_their_time() {
        let id = new_id(1_704_067_200_123_456, u128::MAX);
        assert_eq!(id.0 >> 80, 1_704_067_200_123);
        assert_eq!(id.to_string(), "01HK153X3VZZZZZZZZZZZZZZZZ");
    }
}
