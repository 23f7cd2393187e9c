//! Texts that many windows share, each kept once and named by a number. A window then costs no text of its own,
//! and windows can be told apart and sorted by numbers.

use std::hash::{Hash, Hasher};

use hashbrown::DefaultHashBuilder;
use indexmap::{Equivalent, IndexSet};

/// Different values, numbered in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Symbols<T>(IndexSet<T, DefaultHashBuilder>);

/// The group values of a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Groups(Box<[Box<str>]>);

/// Group values that are not kept (yet).
pub(super) struct GroupsRef<'a, S>(pub(super) &'a [S]);

impl<T> Default for Symbols<T> {
    fn default() -> Self {
        Self(IndexSet::default())
    }
}

impl<T: Hash + Eq + Ord> Symbols<T> {
    pub(super) fn get(&self, number: usize) -> Option<&T> {
        self.0.get_index(number)
    }

    pub(super) fn find<Q: Hash + Equivalent<T> + ?Sized>(&self, value: &Q) -> Option<usize> {
        self.0.get_index_of(value)
    }

    /// The number of a value, which is kept if it is new.
    pub(super) fn number<Q: Hash + Equivalent<T> + ?Sized>(
        &mut self,
        value: &Q,
        own: impl FnOnce() -> T,
    ) -> usize {
        self.find(value).unwrap_or_else(|| self.0.insert_full(own()).0)
    }

    /// For each number the place of its value among all values in order.
    pub(super) fn ranks(&self) -> Vec<usize> {
        let mut order: Vec<(&T, usize)> = self.0.iter().zip(0..).collect();
        order.sort_unstable();
        ranks(order.into_iter().map(|(_, number)| number))
    }
}

/// For each number its place in `order`, which has each number below its length once.
pub(super) fn ranks(order: impl ExactSizeIterator<Item = usize>) -> Vec<usize> {
    let mut ranks = vec![0; order.len()];
    for (rank, number) in order.enumerate() {
        if let Some(place) = ranks.get_mut(number) {
            *place = rank;
        }
    }
    ranks
}

impl Groups {
    pub(super) fn texts(&self) -> &[Box<str>] {
        &self.0
    }
}

impl Hash for Groups {
    fn hash<H: Hasher>(&self, state: &mut H) {
        GroupsRef(&self.0).hash(state);
    }
}

impl<S: AsRef<str>> GroupsRef<'_, S> {
    pub(super) fn to_groups(&self) -> Groups {
        Groups(self.0.iter().map(|text| text.as_ref().into()).collect())
    }
}

impl<S: AsRef<str>> Hash for GroupsRef<'_, S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for text in self.0 {
            text.as_ref().hash(state);
        }
    }
}

impl<S: AsRef<str>> Equivalent<Groups> for GroupsRef<'_, S> {
    fn equivalent(&self, groups: &Groups) -> bool {
        self.0.len() == groups.0.len() && self.0.iter().zip(&groups.0).all(|(a, b)| *a.as_ref() == **b)
    }
}
