//! A meter's definition as a request has it. The rules are the domain's; here a refusal also gets the name of
//! the cap that was passed, if it was one, so that it counts under it.

use std::collections::BTreeMap;

use serde::Deserialize;
use weir_catalog::MeterDraft;
use weir_meter::Aggregation;
use weir_meter::definition::{
    DESCRIPTION_CHARACTERS_MAX, DefinitionDraft, EVENT_TYPE_BYTES_MAX, GROUP_BY_KEYS_MAX, KEY_BYTES_MAX,
    METADATA_ENTRIES_MAX, NAME_CHARACTERS_MAX, check_definition,
};
use weir_meter::path::{PATH_BYTES_MAX, PATH_STEPS_MAX, Path};

use crate::error::QueryError;
use crate::shown::shown;

const KIND: &str = "invalid-meter";

/// `MeterCreate`. Members that are not in it, read-only ones too, are let pass.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MeterCreate {
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
    pub(super) fn draft(self) -> Result<MeterDraft, QueryError> {
        let aggregation = Aggregation::from_name(&self.aggregation).ok_or_else(|| {
            invalid(
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
            .map_err(|error| invalid("eventFrom", error))?;
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
        check(&DefinitionDraft {
            slug: &draft.slug,
            name: draft.name.as_deref(),
            description: draft.description.as_deref(),
            metadata: draft.metadata.as_ref(),
            event_type: &draft.event_type,
            aggregation: draft.aggregation,
            value_property: draft.value_property.as_deref(),
            group_by: &draft.group_by,
        })?;
        Ok(draft)
    }
}

/// Refuses what is no good definition.
pub(super) fn check(draft: &DefinitionDraft<'_>) -> Result<(), QueryError> {
    check_definition(draft).map_err(|error| match passed(draft, &error.field) {
        Some(cap) => QueryError::over(cap, KIND, detail(&error.field, error.reason)),
        None => invalid(&error.field, error.reason),
    })
}

fn invalid(field: &str, reason: impl std::fmt::Display) -> QueryError {
    QueryError::invalid(KIND, detail(field, reason))
}

fn detail(field: &str, reason: impl std::fmt::Display) -> String {
    format!("{}: {reason}", shown(field))
}

/// The cap that a refused field passes.
fn passed(draft: &DefinitionDraft<'_>, field: &str) -> Option<&'static str> {
    let longer = |text: Option<&str>, most: usize| text.is_some_and(|text| text.chars().count() > most);
    let key_too_long = |key: &String| key.len() > KEY_BYTES_MAX;
    // Keys of both maps come behind a dot.
    let (field, key) = field.split_once('.').map_or((field, None), |(field, key)| (field, Some(key)));
    match (field, key) {
        ("slug", _) => (draft.slug.len() > KEY_BYTES_MAX).then_some("meter_key_bytes_max"),
        ("name", _) => longer(draft.name, NAME_CHARACTERS_MAX).then_some("meter_name_chars_max"),
        ("description", _) => {
            longer(draft.description, DESCRIPTION_CHARACTERS_MAX).then_some("meter_description_chars_max")
        }
        ("eventType", _) => {
            (draft.event_type.len() > EVENT_TYPE_BYTES_MAX).then_some("meter_event_type_bytes_max")
        }
        ("valueProperty", _) => path_cap(draft.value_property?),
        ("groupBy", Some(key)) => path_cap(draft.group_by.get(key)?),
        ("groupBy", None) if draft.group_by.len() > GROUP_BY_KEYS_MAX => Some("meter_group_by_keys_max"),
        ("groupBy", None) => draft.group_by.keys().any(key_too_long).then_some("meter_key_bytes_max"),
        ("metadata", Some(_)) => Some("meter_metadata_value_chars_max"),
        ("metadata", None) if draft.metadata?.len() > METADATA_ENTRIES_MAX => {
            Some("meter_metadata_entries_max")
        }
        ("metadata", None) => draft.metadata?.keys().any(key_too_long).then_some("meter_key_bytes_max"),
        _ => None,
    }
}

/// A path is over a cap if it is refused for the reason that a path is refused for which is only that.
fn path_cap(path: &str) -> Option<&'static str> {
    let reason = |path: &str| Path::parse(path).err().map(|error| error.reason);
    let found = reason(path)?;
    let too_long = format!("$.{}", "a".repeat(PATH_BYTES_MAX));
    let too_deep = format!("${}", ".a".repeat(PATH_STEPS_MAX.saturating_add(1)));
    [("meter_path_bytes_max", too_long), ("meter_path_steps_max", too_deep)]
        .into_iter()
        .find_map(|(cap, over)| (reason(&over) == Some(found)).then_some(cap))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = dyn Fn(&mut MeterCreate, usize);

    fn named(count: usize, text: impl Fn(usize) -> String) -> Option<BTreeMap<String, String>> {
        Some((0..count).map(|n| (format!("k{n}"), text(n))).collect())
    }

    /// What is refused, and under which cap.
    fn refused(change: &Change, size: usize) -> Option<(Option<&'static str>, String)> {
        let body = r#"{"slug":"s","eventType":"t","aggregation":"SUM","valueProperty":"$.v"}"#;
        let mut create: MeterCreate = serde_json::from_str(body).unwrap();
        change(&mut create, size);
        create.draft().err().map(|error| (error.limit(), error.to_string()))
    }

    /// At a cap a definition passes, one beyond it counts under the cap's name.
    #[test]
    fn every_cap_has_a_name() {
        let rows: [(&str, usize, &Change); 12] = [
            ("meter_key_bytes_max", 64, &|meter, size| meter.slug = "s".repeat(size)),
            ("meter_key_bytes_max", 64, &|meter, size| {
                meter.group_by = Some([("k".repeat(size), "$.k".to_owned())].into());
            }),
            ("meter_key_bytes_max", 64, &|meter, size| {
                meter.metadata = Some([("k".repeat(size), String::new())].into());
            }),
            ("meter_name_chars_max", 256, &|meter, size| meter.name = Some("ü".repeat(size))),
            ("meter_description_chars_max", 1_024, &|meter, size| {
                meter.description = Some("ü".repeat(size));
            }),
            ("meter_event_type_bytes_max", 1_024, &|meter, size| meter.event_type = "t".repeat(size)),
            ("meter_group_by_keys_max", 20, &|meter, size| {
                meter.group_by = named(size, |n| format!("$.k{n}"));
            }),
            ("meter_metadata_entries_max", 50, &|meter, size| {
                meter.metadata = named(size, |_| String::new());
            }),
            ("meter_metadata_value_chars_max", 1_024, &|meter, size| {
                meter.metadata = Some([("a.b".to_owned(), "ü".repeat(size))].into());
            }),
            ("meter_path_bytes_max", 256, &|meter, size| {
                meter.value_property = Some(format!("$.{}", "v".repeat(size - 2)));
            }),
            ("meter_path_steps_max", 32, &|meter, size| {
                meter.value_property = Some(format!("${}", ".v".repeat(size)));
            }),
            ("meter_path_steps_max", 32, &|meter, size| {
                meter.group_by = Some([("k".to_owned(), format!("${}", ".v".repeat(size)))].into());
            }),
        ];
        for (cap, most, change) in rows {
            assert_eq!(refused(change, most), None, "{cap}");
            let (limit, detail) = refused(change, most + 1).unwrap();
            assert_eq!(limit, Some(cap), "{detail}");
        }
    }

    #[test]
    fn what_is_only_wrong_has_no_cap() {
        let rows: [&Change; 6] = [
            &|meter, _| meter.slug = "A".to_owned(),
            &|meter, _| meter.name = Some(String::new()),
            &|meter, _| meter.event_type = String::new(),
            &|meter, _| meter.value_property = Some("$..v".to_owned()),
            &|meter, _| meter.group_by = Some([("k".to_owned(), "k".to_owned())].into()),
            &|meter, _| meter.metadata = Some([(String::new(), String::new())].into()),
        ];
        for change in rows {
            let (limit, detail) = refused(change, 0).unwrap();
            assert_eq!(limit, None, "{detail}");
        }
    }
}
