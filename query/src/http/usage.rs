//! Meter queries over HTTP, asked by query string or body, answered in JSON or CSV.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, header};
use weir_meter::time::format_utc;
use weir_proto::Problem;

use super::answer::{Chunks, Written, written};
use super::body::json_body;
use super::csv::csv;
use super::json::Shown;
use super::{FLOOR, MeterPath, POSITION, READ, READ_FROM, Tenant, only, position, query_text, read_header};
use crate::error::QueryError;
use crate::look::{Ask, ReadOnly};
use crate::request::{UsageParams, parameter};
use crate::service::QueryService;
use crate::usage::UsageAnswer;

/// Answers of more rows are written on a thread of their own.
const ROWS_AT_ONCE: usize = 1_000;

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
    body: Body,
) -> Result<Response, Problem> {
    let Path(meter) = meter?;
    let params = UsageParams::from_json(&json_body(&service, &headers, body).await?)?;
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
    let (answer, share) = service.usage_held(&namespace, id_or_slug, params, ask).await?;
    let as_csv = wants_csv(headers);
    let is_large = answer.rows.len() > ROWS_AT_ONCE;
    let Written { rest: answer, length, body } =
        written(service, share, is_large, move |chunks| write(answer, as_csv, chunks)).await?;
    let mut response = if as_csv {
        let name = format!("attachment; filename={}.csv", answer.slug);
        let name = HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("attachment"));
        let kind = HeaderValue::from_static("text/csv");
        ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], body).into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length);
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

/// Writes the rows. The answer without them is left.
fn write(mut answer: UsageAnswer, as_csv: bool, chunks: &mut Chunks) -> Result<UsageAnswer, QueryError> {
    if as_csv {
        csv(&answer, chunks).map_err(|error| QueryError::internal("answer", error))?;
    } else {
        serde_json::to_writer(chunks, &Shown(&answer))
            .map_err(|error| QueryError::internal("answer", error))?;
    }
    answer.rows = Vec::new();
    Ok(answer)
}

/// What the request wants to be answered from.
fn read_only(headers: &HeaderMap) -> Result<Option<ReadOnly>, QueryError> {
    match only(headers, READ_FROM, "Weir-Read-From")?.map(HeaderValue::as_bytes) {
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
