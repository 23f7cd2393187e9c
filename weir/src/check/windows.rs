//! `weir check --windows`: windows are a cache of the rows at rest, and this compares the two. Every living
//! meter is asked twice, once the usual way and once from its rows alone.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_catalog::Catalog;
use weir_meter::Meter;
use weir_query::{Ask, QueryError, QueryOptions, QueryService, ReadOnly, UsageAnswer, UsageParams};

use super::Report;
use crate::data::AtRest;
use crate::output::Failure;

/// Rows of one answer. A meter with more groups than this is compared without them.
const RESULT_ROWS_MAX: usize = 2_000_000;
const FOLDED_BYTES_MAX: usize = 2 << 30;
const MEMORY_BYTES_MAX: usize = 2 << 30;
const DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// Differences of one meter that are told.
const DIFFERENCES_MAX: usize = 5;

/// Its midnights lie on half hours of UTC, where no window of an hour ends: such a question is answered
/// from minutes, and one about all time from hours, where there are any.
const HALF_HOUR_ZONE: &str = "Asia/Kolkata";

pub(super) async fn check(at_rest: &AtRest, report: &mut Report) -> Result<(), Failure> {
    let service = at_rest.queries(QueryOptions {
        concurrent_queries_max: 1,
        deadline: DEADLINE,
        rows_folded_max: u64::MAX,
        windows_folded_max: usize::MAX,
        folded_bytes_max: FOLDED_BYTES_MAX,
        result_rows_max: RESULT_ROWS_MAX,
        memory_bytes_max: MEMORY_BYTES_MAX,
        ..QueryOptions::default()
    });
    let (_, meters) = match at_rest.catalog.live_meters().await {
        Ok(living) => living,
        Err(error) => {
            report.problem(error.to_string());
            return Ok(());
        }
    };
    let mut compared = 0_u64;
    for meter in meters.iter() {
        compare(&service, meter, report).await;
        compared = compared.saturating_add(1);
    }
    report.meters = Some(compared);
    Ok(())
}

async fn compare(service: &QueryService, meter: &Meter, report: &mut Report) {
    let keys = std::iter::once("subject").chain(meter.group_by.keys().map(String::as_str));
    let grouped = UsageParams { group_by: Some(keys.map(str::to_owned).collect()), ..UsageParams::default() };
    let by_month = UsageParams {
        window_size: Some("MONTH".to_owned()),
        window_time_zone: Some(HALF_HOUR_ZONE.to_owned()),
        ..grouped.clone()
    };
    for params in [grouped, by_month] {
        if let Err(error) = compare_one(service, meter, &params, report).await {
            let text = format!("the meter {} could not be compared: {error}", meter.slug);
            match error {
                // Too large for one comparison: that says nothing about the windows.
                QueryError::Invalid { .. } => report.note(text),
                _ => report.problem(text),
            }
            return;
        }
    }
}

async fn compare_one(
    service: &QueryService,
    meter: &Meter,
    params: &UsageParams,
    report: &mut Report,
) -> Result<(), QueryError> {
    let ask = |only| {
        let ask = Ask { position: None, only };
        // Boxed: a query's state is large.
        Box::pin(service.usage(&meter.namespace, &meter.slug, params.clone(), ask))
    };
    // Where some offsets have no windows yet, what there is of windows is compared with the help of rows.
    let windows = match ask(Some(ReadOnly::Segments)).await {
        Err(QueryError::RowsNeeded(_)) => ask(None).await?,
        answer => answer?,
    };
    let rows = ask(Some(ReadOnly::Rows)).await?;
    let (windows, rows) = (values(&windows), values(&rows));
    let all = windows.keys().chain(rows.keys().filter(|key| !windows.contains_key(*key)));
    let differences = all.filter(|key| windows.get(*key) != rows.get(*key));
    let mut told = 0_usize;
    for key in differences {
        told = told.saturating_add(1);
        if told > DIFFERENCES_MAX {
            report.problem(format!("the meter {}: … and more differences", meter.slug));
            break;
        }
        let value =
            |answer: &BTreeMap<Key, String>| answer.get(key).cloned().unwrap_or_else(|| "nothing".to_owned());
        let (start_us, subject, groups) = key;
        let named: Vec<String> =
            meter.group_by.keys().zip(groups).map(|(key, value)| format!(", {key} {value:?}")).collect();
        let since = match params.window_size {
            Some(_) => format!(", month from {}", weir_meter::time::format_utc(*start_us)),
            None => String::new(),
        };
        report.problem(format!(
            "the meter {}: subject {:?}{}{since}: windows say {}, rows say {}",
            meter.slug,
            subject.as_deref().unwrap_or_default(),
            named.concat(),
            value(&windows),
            value(&rows)
        ));
    }
    Ok(())
}

/// Window start, subject and group values.
type Key = (i64, Option<String>, Vec<String>);

fn values(answer: &UsageAnswer) -> BTreeMap<Key, String> {
    let windowed = answer.window_size.is_some();
    let key = |row: &weir_query::UsageRow| {
        // Without a window size a row begins at its first event's minute, which rows and windows both know.
        (if windowed { row.window_start_us } else { 0 }, row.subject.clone(), row.groups.clone())
    };
    answer.rows.iter().map(|row| (key(row), row.value.clone())).collect()
}
