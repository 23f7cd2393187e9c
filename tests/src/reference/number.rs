//! Numbers as the reference sees them: rationals, exact until the one place where rounding is a rule.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Signed as _, Zero as _};

/// Digits after the point that a value keeps.
const FRACTION_DIGITS: u32 = 30;
/// A value of this magnitude, 10 to the 33rd, or more is ignored.
const MAGNITUDE_DIGITS: u32 = 33;
/// Significant digits of an average.
const AVERAGE_DIGITS: u32 = 28;
/// No sensible number has an exponent past this; a text that has one is judged by its sign alone.
const EXPONENT_MAX: i64 = 5_000;

/// What the text of a number says, before any rule about size is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Magnitude {
    Exact(BigRational),
    /// Too large for any rule to accept.
    Huge,
    /// Not zero, and smaller than any digit that is kept.
    Tiny,
}

/// The value that a meter counts for a JSON number or the text of a string; None if it counts none.
pub fn counted(text: &str) -> Option<BigRational> {
    let exact = match magnitude(text)? {
        Magnitude::Exact(exact) => exact,
        Magnitude::Tiny => BigRational::zero(),
        Magnitude::Huge => return None,
    };
    if exact.abs() >= BigRational::from(power_of_ten(MAGNITUDE_DIGITS)) {
        return None;
    }
    let rounded = round_half_even(&exact, FRACTION_DIGITS);
    (rounded.abs() < BigRational::from(power_of_ten(MAGNITUDE_DIGITS))).then_some(rounded)
}

/// The grammar that counts, in strings: an optional sign, digits with an optional point among, before
/// or after them, an optional exponent; nothing else, no spaces. Every JSON number fits it too.
fn magnitude(text: &str) -> Option<Magnitude> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut number: BigInt = digits.parse().unwrap();
    if number.is_zero() {
        return Some(Magnitude::Exact(BigRational::zero()));
    }
    if negative {
        number = -number;
    }
    let exponent = exponent.saturating_sub(fraction.len() as i64);
    if exponent > EXPONENT_MAX {
        return Some(Magnitude::Huge);
    }
    if exponent < -EXPONENT_MAX {
        return Some(Magnitude::Tiny);
    }
    let power = power_of_ten(exponent.unsigned_abs() as u32);
    Some(Magnitude::Exact(if exponent >= 0 {
        BigRational::from(number * power)
    } else {
        BigRational::new(number, power)
    }))
}

fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { -size } else { size })
}

/// The text of a JSON number as groups and members show it: plain notation, no needless zeros.
pub fn normalised(text: &str) -> String {
    match magnitude(text) {
        Some(Magnitude::Exact(exact)) => plain(&exact),
        other => panic!("{text:?} has no normal text: {other:?}"),
    }
}

/// Sum by count, to 28 significant digits, half to even.
pub fn average(sum: &BigRational, count: usize) -> BigRational {
    let exact = sum / BigRational::from(BigInt::from(count));
    if exact.is_zero() {
        return exact;
    }
    // The place of the first significant digit: exact lies in [10^place, 10^(place + 1)).
    let ten = BigRational::from(BigInt::from(10));
    let (mut place, mut scaled) = (0_i32, exact.abs());
    while scaled >= ten {
        scaled /= &ten;
        place += 1;
    }
    while scaled < BigRational::one() {
        scaled *= &ten;
        place -= 1;
    }
    let fraction_digits = AVERAGE_DIGITS as i32 - 1 - place;
    if fraction_digits >= 0 {
        round_half_even(&exact, fraction_digits as u32)
    } else {
        let unit = BigRational::from(power_of_ten(fraction_digits.unsigned_abs()));
        round_half_even(&(exact / &unit), 0) * unit
    }
}

/// The nearest number with so many digits after the point; of two equally near, the even one.
fn round_half_even(exact: &BigRational, fraction_digits: u32) -> BigRational {
    let unit = power_of_ten(fraction_digits);
    let scaled = exact * BigRational::from(unit.clone());
    let below = scaled.floor();
    let half = BigRational::new(BigInt::one(), BigInt::from(2));
    let above_half = (&scaled - &below).cmp(&half);
    let below = below.to_integer();
    let up = above_half.is_gt() || (above_half.is_eq() && (&below % BigInt::from(2)) != BigInt::zero());
    BigRational::new(if up { below + 1 } else { below }, unit)
}

/// Plain notation of a number whose decimal expansion ends: no exponent, no zeros at the end, `0`.
pub fn plain(number: &BigRational) -> String {
    let ten = BigRational::from(BigInt::from(10));
    let mut scaled = number.abs();
    let mut fraction_digits = 0;
    while !scaled.is_integer() {
        scaled *= &ten;
        fraction_digits += 1;
        assert!(fraction_digits <= 2 * EXPONENT_MAX as usize, "{number} has no finite expansion");
    }
    let digits = format!("{:0>width$}", scaled.to_integer().to_string(), width = fraction_digits + 1);
    let (whole, fraction) = digits.split_at(digits.len() - fraction_digits);
    let sign = if number.is_negative() { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}
