//! A second reader of JSON for the targets to hold Weir's own against: a tree made by serde_json, with
//! numbers as they were written, members in their order and every one of several with the same name.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A value with nothing lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// Deeper than anything that Weir reads: the tree is built by recursion.
pub(crate) const DEPTH_MAX: usize = 140;

/// The text of one value without the space around it; None if the text is not JSON.
pub(crate) fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

/// The whole tree; None if it is not JSON or too deep.
pub(crate) fn tree(value: &RawValue) -> Option<Tree> {
    tree_at(value, DEPTH_MAX)
}

fn tree_at(value: &RawValue, depth: usize) -> Option<Tree> {
    let text = value.get();
    Some(match text.as_bytes().first()? {
        b'{' => {
            let depth = depth.checked_sub(1)?;
            let read = |(name, value): (String, &RawValue)| Some((name, tree_at(value, depth)?));
            Tree::Object(members(value)?.into_iter().map(read).collect::<Option<_>>()?)
        }
        b'[' => {
            let depth = depth.checked_sub(1)?;
            Tree::Array(
                elements(value)?.into_iter().map(|value| tree_at(value, depth)).collect::<Option<_>>()?,
            )
        }
        b'"' => Tree::Text(serde_json::from_str(text).ok()?),
        b'n' => Tree::Null,
        b't' => Tree::Bool(true),
        b'f' => Tree::Bool(false),
        _ => Tree::Number(text.to_owned()),
    })
}

/// How many objects and arrays lie in each other.
pub(crate) fn depth(tree: &Tree) -> usize {
    match tree {
        Tree::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Tree::Object(members) => 1 + members.iter().map(|(_, value)| depth(value)).max().unwrap_or(0),
        _ => 0,
    }
}

/// The members of an object in their order.
pub(crate) fn members(value: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(value.get()).deserialize_map(Members).ok()
}

/// The elements of an array.
pub(crate) fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    struct Elements;
    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<&'de RawValue>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element()? {
                elements.push(element);
            }
            Ok(elements)
        }
    }
    serde_json::Deserializer::from_str(value.get()).deserialize_seq(Elements).ok()
}
