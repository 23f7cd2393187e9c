//! An answer as CSV: OpenMeter's contract 4.6, quoted by RFC 4180. What events say is left as it is.

use std::borrow::Cow;
use std::fmt;

use crate::usage::UsageAnswer;

/// Decimals that a value shows at least.
const DECIMALS_MIN: usize = 6;

pub(super) fn csv(answer: &UsageAnswer, text: &mut impl fmt::Write) -> fmt::Result {
    text.write_str("window_start,window_end")?;
    if answer.by_subject {
        text.write_str(",subject")?;
    }
    for key in &answer.group_by {
        write!(text, ",{}", field(key))?;
    }
    text.write_str(",value\n")?;
    for row in &answer.rows {
        write!(text, "{},{}", answer.show(row.window_start_us), answer.show(row.window_end_us))?;
        for value in row.subject.iter().chain(&row.groups) {
            write!(text, ",{}", field(value))?;
        }
        text.write_str(",")?;
        push_value(text, &row.value)?;
        text.write_str("\n")?;
    }
    Ok(())
}

/// With at least six decimals, and never fewer than the value has.
fn push_value(text: &mut impl fmt::Write, value: &str) -> fmt::Result {
    let decimals = value.split_once('.').map(|(_, decimals)| decimals.len());
    let zeros = DECIMALS_MIN.saturating_sub(decimals.unwrap_or(0));
    let point = if decimals.is_none() { "." } else { "" };
    write!(text, "{value}{point}{}", "0".repeat(zeros))
}

fn field(value: &str) -> Cow<'_, str> {
    let plain = !value.contains(['"', ',', '\r', '\n']) && !value.starts_with(' ') && !value.ends_with(' ');
    if plain { Cow::Borrowed(value) } else { Cow::Owned(format!("\"{}\"", value.replace('"', "\"\""))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::{ReadCounts, UsageRow};
    use weir_proto::{Position, PositionKind};

    #[test]
    fn values_show_six_decimals_or_more() {
        for (value, shown) in
            [("5", "5.000000"), ("-1.5", "-1.500000"), ("0.1234567", "0.1234567"), ("0.123456", "0.123456")]
        {
            let mut text = String::new();
            push_value(&mut text, value).unwrap();
            assert_eq!(text, shown);
        }
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let row = UsageRow {
            value: "2".into(),
            window_start_us: 0,
            window_end_us: 60_000_000,
            subject: Some("a,\"b\"".into()),
            groups: vec!["line\nbreak".into(), "=1+1".into(), String::new()],
        };
        let position = Position {
            kind: PositionKind::Exactly,
            incarnation: 0,
            epoch: 0,
            offsets: Vec::new(),
            revision: 0,
        };
        let answer = UsageAnswer {
            position,
            floor_us: None,
            slug: String::new(),
            from_us: None,
            to_us: None,
            window_size: None,
            zone: None,
            by_subject: true,
            group_by: vec!["x".into(), "y".into(), "z".into()],
            rows: vec![row],
            read: ReadCounts::default(),
        };
        let mut text = String::new();
        csv(&answer, &mut text).unwrap();
        assert_eq!(
            text,
            "window_start,window_end,subject,x,y,z,value\n\
             1970-01-01T00:00:00Z,1970-01-01T00:01:00Z,\"a,\"\"b\"\"\",\"line\nbreak\",=1+1,,2.000000\n"
        );
    }
}
