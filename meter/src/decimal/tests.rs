//! Decimals against exact rationals: the slow obvious reference never sees our parser's parts.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One as _, Signed as _, Zero as _};
use proptest::prelude::*;

use super::*;

fn ten_to(exponent: i64) -> BigRational {
    let power = BigInt::from(10).pow(u32::try_from(exponent.unsigned_abs()).unwrap());
    if exponent >= 0 { BigRational::from(power) } else { BigRational::new(BigInt::one(), power) }
}

/// The value of a number's text, by schoolbook arithmetic.
fn rational(text: &str) -> BigRational {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().unwrap()),
        None => (text, 0),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: BigInt = format!("{integer}{fraction}").parse().unwrap();
    BigRational::from(digits) * ten_to(exponent - i64::try_from(fraction.len()).unwrap())
}

fn round_half_even(number: &BigRational) -> BigInt {
    let floor = number.floor().to_integer();
    let rest = number - BigRational::from(floor.clone());
    let half = BigRational::new(BigInt::one(), BigInt::from(2));
    let odd = &floor % BigInt::from(2) != BigInt::zero();
    if rest > half || (rest == half && odd) { floor + 1 } else { floor }
}

fn big(decimal: Decimal) -> BigInt {
    BigInt::from_signed_bytes_le(&decimal.unscaled().to_le_bytes())
}

fn decimal_from_big(number: &BigInt) -> Decimal {
    let mut bytes = [if number.is_negative() { 0xff } else { 0 }; 32];
    let digits = number.to_signed_bytes_le();
    bytes[..digits.len()].copy_from_slice(&digits);
    Decimal::from_unscaled(i256::from_le_bytes(bytes))
}

fn expected(text: &str) -> Parsed {
    let exact = rational(text);
    let scaled = &exact * ten_to(30);
    let rounded = round_half_even(&scaled);
    if rounded.abs() >= BigInt::from(10).pow(63) || exact.abs() >= ten_to(33) {
        return Parsed::OutOfRange;
    }
    let decimal = decimal_from_big(&rounded);
    if scaled.is_integer() { Parsed::Exact(decimal) } else { Parsed::Rounded(decimal) }
}

fn exact(text: &str) -> Decimal {
    match Decimal::parse_json_number(text) {
        Parsed::Exact(decimal) => decimal,
        other => panic!("{text}: {other:?}"),
    }
}

const JSON_NUMBER: &str = r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,45})?([eE][+-]?[0-9]{1,2})?";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn parses_like_rationals(text in JSON_NUMBER) {
        prop_assert_eq!(Decimal::parse_json_number(&text), expected(&text));
        prop_assert_eq!(Decimal::parse_numeric_string(&text), expected(&text));
    }

    /// Ties and near ties at the thirtieth digit, which random texts never hit.
    #[test]
    fn rounds_ties_like_rationals(
        head in "[0-9]{29}", last in 0_u8..10, cut in prop::sample::select(vec!["5", "50", "4999", "5001", "500001", "0", "00"]),
        shift in -3_i64..4, negative: bool,
    ) {
        let sign = if negative { "-" } else { "" };
        let text = format!("{sign}1.{head}{last}{cut}e{shift}");
        prop_assert_eq!(Decimal::parse_json_number(&text), expected(&text));
    }

    #[test]
    fn shows_what_it_parses(text in r"-?(0|[1-9][0-9]{0,32})(\.[0-9]{1,30})?") {
        let decimal = exact(&text);
        let shown = decimal.to_string();
        prop_assert_eq!(rational(&shown), rational(&text));
        prop_assert_eq!(exact(&shown), decimal);
        prop_assert!(!shown.contains('.') || !shown.ends_with('0'));
        prop_assert!(shown != "-0" && !shown.ends_with('.'));
        prop_assert_eq!(normalise_number_text(&text), shown);
    }

    #[test]
    fn adds_within_76_digits(a in "-?[1-9][0-9]{70,75}", b in "-?[1-9][0-9]{70,75}") {
        let (a, b): (BigInt, BigInt) = (a.parse().unwrap(), b.parse().unwrap());
        let sum = decimal_from_big(&a).checked_add(decimal_from_big(&b));
        let fits = (&a + &b).abs() < BigInt::from(10).pow(76);
        prop_assert_eq!(sum.map(big), fits.then(|| a + b));
    }

    #[test]
    fn normalises_without_losing_a_digit(text in r"-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,130})?([eE][+-]?[0-9]{1,3})?") {
        let shown = normalise_number_text(&text).into_owned();
        prop_assert_eq!(rational(&shown), rational(&text));
        prop_assert!(shown.len() <= text.len().max(100) + 5);
        prop_assert_eq!(normalise_number_text(&shown), shown.as_str());
    }

    /// Moving the point and the exponent against each other changes nothing.
    #[test]
    fn spellings_of_one_number_are_one_text(digits in "[1-9][0-9]{0,8}", exponent in -130_i64..130, split in 1_usize..9) {
        let split = split.min(digits.len());
        let (integer, fraction) = digits.split_at(split);
        let moved = exponent + i64::try_from(fraction.len()).unwrap();
        let other = format!("{integer}.{fraction}0E{moved}");
        let padded = format!("{digits}00e{}", exponent - 2);
        let shown = normalise_number_text(&format!("{digits}e{exponent}")).into_owned();
        prop_assert_eq!(normalise_number_text(&other), shown.as_str());
        prop_assert_eq!(normalise_number_text(&padded), shown.as_str());
    }

    #[test]
    fn averages_like_rationals(unscaled in "-?[0-9]{1,76}", count in 1_u64.., small in 1_u64..20, use_small: bool) {
        let count = if use_small { small } else { count };
        let sum: BigInt = unscaled.parse().unwrap();
        let shown = average(decimal_from_big(&sum), count);
        let quotient = BigRational::new(sum, BigInt::from(10).pow(30)) / BigRational::from(BigInt::from(count));
        if quotient.is_zero() {
            prop_assert_eq!(shown, "0");
            return Ok(());
        }
        // The power of ten that scales the quotient to 28 digits before the point.
        let mut places = 0;
        while (&quotient * ten_to(places)).abs() < ten_to(27) { places += 1; }
        while (&quotient * ten_to(places)).abs() >= ten_to(28) { places -= 1; }
        let rounded = round_half_even(&(&quotient * ten_to(places)).abs());
        let value = BigRational::from(rounded) * ten_to(-places) * BigRational::from(quotient.signum().to_integer());
        prop_assert_eq!(rational(&shown), value, "{}", shown);
        prop_assert!(!shown.contains('e') && (!shown.contains('.') || !shown.ends_with('0')));
    }
}

#[test]
fn bounds_of_a_value() {
    let largest = format!("{}.{}", "9".repeat(33), "9".repeat(30));
    assert_eq!(exact(&largest).to_string(), largest);
    assert_eq!(exact(&format!("-{largest}")).to_string(), format!("-{largest}"));
    for text in ["1e33", "-1e33", "1000000000000000000000000000000000", "10e32", "0.1e34"] {
        assert_eq!(Decimal::parse_json_number(text), Parsed::OutOfRange, "{text}");
    }
    // Rounding would carry it to 10^33, which is no value.
    assert_eq!(Decimal::parse_json_number(&format!("{largest}9")), Parsed::OutOfRange);
    assert_eq!(exact("1e-30").to_string(), format!("0.{}1", "0".repeat(29)));
    assert_eq!(Decimal::parse_json_number("5e-31"), Parsed::Rounded(Decimal::default()));
    assert_eq!(Decimal::parse_json_number("5.1e-31"), Parsed::Rounded(exact("1e-30")));
    assert_eq!(Decimal::parse_json_number("15e-31"), Parsed::Rounded(exact("2e-30")));
    assert_eq!(Decimal::parse_json_number("9e-32"), Parsed::Rounded(Decimal::default()));
}

#[test]
fn exponents_of_any_size() {
    let zero = Parsed::Exact(Decimal::default());
    for text in ["0e999999999", "-0", "0.000e-99999999999999999999999999", "0e999999999999999999999999"] {
        assert_eq!(Decimal::parse_json_number(text), zero, "{text}");
    }
    for text in ["1e999999999999999999", "1e9223372036854775808", "-1e99999999999999999999999999999999999"] {
        assert_eq!(Decimal::parse_json_number(text), Parsed::OutOfRange, "{text}");
    }
    for text in ["1e-999999999", "1e-9223372036854775809", "1e-99999999999999999999999999999999999"] {
        assert_eq!(Decimal::parse_json_number(text), Parsed::Rounded(Decimal::default()), "{text}");
    }
    assert_eq!(exact("1e0000000000000000000000000000000002").to_string(), "100");
    // The exponent takes back what the digits add.
    let long = format!("1{}e-200000", "0".repeat(200_000));
    assert_eq!(exact(&long).to_string(), "1");
    let long = format!("0.{}1e200001", "0".repeat(200_000));
    assert_eq!(exact(&long).to_string(), "1");
}

#[test]
fn a_million_digits_take_one_pass() {
    let digits = "7".repeat(1_000_000);
    assert_eq!(Decimal::parse_json_number(&digits), Parsed::OutOfRange);
    assert!(normalise_number_text(&digits) == digits);
    let fraction = format!("0.{digits}");
    assert!(matches!(Decimal::parse_json_number(&fraction), Parsed::Rounded(_)));
    assert!(normalise_number_text(&fraction) == fraction);
    let exponent = format!("1e{digits}");
    assert!(normalise_number_text(&exponent) == exponent);
}

#[test]
fn json_numbers_keep_to_the_grammar() {
    for text in [
        "", "-", "+1", ".5", "5.", "01", "1e", "1e+", "0x10", "1_000", " 5", "5 ", "NaN", "Infinity", "1.e3",
        "--1", "٣",
    ] {
        assert_eq!(Decimal::parse_json_number(text), Parsed::NotANumber, "{text:?}");
    }
}

#[test]
fn numeric_strings_follow_the_contract() {
    for (text, shown) in [
        ("2.5", "2.5"),
        ("1e3", "1000"),
        ("+4", "4"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-.5", "-0.5"),
        ("+.5E+1", "5"),
        ("5.e1", "50"),
        ("007", "7"),
        ("-0", "0"),
        ("00", "0"),
    ] {
        let Parsed::Exact(decimal) = Decimal::parse_numeric_string(text) else { panic!("{text}") };
        assert_eq!(decimal.to_string(), shown, "{text}");
    }
    for text in [
        "", ".", "+", "-", "+-4", "++4", "e5", ".e5", "1e", "abc", "null", "NaN", "Inf", "-inf", "infinity",
        " 5", "5 ", "5\n", "0x10", "1_000", "1,5", "0x1p4", "1e5.0", "5..", "1.2.3", "\u{665}", "1f", "−5",
    ] {
        assert_eq!(Decimal::parse_numeric_string(text), Parsed::NotANumber, "{text:?}");
    }
}

#[test]
fn normalises_the_contracts_examples() {
    for (text, shown) in [
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("-0", "0"),
        ("-0.0e7", "0"),
        ("1E+2", "100"),
        ("10", "10"),
        ("0.10", "0.1"),
        ("1.0", "1"),
        ("12e-1", "1.2"),
        ("1e-3", "0.001"),
        ("-1e-3", "-0.001"),
        ("18446744073709551616", "18446744073709551616"),
        ("1e400", "1e400"),
        ("10e399", "1e400"),
        ("-1.50e-300", "-1.5e-300"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ("10e99999999999999999999", "1e100000000000000000000"),
        ("0.01e100000000000000000000", "1e99999999999999999998"),
        ("0.1e1000000000000000000", "1e999999999999999999"),
        ("1e999999999999999999", "1e999999999999999999"),
        ("0.1e-99999999999999999999", "1e-100000000000000000000"),
        ("100e-100000000000000000000", "1e-99999999999999999998"),
        ("0e99999999999999999999", "0"),
    ] {
        assert_eq!(normalise_number_text(text), shown, "{text}");
    }
    assert_eq!(normalise_number_text("1e99"), format!("1{}", "0".repeat(99)));
    assert_eq!(normalise_number_text("1e100"), "1e100");
    assert_eq!(normalise_number_text(&format!("1{}", "0".repeat(100))), "1e100");
    assert_eq!(normalise_number_text("no number"), "no number");
}

#[test]
fn averages_have_28_digits() {
    assert_eq!(average(exact("10"), 4), "2.5");
    assert_eq!(average(exact("10"), 3), "3.333333333333333333333333333");
    assert_eq!(average(exact("-2"), 3), "-0.6666666666666666666666666667");
    assert_eq!(average(exact("1e-30"), 3), format!("0.{}3333333333333333333333333333", "0".repeat(30)));
    assert_eq!(average(exact("0"), 7), "0");
    assert_eq!(average(exact("5"), 0), "0");
    // Ties: 28 digits and a half, once below an even digit and once below an odd one.
    assert_eq!(average(exact("2000000000000000000000000001"), 2), "1000000000000000000000000000");
    assert_eq!(average(exact("2000000000000000000000000003"), 2), "1000000000000000000000000002");
    assert_eq!(average(exact("99999999999999999999999999999"), 1), "100000000000000000000000000000");
}

#[test]
fn every_256_bit_integer_can_be_shown() {
    for unscaled in
        [i256::MIN, i256::MAX, i256::ZERO, i256::ONE, i256::from_i128(-1), i256::from_parts(0, -1)]
    {
        let shown = Decimal::from_unscaled(unscaled).to_string();
        assert_eq!(rational(&shown) * ten_to(30), BigRational::from(big(Decimal::from_unscaled(unscaled))));
    }
}

#[test]
fn a_sum_has_at_most_76_digits() {
    let largest = Decimal::from_unscaled(i256::from_string(&"9".repeat(76)).unwrap());
    let smallest = Decimal::from_unscaled(largest.unscaled().wrapping_neg());
    let step = Decimal::from_unscaled(i256::ONE);
    let back = Decimal::from_unscaled(i256::MINUS_ONE);
    assert_eq!(largest.checked_add(Decimal::default()), Some(largest));
    assert_eq!(smallest.checked_add(Decimal::default()), Some(smallest));
    assert_eq!((largest.checked_add(step), smallest.checked_add(back)), (None, None));
    assert_eq!((largest.checked_add(largest), smallest.checked_add(smallest)), (None, None));
    assert_eq!(largest.checked_add(smallest), Some(Decimal::default()));
}
