//! Exact decimals: 256-bit integers scaled by 10^30, as Decimal(76, 30) at rest. A number is read from
//! the text that was sent and never passes through a binary float.

mod average;
mod literal;
#[cfg(test)]
mod tests;

use arrow_buffer::i256;
use std::fmt;

use literal::{Literal, Syntax};

pub use average::average;
pub use literal::normalise_number_text;

/// Digits after the point.
pub const SCALE: i8 = 30;

/// A value of an event has at most this many digits before the point.
pub const VALUE_INTEGER_DIGITS: u32 = 33;

/// Digits of Decimal(76, 30), before and after the point together.
const PRECISION: usize = 76;

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
    pub fn checked_add(self, other: Decimal) -> Option<Decimal> {
        let sum = self.0.checked_add(other.0)?;
        let bound = power_of_ten(PRECISION);
        (sum < bound && sum > bound.wrapping_neg()).then_some(Self(sum))
    }

    /// From the text of a JSON number (grammar of RFC 8259).
    pub fn parse_json_number(text: &str) -> Parsed {
        Literal::scan(text, Syntax::Json).map_or(Parsed::NotANumber, |literal| from_literal(&literal))
    }

    /// From the text inside a JSON string, by the rules of OpenMeter's contract 14.6: also a plus sign,
    /// and no digits on one side of the point; but no spaces, no hexadecimals, no NaN or Inf.
    pub fn parse_numeric_string(text: &str) -> Parsed {
        Literal::scan(text, Syntax::Lenient).map_or(Parsed::NotANumber, |literal| from_literal(&literal))
    }
}

fn from_literal(literal: &Literal<'_>) -> Parsed {
    let scale = i64::from(SCALE);
    // The power of ten that the first digit other than 0 stands for.
    let Some(leading) = literal.leading_power() else {
        return Parsed::Exact(Decimal::default());
    };
    if leading >= i64::from(VALUE_INTEGER_DIGITS) {
        return Parsed::OutOfRange;
    }
    // How many digits, from the leading one on, lie at or above 10^-30: at most 63.
    let kept = leading.saturating_add(scale).saturating_add(1);
    if kept < 0 {
        return Parsed::Rounded(Decimal::default());
    }
    let mut magnitude = i256::ZERO;
    let mut chunk: u64 = 0;
    let mut chunk_digits = 0;
    let mut taken = 0;
    let mut digits = literal.significant_digits();
    while taken < kept {
        let Some(digit) = digits.next() else { break };
        chunk = chunk * 10 + u64::from(digit);
        chunk_digits += 1;
        taken += 1;
        if chunk_digits == 18 {
            magnitude = push_digits(magnitude, chunk, chunk_digits);
            (chunk, chunk_digits) = (0, 0);
        }
    }
    magnitude = push_digits(magnitude, chunk, chunk_digits);
    // Only zeros are left to append when the text ran out of digits.
    magnitude = magnitude.wrapping_mul(power_of_ten(usize::try_from(kept - taken).unwrap_or(0)));
    let rest = Rest::of(digits);
    let odd = magnitude.to_parts().0 & 1 == 1;
    if rest.rounds_up(odd) {
        magnitude = magnitude.wrapping_add(i256::ONE);
    }
    if magnitude >= power_of_ten(VALUE_INTEGER_DIGITS as usize + SCALE as usize) {
        return Parsed::OutOfRange;
    }
    let decimal = Decimal(if literal.negative() { magnitude.wrapping_neg() } else { magnitude });
    if rest == Rest::Nothing { Parsed::Exact(decimal) } else { Parsed::Rounded(decimal) }
}

/// `number` followed by the digits of `chunk`; the caller knows that 63 digits are not exceeded.
fn push_digits(number: i256, chunk: u64, chunk_digits: usize) -> i256 {
    number.wrapping_mul(power_of_ten(chunk_digits)).wrapping_add(i256::from_i128(i128::from(chunk)))
}

/// What was cut off, compared with half of the last digit that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    BelowHalf,
    Half,
    AboveHalf,
}

impl Rest {
    fn of(mut digits: impl Iterator<Item = u8>) -> Self {
        let Some(first) = digits.next() else { return Self::Nothing };
        let more = digits.any(|digit| digit != 0);
        match (first, more) {
            (0, false) => Self::Nothing,
            (5, false) => Self::Half,
            (0..=4, _) => Self::BelowHalf,
            _ => Self::AboveHalf,
        }
    }

    fn rounds_up(self, odd: bool) -> bool {
        self == Self::AboveHalf || (self == Self::Half && odd)
    }
}

const POWERS_OF_TEN: [i256; PRECISION + 1] = {
    let mut powers = [i256::ONE; PRECISION + 1];
    let mut index = 1;
    while index <= PRECISION {
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            powers[index] = powers[index - 1].wrapping_mul(i256::from_parts(10, 0));
        }
        index += 1;
    }
    powers
};

/// 10^`exponent`; 10^76 for more than that.
fn power_of_ten(exponent: usize) -> i256 {
    const LARGEST: i256 = {
        let [.., last] = POWERS_OF_TEN;
        last
    };
    POWERS_OF_TEN.get(exponent).copied().unwrap_or(LARGEST)
}

/// Plain notation: no exponent, no trailing zeros after the point, `0` for zero.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.0.to_parts();
        let negative = high < 0;
        let (low, high) = if negative {
            let low = low.wrapping_neg();
            (low, (!high.cast_unsigned()).wrapping_add(u128::from(low == 0)))
        } else {
            (low, high.cast_unsigned())
        };
        let mut digits = decimal_digits(low, high);
        let scale = usize::from(SCALE.unsigned_abs());
        while digits.len() <= scale {
            digits.push(b'0');
        }
        // The digits come from the lowest on.
        let (fraction, integer) = digits.split_at(scale);
        let zeros = fraction.iter().take_while(|d| **d == b'0').count();
        let mut text = String::with_capacity(digits.len() + 2);
        if negative {
            text.push('-');
        }
        text.extend(integer.iter().rev().map(|d| char::from(*d)));
        if zeros < scale {
            text.push('.');
            text.extend(fraction.iter().skip(zeros).rev().map(|d| char::from(*d)));
        }
        f.write_str(&text)
    }
}

/// The ASCII digits of an unsigned 256-bit integer, lowest first; none for zero.
fn decimal_digits(low: u128, high: u128) -> Vec<u8> {
    const CHUNK: u128 = 10_000_000_000_000_000_000;
    const MASK: u128 = u64::MAX as u128;
    let mut limbs = [high >> 64, high & MASK, low >> 64, low & MASK];
    let mut digits = Vec::with_capacity(80);
    while limbs.iter().any(|limb| *limb != 0) {
        let mut remainder: u128 = 0;
        for limb in &mut limbs {
            let current = (remainder << 64) | *limb;
            *limb = current / CHUNK;
            remainder = current % CHUNK;
        }
        for _ in 0..19 {
            digits.push(b'0' + (remainder % 10) as u8);
            remainder /= 10;
        }
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    digits
}
