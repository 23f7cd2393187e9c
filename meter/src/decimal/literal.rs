//! The text of a number taken apart: sign, digits, exponent. Nothing is converted here, so a number of
//! a million digits costs one pass over them and an exponent may be of any size.

use std::borrow::Cow;

/// Plain notation is used up to this many characters, unless every one of them is a digit that was sent.
const PLAIN_LENGTH_MAX: usize = 100;

/// Which texts are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// RFC 8259.
    Json,
    /// What a JSON string may hold: also a plus sign, `.5`, `5.` and leading zeros.
    Lenient,
}

/// A number's text in parts. It has at least one digit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Literal<'a> {
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent_negative: bool,
    /// Without leading zeros; empty for 0.
    exponent: &'a [u8],
}

impl<'a> Literal<'a> {
    /// None if the text is not a number of this syntax, from its first to its last byte.
    pub(super) fn scan(text: &'a str, syntax: Syntax) -> Option<Self> {
        let json = syntax == Syntax::Json;
        let rest = text.as_bytes();
        let (negative, rest) = match rest {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] if !json => (false, rest),
            rest => (false, rest),
        };
        let (integer, rest) = take_digits(rest);
        if json && (integer.is_empty() || (integer.len() > 1 && integer.starts_with(b"0"))) {
            return None;
        }
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => {
                let (fraction, rest) = take_digits(rest);
                if fraction.is_empty() && (json || integer.is_empty()) {
                    return None;
                }
                (fraction, rest)
            }
            rest => (rest.get(..0)?, rest),
        };
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        let (exponent_negative, exponent) = match rest {
            [] => (false, rest),
            [b'e' | b'E', rest @ ..] => {
                let (negative, rest) = match rest {
                    [b'-', rest @ ..] => (true, rest),
                    [b'+', rest @ ..] => (false, rest),
                    rest => (false, rest),
                };
                let (digits, rest) = take_digits(rest);
                if digits.is_empty() || !rest.is_empty() {
                    return None;
                }
                (negative, trim_zeros_start(digits))
            }
            _ => return None,
        };
        Some(Self { negative, integer, fraction, exponent_negative, exponent })
    }

    pub(super) fn negative(&self) -> bool {
        self.negative
    }

    /// Digits from the first that is not 0 to the last of the text, as numbers from 0 to 9.
    pub(super) fn significant_digits(&self) -> impl Iterator<Item = u8> {
        let integer = trim_zeros_start(self.integer);
        let fraction = if integer.is_empty() { trim_zeros_start(self.fraction) } else { self.fraction };
        integer.iter().chain(fraction).map(|digit| digit & 0x0f)
    }

    /// The power of ten of the first digit that is not 0, were there no exponent; None for zero.
    fn leading_place(&self) -> Option<i64> {
        let place = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        let integer = trim_zeros_start(self.integer);
        if !integer.is_empty() {
            return Some(place(integer.len()) - 1);
        }
        let zeros = self.fraction.iter().take_while(|digit| **digit == b'0').count();
        (zeros < self.fraction.len()).then(|| -1 - place(zeros))
    }

    /// The power of ten of the first digit that is not 0; None for zero. An exponent of more than 18
    /// digits is far outside every range and is cut to 10^18.
    pub(super) fn leading_power(&self) -> Option<i64> {
        Some(self.leading_place()?.saturating_add(self.short_exponent().unwrap_or_else(|| {
            let far = 1_000_000_000_000_000_000;
            if self.exponent_negative { -far } else { far }
        })))
    }

    /// The exponent, if it has at most 18 digits.
    fn short_exponent(&self) -> Option<i64> {
        if self.exponent.len() > 18 {
            return None;
        }
        let magnitude = self.exponent.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit & 0x0f));
        Some(if self.exponent_negative { -magnitude } else { magnitude })
    }
}

/// A JSON number's text as group values and members show it: `1.50` is `1.5`, `1e3` is `1000`.
///
/// Every spelling of one number gives the same text, and no digit is lost. Where an exponent would
/// blow plain notation up past 100 characters the text is scientific, such as `1.5e300`, so that
/// it is never much longer than what was sent. Text that is not a JSON number comes back unchanged.
pub fn normalise_number_text(text: &str) -> Cow<'_, str> {
    let Some(literal) = Literal::scan(text, Syntax::Json) else {
        return Cow::Borrowed(text);
    };
    let plain = !text.bytes().any(|byte| matches!(byte, b'e' | b'E'));
    let trailing_zero = !literal.fraction.is_empty() && text.ends_with('0');
    if plain && !trailing_zero && text != "-0" && text.len() <= PLAIN_LENGTH_MAX {
        return Cow::Borrowed(text);
    }
    let Some(place) = literal.leading_place() else {
        return Cow::Borrowed("0");
    };
    let mut digits: Vec<u8> = literal.significant_digits().map(|digit| digit + b'0').collect();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    let mut out = String::with_capacity(digits.len() + 8);
    if literal.negative {
        out.push('-');
    }
    match literal.short_exponent().and_then(|exponent| plain_shape(digits.len(), place + exponent)) {
        Some(shape) => write_plain(&mut out, &digits, shape),
        None => write_scientific(&mut out, &digits, &literal, place),
    }
    Cow::Owned(out)
}

/// Where the point goes in plain notation.
#[derive(Clone, Copy, Debug)]
enum PlainShape {
    /// `0.` and this many zeros come first.
    ZerosBefore(usize),
    /// The point stands after this many digits.
    PointAfter(usize),
    /// This many zeros come last.
    ZerosAfter(usize),
}

/// None if plain notation would be too long because of zeros that only the exponent asks for.
fn plain_shape(digits: usize, leading_power: i64) -> Option<PlainShape> {
    if leading_power < 0 {
        let zeros = usize::try_from(-1 - leading_power).ok()?;
        let length = digits.checked_add(zeros)?.checked_add(2)?;
        return (zeros == 0 || length <= PLAIN_LENGTH_MAX).then_some(PlainShape::ZerosBefore(zeros));
    }
    let integer_digits = usize::try_from(leading_power).ok()?.checked_add(1)?;
    if integer_digits < digits {
        return Some(PlainShape::PointAfter(integer_digits));
    }
    let zeros = integer_digits - digits;
    (zeros == 0 || integer_digits <= PLAIN_LENGTH_MAX).then_some(PlainShape::ZerosAfter(zeros))
}

fn write_plain(out: &mut String, digits: &[u8], shape: PlainShape) {
    match shape {
        PlainShape::ZerosBefore(zeros) => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', zeros));
            push_digits(out, digits);
        }
        PlainShape::PointAfter(count) => {
            let (integer, fraction) = digits.split_at_checked(count).unwrap_or((digits, &[]));
            push_digits(out, integer);
            out.push('.');
            push_digits(out, fraction);
        }
        PlainShape::ZerosAfter(zeros) => {
            push_digits(out, digits);
            out.extend(std::iter::repeat_n('0', zeros));
        }
    }
}

/// One digit, the point and the others if there are others, `e`, the power of ten of the first.
fn write_scientific(out: &mut String, digits: &[u8], literal: &Literal<'_>, place: i64) {
    let (first, others) = digits.split_at_checked(1).unwrap_or((digits, &[]));
    push_digits(out, first);
    if !others.is_empty() {
        out.push('.');
        push_digits(out, others);
    }
    out.push('e');
    match literal.short_exponent() {
        Some(exponent) => out.push_str(&(exponent + place).to_string()),
        None => {
            // The place is bounded by the length of the text, so the exponent keeps its sign.
            let sum = if literal.exponent_negative { -place } else { place };
            if literal.exponent_negative {
                out.push('-');
            }
            push_digits(out, &add_to_digits(literal.exponent, sum));
        }
    }
}

/// `digits` (more than 18 of them) plus `number` (less than that in magnitude), as digits.
fn add_to_digits(digits: &[u8], number: i64) -> Vec<u8> {
    let mut sum = digits.to_vec();
    let mut carry = i128::from(number);
    for digit in sum.iter_mut().rev() {
        if carry == 0 {
            break;
        }
        let value = i128::from(*digit & 0x0f) + carry;
        *digit = b'0' + u8::try_from(value.rem_euclid(10)).unwrap_or(0);
        carry = value.div_euclid(10);
    }
    let mut all = if carry > 0 { carry.to_string().into_bytes() } else { Vec::new() };
    all.extend_from_slice(&sum);
    trim_zeros_start(&all).to_vec()
}

fn push_digits(out: &mut String, digits: &[u8]) {
    out.extend(digits.iter().map(|digit| char::from(*digit)));
}

fn take_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at_checked(count).unwrap_or((text, &[]))
}

fn trim_zeros_start(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or(&[])
}
