//! Why an event counts less than it could: OpenMeter's contract 14.4, by the same reading of values
//! that folds them. Computed when listing, from the meters that live then.

use std::collections::HashMap;
use std::sync::Arc;

use weir_meter::Meter;
use weir_meter::json::{Extractor, PathSet};
use weir_meter::path::Path;
use weir_meter::report::value_error;

use crate::error::QueryError;

pub(super) struct EventCheck {
    types: HashMap<String, TypeCheck>,
    extractor: Extractor,
}

#[derive(Default)]
struct TypeCheck {
    meters: Vec<Arc<Meter>>,
    paths: PathSet,
}

impl EventCheck {
    pub(super) fn new<'m>(meters: impl Iterator<Item = &'m Arc<Meter>>) -> Result<Self, QueryError> {
        let mut types: HashMap<String, TypeCheck> = HashMap::new();
        for meter in meters {
            types.entry(meter.event_type.clone()).or_default().meters.push(Arc::clone(meter));
        }
        for check in types.values_mut() {
            check.meters.sort_by(|a, b| a.slug.cmp(&b.slug));
            let paths: Result<Vec<Path>, _> =
                check.meters.iter().filter_map(|m| m.value_property.as_deref()).map(Path::parse).collect();
            check.paths =
                PathSet::new(paths.map_err(|error| QueryError::internal("a stored meter's path", error))?);
        }
        Ok(Self { types, extractor: Extractor::default() })
    }

    /// One line per reason; None if every meter counts the event whole.
    pub(super) fn problems(&mut self, event_type: &str, data: Option<&str>) -> Option<String> {
        let Some(check) = self.types.get(event_type) else {
            return Some(format!("no meter found for event type: {event_type}"));
        };
        let values = self.extractor.extract(data.map(str::as_bytes), &check.paths);
        let metered =
            check.meters.iter().filter_map(|meter| meter.value_property.as_deref().map(|path| (meter, path)));
        let lines: Vec<String> = metered
            .zip(&values)
            .filter_map(|((meter, path), value)| value_error(meter.aggregation, data.is_some(), value, path))
            .map(|reason| format!("invalid event: {reason}"))
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_meter::{Aggregation, MeterId, Namespace};

    fn meter(slug: &str, aggregation: Aggregation, path: Option<&str>) -> Arc<Meter> {
        Arc::new(Meter {
            id: MeterId(1),
            generation: 1,
            namespace: Namespace::default(),
            slug: slug.into(),
            name: slug.into(),
            description: None,
            metadata: None,
            event_type: "t".into(),
            aggregation,
            value_property: path.map(str::to_owned),
            group_by: Default::default(),
            event_from_us: None,
            created_revision: 1,
            deleted_revision: None,
            created_at_us: 0,
            updated_at_us: 0,
            deleted_at_us: None,
        })
    }

    #[test]
    fn each_reason_has_its_text() {
        let meters = [
            meter("b", Aggregation::Sum, Some("$.x")),
            meter("a", Aggregation::Count, None),
            meter("c", Aggregation::UniqueCount, Some("$.y")),
        ];
        let mut check = EventCheck::new(meters.iter()).unwrap();
        for (data, expected) in [
            (None, "null and missing value property|null and missing value property"),
            (Some(r#"{"y": 1}"#), r#"missing value property: "$.x""#),
            (Some(r#"{"x": 1}"#), r#"missing value property: "$.y""#),
            (Some(r#"{"x": null, "y": true}"#), "value cannot be null"),
            (Some(r#"{"x": "NaN", "y": {}}"#), "value cannot be NaN"),
            (Some(r#"{"x": "-Inf", "y": 1}"#), "value cannot be infinity"),
            (Some(r#"{"x": "abc", "y": 1}"#), "value cannot be parsed as float64: abc"),
            (Some(r#"{"x": true, "y": 1}"#), "unsupported value property type: boolean"),
            (Some(r#"{"x": "1.5", "y": ""}"#), ""),
            (Some(r#"{"x": 1e40, "y": 1}"#), "value must be below 10^33 in magnitude: 1e40"),
        ] {
            let expected: Vec<String> = expected
                .split('|')
                .filter(|reason| !reason.is_empty())
                .map(|reason| format!("invalid event: {reason}"))
                .collect();
            let expected = (!expected.is_empty()).then(|| expected.join("\n"));
            assert_eq!(check.problems("t", data), expected, "{data:?}");
        }
        assert_eq!(check.problems("u", None), Some("no meter found for event type: u".into()));
    }
}
