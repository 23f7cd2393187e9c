//! Exact decimals: 256-bit integers scaled by 10^30, as Decimal(76, 30) at rest. A number is read from
//! the text that was sent and never passes through a binary float.

use arrow_buffer::i256;
use std::borrow::Cow;
use std::fmt;

/// Digits after the point.
pub const SCALE: i8 = 30;

/// A number with up to 46 digits before the point and exactly 30 after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i256);

/// What a number's text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    Exact(Decimal),
    /// More than 30 fractional digits: rounded half to even, once.
    Rounded(Decimal),
    /// The magnitude is 10^33 or more.
    OutOfRange,
    NotANumber,
}

impl Decimal {
    /// The scaled integer: this number times 10^30.
    pub fn unscaled(self) -> i256 {
        self.0
    }

    pub fn from_unscaled(unscaled: i256) -> Self {
        Self(unscaled)
    }

    /// None if the sum does not fit 76 digits.
    pub fn checked_add(self, _other: Decimal) -> Option<Decimal> {
        todo!()
    }

    /// From the text of a JSON number (grammar of RFC 8259).
    pub fn parse_json_number(_text: &str) -> Parsed {
        todo!()
    }

    /// From the text inside a JSON string, by the rules of OpenMeter's contract 14.6.
    pub fn parse_numeric_string(_text: &str) -> Parsed {
        todo!()
    }
}

/// Plain notation: no exponent, no trailing zeros after the point, `0` for zero.
impl fmt::Display for Decimal {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// A JSON number's text as group values and members show it: `1.50` is `1.5`, `1e3` is `1000`.
pub fn normalise_number_text(_text: &str) -> Cow<'_, str> {
    todo!()
}

/// `sum / count` in plain notation with 28 significant digits, rounded half to even. The one AVG.
pub fn average(_sum: Decimal, _count: u64) -> String {
    todo!()
}
