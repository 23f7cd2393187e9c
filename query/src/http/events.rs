//! The event list over HTTP.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use serde_json::value::RawValue;
use weir_meter::time::format_utc;
use weir_proto::Problem;

use super::answer::{Chunks, Written, written};
use super::{READ, Tenant, position, query_text, read_header};
use crate::error::QueryError;
use crate::events::{EventsRequest, ListedEvent};
use crate::service::QueryService;

/// Lists with more bytes of data are written on a thread of their own.
const BYTES_AT_ONCE: usize = 256 << 10;

pub(super) async fn list(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = EventsRequest::from_query(query_text(&query), service.parts.clock.now_us())?;
    let position = position(&service, &namespace, &headers)?.map(|(_, position)| position);
    let (events, read, share) = service.events_held(&namespace, &request, position).await?;
    let bytes = events.iter().filter_map(|event| event.data.as_ref()).map(String::len);
    let is_large = bytes.fold(0, usize::saturating_add) > BYTES_AT_ONCE;
    let Written { length, body, .. } =
        written(&service, share, is_large, move |chunks| write(events, chunks)).await?;
    let kind = HeaderValue::from_static("application/json");
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response.headers_mut().insert(READ, read_header(&read));
    Ok(response)
}

fn write(events: Vec<ListedEvent>, chunks: &mut Chunks) -> Result<(), QueryError> {
    let items = events.iter().map(IngestedEvent::new).collect::<Result<Vec<_>, _>>()?;
    serde_json::to_writer(chunks, &items).map_err(|error| QueryError::internal("event list", error))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IngestedEvent<'a> {
    event: Event<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_error: Option<&'a str>,
    ingested_at: String,
    stored_at: String,
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    source: &'a str,
    specversion: &'static str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<&'static str>,
    /// The bytes as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> IngestedEvent<'a> {
    fn new(listed: &'a ListedEvent) -> Result<Self, QueryError> {
        let data = listed.data.as_deref().map(serde_json::from_str).transpose();
        let data = data.map_err(|error| QueryError::internal("data at rest is no JSON", error))?;
        Ok(Self {
            event: Event {
                id: &listed.id,
                source: &listed.source,
                specversion: "1.0",
                event_type: &listed.event_type,
                subject: &listed.subject,
                time: format_utc(listed.time_us),
                datacontenttype: data.is_some().then_some("application/json"),
                data,
            },
            validation_error: listed.validation_error.as_deref(),
            ingested_at: format_utc(listed.ingested_at_us),
            stored_at: format_utc(listed.stored_at_us),
        })
    }
}
