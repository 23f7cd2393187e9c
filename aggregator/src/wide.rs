//! Too wide for windows: a generation with very many groups (subject and group values) in one hour, as by a
//! session or request id, would make about as many windows as there are events. It is noted and answered
//! from rows.

use std::collections::HashSet;

use hashbrown::HashMap;
use weir_meter::window::{MINUTE_US, MeterWindows};

const HOUR_US: i64 = 60 * MINUTE_US;

/// Groups of each hour. No hour of a subject must come twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupsPerHour {
    hours: HashMap<i64, u64>,
    max: u64,
}

impl GroupsPerHour {
    /// Counts the groups of windows whose subjects are not counted yet.
    pub(crate) fn add(&mut self, windows: &MeterWindows) {
        let mut groups = HashSet::with_capacity(windows.windows.len());
        for (key, _) in windows.windows.iter() {
            let hour_us = key.start_us.saturating_sub(key.start_us.rem_euclid(HOUR_US));
            if groups.insert((hour_us, key.subject, key.groups)) {
                let count = self.hours.entry(hour_us).or_insert(0);
                *count = count.saturating_add(1);
                self.max = self.max.max(*count);
            }
        }
    }

    /// Of the hour that has most.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use weir_meter::window::WindowKeyRef;

    use super::*;

    #[test]
    fn a_group_counts_once_an_hour() {
        let mut windows = MeterWindows::default();
        for (subject, minute, group) in
            [("a", 0, "x"), ("a", 59, "x"), ("a", 60, "x"), ("a", 3, "y"), ("b", 3, "y"), ("b", -1, "y")]
        {
            let key = WindowKeyRef { subject, start_us: minute * MINUTE_US, groups: &[group] };
            windows.windows.entry(key).add_event(minute * MINUTE_US);
        }
        let mut groups = GroupsPerHour::default();
        groups.add(&windows);
        assert_eq!(groups.hours, HashMap::from([(0, 3), (HOUR_US, 1), (-HOUR_US, 1)]));
        assert_eq!(groups.max(), 3);
    }
}
