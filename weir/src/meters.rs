//! `weir meters`: lists, shows, makes, changes and deletes meters over the public API.

mod show;
mod update;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::output::{self, Column, Failure, Grid, Style};
use std::collections::BTreeMap;

pub use show::show;
pub use update::{Change, update};

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// As the server wrote it.
    Json,
    /// For spreadsheets and scripts.
    Csv,
}

/// What `weir meters create` was told.
#[derive(Clone, Debug)]
pub struct NewMeter {
    pub slug: String,
    pub event_type: String,
    /// As on the wire, such as `UNIQUE_COUNT`.
    pub aggregation: String,
    pub value: Option<String>,
    pub group_by: Vec<(String, String)>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub event_from: Option<String>,
}

impl NewMeter {
    /// The request's body.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "slug": self.slug,
            "eventType": self.event_type,
            "aggregation": self.aggregation,
        });
        let optional = [
            ("valueProperty", &self.value),
            ("name", &self.name),
            ("description", &self.description),
            ("eventFrom", &self.event_from),
        ];
        if let Some(fields) = body.as_object_mut() {
            for (name, value) in optional {
                if let Some(value) = value {
                    fields.insert(name.to_owned(), value.as_str().into());
                }
            }
            if !self.group_by.is_empty() {
                let paths: Map<String, Value> =
                    self.group_by.iter().map(|(key, path)| (key.clone(), path.as_str().into())).collect();
                fields.insert("groupBy".to_owned(), paths.into());
            }
        }
        body
    }
}

/// The parts of a meter that a table shows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    slug: String,
    event_type: String,
    aggregation: String,
    #[serde(default)]
    value_property: Option<String>,
    #[serde(default)]
    group_by: Option<BTreeMap<String, String>>,
    #[serde(default)]
    warning: Option<String>,
}

pub async fn list(client: &Client, format: Format) -> Result<(), Failure> {
    let meters = client.meters().await?;
    if format == Format::Json {
        return output::data(&json_lines(&meters));
    }
    let names = ["slug", "event type", "aggregation", "value", "group by", "id"];
    let mut grid = Grid::new(names.into_iter().map(Column::text).collect());
    let mut warnings = Vec::new();
    for meter in &meters {
        let meter: Shown = client.parsed(meter.get())?;
        warnings.extend(meter.warning.map(|warning| format!("warning: {}: {warning}", meter.slug)));
        let groups: Vec<String> = meter
            .group_by
            .unwrap_or_default()
            .into_iter()
            .map(|(key, path)| format!("{key}={path}"))
            .collect();
        grid.row(vec![
            meter.slug,
            meter.event_type,
            meter.aggregation,
            meter.value_property.unwrap_or_default(),
            groups.join(" "),
            meter.id,
        ]);
    }
    if format == Format::Csv {
        return output::data(&grid.csv());
    }
    if meters.is_empty() {
        output::note("there are no meters yet; `weir meters create --help` shows how to make one");
        return Ok(());
    }
    output::data(&grid.table(Style::of_stdout()))?;
    warnings.iter().for_each(|warning| output::note(warning));
    Ok(())
}

pub async fn create(client: &Client, meter: &NewMeter, format: Format) -> Result<(), Failure> {
    let made = client.create_meter(&meter.body()).await?;
    if format == Format::Json {
        return output::data(&(made.trim_end().to_owned() + "\n"));
    }
    let made: Shown = client.parsed(&made)?;
    output::note(&format!(
        "made the meter {} ({} of {} events)",
        made.slug, made.aggregation, made.event_type
    ));
    output::data(&(made.id + "\n"))
}

pub async fn delete(client: &Client, id_or_slug: &str) -> Result<(), Failure> {
    client.delete_meter(id_or_slug).await?;
    output::note(&format!("deleted the meter {id_or_slug}; its events stay"));
    Ok(())
}

/// A JSON array with one element a line, each to the letter as it came.
fn json_lines(values: &[Box<RawValue>]) -> String {
    let lines: Vec<&str> = values.iter().map(|value| value.get()).collect();
    if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) }
}
