//! Meter paths, read the plain way: `$`, then `.name`, `."quoted"`, `['quoted']`, `["quoted"]`, `[3]`
//! and `[*]`. Paths come from our own generators, so anything else is an error of the test.

use super::json::Json;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
    Any,
}

/// The steps of a path.
pub fn steps(path: &str) -> Vec<Step> {
    let mut rest = path.strip_prefix('$').unwrap_or_else(|| panic!("{path:?} does not start with $"));
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(quoted) = rest.strip_prefix(".\"") {
            let (key, after) = quoted.split_once('"').unwrap();
            (Step::Key(key.to_owned()), after)
        } else if let Some(named) = rest.strip_prefix('.') {
            let end = named.find(['.', '[']).unwrap_or(named.len());
            (Step::Key(named[..end].to_owned()), &named[end..])
        } else {
            let inside = rest.strip_prefix('[').unwrap_or_else(|| panic!("{path:?} at {rest:?}"));
            let (inside, after) = inside.split_once(']').unwrap();
            let quoted = |quote| inside.strip_prefix(quote).and_then(|i| i.strip_suffix(quote));
            let step = if inside == "*" {
                Step::Any
            } else if let Some(key) = quoted('\'').or_else(|| quoted('"')) {
                Step::Key(key.to_owned())
            } else {
                Step::Index(inside.parse().unwrap())
            };
            (step, after)
        };
        steps.push(step);
        rest = after;
    }
    steps
}

/// What stands at the path. Where `[*]` leaves a choice, the first that is a plain value counts; objects
/// and arrays are as good as nothing.
pub fn find<'j>(value: &'j Json, steps: &[Step]) -> Option<&'j Json> {
    matches(value, steps).into_iter().find(|found| !matches!(found, Json::Array(_) | Json::Object(_)))
}

/// Everything that the path leads to, in the order of the text.
fn matches<'j>(value: &'j Json, steps: &[Step]) -> Vec<&'j Json> {
    let Some((step, rest)) = steps.split_first() else { return vec![value] };
    let next: Vec<&Json> = match (step, value) {
        (Step::Key(key), Json::Object(members)) => members.get(key).into_iter().collect(),
        (Step::Index(index), Json::Array(items)) => items.get(*index).into_iter().collect(),
        (Step::Any, Json::Array(items)) => items.iter().collect(),
        _ => Vec::new(),
    };
    next.into_iter().flat_map(|next| matches(next, rest)).collect()
}
