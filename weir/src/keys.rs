//! `weir keys`: makes, lists, rolls and revokes API keys, over the API of a server, or in the data folder of one
//! that is stopped. The first key of a server that others can reach is made in its folder: nobody is let in
//! before. A key's text goes to stdout once, and everything about it to stderr.

pub mod body;
mod offline;
pub mod token;

use crate::client::Client;
use crate::meters::Format;
use crate::output::{self, Column, Failure, Grid, Style};
use body::{KeyBody, KeyCreate, KeyRoll};
pub use offline::Folder;

/// Keys that one request lists.
const PAGE: usize = 1_000;

/// Where the keys are.
#[derive(Clone, Debug)]
pub enum Place {
    Server(Client),
    /// Of a server that is stopped; to list them, also of one that runs.
    Folder(Folder),
}

pub async fn create(place: &Place, key: &KeyCreate, format: Format) -> Result<(), Failure> {
    let made = match place {
        Place::Server(client) => client.parsed(&client.create_key(key).await?)?,
        Place::Folder(folder) => folder.create(key.clone()).await?,
    };
    let what = format!("made the key {} ({}), {}", made.id, made.name, rights(&made));
    reveal(&made, &what, format)
}

pub async fn roll(place: &Place, id: &str, how: KeyRoll, format: Format) -> Result<(), Failure> {
    let made = match place {
        Place::Server(client) => client.parsed(&client.roll_key(id, &how).await?)?,
        Place::Folder(folder) => folder.roll(id, how).await?,
    };
    let what = format!("made the key {} in the place of {id}, {}", made.id, rights(&made));
    reveal(&made, &what, format)
}

pub async fn revoke(place: &Place, id: &str) -> Result<(), Failure> {
    match place {
        Place::Server(client) => client.revoke_key(id).await?,
        Place::Folder(folder) => folder.revoke(id).await?,
    }
    output::note(&format!("revoked the key {id}; it lets nobody in any more"));
    Ok(())
}

pub async fn list(place: &Place, ended: bool, format: Format) -> Result<(), Failure> {
    let mut keys: Vec<KeyBody> = Vec::new();
    for page in 1.. {
        let more: Vec<KeyBody> = match place {
            Place::Server(client) => client.parsed(&client.keys(page, PAGE, ended).await?)?,
            Place::Folder(folder) => folder.list(page, PAGE, ended).await?,
        };
        let complete = more.len() < PAGE;
        keys.extend(more);
        if complete {
            break;
        }
    }
    if format == Format::Json {
        return output::data(&json(&keys)?);
    }
    let names =
        ["id", "name", "namespace", "scopes", "requests/s", "events/s", "created", "expires", "revoked"];
    let mut grid = Grid::new(names.into_iter().map(Column::text).collect());
    for key in &keys {
        let rate = |rate: Option<std::num::NonZeroU32>| rate.map(|rate| rate.to_string()).unwrap_or_default();
        grid.row(vec![
            key.id.clone(),
            key.name.clone(),
            key.namespace.clone().unwrap_or_default(),
            if key.operator { "operator".to_owned() } else { key.scopes.join(" ") },
            rate(key.requests_per_second),
            rate(key.events_per_second),
            key.created_at.clone(),
            key.expires_at.clone().unwrap_or_default(),
            key.revoked_at.clone().unwrap_or_default(),
        ]);
    }
    if format == Format::Csv {
        return output::data(&grid.csv());
    }
    if keys.is_empty() {
        output::note("there are no keys; `weir keys create --help` shows how to make one");
        return Ok(());
    }
    output::data(&grid.table(Style::of_stdout()))
}

/// The one time that a key's text is printed.
fn reveal(made: &KeyBody, what: &str, format: Format) -> Result<(), Failure> {
    output::note(what);
    output::note("keep the key safe: nobody can show it again");
    if format == Format::Json {
        return output::data(&json(made)?);
    }
    let Some(key) = &made.key else {
        return Err(Failure::new("the server has made a key and not told it; revoke it and make another")
            .detail(format!("its id is {}", made.id)));
    };
    output::data(&format!("{}\n", key.0))
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Failure::new(format!("cannot write JSON: {error}")))
}

fn rights(key: &KeyBody) -> String {
    match &key.namespace {
        Some(namespace) => format!("for namespace {namespace}: {}", key.scopes.join(", ")),
        None => "an operator's: it manages the keys of every namespace".to_owned(),
    }
}
