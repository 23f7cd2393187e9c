//! The tables of the demo, from answers as a server writes them.

use super::*;

fn answer(rows: &[(&str, &str, &str, &str)]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|(carrier, start, end, value)| {
            format!(
                r#"{{"value":{value},"windowStart":"{start}","windowEnd":"{end}","subject":"{carrier}","groupBy":{{"origin":"{carrier}"}}}}"#
            )
        })
        .collect();
    format!(r#"{{"data":[{}]}}"#, rows.join(","))
}

const SATURDAY: (&str, &str) = ("2013-03-09T00:00:00-05:00", "2013-03-10T00:00:00-05:00");
const SUNDAY: (&str, &str) = ("2013-03-10T00:00:00-05:00", "2013-03-11T00:00:00-04:00");

#[test]
fn days_stand_across_and_the_short_one_is_named() {
    let text = answer(&[
        ("HA", SATURDAY.0, SATURDAY.1, "4983"),
        ("UA", SATURDAY.0, SATURDAY.1, "203468"),
        ("UA", SUNDAY.0, SUNDAY.1, "231659.5"),
    ]);
    let answer: Answer<'_> = serde_json::from_str(&text).unwrap();
    insta::assert_snapshot!(by_day(&answer, Style { colour: false, unicode: true }));
    insta::assert_snapshot!(by_day(&answer, Style::PLAIN));
}

#[test]
fn long_tables_and_long_fractions_are_cut_visibly() {
    let carriers: Vec<String> = (0..10).map(|index| format!("C{index}")).collect();
    let rows: Vec<_> = carriers
        .iter()
        .map(|carrier| (carrier.as_str(), SUNDAY.0, SUNDAY.1, "89.06322188449848024316109423"))
        .collect();
    let text = answer(&rows);
    let answer: Answer<'_> = serde_json::from_str(&text).unwrap();
    insta::assert_snapshot!(one_column(&answer, "subject", "minutes", Style::PLAIN));
}
