//! How much a key may do in a second: a bucket of tokens that fills at the rate and holds one second's worth.
//! One request may take more than it holds, if it is full: a batch of a thousand events passes at a rate
//! of a hundred, and what follows waits ten seconds. In the long run nobody gets more than the rate.

use std::num::NonZeroU32;

use parking_lot::Mutex;

/// Parts of a token: so many are earned in a microsecond as tokens in a second.
const PARTS: i64 = 1_000_000;

/// A rate, and what is left of it.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: NonZeroU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Parts of tokens; below zero after a request that took more than there was.
    level: i64,
    at_us: i64,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: NonZeroU32, now_us: i64) -> Self {
        Self { rate, state: Mutex::new(State { level: capacity(rate), at_us: now_us }) }
    }

    pub(super) fn rate(&self) -> NonZeroU32 {
        self.rate
    }

    /// Takes tokens, or says after how many whole seconds to come again. What is refused takes none.
    pub(super) fn take(&self, tokens: usize, now_us: i64) -> Result<(), u32> {
        let mut state = self.state.lock();
        // A clock that was set back earns nothing and does not stop the earning after it.
        let elapsed_us = now_us.saturating_sub(state.at_us).max(0);
        let capacity = capacity(self.rate);
        let earned = elapsed_us.saturating_mul(i64::from(self.rate.get()));
        state.level = state.level.saturating_add(earned).min(capacity);
        state.at_us = now_us;
        let asked = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_mul(PARTS);
        let missing = asked.min(capacity).saturating_sub(state.level);
        if missing <= 0 {
            state.level = state.level.saturating_sub(asked);
            return Ok(());
        }
        let wait_us = missing.unsigned_abs().div_ceil(u64::from(self.rate.get()));
        Err(u32::try_from(wait_us.div_ceil(1_000_000)).unwrap_or(u32::MAX))
    }
}

fn capacity(rate: NonZeroU32) -> i64 {
    i64::from(rate.get()).saturating_mul(PARTS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per_s: u32) -> NonZeroU32 {
        NonZeroU32::new(per_s).unwrap()
    }

    /// Lives through each microsecond, with fractions instead of parts.
    struct Model {
        rate: u64,
        /// In tokens over a million.
        level: i128,
        now_us: i64,
    }

    impl Model {
        fn live_until(&mut self, now_us: i64) {
            while self.now_us < now_us {
                self.now_us += 1;
                if self.level < i128::from(self.rate) * 1_000_000 {
                    self.level = (self.level + i128::from(self.rate)).min(i128::from(self.rate) * 1_000_000);
                }
            }
            self.now_us = now_us;
        }

        fn would_take(&self, tokens: u64) -> bool {
            self.level >= i128::from(tokens.min(self.rate)) * 1_000_000
        }

        fn take(&mut self, tokens: u64) -> Result<(), u32> {
            if self.would_take(tokens) {
                self.level -= i128::from(tokens) * 1_000_000;
                return Ok(());
            }
            // The first whole second after which it would be let in.
            (1..)
                .find(|seconds| {
                    let rest = self.level + i128::from(self.rate) * 1_000_000 * i128::from(*seconds);
                    rest >= i128::from(tokens.min(self.rate)) * 1_000_000
                })
                .map_or(Ok(()), Err)
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_slow_one(
            per_s in 1..5_000_u32,
            steps in prop::collection::vec((-500..4_000_i64, 0..200_u64, 0..20_u8), 1..60),
        ) {
            let bucket = Bucket::new(rate(per_s), 0);
            let full = i128::from(per_s) * 1_000_000;
            let mut model = Model { rate: u64::from(per_s), level: full, now_us: 0 };
            for (step_us, tokens, huge) in steps {
                let now_us = model.now_us + step_us;
                let tokens = if huge == 0 { tokens * 1_000 } else { tokens };
                model.live_until(now_us);
                prop_assert_eq!(bucket.take(tokens as usize, now_us), model.take(tokens));
            }
        }
    }

    #[test]
    fn in_the_long_run_nobody_gets_more_than_the_rate() {
        for (per_s, batch) in [(1, 1), (10, 3), (100, 1_000), (7, 500)] {
            let bucket = Bucket::new(rate(per_s), 0);
            let (mut taken, mut now_us) = (0_u64, 0_i64);
            while now_us < 1_000_000_000 {
                match bucket.take(batch, now_us) {
                    Ok(()) => taken += batch as u64,
                    Err(seconds) => {
                        assert!(
                            bucket.take(batch, now_us).is_err(),
                            "a refusal costs nothing and gives nothing"
                        );
                        now_us += i64::from(seconds) * 1_000_000;
                    }
                }
            }
            let fair = u64::from(per_s) * 1_000;
            assert!(taken <= fair + u64::from(per_s) + batch as u64, "{taken} of {fair}");
            assert!(taken * 10 >= fair * 4, "whole seconds of waiting cost at most half: {taken} of {fair}");
        }
    }

    #[test]
    fn odd_clocks_and_numbers_are_survived() {
        let bucket = Bucket::new(rate(u32::MAX), i64::MIN);
        bucket.take(usize::MAX, i64::MAX).unwrap();
        assert!(bucket.take(1, i64::MIN).unwrap_err() >= 1);
        let slow = Bucket::new(rate(1), i64::MAX);
        slow.take(usize::MAX, i64::MAX).unwrap();
        assert_eq!(slow.take(1, 0), Err(u32::MAX));
        slow.take(0, 0).unwrap_err();
    }
}
