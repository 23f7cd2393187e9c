//! JSON paths and what they find. The input is paths with tabs between them, a line's end, and a document.
//! A path that is taken is written and read again as the same path; what a set of paths finds is held
//! against an evaluator that walks serde_json's tree once for each path, by the canonical text alone.

use weir_meter::json::{Extractor, PathSet};
use weir_meter::path::{PATH_BYTES_MAX, PATH_STEPS_MAX, Path};
use weir_meter::value::Extracted;

use crate::json::{self, Tree};

/// Paths of one set.
const PATHS_MAX: usize = 8;

/// Deeper documents are refused, and are then without any value.
const DEPTH_MAX: usize = 128;

pub(crate) fn target(data: &[u8]) {
    let (head, document) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let document = document.get(1..).unwrap_or_default();
    let Ok(head) = std::str::from_utf8(head) else { return };
    let paths: Vec<Path> = head.split('\t').take(PATHS_MAX).filter_map(read).collect();
    if paths.is_empty() {
        return;
    }
    let expected: Vec<Vec<Step>> = paths.iter().map(|path| steps(&path.to_string())).collect();
    let tree = std::str::from_utf8(document).ok().and_then(json::raw).and_then(json::tree);
    let tree = tree.filter(|tree| json::depth(tree) <= DEPTH_MAX);
    let set = PathSet::new(paths);
    let found = Extractor::default().extract(Some(document), &set);
    assert_eq!(found.len(), expected.len());
    for (found, steps) in found.iter().zip(&expected) {
        let expected = tree.as_ref().and_then(|tree| evaluate(tree, steps));
        assert!(same(found, expected), "{steps:?}: {found:?}, expected {expected:?}");
    }
}

/// A path that is taken reads as the same path again.
fn read(text: &str) -> Option<Path> {
    match Path::parse(text) {
        Ok(path) => {
            assert!(text.len() <= PATH_BYTES_MAX);
            let canonical = path.to_string();
            assert_eq!(Path::parse(&canonical).as_ref(), Ok(&path), "{text:?} {canonical:?}");
            Some(path)
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.at), "{error}");
            assert!(error.to_string().len() < 4_096);
            None
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    Any,
}

/// Reads the canonical text, which has one form for each step.
fn steps(canonical: &str) -> Vec<Step> {
    let mut rest = canonical.strip_prefix('$').expect("a dollar sign");
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let step;
        let quote =
            rest.strip_prefix('.').and_then(|name| name.chars().next()).filter(|c| ['"', '\''].contains(c));
        if let Some(quote) = quote {
            let mut name = String::new();
            let mut characters = rest[2..].chars();
            loop {
                match characters.next().expect("a closing quote") {
                    '\\' => name.push(characters.next().expect("what was escaped")),
                    character if character == quote => break,
                    character => name.push(character),
                }
            }
            step = Step::Name(name);
            rest = characters.as_str();
        } else if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            step = Step::Name(name[..end].to_owned());
            rest = &name[end..];
        } else {
            let (inside, after) = rest.strip_prefix('[').and_then(|r| r.split_once(']')).expect("brackets");
            step = if inside == "*" { Step::Any } else { Step::Index(inside.parse().expect("an index")) };
            rest = after;
        }
        steps.push(step);
    }
    assert!((1..=PATH_STEPS_MAX).contains(&steps.len()));
    steps
}

/// The value at a path. Under `[*]` the first element counts that has a plain value there, and if none has,
/// the first that has anything.
fn evaluate<'t>(tree: &'t Tree, steps: &[Step]) -> Option<&'t Tree> {
    let Some((step, rest)) = steps.split_first() else { return Some(tree) };
    match (step, tree) {
        (Step::Name(name), Tree::Object(members)) => {
            // Of several members with one name the last counts.
            let (_, value) = members.iter().rfind(|(n, _)| n == name)?;
            evaluate(value, rest)
        }
        (Step::Index(index), Tree::Array(elements)) => evaluate(elements.get(*index)?, rest),
        (Step::Any, Tree::Array(elements)) => {
            let found: Vec<&Tree> = elements.iter().filter_map(|element| evaluate(element, rest)).collect();
            let plain = |tree: &&Tree| !matches!(tree, Tree::Array(_) | Tree::Object(_));
            found.iter().copied().find(plain).or(found.first().copied())
        }
        _ => None,
    }
}

fn same(found: &Extracted<'_>, expected: Option<&Tree>) -> bool {
    match (found, expected) {
        (Extracted::Missing, None) | (Extracted::Null, Some(Tree::Null)) => true,
        (Extracted::Bool(found), Some(Tree::Bool(expected))) => found == expected,
        (Extracted::Number(found), Some(Tree::Number(expected))) => found == expected,
        (Extracted::String(found), Some(Tree::Text(expected))) => found == expected,
        (Extracted::Complex, Some(Tree::Array(_) | Tree::Object(_))) => true,
        _ => false,
    }
}
