//! Events that did not come as JSON (binary mode over HTTP, protobuf over gRPC) are rendered here, once,
//! as the structured JSON event that the log keeps. Whether it is valid is for the reader to say.

use serde_json::value::RawValue;

/// Writes one event behind what `out` holds.
#[derive(Debug)]
pub(crate) struct EventWriter<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> EventWriter<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn name(&mut self, name: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        write_string(self.out, name);
        self.out.push(b':');
    }

    /// An attribute that is a string.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        write_string(self.out, value);
    }

    /// An attribute whose JSON is its plain text: a boolean or an integer.
    pub(crate) fn plain(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    /// Ends the event. The data goes in verbatim, so it must be one JSON value and nothing else: it
    /// could bring attributes of its own otherwise. The error says what is wrong with it.
    pub(crate) fn finish(mut self, data: Option<&[u8]>) -> Result<(), String> {
        if let Some(data) = data {
            let value: &RawValue =
                serde_json::from_slice(data).map_err(|error| format!("must be one JSON value: {error}"))?;
            self.name("data");
            self.out.extend_from_slice(value.get().as_bytes());
        }
        self.out.push(b'}');
        Ok(())
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing into memory does not fail. If it ever did, the reader would refuse the torso.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_as_json() {
        let mut out = b"[".to_vec();
        let mut event = EventWriter::new(&mut out);
        event.text("id", "a\"\n\u{1f600}");
        event.plain("flag", true);
        event.finish(Some(b" {\"n\": 1.10}\n")).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[{\"id\":\"a\\\"\\n\u{1f600}\",\"flag\":true,\"data\":{\"n\": 1.10}}"
        );
    }

    #[test]
    fn data_cannot_bring_attributes() {
        let nested = [b"[".repeat(200_000), b"]".repeat(200_000)].concat();
        for data in [&b"{},\"id\":\"b\""[..], b"{}}", b"{", b"", b"\xff", b"{} {}", b"nul", &nested[1..]] {
            let mut out = Vec::new();
            assert!(EventWriter::new(&mut out).finish(Some(data)).is_err());
        }
        // Depth is for the reader to bound; here it must only not overflow the stack.
        let mut out = Vec::new();
        assert!(EventWriter::new(&mut out).finish(Some(&nested)).is_ok());
    }
}
