//! A usage question, checked: OpenMeter's contract 4.3 and 4.4. The two ways to ask (query string and
//! JSON body) meet in `UsageParams`; `UsageRequest` is what the meter makes of it.

mod params;

use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use weir_meter::Meter;
use weir_meter::time::parse_rfc3339;
use weir_meter::zone::WindowSize;

use crate::error::QueryError;
use crate::filter::{Filter, FilterBudget};
use crate::shown::{shortened, shown};

pub use params::{NAMES_MAX, PROPERTIES_MAX, UsageParams};

const CLIENT_ID_CHARS_MAX: usize = 36;
/// Characters of what a reader of JSON says.
const REASON_CHARS_MAX: usize = 200;
const SECOND_US: i64 = 1_000_000;

/// A question about one meter.
#[derive(Clone, Debug)]
pub struct UsageRequest {
    /// Whole seconds, in microseconds; from inside, to outside.
    pub from_us: Option<i64>,
    pub to_us: Option<i64>,
    pub window_size: Option<WindowSize>,
    /// The zone that was asked for; None means UTC and times with `Z`.
    pub zone: Option<TimeZone>,
    /// None means every subject.
    pub subjects: Option<Vec<String>>,
    pub by_subject: bool,
    /// Group-by keys in the order asked for, each with its place among the meter's keys.
    pub group_by: Vec<(String, usize)>,
    /// Conditions on group values, by the key's place among the meter's keys, and after those on properties.
    pub filters: Vec<(usize, Filter)>,
    /// Paths of properties that are filtered on as if they were further group-by keys of the meter.
    pub properties: Vec<String>,
}

/// Reads a body that must be a JSON object; an error names the member that is wrong. (An array would else be
/// read as an object whose members come in their order, and mean something else.)
pub(crate) fn read_object<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, QueryError> {
    let invalid =
        |reason: String| QueryError::invalid("invalid-body", format!("the body is not {what}: {reason}"));
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(invalid("it must be a JSON object".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        // Both may repeat what was sent.
        let reason = error.inner().to_string();
        let reason = shortened(&reason, REASON_CHARS_MAX);
        match error.path().to_string().as_str() {
            "." => invalid(reason.into_owned()),
            path => invalid(format!("{}: {reason}", shown(path))),
        }
    })?;
    json.end().map_err(|error| invalid(error.to_string()))?;
    Ok(read)
}

impl UsageRequest {
    pub fn new(params: UsageParams, meter: &Meter) -> Result<Self, QueryError> {
        params.check()?;
        if params.filter_customer_id.as_ref().is_some_and(|customers| !customers.is_empty()) {
            return Err(no_customers("filterCustomerId"));
        }
        let place = |key: &str| meter.group_by.keys().position(|k| k == key);
        let mut by_subject = false;
        let mut group_by: Vec<(String, usize)> = Vec::new();
        for key in params.group_by.iter().flatten() {
            match key.as_str() {
                "subject" => by_subject = true,
                "customer_id" => return Err(no_customers("groupBy=customer_id")),
                _ if group_by.iter().any(|(k, _)| k == key) => {}
                _ => {
                    let place = place(key).ok_or_else(|| {
                        let known = known_keys(meter);
                        QueryError::invalid(
                            "invalid-group-by",
                            format!("invalid group by: {}; {known}", shown(key)),
                        )
                    })?;
                    group_by.push((key.clone(), place));
                }
            }
        }
        let mut subjects = params.subject.clone().filter(|subjects| !subjects.is_empty());
        if let Some(subjects) = &mut subjects {
            // A filter on subjects groups by them.
            by_subject = true;
            subjects.sort_unstable();
            subjects.dedup();
        }
        let (filters, properties) = filters(&params, meter)?;
        Ok(Self {
            from_us: time("from", params.from.as_deref())?,
            to_us: time("to", params.to.as_deref())?,
            window_size: params.window_size()?,
            zone: params.zone()?,
            subjects,
            by_subject,
            group_by,
            filters,
            properties,
        })
    }

    /// The meter with the filtered properties as further keys. They come after its own in their order,
    /// because no key of a meter begins with a tilde.
    pub(crate) fn widened(&self, meter: &Meter) -> Meter {
        let mut widened = meter.clone();
        for (at, path) in self.properties.iter().enumerate() {
            widened.group_by.insert(format!("~{at:02}"), path.clone());
        }
        widened
    }

    /// True if the answer is one total over everything.
    pub fn is_total(&self) -> bool {
        self.window_size.is_none() && !self.by_subject && self.group_by.is_empty()
    }
}

/// What may be named, for those who named something else.
fn known_keys(meter: &Meter) -> String {
    let keys: Vec<&str> = meter.group_by.keys().map(String::as_str).collect();
    match keys.as_slice() {
        [] => "the meter has no group-by keys, only subject can be grouped by".to_owned(),
        keys => format!("the meter has {} (and subject to group by)", keys.join(", ")),
    }
}

/// Filters, each with the place of what it is on.
type Filters = Vec<(usize, Filter)>;

/// The filters, and the properties that some of them are on.
fn filters(params: &UsageParams, meter: &Meter) -> Result<(Filters, Vec<String>), QueryError> {
    let simple = params.filter_group_by.iter().flatten();
    let advanced = params.advanced_meter_group_by_filters.iter().flatten();
    if simple.clone().next().is_some() && advanced.clone().next().is_some() {
        return Err(QueryError::invalid(
            "invalid-filter",
            "filterGroupBy and advancedMeterGroupByFilters must not be given together",
        ));
    }
    let place = |key: &str| {
        meter.group_by.keys().position(|k| k == key).ok_or_else(|| {
            let known = known_keys(meter);
            QueryError::invalid("invalid-filter", format!("invalid group by filter: {}; {known}", shown(key)))
        })
    };
    let mut budget = FilterBudget::default();
    let mut filters = Vec::new();
    for (key, values) in simple {
        let place = place(key)?;
        filters.extend(Filter::any_of(values.clone(), &mut budget)?.map(|filter| (place, filter)));
    }
    for (key, filter) in advanced {
        let place = place(key)?;
        filters.extend(Filter::parse(filter, &mut budget)?.map(|filter| (place, filter)));
    }
    let mut properties = Vec::new();
    for (path, filter) in params.filter_properties.iter().flatten() {
        let filter = Filter::parse(filter, &mut budget).map_err(|error| match error {
            QueryError::Invalid { kind, detail } => {
                QueryError::invalid(kind, format!("filterProperties {:?}: {detail}", shown(path)))
            }
            QueryError::OverLimit { limit, kind, detail, .. } => {
                QueryError::over(limit, kind, format!("filterProperties {:?}: {detail}", shown(path)))
            }
            error => error,
        })?;
        let Some(filter) = filter else {
            return Err(QueryError::invalid(
                "invalid-filter",
                format!(
                    "filterProperties {:?}: the filter says nothing; leave it out or give it an operator",
                    shown(path)
                ),
            ));
        };
        filters.push((meter.group_by.len().saturating_add(properties.len()), filter));
        properties.push(path.clone());
    }
    Ok((filters, properties))
}

pub(crate) fn check_client_id(client_id: Option<&str>) -> Result<(), QueryError> {
    match client_id.map(|id| id.chars().count()) {
        Some(count) if count == 0 || count > CLIENT_ID_CHARS_MAX => {
            Err(parameter(format!("clientId has {count} characters, 1 to {CLIENT_ID_CHARS_MAX} are allowed")))
        }
        _ => Ok(()),
    }
}

/// A time in microseconds, cut to whole seconds.
pub(crate) fn time(name: &str, text: Option<&str>) -> Result<Option<i64>, QueryError> {
    text.map(|text| {
        let time_us =
            parse_rfc3339(text).map_err(|error| parameter(format!("{name} is not a time: {error}")))?;
        Ok(time_us - time_us.rem_euclid(SECOND_US))
    })
    .transpose()
}

/// Sets a parameter that may be given once.
pub(crate) fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), QueryError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(parameter(format!("{name} is given twice"))),
    }
}

pub(crate) fn parameter(detail: impl Into<String>) -> QueryError {
    QueryError::invalid("invalid-parameter", detail)
}

pub(crate) fn no_customers(what: &str) -> QueryError {
    QueryError::invalid(
        "customers-unsupported",
        format!("{what} needs customers, and this server has none yet; use subject instead"),
    )
}

#[cfg(test)]
mod tests;
