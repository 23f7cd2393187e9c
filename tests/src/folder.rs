//! Data folders as files: copies, and whether anything in them has changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Copies a folder with all below it. The target must not be there.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Puts a part of one folder, a file or a folder, into the place of another's.
pub fn replace(part: &str, from: &Path, to: &Path) {
    let (source, target) = (from.join(part), to.join(part));
    remove(&target);
    if source.is_dir() {
        copy(&source, &target);
    } else {
        fs::copy(&source, &target).unwrap();
    }
}

/// Removes a file or a folder if it is there.
pub fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

/// All files below a folder, in the order of their names.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // It may be removed while we look.
        for entry in fs::read_dir(&folder).into_iter().flatten().map_while(Result::ok) {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Bytes that the files below a folder take, each once, however many names it has.
pub fn bytes(folder: &Path) -> u64 {
    let files = files(folder);
    let sizes = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|m| (m.ino(), m.len()));
    sizes.collect::<BTreeMap<_, _>>().values().sum()
}

/// What must not change when a folder is refused: every byte of every file but the locks, which say nothing,
/// and what SQLite keeps beside its file while it is open.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let says_something = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name != "lock"
            && !name.ends_with("-shm")
            && (!name.ends_with("-wal") || fs::metadata(path).unwrap().len() > 0)
    };
    files(folder)
        .into_iter()
        .filter(says_something)
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}
