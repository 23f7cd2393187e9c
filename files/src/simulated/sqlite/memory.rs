//! The memory that connections to one write-ahead log share, with its eight locks. It lives as long as
//! anybody uses it, as the file does in which SQLite keeps it on Unix: what comes later begins anew.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::sync::atomic::AtomicU64;

use libsqlite3_sys as ffi;

use super::locks::Busy;

const LOCKS: usize = ffi::SQLITE_SHM_NLOCK as usize;

/// Regions and locks of one database.
#[derive(Debug, Default)]
pub(super) struct SharedMemory {
    users: usize,
    /// Each stays where it is until the last user goes. Atomic, because C writes behind a shared reference.
    regions: Vec<Box<[AtomicU64]>>,
    locks: [Lock; LOCKS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lock {
    #[default]
    Free,
    Shared(usize),
    Exclusive,
}

/// What one connection holds of it.
#[derive(Debug, Default)]
pub(super) struct Holding {
    shared: BTreeSet<usize>,
    exclusive: BTreeSet<usize>,
}

impl SharedMemory {
    pub(super) fn join(&mut self) -> Holding {
        self.users += 1;
        Holding::default()
    }

    pub(super) fn leave(&mut self, mut holding: Holding) {
        let held: Vec<usize> = holding.shared.iter().chain(&holding.exclusive).copied().collect();
        for at in held {
            self.unlock(&mut holding, at, 1);
        }
        self.users = self.users.saturating_sub(1);
        if self.users == 0 {
            *self = Self::default();
        }
    }

    /// Where a region begins; none if it is not there and shall not be made.
    pub(super) fn region(&mut self, index: usize, bytes: usize, make: bool) -> Option<*mut c_void> {
        while make && self.regions.len() <= index {
            let words = bytes.div_ceil(size_of::<AtomicU64>());
            self.regions.push((0..words).map(|_| AtomicU64::new(0)).collect());
        }
        self.regions.get(index).map(|region| region.as_ptr().cast_mut().cast())
    }

    pub(super) fn lock_shared(&mut self, holding: &mut Holding, at: usize) -> Result<(), Busy> {
        if holding.shared.contains(&at) {
            return Ok(());
        }
        let lock = self.locks.get_mut(at).ok_or(Busy)?;
        *lock = match *lock {
            Lock::Free => Lock::Shared(1),
            Lock::Shared(count) => Lock::Shared(count + 1),
            Lock::Exclusive => return Err(Busy),
        };
        holding.shared.insert(at);
        Ok(())
    }

    /// All of them or none.
    pub(super) fn lock_exclusive(
        &mut self,
        holding: &mut Holding,
        from: usize,
        count: usize,
    ) -> Result<(), Busy> {
        let wanted = self.locks.get_mut(from..from.saturating_add(count)).ok_or(Busy)?;
        if wanted.iter().any(|lock| *lock != Lock::Free) {
            return Err(Busy);
        }
        wanted.fill(Lock::Exclusive);
        holding.exclusive.extend(from..from.saturating_add(count));
        Ok(())
    }

    pub(super) fn unlock(&mut self, holding: &mut Holding, from: usize, count: usize) {
        for at in from..from.saturating_add(count) {
            let Some(lock) = self.locks.get_mut(at) else { return };
            if holding.exclusive.remove(&at) {
                *lock = Lock::Free;
            }
            if holding.shared.remove(&at) {
                *lock = match *lock {
                    Lock::Shared(holders) if holders > 1 => Lock::Shared(holders - 1),
                    _ => Lock::Free,
                };
            }
        }
    }
}
