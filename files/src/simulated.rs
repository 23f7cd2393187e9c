//! A disk in memory whose power can be cut, for tests. It keeps apart what programs see and what a disk
//! would hold: bytes that were written and not synced, and names that were given and whose folder was
//! not synced, survive a cut in part, at random, and torn. It can also fail, fill up, lie and dawdle.

mod faults;
mod handle;
mod node;
#[cfg(feature = "simulated-sqlite")]
pub mod sqlite;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{Disk, Entry, FileHandle, FileSystem, Open};
pub use faults::{Effect, Operation, Rule};
use faults::{Outcome, Rules};
use handle::Handle;
use node::{FileNode, FolderNode, NameChange};

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Arc<Mutex<World>>);

type NodeId = usize;

#[derive(Debug)]
struct World {
    files: BTreeMap<NodeId, FileNode>,
    folders: BTreeMap<NodeId, FolderNode>,
    next_node: NodeId,
    rules: Rules,
    random: ChaCha8Rng,
    /// Changing operations so far.
    operations: u64,
    cut_at: Option<u64>,
    power: bool,
    space: Option<u64>,
}

const ROOT: NodeId = 0;

impl SimulatedDisk {
    /// An empty disk, with nothing but the root folder. The seed decides what a cut leaves.
    pub fn new(seed: u64) -> Self {
        let mut world = World::powered(seed);
        world.folders.insert(ROOT, FolderNode::default());
        Self(Arc::new(Mutex::new(world)))
    }

    /// The disk as programs use it.
    pub fn disk(&self) -> Disk {
        Disk::new(Arc::new(self.clone()))
    }

    /// Changing operations so far: writes, lengths, syncs, and what changes names.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The `after`-th changing operation from now, and everything later, meets a disk without power.
    pub fn cut_after(&self, after: u64) {
        let mut world = self.0.lock();
        world.cut_at = Some(world.operations.saturating_add(after));
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.0.lock().power = false;
    }

    pub fn is_cut(&self) -> bool {
        !self.0.lock().power
    }

    /// What the disk holds after the power is back: all that was synced, and a part of the rest that the
    /// seed chooses. The old disk stays without power.
    pub fn reboot(&self, seed: u64) -> Self {
        let mut old = self.0.lock();
        old.power = false;
        let mut world = World::powered(seed);
        world.next_node = old.next_node;
        for (id, folder) in &old.folders {
            let names = folder.survivors(&mut world.random);
            world.folders.insert(*id, FolderNode::holding(names));
        }
        for (id, file) in &old.files {
            let bytes = file.survivors(&mut world.random);
            world.files.insert(*id, FileNode::holding(bytes));
        }
        Self(Arc::new(Mutex::new(world)))
    }

    /// From now on operations meet this rule, besides those that were added before.
    pub fn add_rule(&self, rule: Rule) {
        self.0.lock().rules.add(rule);
    }

    pub fn clear_rules(&self) {
        self.0.lock().rules.clear();
    }

    /// Bytes that can still be written before the disk is full; None for as many as one likes.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.0.lock().space = bytes;
    }

    /// What programs see in a file.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.0.lock();
        Ok(world.file(world.file_at(path)?)?.seen().to_vec())
    }

    /// Puts other bytes into a file, durably, behind every program's back.
    pub fn set_contents(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.0.lock();
        let id = world.file_at(path)?;
        *world.file_mut(id)? = FileNode::holding(bytes.to_vec());
        Ok(())
    }

    /// Turns one bit of a file over, durably.
    pub fn flip_bit(&self, path: &Path, byte: usize, bit: u8) -> io::Result<()> {
        let mut bytes = self.contents(path)?;
        let flipped = bytes.get_mut(byte).ok_or(io::ErrorKind::UnexpectedEof)?;
        *flipped ^= 1 << (bit % 8);
        self.set_contents(path, &bytes)
    }

    /// Paths of all files that programs see, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let world = self.0.lock();
        let mut found = Vec::new();
        let mut waiting = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = waiting.pop() {
            for (name, node) in world.folders.get(&id).into_iter().flat_map(FolderNode::seen) {
                let path = path.join(name);
                if world.folders.contains_key(node) {
                    waiting.push((path, *node));
                } else {
                    found.push(path);
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Asks the rules, the cut and the power, and does the slow ones' waiting outside the lock.
    fn meet(&self, operation: Operation, path: &Path) -> io::Result<Outcome> {
        self.meet_of(operation, path, None)
    }

    /// As `meet`, for a file that is open and may have lost its name.
    fn meet_open(&self, operation: Operation, path: &Path, node: NodeId) -> io::Result<Outcome> {
        self.meet_of(operation, path, Some(node))
    }

    fn meet_of(&self, operation: Operation, path: &Path, node: Option<NodeId>) -> io::Result<Outcome> {
        let (outcome, delay) = {
            let mut world = self.0.lock();
            let outcome = world.meet(operation, path, node)?;
            let delay = if let Outcome::Slow(delay) = outcome { delay } else { Duration::ZERO };
            (outcome, delay)
        };
        if !delay.is_zero() {
            std::thread::sleep(delay);
            // The power may have gone meanwhile.
            self.0.lock().powered_on()?;
        }
        match outcome {
            Outcome::Slow(_) => Ok(Outcome::Go),
            other => Ok(other),
        }
    }
}

impl World {
    fn powered(seed: u64) -> Self {
        Self {
            files: BTreeMap::new(),
            folders: BTreeMap::new(),
            next_node: ROOT + 1,
            rules: Rules::default(),
            random: ChaCha8Rng::seed_from_u64(seed),
            operations: 0,
            cut_at: None,
            power: true,
            space: None,
        }
    }

    fn powered_on(&self) -> io::Result<()> {
        if self.power { Ok(()) } else { Err(io::Error::other("the power is off")) }
    }

    fn meet(&mut self, operation: Operation, path: &Path, node: Option<NodeId>) -> io::Result<Outcome> {
        self.powered_on()?;
        if operation.changes() {
            self.operations = self.operations.saturating_add(1);
            if self.cut_at.is_some_and(|at| self.operations >= at) {
                self.power = false;
            }
        }
        let outcome = self.rules.meet(operation, path);
        if matches!(outcome, Outcome::Cut) {
            self.power = false;
        }
        self.powered_on()?;
        match outcome {
            Outcome::Fail(kind) => {
                if operation == Operation::SyncFile {
                    let World { files, random, .. } = self;
                    if let Some(file) = node.and_then(|id| files.get_mut(&id)) {
                        file.fail_sync(random);
                    }
                }
                Err(kind.into())
            }
            other => Ok(other),
        }
    }

    fn file(&self, id: NodeId) -> io::Result<&FileNode> {
        self.files.get(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file_mut(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn node_at(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    let folder = self.folders.get(&at).ok_or(io::ErrorKind::NotADirectory)?;
                    at = folder.get(&name.to_string_lossy()).ok_or(io::ErrorKind::NotFound)?;
                }
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        Ok(at)
    }

    fn file_at(&self, path: &Path) -> io::Result<NodeId> {
        let id = self.node_at(path)?;
        if self.files.contains_key(&id) { Ok(id) } else { Err(io::ErrorKind::IsADirectory.into()) }
    }

    fn folder_at(&mut self, path: &Path) -> io::Result<&mut FolderNode> {
        let id = self.node_at(path)?;
        self.folders.get_mut(&id).ok_or_else(|| io::ErrorKind::NotADirectory.into())
    }

    /// Folder and name that a path ends in.
    fn parent_of(&mut self, path: &Path) -> io::Result<(&mut FolderNode, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        Ok((self.folder_at(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    fn link(&mut self, path: &Path, id: NodeId) -> io::Result<()> {
        let (folder, name) = self.parent_of(path)?;
        folder.change(NameChange::Link { name, node: id });
        Ok(())
    }

    fn new_id(&mut self) -> NodeId {
        let id = self.next_node;
        self.next_node = id.saturating_add(1);
        id
    }
}

impl FileSystem for SimulatedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn FileHandle>> {
        self.meet(Operation::Open, path)?;
        let known = self.0.lock().file_at(path);
        let id = match (known, how) {
            (Ok(_), Open::CreateNew | Open::CreateNewPrivate) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Ok(id), Open::CreateOrEmpty) => {
                self.meet(Operation::SetLen, path)?;
                self.0.lock().file_mut(id)?.set_len(0);
                id
            }
            (Ok(id), Open::Read | Open::Write) => id,
            (Err(error), Open::Read | Open::Write) => return Err(error),
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            (Err(_), _) => {
                self.meet(Operation::Create, path)?;
                let mut world = self.0.lock();
                let id = world.new_id();
                world.link(path, id)?;
                world.files.insert(id, FileNode::default());
                id
            }
        };
        Ok(Box::new(Handle::new(self.clone(), id, path, how != Open::Read)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.meet(Operation::Remove, path)?;
        let mut world = self.0.lock();
        world.file_at(path)?;
        let (folder, name) = world.parent_of(path)?;
        folder.change(NameChange::Unlink { name });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.meet(Operation::Rename, to)?;
        if from.parent() != to.parent() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "names change within a folder only"));
        }
        let mut world = self.0.lock();
        let node = world.node_at(from)?;
        let new = to.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        let (folder, old) = world.parent_of(from)?;
        folder.change(NameChange::Rename { old, new, node });
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.meet(Operation::CreateFolder, path)?;
        let mut world = self.0.lock();
        if world.node_at(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = world.new_id();
        world.link(path, id)?;
        world.folders.insert(id, FolderNode::default());
        Ok(())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.0.lock().folder_at(path).is_ok()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.meet(Operation::List, folder)?;
        let mut world = self.0.lock();
        let names: Vec<(String, NodeId)> =
            world.folder_at(folder)?.seen().map(|(name, id)| (name.clone(), *id)).collect();
        let entry = |(name, id)| Entry { name, is_file: world.files.contains_key(&id) };
        Ok(names.into_iter().map(entry).collect())
    }

    fn file_len(&self, path: &Path) -> io::Result<u64> {
        self.meet(Operation::Read, path)?;
        let world = self.0.lock();
        Ok(world.file(world.file_at(path)?)?.seen().len() as u64)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let outcome = self.meet(Operation::SyncFolder, folder)?;
        let mut world = self.0.lock();
        let folder = world.folder_at(folder)?;
        if !matches!(outcome, Outcome::Lie) {
            folder.sync();
        }
        Ok(())
    }
}

impl World {
    /// How many of so many bytes there is room for, which are then taken.
    fn take_space(&mut self, bytes: usize) -> usize {
        let Some(left) = &mut self.space else { return bytes };
        let taken = (bytes as u64).min(*left);
        *left -= taken;
        usize::try_from(taken).unwrap_or(bytes)
    }

    /// A length between one and all of it.
    fn part_of(&mut self, bytes: usize) -> usize {
        if bytes <= 1 { bytes } else { self.random.random_range(1..bytes) }
    }
}
