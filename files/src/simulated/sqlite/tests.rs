//! Locks and shared memory between connections. Reading, writing and cutting are tested by the catalog.

use super::locks::{Busy, FileLocks, Level};
use super::memory::SharedMemory;

#[test]
fn one_writes_and_waits_for_the_readers() {
    let (mut locks, mut a, mut b, mut c) = (FileLocks::default(), Level::None, Level::None, Level::None);
    locks.raise(&mut a, Level::Shared).unwrap();
    locks.raise(&mut b, Level::Shared).unwrap();
    assert!(!locks.is_reserved());
    locks.raise(&mut a, Level::Reserved).unwrap();
    assert!(locks.is_reserved());
    assert_eq!(locks.raise(&mut b, Level::Reserved), Err(Busy));
    locks.raise(&mut c, Level::Shared).unwrap();
    locks.lower(&mut c, Level::None);
    assert_eq!(locks.raise(&mut a, Level::Exclusive), Err(Busy), "b reads");
    assert_eq!(a, Level::Pending);
    assert_eq!(locks.raise(&mut c, Level::Shared), Err(Busy), "nobody begins to read");
    locks.lower(&mut b, Level::None);
    locks.raise(&mut a, Level::Exclusive).unwrap();
    assert_eq!(locks.raise(&mut c, Level::Shared), Err(Busy));
    locks.lower(&mut a, Level::Shared);
    locks.raise(&mut c, Level::Shared).unwrap();
    assert_eq!(locks.raise(&mut c, Level::Exclusive), Err(Busy), "a reads");
    assert_eq!(c, Level::Shared, "one that reserved nothing holds nobody back");
    locks.lower(&mut a, Level::None);
    locks.raise(&mut c, Level::Exclusive).unwrap();
    locks.lower(&mut c, Level::None);
    assert!(!locks.is_reserved());
}

#[test]
fn locks_of_memory_are_shared_or_of_one() {
    let mut memory = SharedMemory::default();
    let (mut a, mut b) = (memory.join(), memory.join());
    memory.lock_shared(&mut a, 3).unwrap();
    memory.lock_shared(&mut a, 3).unwrap();
    memory.lock_shared(&mut b, 3).unwrap();
    assert_eq!(memory.lock_exclusive(&mut a, 0, 4), Err(Busy), "b holds one of them");
    memory.unlock(&mut b, 3, 1);
    memory.unlock(&mut a, 3, 1);
    memory.lock_exclusive(&mut a, 0, 4).unwrap();
    assert_eq!(memory.lock_shared(&mut b, 0), Err(Busy));
    assert_eq!(memory.lock_exclusive(&mut b, 3, 5), Err(Busy));
    memory.lock_exclusive(&mut b, 4, 4).unwrap();
    assert_eq!(memory.lock_exclusive(&mut b, 7, 2), Err(Busy), "there is no ninth");
    memory.unlock(&mut a, 0, 2);
    memory.lock_shared(&mut b, 1).unwrap();
    memory.leave(a);
    memory.lock_shared(&mut b, 2).unwrap();
}

#[test]
fn memory_stays_in_its_place_until_the_last_one_goes() {
    let mut memory = SharedMemory::default();
    let (a, b) = (memory.join(), memory.join());
    assert_eq!(memory.region(0, 32_768, false), None);
    let first = memory.region(0, 32_768, true).unwrap();
    for more in 1..40 {
        memory.region(more, 32_768, true).unwrap();
    }
    assert_eq!(memory.region(0, 32_768, false), Some(first));
    memory.leave(a);
    assert_eq!(memory.region(0, 32_768, false), Some(first));
    memory.leave(b);
    assert_eq!(memory.region(0, 32_768, false), None, "what comes later begins anew");
}
