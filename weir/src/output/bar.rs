//! Small bar charts and digits in groups of three, for tables that people read.

use super::Style;

/// Eighths of a block, so that short bars still differ.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// A bar of at most `width_max` characters for `value`, where `max` fills it. Only a picture: the
/// exact number stands beside it, so a binary float is good enough here and nowhere else.
pub fn bar(value: f64, max: f64, width_max: usize, style: Style) -> String {
    let share = if max > 0.0 && value.is_finite() { (value / max).clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (share * width_max as f64 * 8.0).round() as usize;
    if !style.unicode {
        return "#".repeat((eighths + 4) / 8);
    }
    let mut bar = "█".repeat(eighths / 8);
    match EIGHTHS.get(eighths % 8) {
        Some(' ') | None => {}
        Some(part) => bar.push(*part),
    }
    bar
}

/// `1234567.25` as `1,234,567.25`; a text that is not a plain decimal number comes back as it is.
pub fn grouped_digits(number: &str) -> String {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = rest.find('.').map_or((rest, ""), |point| rest.split_at(point));
    if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut grouped = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_and_never_changed() {
        for (text, grouped) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.25", "-1,234,567.25"),
            (
                "123456789012345678901234567890.0000000001",
                "123,456,789,012,345,678,901,234,567,890.0000000001",
            ),
            ("1e9", "1e9"),
            ("n/a", "n/a"),
            ("", ""),
        ] {
            assert_eq!(grouped_digits(text), grouped);
        }
    }

    #[test]
    fn bars_fill_their_width_and_nothing_more() {
        let unicode = Style { colour: false, unicode: true };
        assert_eq!(bar(10.0, 10.0, 4, unicode), "████");
        assert_eq!(bar(5.0, 10.0, 4, unicode), "██");
        assert_eq!(bar(1.0, 32.0, 4, unicode), "▏");
        assert_eq!(bar(5.0, 10.0, 4, Style::PLAIN), "##");
        for (value, max) in [(0.0, 10.0), (-1.0, 10.0), (1.0, 0.0), (f64::NAN, 1.0)] {
            assert_eq!(bar(value, max, 4, unicode), "");
        }
        assert_eq!(bar(99.0, 10.0, 4, Style::PLAIN), "####");
    }
}
