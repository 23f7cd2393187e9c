//! Files and folders of the simulated disk: what is seen, what is durable, and in what way the rest
//! may have come to the disk when the power went.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::NodeId;

/// What a disk writes whole.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct FileNode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
pub(super) struct FolderNode {
    seen: BTreeMap<String, NodeId>,
    durable: BTreeMap<String, NodeId>,
    unsynced: Vec<NameChange>,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link { name: String, node: NodeId },
    Unlink { name: String },
    Rename { old: String, new: String, node: NodeId },
}

impl FileNode {
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }

    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let change = Change::Write { at, bytes: bytes.to_vec() };
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    pub(super) fn set_len(&mut self, length: usize) {
        let change = Change::Length(length);
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// As Linux does: what could not be written counts as clean from now on, and stays readable.
    pub(super) fn fail_sync(&mut self, random: &mut ChaCha8Rng) {
        self.durable = self.survivors(random);
        self.unsynced.clear();
    }

    pub(super) fn drop_cache(&mut self) {
        self.seen.clone_from(&self.durable);
        for change in &self.unsynced {
            change.apply(&mut self.seen);
        }
    }

    /// What a cut leaves: of each unsynced write all, nothing, or some of its sectors. A file can become
    /// long before its bytes have come, and then it has zeros there.
    pub(super) fn survivors(&self, random: &mut ChaCha8Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match (change, random.random_range(0..4)) {
                (_, 0) => {}
                (change, 1) => change.apply(&mut bytes),
                (Change::Length(_), _) => {
                    if random.random() {
                        change.apply(&mut bytes);
                    }
                }
                (Change::Write { at, bytes: new }, how) => {
                    if how == 2 {
                        let end = at.saturating_add(new.len());
                        bytes.resize(bytes.len().max(end), 0);
                    }
                    torn(*at, new, &mut bytes, random);
                }
            }
        }
        bytes
    }
}

/// Writes those sectors that chance chooses.
fn torn(at: usize, new: &[u8], into: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    let mut from = 0;
    while from < new.len() {
        let place = at.saturating_add(from);
        let room = SECTOR_BYTES - place % SECTOR_BYTES;
        let to = from.saturating_add(room).min(new.len());
        if random.random()
            && let Some(part) = new.get(from..to)
        {
            put(into, place, part);
        }
        from = to;
    }
}

fn put(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if into.len() < end {
        into.resize(end, 0);
    }
    if let Some(place) = into.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(to, *at, bytes),
            Self::Length(length) => to.resize(*length, 0),
        }
    }
}

impl FolderNode {
    pub(super) fn holding(names: BTreeMap<String, NodeId>) -> Self {
        Self { seen: names.clone(), durable: names, unsynced: Vec::new() }
    }

    pub(super) fn seen(&self) -> impl Iterator<Item = (&String, &NodeId)> {
        self.seen.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<NodeId> {
        self.seen.get(name).copied()
    }

    pub(super) fn change(&mut self, change: NameChange) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// What a cut leaves: mostly a beginning of what was done, as journals keep it; at times any part.
    pub(super) fn survivors(&self, random: &mut ChaCha8Rng) -> BTreeMap<String, NodeId> {
        let mut names = self.durable.clone();
        let in_order = random.random_bool(0.5);
        let count = random.random_range(0..=self.unsynced.len());
        for (index, change) in self.unsynced.iter().enumerate() {
            if if in_order { index < count } else { random.random() } {
                change.apply(&mut names);
            }
        }
        names
    }
}

impl NameChange {
    fn apply(&self, to: &mut BTreeMap<String, NodeId>) {
        match self {
            Self::Link { name, node } => {
                to.insert(name.clone(), *node);
            }
            Self::Unlink { name } => {
                to.remove(name);
            }
            Self::Rename { old, new, node } => {
                if to.get(old) == Some(node) {
                    to.remove(old);
                }
                to.insert(new.clone(), *node);
            }
        }
    }
}
