//! Events as JSON, and the head of the HTTP request that carries them.

use super::stamp::{ID_BYTES, JSON_TIME_BYTES};
use super::{Fact, UNSTAMPED, subject_name};

const BEFORE_ID: &str = r#"{"specversion":"1.0","id":""#;
const BEFORE_SUBJECT: &str = r#"","source":"api/eu-1","type":"prompt","subject":""#;
const BEFORE_TIME: &str = r#"","time":""#;
const BEFORE_DATA: &str = r#"","data":"#;

/// One event, given all of its texts.
pub fn event_text(id: &str, subject: &str, time: &str, data: &str) -> String {
    [BEFORE_ID, id, BEFORE_SUBJECT, subject, BEFORE_TIME, time, BEFORE_DATA, data, "}"].concat()
}

pub(super) fn body(facts: &[Fact], single: bool) -> Vec<u8> {
    let (id, time) = ("0".repeat(ID_BYTES), "0".repeat(JSON_TIME_BYTES));
    let event = |fact: &Fact| event_text(&id, &subject_name(fact.subject), &time, &fact.data(UNSTAMPED));
    let events: Vec<String> = facts.iter().map(event).collect();
    let text = events.join(",");
    if single { text.into_bytes() } else { format!("[{text}]").into_bytes() }
}

/// The head of a request that posts events.
pub fn request_head(single: bool, body_bytes: usize) -> Vec<u8> {
    let kind = if single { "cloudevents" } else { "cloudevents-batch" };
    format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: weir\r\ncontent-type: application/{kind}+json\r\n\
         content-length: {body_bytes}\r\n\r\n"
    )
    .into_bytes()
}
