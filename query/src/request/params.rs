//! A question as sent, by query string or body. What can be said to be wrong without knowing the meter is
//! said here, names included that were meant for others.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use weir_meter::path::Path;
use weir_meter::zone::{WindowSize, zone};

use super::{REASON_CHARS_MAX, check_client_id, once, parameter, read_object, time};
use crate::error::QueryError;
use crate::names::{check_members, check_name};
use crate::shown::{shortened, shown};

/// Subjects, group-bys and customers that one request may name.
pub const NAMES_MAX: usize = 100;
/// Properties that are no group-by and that one request may filter on.
pub const PROPERTIES_MAX: usize = 10;
/// Members of a body that filter.
const FILTERS: [&str; 4] =
    ["filterCustomerId", "filterGroupBy", "filterProperties", "advancedMeterGroupByFilters"];

/// Names of a body, and those of an address without the last.
const NAMES: [&str; 11] = [
    "clientId",
    "from",
    "to",
    "windowSize",
    "windowTimeZone",
    "subject",
    "groupBy",
    "filterCustomerId",
    "filterGroupBy",
    "advancedMeterGroupByFilters",
    "filterProperties",
];

/// The question as sent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageParams {
    pub client_id: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub window_size: Option<String>,
    pub window_time_zone: Option<String>,
    pub subject: Option<Vec<String>>,
    pub filter_customer_id: Option<Vec<String>>,
    pub filter_group_by: Option<BTreeMap<String, Vec<String>>>,
    pub advanced_meter_group_by_filters: Option<Map<String, Value>>,
    pub group_by: Option<Vec<String>>,
    /// Filters on properties of the data, by their paths. Only in a body.
    pub filter_properties: Option<Map<String, Value>>,
}

impl UsageParams {
    pub fn from_json(body: &[u8]) -> Result<Self, QueryError> {
        let params: Self = read_object(body, "a meter query")?;
        let members: BTreeMap<String, IgnoredAny> = read_object(body, "a meter query")?;
        match members.keys().find(|name| is_like_a_filter(name) && !FILTERS.contains(&name.as_str())) {
            None => {}
            // A filter that is not understood would be a total of too much.
            Some(name) => {
                let detail = format!("unknown filter {:?}; there are {}", shown(name), FILTERS.join(", "));
                return Err(QueryError::invalid("invalid-filter", detail));
            }
        }
        check_members(body, &NAMES)?;
        Ok(params)
    }

    /// From the query string. Arrays repeat their parameter; unknown parameters are let pass, unless they
    /// are known ones with a slip of the pen.
    pub fn from_query(query: &str) -> Result<Self, QueryError> {
        let mut params = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*name {
                "clientId" => once(&mut params.client_id, &name, value)?,
                "from" => once(&mut params.from, &name, value)?,
                "to" => once(&mut params.to, &name, value)?,
                "windowSize" => once(&mut params.window_size, &name, value)?,
                "windowTimeZone" => once(&mut params.window_time_zone, &name, value)?,
                "subject" => params.subject.get_or_insert_default().push(value),
                "groupBy" => params.group_by.get_or_insert_default().push(value),
                "filterCustomerId" => params.filter_customer_id.get_or_insert_default().push(value),
                "advancedMeterGroupByFilters" => {
                    let filters = serde_json::from_str(&value).map_err(|error| {
                        QueryError::invalid(
                            "invalid-filter",
                            format!(
                                "{name} is not a JSON object of filters: {}",
                                shortened(&error.to_string(), REASON_CHARS_MAX)
                            ),
                        )
                    })?;
                    once(&mut params.advanced_meter_group_by_filters, &name, filters)?;
                }
                "filterProperties" => {
                    return Err(QueryError::invalid(
                        "invalid-filter",
                        "filterProperties belongs in the JSON body of a POST",
                    ));
                }
                // A filter that is not understood would be a total of too much.
                name if name.starts_with("filterGroupBy") => {
                    let key = name.strip_prefix("filterGroupBy[").and_then(|rest| rest.strip_suffix(']'));
                    let key = key.ok_or_else(|| {
                        QueryError::invalid(
                            "invalid-filter",
                            "invalid group by filter: write it as filterGroupBy[key]=value",
                        )
                    })?;
                    let filters = params.filter_group_by.get_or_insert_default();
                    filters.entry(key.to_owned()).or_default().push(value);
                }
                // So would one in a spelling of another name.
                name if is_like_a_filter(name) => {
                    return Err(QueryError::invalid(
                        "invalid-filter",
                        format!(
                            "unknown filter {:?}; there are filterGroupBy[key], filterCustomerId and advancedMeterGroupByFilters (a JSON object), and in a body filterProperties",
                            shown(name)
                        ),
                    ));
                }
                name => check_name(name, &NAMES)?,
            }
        }
        Ok(params)
    }

    /// What can be said to be wrong without knowing the meter is said first.
    pub fn check(&self) -> Result<(), QueryError> {
        check_client_id(self.client_id.as_deref())?;
        for (name, list) in [
            ("subject", &self.subject),
            ("groupBy", &self.group_by),
            ("filterCustomerId", &self.filter_customer_id),
        ] {
            if let Some(count) = list.as_ref().map(Vec::len).filter(|count| *count > NAMES_MAX) {
                return Err(QueryError::over(
                    "query_names_max",
                    "invalid-parameter",
                    format!("{name} has {count} values, at most {NAMES_MAX} are allowed"),
                ));
            }
        }
        if let Some(properties) = &self.filter_properties {
            if properties.len() > PROPERTIES_MAX {
                return Err(QueryError::over(
                    "filter_properties_max",
                    "invalid-filter",
                    format!(
                        "filterProperties names {} properties, at most {PROPERTIES_MAX} are allowed",
                        properties.len()
                    ),
                ));
            }
            for path in properties.keys() {
                Path::parse(path).map_err(|error| {
                    QueryError::invalid("invalid-filter", format!("filterProperties: {error}"))
                })?;
            }
        }
        let range = (time("from", self.from.as_deref())?, time("to", self.to.as_deref())?);
        if let (Some(from), Some(to)) = range
            && from >= to
        {
            return Err(parameter("from must be before to (both are cut to whole seconds)"));
        }
        self.window_size()?;
        self.zone()?;
        Ok(())
    }

    pub(super) fn window_size(&self) -> Result<Option<WindowSize>, QueryError> {
        self.window_size
            .as_deref()
            .map(|name| {
                WindowSize::from_name(name).ok_or_else(|| {
                    parameter(format!(
                        "unknown windowSize {:?}; there are MINUTE, HOUR, DAY and MONTH",
                        shown(name)
                    ))
                })
            })
            .transpose()
    }

    pub(super) fn zone(&self) -> Result<Option<TimeZone>, QueryError> {
        self.window_time_zone
            .as_deref()
            .map(|name| {
                zone(name).ok_or_else(|| {
                    parameter(format!(
                        "unknown windowTimeZone {:?}; give an IANA name such as Europe/Berlin",
                        shown(name)
                    ))
                })
            })
            .transpose()
    }
}

/// True for names that are, or were probably meant to be, those of filters.
fn is_like_a_filter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("filter") || name.starts_with("advancedmeter")
}
