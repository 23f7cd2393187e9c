//! Reading values at paths out of an event's data in one pass, numbers by the text that was sent.

pub(crate) mod cursor;
#[cfg(test)]
pub(crate) mod tests;

use crate::path::{Path, Step};
use crate::value::Extracted;

use cursor::{Cursor, Kind, NESTING_MAX, RawString, SyntaxError};

/// Paths that are looked up together.
#[derive(Clone, Debug, Default)]
pub struct PathSet {
    paths: Vec<Path>,
    /// The paths as a tree, so that one pass over the data serves all of them; the root comes first.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Paths that end here.
    ends: Vec<usize>,
    /// Paths that end here or below.
    below: Vec<usize>,
    /// Sorted by name.
    names: Vec<(Box<str>, usize)>,
    indexes: Vec<(usize, usize)>,
    any: Option<usize>,
}

impl PathSet {
    pub fn new(paths: Vec<Path>) -> Self {
        let mut nodes = vec![Node::default()];
        for (path, steps) in paths.iter().enumerate() {
            let mut at = 0;
            for step in &steps.steps {
                at = child_for(&mut nodes, at, step);
                if let Some(node) = nodes.get_mut(at) {
                    node.below.push(path);
                }
            }
            if let Some(node) = nodes.get_mut(at) {
                node.ends.push(path);
            }
        }
        Self { paths, nodes }
    }

    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// The node that `step` leads to, made if it is not there.
fn child_for(nodes: &mut Vec<Node>, at: usize, step: &Step) -> usize {
    let next = nodes.len();
    let Some(node) = nodes.get_mut(at) else { return at };
    let found = match step {
        Step::Key(name) => match node.names.binary_search_by(|(n, _)| n.cmp(name)) {
            Ok(position) => node.names.get(position).map(|(_, child)| *child),
            Err(position) => {
                node.names.insert(position, (name.clone(), next));
                None
            }
        },
        Step::Index(index) => {
            let found = node.indexes.iter().find(|(i, _)| i == index).map(|(_, child)| *child);
            if found.is_none() {
                node.indexes.push((*index, next));
            }
            found
        }
        Step::Any => node.any.replace(node.any.unwrap_or(next)),
    };
    found.unwrap_or_else(|| {
        nodes.push(Node::default());
        next
    })
}

/// Up to here, comparing with each name costs less than a binary search: most differ in length.
const FEW_NAMES: usize = 12;

impl Node {
    fn named(&self, name: RawString<'_>) -> Option<usize> {
        let text = name.text();
        if self.names.len() <= FEW_NAMES {
            return self.names.iter().find(|(n, _)| **n == *text).map(|(_, child)| *child);
        }
        let position = self.names.binary_search_by(|(n, _)| (**n).cmp(&*text)).ok()?;
        self.names.get(position).map(|(_, child)| *child)
    }

    fn indexed(&self, index: usize) -> Option<usize> {
        self.indexes.iter().find(|(i, _)| *i == index).map(|(_, child)| *child)
    }
}

/// Buffers that are used again from event to event.
#[derive(Debug, Default)]
pub struct Extractor {}

impl Extractor {
    /// One value per path, in the set's order. Total: data that is not JSON gives Missing everywhere.
    /// The last of several members with one name counts.
    pub fn extract<'a>(&mut self, data: Option<&'a [u8]>, paths: &PathSet) -> Vec<Extracted<'a>> {
        let missing = || vec![Extracted::Missing; paths.len()];
        let Some(text) = data.and_then(|data| std::str::from_utf8(data).ok()) else {
            return missing();
        };
        if paths.is_empty() {
            return Vec::new();
        }
        let mut walk = Walk { nodes: &paths.nodes, values: missing() };
        let mut cursor = Cursor::new(text);
        match walk.value(&mut cursor, 0, NESTING_MAX).and_then(|()| cursor.finish()) {
            Ok(()) => walk.values,
            Err(_) => missing(),
        }
    }
}

struct Walk<'p, 'a> {
    nodes: &'p [Node],
    values: Vec<Extracted<'a>>,
}

impl<'a> Walk<'_, 'a> {
    /// Reads the value at the cursor, which stands at `node`. Recursion ends with the longest path.
    fn value(&mut self, cursor: &mut Cursor<'a>, node: usize, depth_max: usize) -> Result<(), SyntaxError> {
        let nodes = self.nodes;
        let Some(node) = nodes.get(node) else {
            return cursor.skip(depth_max).map(drop);
        };
        let kind = cursor.peek()?;
        let deeper = match kind {
            Kind::Object => !node.names.is_empty(),
            Kind::Array => !node.indexes.is_empty() || node.any.is_some(),
            _ => false,
        };
        let found = match kind {
            Kind::Object | Kind::Array => {
                match depth_max.checked_sub(1) {
                    Some(depth_max) if deeper && kind == Kind::Object => {
                        self.object(cursor, node, depth_max)?
                    }
                    Some(depth_max) if deeper => self.array(cursor, node, depth_max)?,
                    _ => cursor.skip(depth_max).map(drop)?,
                }
                Extracted::Complex
            }
            Kind::String => Extracted::String(cursor.string()?.text()),
            Kind::Number => Extracted::Number(cursor.number()?),
            Kind::True | Kind::False => {
                cursor.keyword(kind)?;
                Extracted::Bool(kind == Kind::True)
            }
            Kind::Null => {
                cursor.keyword(kind)?;
                Extracted::Null
            }
        };
        if let Some((last, others)) = node.ends.split_last() {
            for path in others {
                if let Some(value) = self.values.get_mut(*path) {
                    *value = found.clone();
                }
            }
            if let Some(value) = self.values.get_mut(*last) {
                *value = found;
            }
        }
        Ok(())
    }

    fn object(&mut self, cursor: &mut Cursor<'a>, node: &Node, depth_max: usize) -> Result<(), SyntaxError> {
        let mut more = cursor.open_object()?;
        while more {
            match node.named(cursor.name()?) {
                Some(child) => {
                    // What an earlier member of this name said no longer counts.
                    self.clear_below(child);
                    self.value(cursor, child, depth_max)?;
                }
                None => drop(cursor.skip(depth_max)?),
            }
            more = cursor.more_members()?;
        }
        Ok(())
    }

    fn array(&mut self, cursor: &mut Cursor<'a>, node: &Node, depth_max: usize) -> Result<(), SyntaxError> {
        let mut more = cursor.open_array()?;
        let mut index = 0;
        while more {
            cursor.peek()?;
            let mut element = cursor.clone();
            cursor.skip(depth_max)?;
            if let Some(child) = node.indexed(index) {
                self.value(&mut element.clone(), child, depth_max)?;
            }
            if let Some(child) = node.any {
                self.first_match(&mut element, child, depth_max)?;
            }
            index += 1;
            more = cursor.more_elements()?;
        }
        Ok(())
    }

    /// One element under `[*]`: it counts for the paths that no element before it has satisfied. An
    /// object or an array satisfies a path only if no element brings a plain value.
    fn first_match(
        &mut self,
        element: &mut Cursor<'a>,
        child: usize,
        depth_max: usize,
    ) -> Result<(), SyntaxError> {
        let earlier = self.take_below(child);
        if earlier.iter().all(|(_, value)| rank(value) == 2) {
            self.put_back(earlier, |_, _| true);
            return Ok(());
        }
        self.value(element, child, depth_max)?;
        self.put_back(earlier, |old, new| rank(old) >= rank(new));
        Ok(())
    }

    fn clear_below(&mut self, node: usize) {
        let below = self.nodes.get(node).map_or(&[][..], |node| &node.below);
        for path in below {
            if let Some(value) = self.values.get_mut(*path) {
                *value = Extracted::Missing;
            }
        }
    }

    /// Takes out what has been found at `node` and below it.
    fn take_below(&mut self, node: usize) -> Vec<(usize, Extracted<'a>)> {
        let below = self.nodes.get(node).map_or(&[][..], |node| &node.below);
        let take = |path: &usize| {
            let value = self.values.get_mut(*path)?;
            Some((*path, std::mem::replace(value, Extracted::Missing)))
        };
        below.iter().filter_map(take).collect()
    }

    fn put_back(
        &mut self,
        earlier: Vec<(usize, Extracted<'a>)>,
        keep_old: impl Fn(&Extracted<'_>, &Extracted<'_>) -> bool,
    ) {
        for (path, old) in earlier {
            if let Some(value) = self.values.get_mut(path)
                && keep_old(&old, value)
            {
                *value = old;
            }
        }
    }
}

fn rank(value: &Extracted<'_>) -> u8 {
    match value {
        Extracted::Missing => 0,
        Extracted::Complex => 1,
        _ => 2,
    }
}
