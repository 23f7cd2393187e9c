//! Hashes are written down for ever: what they feed on and what comes out must not change.

use super::*;
use crate::event::read_event;

fn key() -> HashKey {
    HashKey::new(*b"0123456789abcdef")
}

fn identity(namespace: &str, source: &str, id: &str) -> IdentityHash {
    key().identity(&Namespace::new(namespace), source, id)
}

fn content(json: &str) -> ContentHash {
    key().content(&read_event(json.as_bytes()).unwrap())
}

#[test]
fn parts_do_not_run_into_each_other() {
    assert_ne!(identity("n", "a-b", "c"), identity("n", "a", "b-c"));
    assert_ne!(identity("n", "ab", "c"), identity("n", "a", "bc"));
    assert_ne!(identity("na", "b", "c"), identity("n", "ab", "c"));
    assert_ne!(identity("n", "a", "b"), HashKey::new([7; 16]).identity(&Namespace::new("n"), "a", "b"));
    assert_ne!(key().member("x"), key().record(b"x"));
}

#[test]
fn content_is_what_was_said_and_not_how() {
    let one =
        content(r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u","data":{"a":1}}"#);
    let reordered = content(
        r#"{ "data":{"a":1}, "subject":"\u0075","type":"t","specversion":"1.0","source":"s","id":"1" }"#,
    );
    assert_eq!(one, reordered);
    for other in [
        r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u","data":{"a": 1}}"#,
        r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u"}"#,
        r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u","data":{"a":1},"x":1}"#,
        r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u","data":{"a":1},"x":"1"}"#,
        r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u","data":{"a":1},"x":null}"#,
        r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u","data":{"a":1},"time":"2024-01-01T00:00:00Z"}"#,
    ] {
        assert_ne!(content(other), one, "{other}");
    }
    // An absent data and a null one are the same to the event, and so is the attribute.
    let absent = content(r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u"}"#);
    let null = content(r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u","data":null}"#);
    assert_eq!(absent, null);
}

/// A failure here means that every log and store in the world would have to be rewritten.
#[test]
fn the_values_of_today() {
    let json =
        r#"{"id":"1","source":"s","specversion":"1.0","type":"t","subject":"u","n":1.50,"data":{"a":1}}"#;
    let values = [
        identity("default", "s", "1").0,
        content(json).0,
        key().member("1.5"),
        key().record(json.as_bytes()),
    ]
    .map(|value| format!("{value:032x}"));
    assert_eq!(
        values,
        [
            "505dd2811a7e46ce49d8a052f11b8297",
            "468e771d1cc43b26157c3983955340fa",
            "1b2e01641cd1e2d5146829ceb8e59ba4",
            "2c8448d3fb52bcfe7d1ac766b2de1c20"
        ]
    );
}

#[test]
fn the_key_never_shows() {
    assert_eq!(format!("{:?}", key()), "HashKey(secret)");
}
