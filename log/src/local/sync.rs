//! The locks, threads and atomics that appends, the log thread, readers and cuts meet at. With the feature
//! `shuttle`, which is for one test alone, they are those of a scheduler that tries many orders.

#[cfg(not(feature = "shuttle"))]
mod plain {
    pub(in super::super) use std::sync::{atomic, mpsc};
    pub(in super::super) use std::thread;

    pub(in super::super) use parking_lot::{Mutex, MutexGuard};

    #[derive(Debug, Default)]
    pub(in super::super) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(in super::super) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut guard);
            guard
        }

        pub(in super::super) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(in super::super) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

#[cfg(not(feature = "shuttle"))]
pub(super) use plain::*;
#[cfg(feature = "shuttle")]
pub(super) use shuttled::*;

/// The same names and signatures.
#[cfg(feature = "shuttle")]
mod shuttled {
    use std::sync::PoisonError;

    use shuttle::sync;
    pub(in super::super) use shuttle::sync::{MutexGuard, atomic, mpsc};
    pub(in super::super) use shuttle::thread;

    #[derive(Debug, Default)]
    pub(in super::super) struct Mutex<T>(sync::Mutex<T>);

    #[derive(Debug, Default)]
    pub(in super::super) struct Condvar(sync::Condvar);

    impl<T> Mutex<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Condvar {
        pub(in super::super) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        pub(in super::super) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(in super::super) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
