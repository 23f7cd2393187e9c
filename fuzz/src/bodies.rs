//! Compressed bodies, sent through the router as a client would. The first byte of the input chooses gzip or
//! zstd (bit 0) and whether the rest is the body as it goes over the wire, or a text that is repeated and
//! compressed here (bit 1), and then perhaps cut short or changed in one place (bits 2 and 3). Whatever
//! comes out is answered exactly as the same text sent without compression, or refused as too large
//! exactly if it has more bytes than are allowed.

use std::io::{Read, Write as _};
use std::sync::LazyLock;

use axum::Extension;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use weir_meter::event::{BodyShape, EventLimits, read_events};

use crate::edge::{DECODED_BYTES_MAX, Edge, RUNTIME, WIRE_BYTES_MAX, namespace};

static EDGE: LazyLock<Edge> = LazyLock::new(|| Edge::new(EventLimits::default()));

/// What zstd's RFC 9659 allows a sender of HTTP content.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

pub(crate) fn target(data: &[u8]) {
    let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
    let gzip = choice & 1 == 0;
    let encoding = if gzip { "gzip" } else { "zstd" };
    if choice & 2 == 0 {
        return compare(rest, gzip, encoding, decoded(rest, gzip));
    }
    let (times, text) = rest.split_first().unwrap_or((&0, &[]));
    let text = text.repeat(1 + usize::from(*times) % 64);
    let mut wire = compressed(&text, gzip, i32::from(choice >> 4));
    let place = usize::from(*times) * wire.len() / 256;
    match choice & 12 {
        0 => return compare(&wire, gzip, encoding, Some(text)),
        4 => wire.truncate(place),
        8 => wire[place] ^= 1 << (choice >> 5),
        _ => wire.extend_from_slice(&text[..text.len().min(9)]),
    }
    let expected = decoded(&wire, gzip);
    // A checksum is part of gzip: what is cut or changed comes out as it was, or not at all. Of what is too
    // large the end with the checksum is not read.
    if let Some(found) =
        expected.as_ref().filter(|found| gzip && choice & 12 != 12 && found.len() <= DECODED_BYTES_MAX)
    {
        assert_eq!(*found, text, "a changed body");
    }
    compare(&wire, gzip, encoding, expected);
}

fn compressed(text: &[u8], gzip: bool, level: i32) -> Vec<u8> {
    if gzip {
        let level = flate2::Compression::new(level.unsigned_abs().min(9));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(text).unwrap();
        return encoder.finish().unwrap();
    }
    zstd::encode_all(text, level).unwrap()
}

/// Decompressed a byte at a time; None if it cannot be. One byte more than is allowed tells enough.
fn decoded(wire: &[u8], gzip: bool) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut reader: Box<dyn Read + '_> = if gzip {
        Box::new(flate2::read::MultiGzDecoder::new(OneByOne(wire)))
    } else {
        let mut decoder = zstd::stream::read::Decoder::new(OneByOne(wire)).ok()?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).ok()?;
        Box::new(decoder)
    };
    let mut byte = [0];
    while decoded.len() <= DECODED_BYTES_MAX {
        match reader.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => decoded.push(byte[0]),
            Err(_) => return None,
        }
    }
    Some(decoded)
}

struct OneByOne<'a>(&'a [u8]);

impl Read for OneByOne<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

/// The status, the problem's type, and the events that went into the log.
fn post(wire: &[u8], encoding: &str) -> (u16, String, Vec<Vec<u8>>) {
    let request = Request::post("/api/v1/events")
        .header("content-type", "application/json")
        .header("content-encoding", encoding)
        .body(Body::from(wire.to_vec()))
        .unwrap();
    let router = weir_ingest::router(EDGE.service.clone()).layer(Extension(namespace()));
    let (status, body) = RUNTIME.block_on(async {
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    });
    let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let kind =
        problem.and_then(|problem| Some(problem.get("type")?.as_str()?.to_owned())).unwrap_or_default();
    let taken = EDGE.log.take().into_iter().map(|record| record.value.to_vec()).collect();
    (status, kind, taken)
}

fn compare(wire: &[u8], gzip: bool, encoding: &str, expected: Option<Vec<u8>>) {
    let (status, kind, taken) = post(wire, encoding);
    if status != 204 {
        assert!(taken.is_empty(), "refused with {status}, and events were taken");
    }
    let Some(text) = expected.filter(|_| wire.len() <= WIRE_BYTES_MAX) else {
        let expected = if wire.len() > WIRE_BYTES_MAX { 413 } else { 400 };
        // A body that breaks off beyond what is allowed may be refused for either.
        assert!(status == expected || (status == 413 && !gzip), "{status} {kind}");
        return;
    };
    if text.len() > DECODED_BYTES_MAX {
        return assert_eq!(status, 413, "{} bytes: {kind}", text.len());
    }
    let values = match read_events(&text, BodyShape::OneOrBatch, &EventLimits::default()) {
        Ok(events) => events.iter().map(|event| event.json.to_vec()).collect(),
        Err(_) => Vec::new(),
    };
    assert_eq!(status, if values.is_empty() { 400 } else { 204 }, "{kind}");
    assert_eq!(taken, values);
    if text.len() <= WIRE_BYTES_MAX {
        assert_eq!(post(&text, "identity"), (status, kind, taken));
    }
}
