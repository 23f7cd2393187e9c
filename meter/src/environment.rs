//! What the outside world gives: the time of day and randomness. Both are passed in from the binary,
//! so that a test or a simulation can decide them; `clippy.toml` bans the global ones.

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970, UTC. May go back.
    fn now_us(&self) -> i64;
}

/// Gives random numbers that nobody can guess.
pub trait Entropy: Send + Sync + 'static {
    fn random_u128(&self) -> u128;
}
