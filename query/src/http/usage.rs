//! Meter queries over HTTP, asked by query string or body, answered in JSON or CSV.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, header};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use weir_meter::time::format_utc;
use weir_proto::Problem;

use super::csv::csv;
use super::{FLOOR, MeterPath, POSITION, READ, READ_FROM, Tenant, position, query_text, read_header};
use crate::error::QueryError;
use crate::look::{Ask, ReadOnly};
use crate::request::{UsageParams, parameter};
use crate::service::QueryService;
use crate::usage::UsageAnswer;

pub(super) async fn get(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    meter: MeterPath,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(meter) = meter?;
    let params = UsageParams::from_query(query_text(&query))?;
    answer(&service, Tenant(namespace), &meter, params, &headers).await
}

pub(super) async fn post(
    State(service): State<Arc<QueryService>>,
    Tenant(namespace): Tenant,
    meter: MeterPath,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Path(meter) = meter?;
    let params = UsageParams::from_json(&body?)?;
    answer(&service, Tenant(namespace), &meter, params, &headers).await
}

async fn answer(
    service: &QueryService,
    Tenant(namespace): Tenant,
    id_or_slug: &str,
    params: UsageParams,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    params.check()?;
    let given = position(service, &namespace, headers)?;
    let position = given.as_ref().map(|(_, position)| position.clone());
    let ask = Ask { position, only: read_only(headers)? };
    let exactly = ask.exactly().is_some();
    let answer = service.usage(&namespace, id_or_slug, params, ask).await?;
    let mut response = if wants_csv(headers) {
        let name = format!("attachment; filename={}.csv", answer.slug);
        let name = HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("attachment"));
        let kind = HeaderValue::from_static("text/csv");
        ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], csv(&answer)).into_response()
    } else {
        let body = Body::new(&answer)?;
        let json = serde_json::to_vec(&body).map_err(|error| QueryError::internal("answer", error))?;
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(READ, read_header(&answer.read));
    let token = match given {
        Some((sent, _)) if exactly => sent,
        _ => {
            let token = service.seal_position(&answer.position, &namespace)?;
            HeaderValue::try_from(token).map_err(|error| QueryError::internal("position token", error))?
        }
    };
    headers.insert(POSITION, token);
    if let Some(floor) = answer.floor_us.and_then(|floor| HeaderValue::try_from(format_utc(floor)).ok()) {
        headers.insert(FLOOR, floor);
    }
    Ok(response)
}

/// What the request wants to be answered from.
fn read_only(headers: &HeaderMap) -> Result<Option<ReadOnly>, QueryError> {
    match headers.get(READ_FROM).map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"rows") => Ok(Some(ReadOnly::Rows)),
        Some(b"segments") => Ok(Some(ReadOnly::Segments)),
        Some(_) => Err(parameter("the Weir-Read-From header is rows, segments, or left away")),
    }
}

/// Only a media type that is exactly `text/csv` (parameters aside) asks for CSV.
fn wants_csv(headers: &HeaderMap) -> bool {
    let mut accepts = headers.get_all(header::ACCEPT).iter();
    let (Some(accept), None) = (accepts.next(), accepts.next()) else { return false };
    accept.to_str().is_ok_and(|accept| {
        let media_type = accept.split(';').next().unwrap_or_default();
        !accept.contains(',') && media_type.trim().eq_ignore_ascii_case("text/csv")
    })
}

/// `MeterQueryResult`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_size: Option<&'static str>,
    data: Vec<Row<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    /// The exact digits: never through a float.
    value: Box<RawValue>,
    window_start: String,
    window_end: String,
    subject: Option<&'a str>,
    group_by: Groups<'a>,
}

/// Keys and values in the order asked for.
struct Groups<'a>(&'a [String], &'a [String]);

impl Serialize for Groups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0.iter().zip(self.1) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'a> Body<'a> {
    fn new(answer: &'a UsageAnswer) -> Result<Self, QueryError> {
        let rows = answer.rows.iter().map(|row| {
            Ok(Row {
                value: RawValue::from_string(row.value.clone())
                    .map_err(|error| QueryError::internal("a value is no JSON number", error))?,
                window_start: answer.show(row.window_start_us),
                window_end: answer.show(row.window_end_us),
                subject: row.subject.as_deref(),
                group_by: Groups(&answer.group_by, &row.groups),
            })
        });
        Ok(Self {
            from: answer.from_us.map(|time| answer.show(time)),
            to: answer.to_us.map(|time| answer.show(time)),
            window_size: answer.window_size.map(|size| size.name()),
            data: rows.collect::<Result<_, QueryError>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_for_those_who_ask_for_nothing_else() {
        for (accept, wanted) in [
            ("text/csv", true),
            ("TEXT/CSV; charset=utf-8", true),
            ("text/csv, application/json", false),
            ("application/json", false),
            ("*/*", false),
            ("text/csvx", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_csv(&headers), wanted, "{accept}");
        }
        assert!(!wants_csv(&HeaderMap::new()));
    }
}
