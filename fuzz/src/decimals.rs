//! Texts of numbers against exact arithmetic on big integers: the value, whether it was rounded, whether it
//! is out of range, the text that comes back, sums and averages. The input is one text, or two with a
//! comma between them; 64 bytes at its end are two scaled integers besides.

use arrow_buffer::i256;
use num_bigint::{BigInt, Sign};
use num_integer::Integer as _;
use num_traits::{Signed as _, Zero as _};
use weir_meter::Decimal;
use weir_meter::decimal::{Parsed, average, normalise_number_text};

/// Beyond this the exponent decides alone: no text here has as many digits.
const EXPONENT_MAX: i64 = 3_000;

pub(crate) fn target(data: &[u8]) {
    if let Some((left, right)) = data.last_chunk::<64>().map(|chunk| chunk.split_at(32)) {
        scaled_integers(left, right);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once(',').unwrap_or((text, "1"));
    let (a, b) = (one(first), one(second));
    // Two spellings have one normal text exactly if they are one number.
    if let (Some(a), Some(b)) = (a.filter(|_| is_json_number(first)), b.filter(|_| is_json_number(second))) {
        assert_eq!(a.is_the_same_as(&b), normalise_number_text(first) == normalise_number_text(second));
    }
}

/// A number as digits times a power of ten, neither of them bounded.
#[derive(Clone, Debug)]
struct Number {
    digits: BigInt,
    exponent: BigInt,
}

impl Number {
    fn is_the_same_as(&self, other: &Self) -> bool {
        self.normal() == other.normal()
    }

    /// Without zeros at the end.
    fn normal(&self) -> (BigInt, BigInt) {
        if self.digits.is_zero() {
            return (BigInt::ZERO, BigInt::ZERO);
        }
        let text = self.digits.to_string();
        let zeros = text.len() - text.trim_end_matches('0').len();
        (&self.digits / power(zeros as u32), &self.exponent + zeros)
    }

    /// Times 10^30, rounded half to even once, and whether that changed it; None if out of range.
    fn scaled(&self) -> Option<(BigInt, bool)> {
        if self.digits.is_zero() {
            return Some((BigInt::ZERO, false));
        }
        let exponent = &self.exponent + 30;
        if exponent > BigInt::from(EXPONENT_MAX) {
            return None;
        }
        if exponent < BigInt::from(-EXPONENT_MAX) {
            return Some((BigInt::ZERO, true));
        }
        let exponent = i64::try_from(exponent).unwrap();
        let (scaled, rounded) = match u32::try_from(exponent) {
            Ok(exponent) => (&self.digits * power(exponent), false),
            Err(_) => {
                let divisor = power(exponent.unsigned_abs() as u32);
                let quotient = half_even(&self.digits, &divisor);
                let rounded = &quotient * &divisor != self.digits;
                (quotient, rounded)
            }
        };
        (scaled.abs() < power(63)).then_some((scaled, rounded))
    }
}

fn power(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

fn half_even(number: &BigInt, divisor: &BigInt) -> BigInt {
    let (quotient, rest) = number.abs().div_rem(divisor);
    let twice = rest * 2;
    let up = twice > *divisor || (twice == *divisor && quotient.is_odd());
    let rounded = if up { quotient + 1 } else { quotient };
    if number.is_negative() { -rounded } else { rounded }
}

/// Checks one text; what it says, if it is a number at all.
fn one(text: &str) -> Option<Number> {
    let number = number(text);
    let strict = number.clone().filter(|_| is_json_number(text));
    agrees(Decimal::parse_numeric_string(text), number.as_ref(), text);
    agrees(Decimal::parse_json_number(text), strict.as_ref(), text);
    assert_eq!(strict.is_some(), is_json_number(text), "{text:?}");

    let normal = normalise_number_text(text);
    match &strict {
        None => assert_eq!(normal, text),
        Some(value) => {
            assert!(is_json_number(&normal), "{text:?} {normal:?}");
            assert!(normal.len() <= text.len().max(100) + 24, "{text:?} {normal:?}");
            assert_eq!(normalise_number_text(&normal), normal, "{text:?}");
            assert!(self::number(&normal).unwrap().is_the_same_as(value), "{text:?} {normal:?}");
        }
    }
    number
}

/// The lenient grammar: a sign, digits with at most one point among them, an exponent.
fn number(text: &str) -> Option<Number> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, signed(exponent)?),
        None => (text, BigInt::ZERO),
    };
    let (negative, unsigned) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (integer, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{integer}{fraction}");
    let digits = unsigned_digits(&digits)?;
    let digits = if negative { -digits } else { digits };
    Some(Number { digits, exponent: exponent - fraction.len() })
}

fn signed(text: &str) -> Option<BigInt> {
    let magnitude = unsigned_digits(text.strip_prefix(['+', '-']).unwrap_or(text))?;
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

fn unsigned_digits(text: &str) -> Option<BigInt> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| BigInt::parse_bytes(text.as_bytes(), 10)).flatten()
}

/// As serde_json has it.
fn is_json_number(text: &str) -> bool {
    may_be_json(text) && crate::json::raw(text).is_some()
}

/// Neither another value nor a number with space around it.
fn may_be_json(text: &str) -> bool {
    let inside = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    text.as_bytes().first().is_some_and(|byte| *byte == b'-' || byte.is_ascii_digit())
        && text.as_bytes().iter().all(inside)
}

fn agrees(parsed: Parsed, number: Option<&Number>, text: &str) {
    let (decimal, rounded) = match parsed {
        Parsed::NotANumber => return assert!(number.is_none(), "{text:?} is a number"),
        Parsed::OutOfRange => {
            let number = number.expect("what is out of range is a number");
            return assert_eq!(number.scaled(), None, "{text:?}");
        }
        Parsed::Exact(decimal) => (decimal, false),
        Parsed::Rounded(decimal) => (decimal, true),
    };
    let number = number.unwrap_or_else(|| panic!("{text:?} is no number"));
    assert_eq!(Some((big(decimal), rounded)), number.scaled(), "{text:?}");
    shown(decimal);
}

fn big(decimal: Decimal) -> BigInt {
    BigInt::from_signed_bytes_le(&decimal.unscaled().to_le_bytes())
}

/// The text of any decimal, and the text read again.
fn shown(decimal: Decimal) {
    let text = decimal.to_string();
    assert_eq!(text, plain(&big(decimal), 30));
    if big(decimal).abs() < power(63) {
        assert_eq!(Decimal::parse_json_number(&text), Parsed::Exact(decimal), "{text}");
        assert_eq!(normalise_number_text(&text), text);
    }
}

/// `number` times 10^-`places`, without zeros at the end of the fraction.
fn plain(number: &BigInt, places: usize) -> String {
    let digits = format!("{:0>width$}", number.magnitude().to_string(), width = places + 1);
    let (integer, fraction) = digits.split_at(digits.len() - places);
    let fraction = fraction.trim_end_matches('0');
    let sign = if number.sign() == Sign::Minus { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{integer}") } else { format!("{sign}{integer}.{fraction}") }
}

fn scaled_integers(left: &[u8], right: &[u8]) {
    let decimal = |bytes: &[u8]| Decimal::from_unscaled(i256::from_le_bytes(bytes.try_into().unwrap()));
    let (a, b) = (decimal(left), decimal(right));
    shown(a);
    shown(b);
    let bound = power(76);
    if big(a).abs() < bound && big(b).abs() < bound {
        let sum = big(a) + big(b);
        let expected = Some(sum).filter(|sum| sum.abs() < bound);
        assert_eq!(a.checked_add(b).map(big), expected);
        let count = u64::from_le_bytes(*right.first_chunk().unwrap());
        averages(a, count);
        averages(a, count % 1_000);
    }
}

/// 28 significant digits, rounded once: no other number of as many digits is nearer, and of two that are as
/// near the even one is taken.
fn averages(sum: Decimal, count: u64) {
    let text = average(sum, count);
    if count == 0 || big(sum).is_zero() {
        return assert_eq!(text, "0");
    }
    let (numerator, denominator) = (big(sum), BigInt::from(count) * power(30));
    // The first place at which 28 digits remain, found by trying.
    let places = (-60_i64..=120)
        .rev()
        .find(|places| {
            let rounded = times_power(&numerator, &denominator, *places);
            rounded.magnitude().to_string().len() <= 28
        })
        .unwrap();
    let rounded = times_power(&numerator, &denominator, places);
    let expected = match usize::try_from(places) {
        Ok(places) => plain(&rounded, places),
        Err(_) => plain(&(rounded * power(places.unsigned_abs() as u32)), 0),
    };
    assert_eq!(text, expected, "{numerator} / {denominator}");
}

fn times_power(numerator: &BigInt, denominator: &BigInt, places: i64) -> BigInt {
    let power = power(places.unsigned_abs() as u32);
    if places >= 0 {
        half_even(&(numerator * power), denominator)
    } else {
        half_even(numerator, &(denominator * power))
    }
}
