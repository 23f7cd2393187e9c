//! The list of meters: pages, orders, and which of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use weir_catalog::{MeterOrder, MeterQuery};
use weir_proto::Problem;

use super::super::{Tenant, query_text};
use super::{MeterBody, listing};
use crate::error::QueryError;
use crate::names::check_name;
use crate::request::{once, parameter};
use crate::service::QueryService;
use crate::shown::shown;

const PARAMETERS: [&str; 5] = ["page", "pageSize", "order", "orderBy", "includeDeleted"];
const PAGE_SIZE: u64 = 100;
const PAGE_SIZE_MAX: u64 = 1_000;

pub(crate) async fn list(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    query: RawQuery,
) -> Result<Json<Vec<MeterBody>>, Problem> {
    let query = meter_query(query_text(&query))?;
    let meters = service.parts.catalog.meters(&namespace, &query).await.map_err(QueryError::from)?;
    let listing = listing(&service).await?;
    Ok(Json(meters.iter().map(|meter| MeterBody::new(meter, &listing)).collect()))
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
}
