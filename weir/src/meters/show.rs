//! `weir meters show`: one meter with everything about it, and how far its windows have come.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::Format;
use crate::client::Client;
use crate::output::{self, Column, Failure, Grid, Style, grouped_digits};

/// A meter as the server tells of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Whole {
    pub(super) id: String,
    pub(super) slug: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<BTreeMap<String, String>>,
    event_type: String,
    aggregation: String,
    #[serde(default)]
    value_property: Option<String>,
    #[serde(default)]
    pub(super) group_by: BTreeMap<String, String>,
    #[serde(default)]
    event_from: Option<String>,
    created_at: String,
    updated_at: String,
    #[serde(default)]
    deleted_at: Option<String>,
    #[serde(default)]
    pub(super) warning: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Progress {
    success: u64,
    total: u64,
}

pub async fn show(client: &Client, id_or_slug: &str, format: Format) -> Result<(), Failure> {
    let text = client.meter(id_or_slug).await?;
    if format == Format::Json {
        return output::data(&(text.trim_end().to_owned() + "\n"));
    }
    let meter: Whole = client.parsed(&text)?;
    let progress = client.progress(&meter.id).await?;
    let progress: Progress = client.parsed(&progress)?;
    let lines = lines(&meter);
    if format == Format::Csv {
        let mut grid = Grid::new(lines.iter().map(|(name, _)| Column::text(*name)).collect());
        grid.row(lines.into_iter().map(|(_, value)| value).collect());
        return output::data(&grid.csv());
    }
    output::data(&table(&lines, &progress, Style::of_stdout()))?;
    if let Some(warning) = &meter.warning {
        output::note(&format!("warning: {warning}"));
    }
    Ok(())
}

fn lines(meter: &Whole) -> Vec<(&'static str, String)> {
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        ("slug", meter.slug.clone()),
        ("id", meter.id.clone()),
        ("name", meter.name.clone()),
        ("description", text(&meter.description)),
        ("event type", meter.event_type.clone()),
        ("aggregation", meter.aggregation.clone()),
        ("value", text(&meter.value_property)),
        ("group by", pairs(&meter.group_by)),
        ("metadata", meter.metadata.as_ref().map(pairs).unwrap_or_default()),
        ("event from", text(&meter.event_from)),
        ("created", meter.created_at.clone()),
        ("updated", meter.updated_at.clone()),
        ("deleted", text(&meter.deleted_at)),
    ]
}

/// A line for each part that there is, and one about the windows.
fn table(lines: &[(&'static str, String)], progress: &Progress, style: Style) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        // What a client has written could command the terminal.
        let visible: String =
            value.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}  {visible}", style.bold(&format!("{name:width$}")));
    }
    let number = |count: u64| grouped_digits(&count.to_string());
    let (done, total) = (number(progress.success), number(progress.total));
    let windows = if progress.success >= progress.total {
        format!("folded all {total} offsets")
    } else {
        format!("folded {done} of {total} offsets; queries read the rest from rows")
    };
    let _ = writeln!(out, "{}  {windows}", style.bold(&format!("{:width$}", "windows")));
    out
}
