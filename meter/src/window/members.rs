//! The windows of one meter generation with the members of those that count different values.

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use super::WindowKeyRef;
use super::symbols::ranks;
use super::table::{WindowPlace, WindowTable};

/// The windows of one meter generation.
#[derive(Clone, Debug, Default)]
pub struct MeterWindows {
    pub windows: WindowTable,
    /// UNIQUE_COUNT only: how many events of a window hold a value, by the hash of its text.
    members: IndexMap<(WindowPlace, u128), i64, DefaultHashBuilder>,
}

impl MeterWindows {
    /// Counts a holder of a member value in a window of this table. True if it is the first there.
    pub fn add_member(&mut self, window: WindowPlace, member: u128) -> bool {
        let holders = self.members.entry((window, member)).or_insert(0);
        *holders = holders.saturating_add(1);
        *holders == 1
    }

    /// How many members all windows have together.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Every member of every window with its holders, in no particular order.
    pub fn members(&self) -> impl Iterator<Item = (WindowKeyRef<'_>, u128, i64)> {
        self.members.iter().filter_map(|((window, member), holders)| {
            Some((self.windows.key_at(*window)?, *member, *holders))
        })
    }

    /// The same, by subject, start, group values and member.
    pub fn members_in_order(&self) -> impl Iterator<Item = (WindowKeyRef<'_>, u128, i64)> {
        let ranks = ranks(self.windows.places_in_order().into_iter().map(|place| place.0));
        let rank = |window: &WindowPlace| ranks.get(window.0).copied().unwrap_or_default();
        let mut members: Vec<(usize, u128, WindowPlace, i64)> = self
            .members
            .iter()
            .map(|((window, member), holders)| (rank(window), *member, *window, *holders))
            .collect();
        members.sort_unstable();
        members
            .into_iter()
            .filter_map(|(_, member, window, holders)| Some((self.windows.key_at(window)?, member, holders)))
    }
}
