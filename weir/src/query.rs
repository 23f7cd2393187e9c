//! `weir query`: asks a meter and prints the answer with every digit the server wrote.

pub mod answer;
pub mod times;

use serde_json::{Map, Value};

use crate::client::Client;
use crate::meters::Format;
use crate::output::{self, Failure, Style};
use answer::Answer;

/// What a meter is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// RFC 3339, inside.
    pub from: Option<String>,
    /// RFC 3339, outside.
    pub to: Option<String>,
    /// As on the wire, such as `DAY`; without it, one total.
    pub window: Option<&'static str>,
    /// IANA name.
    pub zone: Option<String>,
    pub subjects: Vec<String>,
    pub group_by: Vec<String>,
    /// Several values of one key mean any of them.
    pub filters: Vec<(String, String)>,
}

impl Question {
    /// The request's body.
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        let texts = [
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
            ("windowSize", self.window),
            ("windowTimeZone", self.zone.as_deref()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                body.insert(name.to_owned(), text.into());
            }
        }
        for (name, list) in [("subject", &self.subjects), ("groupBy", &self.group_by)] {
            if !list.is_empty() {
                body.insert(name.to_owned(), list.as_slice().into());
            }
        }
        if !self.filters.is_empty() {
            let mut filters: Map<String, Value> = Map::new();
            for (key, value) in &self.filters {
                let any_of = filters.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                if let Some(values) = any_of.as_array_mut() {
                    values.push(value.as_str().into());
                }
            }
            body.insert("filterGroupBy".to_owned(), filters.into());
        }
        body.into()
    }
}

/// Asks, and prints the answer; with a position, the one that it stands for.
pub async fn run(
    client: &Client,
    meter: &str,
    question: &Question,
    position: Option<&str>,
    format: Format,
) -> Result<(), Failure> {
    let position = match position {
        Some(position) => position.trim().to_owned(),
        // Whoever asks after a `weir send` wants to see what it sent, all of it.
        None => client.position().await?,
    };
    let (text, answered) = client.query_with_position(meter, &question.body(), Some(&position)).await?;
    print(client, &text, question, format)?;
    if let Some(answered) = answered {
        output::note(&format!("position: {answered}"));
    }
    Ok(())
}

fn print(client: &Client, text: &str, question: &Question, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::data(&(text.trim_end().to_owned() + "\n"));
    }
    let answer: Answer<'_> = client.parsed(text)?;
    let grid = answer.grid(&question.group_by);
    if format == Format::Csv {
        return output::data(&grid.csv());
    }
    if answer.data.is_empty() {
        output::note("no events match");
        return Ok(());
    }
    output::data(&grid.table(Style::of_stdout()))
}
