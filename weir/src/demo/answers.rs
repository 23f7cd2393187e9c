//! The demo's questions, and their answers as small tables. Every question carries the position that
//! ingest returned, so that no answer can miss an event that was just sent.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::milliseconds;
use crate::client::Client;
use crate::output::{Column, Failure, Grid, Style, bar, grouped_digits};
use crate::query::Question;
use crate::query::answer::{Answer, Row};

const ZONE: &str = "America/New_York";
/// Rows of a table that would be longer.
const ROWS_SHOWN: usize = 8;
const BAR_CHARS: usize = 20;
/// What the time of the first answer includes.
const FIRST: &str = ", with the wait until every flight was counted";
const FULL_DAY: SignedDuration = SignedDuration::from_hours(24);

/// Asks everything and prints the answers.
pub(super) async fn show(
    client: &Client,
    position: Option<&str>,
    style: Style,
    say: &(dyn Fn(&str) -> Result<(), Failure> + Sync),
) -> Result<(), Failure> {
    let asking = Asking { client, position, style, say };
    asking.distance_by_day().await?;
    asking.tails_by_origin().await?;
    asking.air_time_by_carrier().await?;
    asking.flights().await
}

struct Asking<'a> {
    client: &'a Client,
    position: Option<&'a str>,
    style: Style,
    say: &'a (dyn Fn(&str) -> Result<(), Failure> + Sync),
}

impl Asking<'_> {
    /// Carriers down, days across, over the night in which clocks went forward.
    async fn distance_by_day(&self) -> Result<(), Failure> {
        // The midnights of New York: five hours behind UTC before the change, four after it.
        let question = Question {
            from: Some("2013-03-08T05:00:00Z".to_owned()),
            to: Some("2013-03-13T04:00:00Z".to_owned()),
            window: Some("DAY"),
            zone: Some(ZONE.to_owned()),
            group_by: vec!["subject".to_owned()],
            ..Question::default()
        };
        self.ask("distance", &question, "Miles flown by carrier and day, in New York's time", FIRST, by_day)
            .await
    }

    async fn tails_by_origin(&self) -> Result<(), Failure> {
        let question = Question { group_by: vec!["origin".to_owned()], ..Question::default() };
        self.ask("tailnums", &question, "Different aircraft by airport", "", |answer, style| {
            one_column(answer, "origin", "aircraft", style)
        })
        .await
    }

    async fn air_time_by_carrier(&self) -> Result<(), Failure> {
        let question = Question { group_by: vec!["subject".to_owned()], ..Question::default() };
        self.ask("air_time", &question, "Average minutes in the air by carrier", "", |answer, style| {
            one_column(answer, "subject", "minutes", style)
        })
        .await
    }

    async fn flights(&self) -> Result<(), Failure> {
        self.ask("flights", &Question::default(), "Flights in all", "", |answer, style| {
            let total = answer.data.first().map_or("0", Row::value);
            format!("{}\n", style.bold(&grouped_digits(total)))
        })
        .await
    }

    async fn ask(
        &self,
        meter: &str,
        question: &Question,
        title: &str,
        remark: &str,
        render: impl FnOnce(&Answer<'_>, Style) -> String,
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let text = self.client.query(meter, &question.body(), self.position).await?;
        let took = milliseconds(begin.elapsed()) + remark;
        let answer: Answer<'_> = self.client.parsed(&text)?;
        let title = self.style.bold(title);
        let took = self.style.faint(&format!("({took})"));
        (self.say)(&format!("{title}  {took}\n{}\n", render(&answer, self.style)))
    }
}

/// What the bars and the order of rows need, and nothing that is printed as a number.
fn roughly(number: &str) -> f64 {
    number.parse().unwrap_or(0.0)
}

fn by_day(answer: &Answer<'_>, style: Style) -> String {
    let mut days: BTreeMap<&str, &str> = BTreeMap::new();
    let mut carriers: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for row in &answer.data {
        days.insert(&row.window_start, &row.window_end);
        let carrier = row.subject.as_deref().unwrap_or_default();
        carriers.entry(carrier).or_default().insert(&row.window_start, row.value());
    }
    let mut columns = vec![Column::text("carrier")];
    columns.extend(days.iter().map(|(start, end)| Column::number(day_name(start, end))));
    columns.push(Column::text(""));
    let total = |values: &BTreeMap<&str, &str>| values.values().map(|value| roughly(value)).sum::<f64>();
    let mut sorted: Vec<_> =
        carriers.iter().map(|(carrier, values)| (total(values), carrier, values)).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let max = sorted.first().map_or(0.0, |first| first.0);
    let mut grid = Grid::new(columns);
    for (total, carrier, values) in sorted.iter().take(ROWS_SHOWN) {
        let mut cells = vec![(**carrier).to_owned()];
        cells.extend(days.keys().map(|day| grouped_digits(values.get(day).unwrap_or(&"-"))));
        cells.push(bar(*total, max, BAR_CHARS, style));
        grid.row(cells);
    }
    let mut out = grid.table(style) + &more(sorted.len(), style);
    for (start, end) in &days {
        match length(start, end) {
            Some(hours) if hours != FULL_DAY => {
                let text =
                    format!("{} had {} hours: the clocks were changed\n", day(start), hours.as_hours());
                out.push_str(&text);
            }
            _ => {}
        }
    }
    out
}

fn one_column(answer: &Answer<'_>, key: &str, unit: &str, style: Style) -> String {
    let name = |row: &Row<'_>| match key {
        "subject" => row.subject.clone().unwrap_or_default(),
        key => row.group(key).to_owned(),
    };
    let mut rows: Vec<_> =
        answer.data.iter().map(|row| (roughly(row.value()), name(row), row.value())).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let max = rows.first().map_or(0.0, |first| first.0);
    let heading = if key == "subject" { "carrier" } else { key };
    let mut grid = Grid::new(vec![Column::text(heading), Column::number(unit), Column::text("")]);
    for (rough, name, value) in rows.iter().take(ROWS_SHOWN) {
        grid.row(vec![name.clone(), shortened(value, style), bar(*rough, max, BAR_CHARS, style)]);
    }
    grid.table(style) + &more(rows.len(), style)
}

fn more(rows: usize, style: Style) -> String {
    match rows.saturating_sub(ROWS_SHOWN) {
        0 => String::new(),
        hidden => style.faint(&format!("and {hidden} more")) + "\n",
    }
}

/// Cuts a long fraction, visibly. The answer has all of it.
fn shortened(number: &str, style: Style) -> String {
    const FRACTION_DIGITS: usize = 3;
    let grouped = grouped_digits(number);
    match grouped.split_once('.') {
        Some((whole, fraction)) if fraction.len() > FRACTION_DIGITS => {
            let fraction = fraction.get(..FRACTION_DIGITS).unwrap_or_default();
            format!("{whole}.{fraction}{}", if style.unicode { "…" } else { ".." })
        }
        _ => grouped,
    }
}

/// How long a window is, with the offsets that the server gave.
fn length(start: &str, end: &str) -> Option<SignedDuration> {
    let (start, end): (Timestamp, Timestamp) = (start.parse().ok()?, end.parse().ok()?);
    Some(end.duration_since(start))
}

/// `Sun 10 March`, by the clock of the window's own offset.
fn day(start: &str) -> String {
    match start.parse::<DateTime>() {
        Ok(start) => start.strftime("%a %-d %B").to_string(),
        Err(_) => start.to_owned(),
    }
}

fn day_name(start: &str, end: &str) -> String {
    let name = match start.parse::<DateTime>() {
        Ok(start) => start.strftime("%a %-d").to_string(),
        Err(_) => start.to_owned(),
    };
    match length(start, end) {
        Some(hours) if hours != FULL_DAY => format!("{name} ({}h)", hours.as_hours()),
        _ => name,
    }
}

#[cfg(test)]
mod tests;
