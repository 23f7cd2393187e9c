//! The windows of one meter generation in memory. Subjects and group values are kept once each; a window is
//! two numbers, a start and a state.

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use super::symbols::{Groups, GroupsRef, Symbols};
use super::{WindowKeyRef, WindowState};

/// Windows by their keys.
#[derive(Clone, Debug, Default)]
pub struct WindowTable {
    subjects: Symbols<Box<str>>,
    groups: Symbols<Groups>,
    windows: IndexMap<Name, WindowState, DefaultHashBuilder>,
}

/// A window's key in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    subject: usize,
    start_us: i64,
    groups: usize,
}

/// Where a window lies in its table, for as long as the table lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowPlace(pub(super) usize);

impl WindowTable {
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Every window, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = (WindowKeyRef<'_>, &WindowState)> {
        self.windows.iter().map(|(name, state)| (self.key(name), state))
    }

    /// Every window, by subject, start and group values.
    pub fn in_order(&self) -> impl Iterator<Item = (WindowKeyRef<'_>, &WindowState)> {
        self.places_in_order().into_iter().filter_map(|place| {
            let (name, state) = self.windows.get_index(place.0)?;
            Some((self.key(name), state))
        })
    }

    pub fn get<S: AsRef<str>>(&self, key: WindowKeyRef<'_, S>) -> Option<&WindowState> {
        let subject = self.subjects.find(key.subject)?;
        let groups = self.groups.find(&GroupsRef(key.groups))?;
        self.windows.get(&Name { subject, start_us: key.start_us, groups })
    }

    /// The state of a window, made when it is not there.
    pub fn entry<S: AsRef<str>>(&mut self, key: WindowKeyRef<'_, S>) -> &mut WindowState {
        self.place(key).1
    }

    /// The same, with where it lies.
    pub fn place<S: AsRef<str>>(&mut self, key: WindowKeyRef<'_, S>) -> (WindowPlace, &mut WindowState) {
        let subject = self.subjects.number(key.subject, || key.subject.into());
        let groups = GroupsRef(key.groups);
        let groups = self.groups.number(&groups, || groups.to_groups());
        let name = Name { subject, start_us: key.start_us, groups };
        let entry = self.windows.entry(name);
        (WindowPlace(entry.index()), entry.or_default())
    }

    pub(super) fn key_at(&self, place: WindowPlace) -> Option<WindowKeyRef<'_>> {
        self.windows.get_index(place.0).map(|(name, _)| self.key(name))
    }

    pub(super) fn places_in_order(&self) -> Vec<WindowPlace> {
        let (subjects, groups) = (self.subjects.ranks(), self.groups.ranks());
        let rank = |ranks: &[usize], number: usize| ranks.get(number).copied().unwrap_or_default();
        let mut places: Vec<_> = self
            .windows
            .keys()
            .enumerate()
            .map(|(at, name)| {
                let order = (rank(&subjects, name.subject), name.start_us, rank(&groups, name.groups));
                (order, WindowPlace(at))
            })
            .collect();
        places.sort_unstable();
        places.into_iter().map(|(_, place)| place).collect()
    }

    fn key(&self, name: &Name) -> WindowKeyRef<'_> {
        WindowKeyRef {
            subject: self.subjects.get(name.subject).map_or("", |subject| subject),
            start_us: name.start_us,
            groups: self.groups.get(name.groups).map_or(&[], Groups::texts),
        }
    }
}
