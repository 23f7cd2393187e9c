//! Texts that many windows share, each kept once and named by a number. A window then costs no text of its own,
//! and windows can be told apart and sorted by numbers.

use std::hash::{Hash, Hasher};

use hashbrown::DefaultHashBuilder;
use indexmap::{Equivalent, IndexSet};

/// Lists of texts, each once, numbered in the order in which they came. A subject is a list of one.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols(IndexSet<List, DefaultHashBuilder>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct List(Box<[Box<str>]>);

/// A list that is not kept (yet).
struct ListRef<'a, S>(&'a [S]);

impl Symbols {
    pub(super) fn get(&self, number: usize) -> &[Box<str>] {
        self.0.get_index(number).map_or(&[], |list| &list.0)
    }

    pub(super) fn find<S: AsRef<str>>(&self, list: &[S]) -> Option<usize> {
        self.0.get_index_of(&ListRef(list))
    }

    /// The number of a list, which is kept if it is new.
    pub(super) fn number<S: AsRef<str>>(&mut self, list: &[S]) -> usize {
        self.find(list).unwrap_or_else(|| {
            let own = list.iter().map(|text| text.as_ref().into()).collect();
            self.0.insert_full(List(own)).0
        })
    }

    /// For each number the place of its list among all lists in order.
    pub(super) fn ranks(&self) -> Vec<usize> {
        let mut order: Vec<(&List, usize)> = self.0.iter().zip(0..).collect();
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

impl Hash for List {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ListRef(&self.0).hash(state);
    }
}

impl<S: AsRef<str>> Hash for ListRef<'_, S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for text in self.0 {
            text.as_ref().hash(state);
        }
    }
}

impl<S: AsRef<str>> Equivalent<List> for ListRef<'_, S> {
    fn equivalent(&self, list: &List) -> bool {
        self.0.len() == list.0.len() && self.0.iter().zip(&list.0).all(|(a, b)| *a.as_ref() == **b)
    }
}
