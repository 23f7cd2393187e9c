//! Locks on a database file: any number of readers, and one who reserved the right to write, waits for
//! the readers to go, or has the file alone.

use std::ffi::c_int;

use libsqlite3_sys as ffi;

/// How far a connection has come, in SQLite's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    None,
    Shared,
    Reserved,
    Pending,
    Exclusive,
}

/// The locks of all connections to one file.
#[derive(Debug, Default)]
pub(super) struct FileLocks {
    /// Connections that hold any level.
    holders: usize,
    /// The highest level that one of them holds.
    highest: Level,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy;

impl Level {
    pub(super) fn of(number: c_int) -> Self {
        match number {
            ffi::SQLITE_LOCK_NONE => Self::None,
            ffi::SQLITE_LOCK_SHARED => Self::Shared,
            ffi::SQLITE_LOCK_RESERVED => Self::Reserved,
            ffi::SQLITE_LOCK_PENDING => Self::Pending,
            _ => Self::Exclusive,
        }
    }
}

impl FileLocks {
    /// Raises the level that a connection holds. One that wants the file for itself and finds readers
    /// holds the next one back, so that they become fewer.
    pub(super) fn raise(&mut self, held: &mut Level, wanted: Level) -> Result<(), Busy> {
        if *held >= wanted {
            return Ok(());
        }
        if *held != self.highest && (self.highest >= Level::Pending || wanted > Level::Shared) {
            return Err(Busy);
        }
        if wanted == Level::Shared {
            self.holders += 1;
            self.highest = self.highest.max(Level::Shared);
            *held = Level::Shared;
            return Ok(());
        }
        if wanted == Level::Exclusive && self.holders > 1 {
            if *held == Level::Reserved {
                (*held, self.highest) = (Level::Pending, Level::Pending);
            }
            return Err(Busy);
        }
        (*held, self.highest) = (wanted, wanted);
        Ok(())
    }

    /// Goes back to reading, or to nothing.
    pub(super) fn lower(&mut self, held: &mut Level, wanted: Level) {
        if *held <= wanted {
            return;
        }
        if *held > Level::Shared {
            self.highest = Level::Shared;
        }
        if wanted == Level::None {
            self.holders = self.holders.saturating_sub(1);
            if self.holders == 0 {
                self.highest = Level::None;
            }
        }
        *held = wanted;
    }

    /// Whether anybody is on the way to writing.
    pub(super) fn is_reserved(&self) -> bool {
        self.highest > Level::Shared
    }
}
