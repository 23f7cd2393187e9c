//! What the environment asks of the suites: how long, and with which data.

use std::env;
use std::str::FromStr;

/// The value of a variable, or the default; a value that cannot be read ends the test.
pub(crate) fn number<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}
