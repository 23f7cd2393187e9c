//! Sees every operation of the log: ends the process at one of them, and knows what each sync is for, so
//! that one kind can be skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use weir_files::simulated::Operation;

use crate::hooked::{Answer, Hook};

/// What a sync is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A group commit.
    Frame,
    /// A new file's header, before its first frame.
    Header,
    /// What is left of a failed write was cut off.
    Undone,
    /// At start, before what the last file shows is believed.
    Believed,
    /// At start, the torn end was cut off.
    Torn,
    /// A new file's name.
    NewName,
    /// A file that is not needed any more has lost its name.
    CutName,
    /// A file that could not be begun has lost its name.
    UndoneName,
    /// At start, before names are believed.
    BelievedNames,
    /// A new folder's name.
    Folder,
    /// At start, the name of a folder that was there.
    BelievedFolder,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Frame,
        Self::Header,
        Self::Undone,
        Self::Believed,
        Self::Torn,
        Self::NewName,
        Self::CutName,
        Self::UndoneName,
        Self::BelievedNames,
        Self::Folder,
        Self::BelievedFolder,
    ];
}

#[derive(Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
    skipped: Option<Kind>,
}

#[derive(Default)]
struct State {
    opening: bool,
    /// Changing operations until the process is killed.
    left: Option<u64>,
    killed: bool,
    /// Files whose header was not synced yet.
    begun: BTreeSet<PathBuf>,
    /// Files that became shorter and were not synced since.
    shortened: BTreeSet<PathBuf>,
    /// The file that was begun last in each folder.
    newest: BTreeMap<PathBuf, PathBuf>,
    /// What the next sync of a folder is for.
    names: BTreeMap<PathBuf, Kind>,
}

impl Watch {
    pub(crate) fn new(skipped: Option<Kind>) -> Arc<Self> {
        Arc::new(Self { skipped, ..Self::default() })
    }

    /// A process begins to open the log; it is killed after so many operations.
    pub(crate) fn begin(&self, left: Option<u64>) {
        *self.state.lock().unwrap() = State { opening: true, left, ..State::default() };
    }

    pub(crate) fn opened(&self) {
        self.state.lock().unwrap().opening = false;
    }

    pub(crate) fn killed(&self) -> bool {
        self.state.lock().unwrap().killed
    }

    pub(crate) fn hook(self: &Arc<Self>) -> Hook {
        let watch = self.clone();
        Arc::new(move |operation, path: &Path| watch.meet(operation, path))
    }

    fn meet(&self, operation: Operation, path: &Path) -> Answer {
        let mut state = self.state.lock().unwrap();
        if operation.changes() && !state.killed {
            state.killed = state.left == Some(0);
            state.left = state.left.map(|left| left.saturating_sub(1));
        }
        if state.killed {
            return Answer::Fail;
        }
        match state.note(operation, path) {
            Some(kind) if Some(kind) == self.skipped => Answer::Lie,
            _ => Answer::Go,
        }
    }
}

impl State {
    /// What a sync is for.
    fn note(&mut self, operation: Operation, path: &Path) -> Option<Kind> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        match operation {
            Operation::Create => {
                self.begun.insert(path.to_path_buf());
                self.newest.insert(folder.clone(), path.to_path_buf());
                self.names.insert(folder, Kind::NewName);
            }
            Operation::SetLen => {
                self.shortened.insert(path.to_path_buf());
            }
            Operation::Remove => {
                let undone = self.newest.get(&folder).is_some_and(|newest| newest == path);
                self.names.insert(folder, if undone { Kind::UndoneName } else { Kind::CutName });
            }
            Operation::CreateFolder => {
                self.names.insert(folder, Kind::Folder);
            }
            Operation::SyncFile => return Some(self.sync_of_file(path)),
            Operation::SyncFolder => return Some(self.sync_of_folder(path)),
            _ => {}
        }
        None
    }

    fn sync_of_file(&mut self, path: &Path) -> Kind {
        if self.begun.remove(path) {
            return Kind::Header;
        }
        match (self.shortened.remove(path), self.opening) {
            (true, true) => Kind::Torn,
            (true, false) => Kind::Undone,
            (false, true) => Kind::Believed,
            (false, false) => Kind::Frame,
        }
    }

    fn sync_of_folder(&mut self, path: &Path) -> Kind {
        let of_partition = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('p'));
        match self.names.remove(path) {
            Some(kind @ (Kind::NewName | Kind::Folder)) => kind,
            Some(kind) if !self.opening => kind,
            _ if !self.opening => Kind::CutName,
            _ if of_partition => Kind::BelievedNames,
            _ => Kind::BelievedFolder,
        }
    }
}
