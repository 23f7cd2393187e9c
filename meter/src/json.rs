//! Reading values at paths out of an event's data in one pass, numbers by the text that was sent.

use crate::path::Path;
use crate::value::Extracted;

/// Paths that are looked up together.
#[derive(Clone, Debug, Default)]
pub struct PathSet {
    paths: Vec<Path>,
}

impl PathSet {
    pub fn new(paths: Vec<Path>) -> Self {
        Self { paths }
    }

    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// Buffers that are used again from event to event.
#[derive(Debug, Default)]
pub struct Extractor {}

impl Extractor {
    /// One value per path, in the set's order. Total: data that is not JSON gives Missing everywhere.
    pub fn extract<'a>(&mut self, _data: Option<&'a [u8]>, _paths: &PathSet) -> Vec<Extracted<'a>> {
        todo!()
    }
}
