//! The real clock and the real randomness, handed to every service by the binary. Nothing else in
//! the workspace may ask the machine for either, so that tests can decide both.

use ring::rand::{SecureRandom, SystemRandom};
use weir_meter::environment::{Clock, Entropy};

/// The time of day of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        // The one place that may ask: everything else is handed a `Clock`.
        #[allow(clippy::disallowed_methods)]
        let now = jiff::Timestamp::now();
        now.as_microsecond()
    }
}

/// The randomness of the operating system.
#[derive(Clone, Debug)]
pub struct OsEntropy {
    source: SystemRandom,
}

impl OsEntropy {
    pub fn new() -> Self {
        Self { source: SystemRandom::new() }
    }
}

impl Default for OsEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for OsEntropy {
    fn random_u128(&self) -> u128 {
        let mut bytes = [0; 16];
        // A guessable key would let an enemy steer identities. A system that cannot give random
        // bytes cannot run Weir, and says so instead of going on with zeros.
        if self.source.fill(&mut bytes).is_err() {
            eprintln!(
                "weir: the operating system gives no random bytes, so nothing can be kept safe; stopping"
            );
            std::process::abort();
        }
        u128::from_le_bytes(bytes)
    }
}
