//! An error as the server explains it: the problem document, read leniently, because something
//! other than Weir, such as a proxy, may have answered.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

/// The longest text of a foreign answer that is shown.
const FOREIGN_CHARS_MAX: usize = 300;

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteProblem {
    pub status: u16,
    pub title: String,
    pub detail: String,
    pub retry_after: Option<Duration>,
    /// The events of a batch that were wrong.
    pub events: Vec<EventError>,
}

/// What was wrong with one event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError {
    /// Counted from 0 in the batch as sent.
    pub index: usize,
    pub reason: String,
}

impl RemoteProblem {
    pub(super) fn read(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Self {
        let reason = status.canonical_reason().unwrap_or("Error").to_owned();
        let text = |document: &Value, name: &str| {
            document.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let document: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        if !document.is_object() {
            let foreign = String::from_utf8_lossy(body);
            let detail = foreign.trim().chars().take(FOREIGN_CHARS_MAX).collect();
            return Self { status: status.as_u16(), title: reason, detail, retry_after, events: Vec::new() };
        }
        let title = text(&document, "title");
        Self {
            status: status.as_u16(),
            title: if title.is_empty() { reason } else { title },
            detail: text(&document, "detail"),
            retry_after,
            events: event_errors(&document),
        }
    }

    pub(super) fn advice(&self) -> Option<&'static str> {
        match self.status {
            401 => Some(
                "name a key with --key, or better in the environment as WEIR_KEY; `weir keys create` makes one",
            ),
            403 => Some("use a key that may do this; `weir keys list` shows what each may"),
            404 => Some("`weir meters list` shows the meters there are"),
            409 => Some("take another name, or remove what is there first"),
            413 => Some("send fewer events at once, with a smaller --batch"),
            429 => Some("send more slowly; the server limits how much one key may send"),
            500 => Some("the server's own log says more"),
            503 => Some("run the same again in a while; events that were already taken count once"),
            _ => None,
        }
    }
}

/// The errors that name an event by its index: Weir names the first in the extensions themselves,
/// others give lists of them.
fn event_errors(document: &Value) -> Vec<EventError> {
    let Some(extensions) = document.get("extensions").and_then(Value::as_object) else { return Vec::new() };
    let lists = extensions.values().filter_map(Value::as_array).flatten();
    document.get("extensions").into_iter().chain(lists).filter_map(event_error).collect()
}

fn event_error(error: &Value) -> Option<EventError> {
    let index = usize::try_from(error.get("index")?.as_u64()?).ok()?;
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let reason = text("reason").or_else(|| text("message")).or_else(|| text("detail")).unwrap_or("refused");
    let reason = match text("attribute").or_else(|| text("field")) {
        // The reason may or may not repeat what it is about.
        Some(attribute) if !reason.contains(attribute) => format!("{attribute}: {reason}"),
        _ => reason.to_owned(),
    };
    Some(EventError { index, reason })
}
