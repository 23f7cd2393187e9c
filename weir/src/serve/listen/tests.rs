//! Places and their bookkeeping; connections themselves are tested from outside.

use std::sync::Arc;

use super::places::{CANCELLED_REQUESTS_MAX, Places};

#[tokio::test(start_paused = true)]
async fn the_connection_that_is_idle_for_longest_gives_way() {
    let places = Arc::new(Places::new(3));
    let tick = || tokio::time::advance(std::time::Duration::from_millis(1));
    let first = places.take().unwrap();
    tick().await;
    let second = places.take().unwrap();
    tick().await;
    let third = places.take().unwrap();
    let busy = first.activity.begin();
    let fourth = places.take().unwrap();
    assert!(second.activity.ended.is_cancelled());
    assert!(!first.activity.ended.is_cancelled() && !third.activity.ended.is_cancelled());
    // One that was evicted gives nobody else's place back.
    drop(second);
    let others = [third.activity.begin(), fourth.activity.begin()];
    assert!(places.take().is_none());
    drop(busy);
    let fifth = places.take().unwrap();
    assert!(first.activity.ended.is_cancelled());
    drop((others, fifth));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_taken_back_end_the_connection() {
    let place = Arc::new(Places::new(1)).take().unwrap();
    for _ in 0..10 {
        place.activity.begin().answered();
    }
    for _ in 0..CANCELLED_REQUESTS_MAX + 10 {
        drop(place.activity.begin());
    }
    assert!(!place.activity.ended.is_cancelled());
    drop(place.activity.begin());
    assert!(place.activity.ended.is_cancelled());
    assert!(place.activity.idle_since().is_some());
}
