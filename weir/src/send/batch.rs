//! Gathers events into the bodies of requests, and remembers the line each came from, so that the
//! server's complaint about the third event of a batch can name a line of the file.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::splitter::SplitError;

/// The largest body that a batch grows to, unless a single event is larger. Well below what a
/// server takes by default.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Events as one request carries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// A JSON array.
    pub body: Bytes,
    /// The line of each event, counted from 1.
    pub lines: Vec<u64>,
}

/// How large a batch may grow.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    events: usize,
    body_bytes: usize,
}

impl BatchLimits {
    pub fn of_events(events: usize) -> Self {
        Self { events, body_bytes: BODY_BYTES_MAX }
    }
}

/// Why an event cannot even be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Split(#[from] SplitError),
    #[error("line {line} is not JSON: {reason}")]
    NotJson { line: u64, reason: String },
    #[error("line {line} is JSON, but not an object, and an event is one")]
    NotAnEvent { line: u64 },
    #[error("cannot read on after line {line}: {reason}")]
    Io { line: u64, reason: String },
    /// Whoever takes the batches has gone; there is nobody left to tell.
    #[error("nobody takes the events")]
    Gone,
}

/// A batch that is being filled.
#[derive(Debug)]
pub struct BatchBuilder {
    limits: BatchLimits,
    body: Vec<u8>,
    lines: Vec<u64>,
}

impl BatchBuilder {
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, body: Vec::new(), lines: Vec::new() }
    }

    /// The line of the last event that was added, 0 if there was none in this batch.
    pub fn last_line(&self) -> u64 {
        self.lines.last().copied().unwrap_or(0)
    }

    /// Adds an event; returns the batch before it if that one is full.
    pub fn add(&mut self, line: u64, event: &[u8]) -> Result<Option<Batch>, ReadError> {
        check(line, event)?;
        let full = self.lines.len() >= self.limits.events
            || self.body.len().saturating_add(event.len()) > self.limits.body_bytes;
        let batch = if full { self.take() } else { None };
        self.body.push(if self.lines.is_empty() { b'[' } else { b',' });
        self.body.extend_from_slice(event);
        self.lines.push(line);
        Ok(batch)
    }

    /// What was added since the last batch.
    pub fn take(&mut self) -> Option<Batch> {
        if self.lines.is_empty() {
            return None;
        }
        let mut body = std::mem::take(&mut self.body);
        body.push(b']');
        Some(Batch { body: body.into(), lines: std::mem::take(&mut self.lines) })
    }
}

/// Broken JSON would spoil the whole batch around it, and the server could not say which event it was.
fn check(line: u64, event: &[u8]) -> Result<(), ReadError> {
    // A raw value is checked without recursion, so no nesting is too deep here.
    match serde_json::from_slice::<&RawValue>(event) {
        Ok(_) if event.first() == Some(&b'{') => Ok(()),
        Ok(_) => Err(ReadError::NotAnEvent { line }),
        Err(error) => {
            // Its own idea of the line is one within the event.
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or_default();
            let at_line = line + (error.line() as u64).saturating_sub(1);
            Err(ReadError::NotJson {
                line: at_line,
                reason: format!("{reason} at column {}", error.column()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_end_at_either_limit_and_remember_lines() {
        let mut builder = BatchBuilder::new(BatchLimits { events: 2, body_bytes: 20 });
        assert_eq!(builder.add(1, b"{}").unwrap(), None);
        assert_eq!(builder.add(3, b"{\"a\":1}").unwrap(), None);
        let by_count = builder.add(4, b"{}").unwrap().unwrap();
        assert_eq!((&by_count.body[..], by_count.lines), (&b"[{},{\"a\":1}]"[..], vec![1, 3]));
        let by_bytes = builder.add(5, b"{\"long\":\"1234567890\"}").unwrap().unwrap();
        assert_eq!((&by_bytes.body[..], by_bytes.lines), (&b"[{}]"[..], vec![4]));
        assert_eq!(builder.take().unwrap().lines, [5]);
        assert_eq!(builder.take(), None);
    }

    #[test]
    fn what_is_no_event_names_its_line() {
        let complaint = |event: &[u8]| check(7, event).unwrap_err().to_string();
        insta::assert_snapshot!(complaint(b"{\"a\" 1}"), @"line 7 is not JSON: expected `:` at column 6");
        insta::assert_snapshot!(complaint(b"{\"a\":1} x"), @"line 7 is not JSON: trailing characters at column 9");
        insta::assert_snapshot!(complaint(b"[]"), @"line 7 is JSON, but not an object, and an event is one");
        assert!(check(7, b"{\"a\":\"\xff\"}").is_err());
        let deep = ["{\"a\":", &"[".repeat(100_000), &"]".repeat(100_000), "}"].concat();
        assert_eq!(check(7, deep.as_bytes()), Ok(()));
    }
}
