//! What senders send twice is not counted twice, and percentiles are not made up.

use std::collections::HashSet;

use super::*;
use crate::recount::Recount;

#[test]
fn one_request_in_200_is_an_older_one_once_more_and_is_not_counted_again() {
    let mut generator = Generator::new(Load { form: Form::Single, senders: 2, subjects: 100 });
    let (mut different, mut repeated) = (HashSet::new(), 0);
    for sender in &mut generator.senders {
        for _ in 0..2_000 {
            let template = sender.prepare();
            repeated += u32::from(!different.insert(sender.request(template).0.to_vec()));
        }
    }
    assert_eq!(repeated, 20);
    assert_eq!(different.len() as u64, Recount::of(&generator).events);
}

#[test]
fn percentiles_are_values_that_were_seen() {
    let values: Vec<u32> = (1..=200).collect();
    assert_eq!([0.0, 50.0, 99.0, 100.0].map(|p| percentile(&values, p)), [1.0, 100.0, 198.0, 200.0]);
    assert!(percentile(&[], 50.0).is_nan());
}
