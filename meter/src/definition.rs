//! What a meter may be called and what it may ask for (OpenMeter's contract 1.1, 4.1 and 14.5), checked
//! here once for every door that creates or changes meters.

use std::collections::BTreeMap;

use crate::meter::Aggregation;
use crate::path::Path;

/// Longest slug, group-by key and metadata key, in bytes.
pub const KEY_BYTES_MAX: usize = 64;
/// Longest name in characters.
pub const NAME_CHARACTERS_MAX: usize = 256;
/// Longest description in characters.
pub const DESCRIPTION_CHARACTERS_MAX: usize = 1_024;
/// Longest event type in bytes: no event has a longer one.
pub const EVENT_TYPE_BYTES_MAX: usize = 1_024;
/// Most group-by keys of a meter: each multiplies the windows at rest.
pub const GROUP_BY_KEYS_MAX: usize = 20;
/// Group-by keys that a query could not ask for: it means the event's own subject, and its customer, by them.
pub const TAKEN_KEYS: [&str; 2] = ["subject", "customer_id"];
/// Most entries of a meter's metadata.
pub const METADATA_ENTRIES_MAX: usize = 50;
/// Longest metadata value in characters.
pub const METADATA_VALUE_CHARACTERS_MAX: usize = 1_024;

/// A meter before it is one. What a request leaves out is None or empty.
#[derive(Clone, Copy, Debug)]
pub struct DefinitionDraft<'a> {
    pub slug: &'a str,
    pub name: Option<&'a str>,
    pub description: Option<&'a str>,
    pub metadata: Option<&'a BTreeMap<String, String>>,
    pub event_type: &'a str,
    pub aggregation: Aggregation,
    pub value_property: Option<&'a str>,
    pub group_by: &'a BTreeMap<String, String>,
}

/// Which field of a definition is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct DefinitionError {
    /// The field's name on the wire, such as `groupBy.model`.
    pub field: String,
    pub reason: String,
}

/// Checks everything that can be checked without knowing other meters; the first mistake is named.
pub fn check_definition(draft: &DefinitionDraft<'_>) -> Result<(), DefinitionError> {
    check_slug(draft.slug).map_err(|reason| wrong("slug", reason))?;
    if let Some(name) = draft.name {
        check_length(name, NAME_CHARACTERS_MAX).map_err(|reason| wrong("name", reason))?;
    }
    if let Some(description) = draft.description {
        check_length(description, DESCRIPTION_CHARACTERS_MAX)
            .map_err(|reason| wrong("description", reason))?;
    }
    if let Some(metadata) = draft.metadata {
        check_metadata(metadata)?;
    }
    if draft.event_type.is_empty() {
        return Err(wrong("eventType", "must not be empty".to_owned()));
    }
    if draft.event_type.len() > EVENT_TYPE_BYTES_MAX {
        return Err(wrong(
            "eventType",
            format!("must have at most {EVENT_TYPE_BYTES_MAX} bytes, as events do"),
        ));
    }
    let value = check_value_property(draft).map_err(|reason| wrong("valueProperty", reason))?;
    check_group_by(draft.group_by, value.as_ref())
}

fn wrong(field: &str, reason: String) -> DefinitionError {
    DefinitionError { field: field.to_owned(), reason }
}

/// `^[a-z0-9]+(?:_[a-z0-9]+)*$`, at most 64 characters.
fn check_slug(slug: &str) -> Result<(), String> {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if slug.len() > KEY_BYTES_MAX || !slug.split('_').all(word) {
        return Err(format!(
            "must be 1 to {KEY_BYTES_MAX} lowercase letters and digits, with single underscores between them, such as api_requests"
        ));
    }
    Ok(())
}

fn check_length(text: &str, characters_max: usize) -> Result<(), String> {
    if text.is_empty() || text.chars().count() > characters_max {
        return Err(format!("must have 1 to {characters_max} characters; it may be left out"));
    }
    Ok(())
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), DefinitionError> {
    if metadata.len() > METADATA_ENTRIES_MAX {
        return Err(wrong("metadata", format!("must have at most {METADATA_ENTRIES_MAX} entries")));
    }
    for (key, value) in metadata {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(wrong("metadata", format!("a key must have 1 to {KEY_BYTES_MAX} bytes")));
        }
        if value.chars().count() > METADATA_VALUE_CHARACTERS_MAX {
            let reason = format!("must have at most {METADATA_VALUE_CHARACTERS_MAX} characters");
            return Err(wrong(&format!("metadata.{key}"), reason));
        }
    }
    Ok(())
}

fn check_value_property(draft: &DefinitionDraft<'_>) -> Result<Option<Path>, String> {
    match (draft.aggregation, draft.value_property) {
        (Aggregation::Count, None) => Ok(None),
        (Aggregation::Count, Some(_)) => Err("COUNT counts events and has no value; leave it out".to_owned()),
        (other, None) => Err(format!("{} needs the path of a value, such as $.tokens", other.name())),
        (_, Some(text)) => Path::parse(text).map(Some).map_err(|error| error.to_string()),
    }
}

fn check_group_by(group_by: &BTreeMap<String, String>, value: Option<&Path>) -> Result<(), DefinitionError> {
    if group_by.len() > GROUP_BY_KEYS_MAX {
        return Err(wrong("groupBy", format!("must have at most {GROUP_BY_KEYS_MAX} keys")));
    }
    for (key, text) in group_by {
        let mut bytes = key.bytes();
        let first = bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic());
        if !first || key.len() > KEY_BYTES_MAX || !bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
            let reason = format!(
                "a key must be 1 to {KEY_BYTES_MAX} letters, digits and underscores, and not start with a digit"
            );
            return Err(wrong("groupBy", reason));
        }
        let field = format!("groupBy.{key}");
        if TAKEN_KEYS.contains(&key.as_str()) {
            let reason = "queries call something else by this name; choose another".to_owned();
            return Err(wrong(&field, reason));
        }
        let path = Path::parse(text).map_err(|error| wrong(&field, error.to_string()))?;
        if value == Some(&path) {
            return Err(wrong(&field, "must not be the path of valueProperty".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn draft(group_by: &BTreeMap<String, String>) -> DefinitionDraft<'_> {
        DefinitionDraft {
            slug: "tokens_total",
            name: None,
            description: None,
            metadata: None,
            event_type: "prompt",
            aggregation: Aggregation::Sum,
            value_property: Some("$.tokens"),
            group_by,
        }
    }

    fn refused(draft: DefinitionDraft<'_>) -> String {
        check_definition(&draft).expect_err("refused").to_string()
    }

    #[test]
    fn slugs() {
        let none = BTreeMap::new();
        let longest = "a".repeat(64);
        for slug in ["a", "0", "a_b", "a1_b2_c3", longest.as_str()] {
            assert_eq!(check_definition(&DefinitionDraft { slug, ..draft(&none) }), Ok(()), "{slug}");
        }
        let too_long = "a".repeat(65);
        for slug in ["", "_a", "a_", "a__b", "A", "a-b", "ä", "a b", too_long.as_str()] {
            assert!(refused(DefinitionDraft { slug, ..draft(&none) }).starts_with("slug: "), "{slug}");
        }
    }

    #[test]
    fn texts() {
        let none = BTreeMap::new();
        let (name, description, event_type) = ("n".repeat(257), "d".repeat(1_025), "t".repeat(1_025));
        for name in ["", name.as_str()] {
            assert!(refused(DefinitionDraft { name: Some(name), ..draft(&none) }).starts_with("name: "));
        }
        for description in ["", description.as_str()] {
            assert!(
                refused(DefinitionDraft { description: Some(description), ..draft(&none) })
                    .starts_with("description: ")
            );
        }
        for event_type in ["", event_type.as_str()] {
            assert!(refused(DefinitionDraft { event_type, ..draft(&none) }).starts_with("eventType: "));
        }
        let name = "ü".repeat(256);
        assert_eq!(check_definition(&DefinitionDraft { name: Some(&name), ..draft(&none) }), Ok(()));
    }

    #[test]
    fn values_fit_the_aggregation() {
        let none = BTreeMap::new();
        let count = DefinitionDraft { aggregation: Aggregation::Count, value_property: None, ..draft(&none) };
        assert_eq!(check_definition(&count), Ok(()));
        assert_eq!(
            refused(DefinitionDraft { value_property: Some("$.x"), ..count }),
            "valueProperty: COUNT counts events and has no value; leave it out"
        );
        assert_eq!(
            refused(DefinitionDraft { value_property: None, ..draft(&none) }),
            "valueProperty: SUM needs the path of a value, such as $.tokens"
        );
        for path in ["", "tokens", "$..a", "$.a-b"] {
            assert!(
                refused(DefinitionDraft { value_property: Some(path), ..draft(&none) })
                    .starts_with("valueProperty: ")
            );
        }
    }

    #[test]
    fn group_bys() {
        assert_eq!(check_definition(&draft(&map(&[("model", "$.model"), ("_x1", "$.a[*].b")]))), Ok(()));
        for key in ["", "1a", "a-b", "a b", "ä"] {
            assert!(refused(draft(&map(&[(key, "$.a")]))).starts_with("groupBy: a key"), "{key}");
        }
        assert!(refused(draft(&map(&[("a", "model")]))).starts_with("groupBy.a: "));
        for same in ["$.tokens", "$['tokens']"] {
            assert_eq!(
                refused(draft(&map(&[("a", same)]))),
                "groupBy.a: must not be the path of valueProperty"
            );
        }
        for key in TAKEN_KEYS {
            assert_eq!(
                refused(draft(&map(&[(key, "$.a")]))),
                format!("groupBy.{key}: queries call something else by this name; choose another")
            );
        }
        assert_eq!(check_definition(&draft(&map(&[("Subject", "$.a"), ("customerId", "$.b")]))), Ok(()));
        let many: BTreeMap<String, String> = (0..21).map(|n| (format!("k{n}"), format!("$.k{n}"))).collect();
        assert_eq!(refused(draft(&many)), "groupBy: must have at most 20 keys");
    }

    #[test]
    fn metadata_is_bounded() {
        let none = BTreeMap::new();
        let check = |metadata: &BTreeMap<String, String>| {
            check_definition(&DefinitionDraft { metadata: Some(metadata), ..draft(&none) })
        };
        assert_eq!(check(&map(&[("a b", "")])), Ok(()));
        assert!(check(&map(&[("", "x")])).is_err());
        assert!(check(&map(&[("k", &"v".repeat(1_025))])).is_err());
        assert!(check(&(0..51).map(|n| (n.to_string(), String::new())).collect()).is_err());
    }
}
