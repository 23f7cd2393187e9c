//! Names that a client writes almost right. Unknown names are let pass, as the contract asks, but one that
//! was meant for a name we know would change the answer by being left out.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use crate::error::QueryError;
use crate::request::parameter;
use crate::shown::shown;

/// Longer names are not compared.
const NAME_BYTES_MAX: usize = 64;

/// Refuses a name that is not known but differs from a known one only by case, word breaks, brackets or an
/// s at its end.
pub(crate) fn check_name(name: &str, known: &[&str]) -> Result<(), QueryError> {
    match meant(name, known) {
        None => Ok(()),
        Some(meant) => Err(parameter(format!(
            "unknown parameter {:?}; write it {meant}, and repeat it where it takes several values",
            shown(name)
        ))),
    }
}

/// The same for the members of a body, which is known to be an object.
pub(crate) fn check_members(body: &[u8], known: &[&str]) -> Result<(), QueryError> {
    // What cannot be read is told by whoever reads it for its values.
    let members: BTreeMap<String, IgnoredAny> = serde_json::from_slice(body).unwrap_or_default();
    match members.keys().find_map(|name| Some((name, meant(name, known)?))) {
        None => Ok(()),
        Some((name, meant)) => Err(parameter(format!("unknown member {:?}; write it {meant}", shown(name)))),
    }
}

/// The known name that another one was probably meant to be.
fn meant<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    if known.contains(&name) || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let bare = plain(name);
    known.iter().find(|known| plain(known) == bare).copied()
}

/// Letters and digits before any bracket, in lower case and without an s at the end.
fn plain(name: &str) -> String {
    let name = name.split('[').next().unwrap_or_default();
    let letters = name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase());
    let letters: String = letters.collect();
    match letters.strip_suffix('s') {
        Some(one) => one.to_owned(),
        None => letters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["subject", "groupBy", "windowTimeZone", "pageSize"];

    #[test]
    fn near_misses_are_refused_and_strangers_let_pass() {
        for name in KNOWN.iter().chain(&["", "s", "unknown", "group", "subjectKey", "window", "zone"]) {
            check_name(name, &KNOWN).unwrap();
        }
        for name in [
            "Subject",
            "subjects",
            "subject[]",
            "subject[0]",
            "group_by",
            "groupby",
            "windowTimezone",
            "PAGE-SIZE",
        ] {
            let error = check_name(name, &KNOWN).unwrap_err().to_string();
            assert!(error.contains("unknown parameter"), "{name}: {error}");
        }
        check_members(br#"{"subject": 1, "x": {"groupby": 1}}"#, &KNOWN).unwrap();
        let error = check_members(br#"{"x": [], "group_by": {}}"#, &KNOWN).unwrap_err();
        assert_eq!(error.to_string(), r#"unknown member "group_by"; write it groupBy"#);
    }
}
