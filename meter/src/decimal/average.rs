//! The one AVG: every door divides with this function, so that no two answers differ in a digit.

use std::cmp::Ordering;

use num_bigint::{BigInt, BigUint};
use num_integer::Integer as _;
use num_traits::Zero as _;

use super::{Decimal, SCALE};

/// Significant digits of an average.
const SIGNIFICANT_DIGITS: i64 = 28;

/// `sum / count` in plain notation with 28 significant digits, rounded half to even. The one AVG.
/// `0` if nothing was counted.
pub fn average(sum: Decimal, count: u64) -> String {
    let unscaled = BigInt::from_signed_bytes_le(&sum.unscaled().to_le_bytes());
    if unscaled.is_zero() || count == 0 {
        return "0".to_owned();
    }
    let negative = unscaled.sign() == num_bigint::Sign::Minus;
    let numerator = unscaled.magnitude();
    let denominator = BigUint::from(count) * BigUint::from(10_u8).pow(u32::from(SCALE.unsigned_abs()));
    // The quotient has one more digit before the point than this, or exactly this many.
    let estimate = digit_count(numerator) - digit_count(&denominator);
    let mut places = SIGNIFICANT_DIGITS - estimate;
    let mut quotient = divide_half_even(numerator, &denominator, places);
    if digit_count(&quotient) > SIGNIFICANT_DIGITS {
        places -= 1;
        quotient = divide_half_even(numerator, &denominator, places);
    }
    plain(&quotient.to_string(), places, negative)
}

fn digit_count(number: &BigUint) -> i64 {
    i64::try_from(number.to_string().len()).unwrap_or(i64::MAX)
}

/// The quotient times 10^`places`, rounded once.
fn divide_half_even(numerator: &BigUint, denominator: &BigUint, places: i64) -> BigUint {
    let power = BigUint::from(10_u8).pow(u32::try_from(places.unsigned_abs()).unwrap_or(0));
    let (numerator, denominator) = if places >= 0 {
        (numerator * power, denominator.clone())
    } else {
        (numerator.clone(), denominator * power)
    };
    let (quotient, remainder) = numerator.div_rem(&denominator);
    let up = match (remainder * 2_u8).cmp(&denominator) {
        Ordering::Less => false,
        Ordering::Equal => quotient.is_odd(),
        Ordering::Greater => true,
    };
    if up { quotient + 1_u8 } else { quotient }
}

/// `digits` times 10^-`places`, without an exponent and without trailing zeros after the point.
fn plain(digits: &str, places: i64, negative: bool) -> String {
    let sign = if negative { "-" } else { "" };
    let count = usize::try_from(places.unsigned_abs()).unwrap_or(0);
    if places <= 0 {
        return format!("{sign}{digits}{}", "0".repeat(count));
    }
    let padded = format!("{digits:0>width$}", width = count + 1);
    let (integer, fraction) = padded.split_at_checked(padded.len() - count).unwrap_or((&padded, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{integer}") } else { format!("{sign}{integer}.{fraction}") }
}
