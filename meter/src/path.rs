//! The JSONPath subset that meters use (OpenMeter's contract 14.6): one path to one value.

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Key(Box<str>),
    Index(usize),
    /// `[*]`: the first element at which the rest of the path finds something.
    Any,
}

/// What is wrong with a path, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} at character {at}: {reason}")]
pub struct PathError {
    pub path: String,
    pub at: usize,
    pub reason: &'static str,
}

impl Path {
    pub fn parse(_text: &str) -> Result<Self, PathError> {
        todo!()
    }
}
