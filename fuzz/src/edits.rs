//! Changes to files, spelled by the fuzzer's bytes: what disks, copies and careless hands do to them.

use std::collections::BTreeMap;

/// Files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Changes that one input makes at most.
const EDITS_MAX: usize = 12;

/// Bytes that come one after the other; zeros once they are used up.
#[derive(Debug)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A place in something of the given length, its end included.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        number % (length + 1)
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// What a call made for an edit it does not know itself.
pub(crate) enum Edit {
    /// One of the caller's own, by number from 0.
    Other(u8),
    Done,
}

/// Runs the whole script on the files. `other` gets the edits that only the caller can make.
pub(crate) fn apply(
    script: &mut Script<'_>,
    files: &mut Files,
    mut other: impl FnMut(u8, &mut Script<'_>, &mut Files),
) {
    for _ in 0..EDITS_MAX {
        if script.is_over() || files.is_empty() {
            return;
        }
        if let Edit::Other(number) = one(script, files) {
            other(number, script, files);
        }
    }
}

fn one(script: &mut Script<'_>, files: &mut Files) -> Edit {
    let kind = script.byte() % 14;
    if kind >= 11 {
        return Edit::Other(kind - 11);
    }
    let (which, another) = (script.byte(), files.values().map(Vec::len).max().unwrap_or(0));
    let name = files.keys().nth(usize::from(which) % files.len()).cloned().unwrap_or_default();
    if kind == 9 {
        files.remove(&name);
        return Edit::Done;
    }
    if kind == 10 {
        // One file in the place of another.
        let other = files.values().nth(usize::from(script.byte()) % files.len()).cloned().unwrap_or_default();
        files.insert(name, other);
        return Edit::Done;
    }
    let Some(bytes) = files.get_mut(&name) else { return Edit::Done };
    let at = script.place(bytes.len());
    match kind {
        0 => {
            let bit = script.byte() % 8;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        1 => {
            let value = script.byte();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        2 => bytes.truncate(at),
        3 => {
            let count = usize::from(script.byte());
            bytes.splice(at..at, script.take(count).iter().copied());
        }
        4 => {
            let end = (at + usize::from(script.byte())).min(bytes.len());
            drop(bytes.drain(at..end));
        }
        5 => {
            // A block that was written in the wrong place.
            let to = script.place(bytes.len());
            let end = (at + script.place(bytes.len())).min(bytes.len());
            let block = bytes[at..end].to_vec();
            let over = (to + block.len()).min(bytes.len());
            bytes.splice(to..over, block);
        }
        6 => {
            let end = (at + script.place(another)).min(bytes.len());
            bytes[at..end].fill(0);
        }
        7 => {
            // What an unfinished write leaves: zeros, or whatever was there before.
            let fill = script.byte();
            bytes.extend(std::iter::repeat_n(fill, 1 + at % 300));
        }
        _ => {
            let end = (at + script.place(bytes.len())).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.extend_from_slice(&again);
        }
    }
    Edit::Done
}
