//! What a test wants to go wrong: rules, asked in the order in which they were added.

use std::io;
use std::path::Path;
use std::time::Duration;

/// One kind of thing that is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Open,
    Create,
    Read,
    Write,
    SetLen,
    SyncFile,
    SyncFolder,
    Remove,
    Rename,
    CreateFolder,
    List,
}

/// What becomes of an operation that a rule catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Fail(io::ErrorKind),
    /// A read or a write takes only a part.
    Short,
    Slow(Duration),
    /// A sync says yes and does nothing.
    Lie,
    /// The power goes just before it.
    Cut,
}

/// Which operations go wrong, and how.
#[derive(Clone, Debug)]
pub struct Rule {
    pub operation: Operation,
    /// A part of the path; of the new one for a rename, the folder itself for lists and folder syncs.
    pub path_contains: String,
    /// This many pass first.
    pub skip: u64,
    /// Then so many are caught.
    pub times: u64,
    pub effect: Effect,
}

impl Operation {
    /// Whether it can change what is on the disk.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::List)
    }
}

/// What a rule makes of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Go,
    Fail(io::ErrorKind),
    Short,
    Slow(Duration),
    Lie,
    Cut,
}

#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn meet(&mut self, operation: Operation, path: &Path) -> Outcome {
        let path = path.to_string_lossy();
        for rule in &mut self.0 {
            if rule.operation != operation || !path.contains(&rule.path_contains) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                return match rule.effect {
                    Effect::Fail(kind) => Outcome::Fail(kind),
                    Effect::Short => Outcome::Short,
                    Effect::Slow(delay) => Outcome::Slow(delay),
                    Effect::Lie => Outcome::Lie,
                    Effect::Cut => Outcome::Cut,
                };
            }
        }
        Outcome::Go
    }
}
