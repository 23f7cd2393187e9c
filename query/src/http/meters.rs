//! Meters over HTTP: OpenMeter's contract 4.1 and 4.2. The rules of a definition are the domain's;
//! here are only names and types.

mod update;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use weir_catalog::{Listing, MeterDraft, MeterOrder, MeterQuery};
use weir_meter::definition::{DefinitionDraft, check_definition};
use weir_meter::time::format_utc;
use weir_meter::{Aggregation, Meter, MeterId, Namespace};
use weir_proto::Problem;

use super::body::json_body;
use super::{MeterPath, Tenant, find_meter, query_text};
use crate::error::QueryError;
use crate::names::{check_members, check_name};
use crate::request::{once, parameter, read_object};
use crate::service::QueryService;
use crate::shown::shown;

pub(super) use update::update;

/// Parameters of the list.
const PARAMETERS: [&str; 5] = ["page", "pageSize", "order", "orderBy", "includeDeleted"];
/// Members of a meter, those included that are only sent and let pass when they come back.
pub(super) const MEMBERS: [&str; 13] = [
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

const PAGE_SIZE: u64 = 100;
const PAGE_SIZE_MAX: u64 = 1_000;

pub(super) async fn list(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    query: RawQuery,
) -> Result<Json<Vec<MeterBody>>, Problem> {
    let query = meter_query(query_text(&query))?;
    let meters = service.parts.catalog.meters(&namespace, &query).await.map_err(QueryError::from)?;
    let listing = listing(&service).await?;
    Ok(Json(meters.iter().map(|meter| MeterBody::new(meter, &listing)).collect()))
}

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
    check_room(&service, &namespace).await?;
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

/// The catalog holds to the bound too, but only here it has a name of its own.
async fn check_room(service: &QueryService, namespace: &Namespace) -> Result<(), QueryError> {
    let (_, living) = service.parts.catalog.live_meters().await?;
    let (count, most) =
        (living.iter().filter(|meter| meter.namespace == *namespace).count(), service.options.meters_max);
    if (count as u64) < most {
        return Ok(());
    }
    Err(QueryError::OverLimit {
        limit: "meters_max",
        status: StatusCode::CONFLICT,
        kind: "too-many-meters",
        detail: format!(
            "there are {count} meters, and {most} is the most; delete one that is not needed any more"
        ),
    })
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

fn meter_query(query: &str) -> Result<MeterQuery, QueryError> {
    let (mut page, mut page_size, mut order, mut order_by, mut deleted) = (None, None, None, None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*name {
            "page" => &mut page,
            "pageSize" => &mut page_size,
            "order" => &mut order,
            "orderBy" => &mut order_by,
            "includeDeleted" => &mut deleted,
            name => {
                check_name(name, &PARAMETERS)?;
                continue;
            }
        };
        once(slot, &name, value.into_owned())?;
    }
    let number = |name: &str, text: Option<String>, default: u64, most: u64| match text {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number))
            .ok_or_else(|| parameter(format!("{name} must be an integer from 1 to {most}"))),
    };
    let page = number("page", page, 1, u64::from(u32::MAX))?;
    let limit = number("pageSize", page_size, PAGE_SIZE, PAGE_SIZE_MAX)?;
    let descending = match order.as_deref() {
        None | Some("ASC") => false,
        Some("DESC") => true,
        Some(other) => {
            return Err(parameter(format!("unknown order {:?}; there are ASC and DESC", shown(other))));
        }
    };
    let order_by = match order_by.as_deref() {
        None | Some("key") => MeterOrder::Key,
        Some("name") => MeterOrder::Name,
        Some("aggregation") => MeterOrder::Aggregation,
        Some("createdAt") => MeterOrder::CreatedAt,
        Some("updatedAt") => MeterOrder::UpdatedAt,
        Some(other) => {
            return Err(parameter(format!(
                "unknown orderBy {:?}; there are key, name, aggregation, createdAt and updatedAt",
                shown(other)
            )));
        }
    };
    let include_deleted = match deleted.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(parameter("includeDeleted must be true or false")),
    };
    Ok(MeterQuery { include_deleted, order_by, descending, offset: (page - 1).saturating_mul(limit), limit })
}

/// `MeterCreate`. Members that are not in it, read-only ones too, are let pass.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MeterCreate {
    slug: String,
    name: Option<String>,
    description: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    aggregation: String,
    event_type: String,
    event_from: Option<String>,
    value_property: Option<String>,
    group_by: Option<BTreeMap<String, String>>,
}

impl MeterCreate {
    fn draft(self) -> Result<MeterDraft, QueryError> {
        let aggregation = Aggregation::from_name(&self.aggregation).ok_or_else(|| {
            definition(
                "aggregation",
                format!(
                    "{:?} is unknown; there are SUM, COUNT, UNIQUE_COUNT, AVG, MIN, MAX and LATEST",
                    shown(&self.aggregation)
                ),
            )
        })?;
        let event_from_us = self
            .event_from
            .as_deref()
            .map(weir_meter::time::parse_rfc3339)
            .transpose()
            .map_err(|error| definition("eventFrom", error))?;
        let draft = MeterDraft {
            slug: self.slug,
            name: self.name,
            description: self.description,
            metadata: self.metadata,
            event_type: self.event_type,
            aggregation,
            value_property: self.value_property,
            group_by: self.group_by.unwrap_or_default(),
            event_from_us,
        };
        check_definition(&DefinitionDraft {
            slug: &draft.slug,
            name: draft.name.as_deref(),
            description: draft.description.as_deref(),
            metadata: draft.metadata.as_ref(),
            event_type: &draft.event_type,
            aggregation: draft.aggregation,
            value_property: draft.value_property.as_deref(),
            group_by: &draft.group_by,
        })
        .map_err(|error| definition(&error.field, error.reason))?;
        Ok(draft)
    }
}

fn definition(field: &str, reason: impl std::fmt::Display) -> QueryError {
    QueryError::invalid("invalid-meter", format!("{}: {reason}", shown(field)))
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
    fn pages_and_orders_are_read() {
        let query =
            meter_query("page=3&pageSize=10&orderBy=updatedAt&order=DESC&includeDeleted=true").unwrap();
        let expected = MeterQuery {
            include_deleted: true,
            order_by: MeterOrder::UpdatedAt,
            descending: true,
            offset: 20,
            limit: 10,
        };
        assert_eq!(query, expected);
        assert_eq!(meter_query("").unwrap().limit, PAGE_SIZE);
        for bad in [
            "page=0",
            "pageSize=1001",
            "page=x",
            "order=asc",
            "orderBy=id",
            "includeDeleted=1",
            "page=1&page=1",
        ] {
            assert!(meter_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_begin_with_their_time() {
        let id = new_id(1_704_067_200_123_456, u128::MAX);
        assert_eq!(id.0 >> 80, 1_704_067_200_123);
        assert_eq!(id.to_string(), "01HK153X3VZZZZZZZZZZZZZZZZ");
    }
}
