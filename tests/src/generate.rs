//! Random input, reproducible from a seed: events as the JSON texts that are sent, meters, and queries.
//! The choices lean towards what breaks things: few identities, times around changes of the clocks,
//! odd spellings of numbers, keys and strings.

pub mod events;
pub mod meters;
pub mod queries;
pub mod times;

pub use events::Generator;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// The source of all choices.
pub type Rng8 = ChaCha8Rng;

/// One of these, all alike.
pub fn pick<'a, T: ?Sized>(rng: &mut Rng8, choices: &[&'a T]) -> &'a T {
    choices[rng.random_range(0..choices.len())]
}
