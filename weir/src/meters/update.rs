//! `weir meters update`: the API's PUT replaces a meter's changeable parts, so what a person did not name is
//! read first and sent along.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Format;
use super::show::Whole;
use crate::client::Client;
use crate::output::{self, Failure};

/// What `weir meters update` was told; None stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub name: Option<String>,
    pub description: Option<String>,
    pub group_by: Option<BTreeMap<String, String>>,
    pub metadata: Option<BTreeMap<String, String>>,
}

impl Change {
    /// The request's body for a meter as it is.
    fn body(&self, meter: &Whole) -> Value {
        let map = |map: &BTreeMap<String, String>| -> Value {
            map.iter()
                .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
                .collect::<Map<_, _>>()
                .into()
        };
        let mut body = Map::new();
        let name = self.name.as_ref().unwrap_or(&meter.name);
        body.insert("name".to_owned(), name.as_str().into());
        if let Some(description) = self.description.as_ref().or(meter.description.as_ref()) {
            body.insert("description".to_owned(), description.as_str().into());
        }
        if let Some(metadata) = self.metadata.as_ref().or(meter.metadata.as_ref()) {
            body.insert("metadata".to_owned(), map(metadata));
        }
        body.insert("groupBy".to_owned(), map(self.group_by.as_ref().unwrap_or(&meter.group_by)));
        body.into()
    }
}

pub async fn update(
    client: &Client,
    id_or_slug: &str,
    change: &Change,
    format: Format,
) -> Result<(), Failure> {
    let before = client.meter(id_or_slug).await?;
    let before: Whole = client.parsed(&before)?;
    let text = client.update_meter(id_or_slug, &change.body(&before)).await?;
    if format == Format::Json {
        return output::data(&(text.trim_end().to_owned() + "\n"));
    }
    let after: Whole = client.parsed(&text)?;
    output::note(&format!("changed the meter {}", after.slug));
    if after.group_by != before.group_by {
        output::note(&format!(
            "its groups are new: answers are right at once; `weir meters show {}` tells how far its windows are",
            after.slug
        ));
    }
    if let Some(warning) = &after.warning {
        output::note(&format!("warning: {warning}"));
    }
    output::data(&(after.id + "\n"))
}
