//! Bodies that are refused before their events are looked at, or because of what is around them.

use std::io::Write as _;

use prost::Message as _;
use weir_proto::v1::IngestRequest;
use weir_tests::http::{BATCH, JSON, SINGLE};

use super::grpc::{GrpcRequest, framed};
use super::rows::{
    ARGUMENT, HttpRequest, INVALID, Table, good, good_proto, message, post, post_with, protos, row,
};

const TOO_LARGE: &str = "413 `body-too-large`";
const BROKEN: &str = "400 `invalid-body`";
const MIB: usize = 1 << 20;
const EXHAUSTED: &str = "RESOURCE_EXHAUSTED";

pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A gzip body of 1 MiB, all of it blocks of ten bits without content.
fn empty_blocks() -> Vec<u8> {
    let begin = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255];
    let (block, last) = ([0x02, 0x08, 0x20, 0x80, 0x00], [1, 0, 0, 255, 255]);
    [&begin[..], &block.repeat(MIB / block.len()), &last, &[0; 8]].concat()
}

/// The same of zstd's frames.
fn empty_frames() -> Vec<u8> {
    let frame = [0x28, 0xB5, 0x2F, 0xFD, 0x20, 0, 1, 0, 0];
    frame.repeat(MIB / frame.len())
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

/// A request of so many empty events, two bytes each.
pub(super) fn empty_events(count: usize) -> GrpcRequest {
    let good = IngestRequest { events: (0..10_000).map(|n| good_proto(&n.to_string())).collect() };
    message([good.encode_to_vec(), [0x0A, 0].repeat(count)].concat())
}

fn encoded(encoding: &str, body: Vec<u8>) -> HttpRequest {
    post_with(&[("content-type", BATCH), ("content-encoding", encoding)], body)
}

fn compressed(encoding: &'static str, body: &[u8]) -> GrpcRequest {
    GrpcRequest { encoding: Some(encoding), body: framed(1, body), ..message("") }
}

fn with_body(body: Vec<u8>) -> GrpcRequest {
    GrpcRequest { body, ..message("") }
}

#[rustfmt::skip]
pub(super) fn table() -> Table {
    let batch = format!("[{}, {}]", good("1"), good("2")).into_bytes();
    let two = IngestRequest { events: vec![good_proto("1"), good_proto("2")] }.encode_to_vec();
    let one = IngestRequest { events: vec![good_proto("1")] }.encode_to_vec();
    let bomb = vec![b' '; 17 << 20];
    let cut = |bytes: &[u8]| [bytes[..bytes.len() - 1].to_vec(), bytes[..bytes.len() / 2].to_vec(), bytes[..1].to_vec()];
    let not_utf8: Vec<u8> = batch.iter().map(|byte| if *byte == b'2' { 0xff } else { *byte }).collect();
    let mut not_utf8_proto = two.clone();
    *not_utf8_proto.last_mut().unwrap() = 0xff;
    vec![
        row("JSON, or protobuf, cut off at any byte")
            .http(INVALID, &["byte"], (1..batch.len()).map(|n| post(BATCH, &batch[..n])).collect())
            // What is cut between two events is a request of one event.
            .grpc(ARGUMENT, &["event 0", "protobuf"], (1..one.len()).map(|n| message(&one[..n])).collect()),
        row("an empty body")
            .http(INVALID, &["the body is empty"], vec![post(BATCH, ""), post(SINGLE, ""), post(JSON, " \r\n\t")])
            .grpc(ARGUMENT, &["no whole gRPC message"], vec![with_body(Vec::new()), with_body(vec![0, 0])]),
        row("bytes that are not UTF-8")
            .http(INVALID, &["must be UTF-8"], vec![post(BATCH, not_utf8), post(SINGLE, [&[0xEF, 0xBB][..], good("1").as_bytes()].concat())])
            .grpc(ARGUMENT, &["event 1", "UTF-8"], vec![message(&not_utf8_proto)]),
        row("no event and no array of events")
            .http(INVALID, &[], ["7", "null", "true", "\"x\"", "nonsense", "{}", "[7]", "[[]]", "[null]"].iter().map(|b| post(JSON, *b)).collect())
            .grpc(ARGUMENT, &["event 0", "protobuf"], vec![message([0xff; 40]), message("nonsense"), message([0x08, 1]), message([0x0A, 0xff, 0xff, 0xff, 0xff, 0x0f])]),
        row("something behind the events")
            .http(INVALID, &["nothing may follow"], vec![post(SINGLE, good("1") + &good("2")), post(BATCH, [&batch[..], b"]"].concat()), post(JSON, good("1") + "\0")])
            .grpc(ARGUMENT, &["whole message"], vec![with_body([framed(0, &one), framed(0, &two)].concat()), with_body([framed(0, &one), vec![0]].concat()), with_body(framed(0, &one)[..9].to_vec())]),
        row("an empty array as `application/json`").http(INVALID, &["no events found"], vec![post(JSON, "[]")]),
        row("an empty batch").http("204", &[], vec![post(BATCH, "[]"), post(BATCH, " [ ] ")]).grpc("OK", &[], vec![protos(vec![])]),
        row("an array as one event, an event as a batch")
            .http(INVALID, &["announces"], vec![post(SINGLE, &batch[..]), post(BATCH, good("1"))]),
        row("an unknown content type")
            .http("400 `invalid-content-type`", &["application/json"], vec![post("text/plain", good("1")), post("application/xml", good("1")), post_with(&[], good("1")), post_with(&[("content-type", JSON), ("content-type", BATCH)], good("1")), post_with(&[("content-type", "text/plain"), ("ce-id", "1")], "{}")])
            .grpc("415", &[], vec![GrpcRequest { content_type: "application/json", ..protos(vec![]) }, GrpcRequest { content_type: "application/grpc-web", ..protos(vec![]) }]),
        row("an unknown or doubled encoding")
            .http("415 `unsupported-content-encoding`", &["gzip", "zstd"], vec![encoded("br", batch.clone()), encoded("deflate", batch.clone()), encoded("gzip, gzip", gzip(&gzip(&batch))), encoded("zstd,gzip", batch.clone())])
            .grpc("UNIMPLEMENTED", &["gzip", "zstd"], vec![compressed("snappy", &two), compressed("gzip,gzip", &two)]),
        row("a compressed body that is cut off or broken, or of over 1,024 gzip members")
            .http(BROKEN, &["cannot be decompressed"], [gzip(&batch), vec![]].iter().flat_map(|b| if b.is_empty() { vec![b.clone(), batch.clone()] } else { cut(b).to_vec() }).chain([gzip(b"").repeat(100_000)]).map(|b| encoded("gzip", b)).chain(cut(&zstd(&batch)).map(|b| encoded("zstd", b))).collect())
            .grpc(ARGUMENT, &["cannot be decompressed"], cut(&gzip(&two)).iter().map(|b| compressed("gzip", b)).chain(cut(&zstd(&two)).iter().map(|b| compressed("zstd", b))).chain([compressed("gzip", &two), compressed("gzip", &gzip(b"").repeat(100_000))]).collect()),
        row("a compressed body of over 256 KiB more than what comes of it")
            .http(BROKEN, &["cannot be decompressed", "262144"], vec![encoded("gzip", empty_blocks()), encoded("zstd", empty_frames())])
            .grpc(ARGUMENT, &["cannot be decompressed", "262144"], vec![compressed("gzip", &empty_blocks()), compressed("zstd", &empty_frames())]),
        row("a message marked as compressed without an encoding, or otherwise")
            .grpc(ARGUMENT, &["gRPC message"], vec![with_body(framed(1, &two)), with_body(framed(7, &two)), GrpcRequest { encoding: Some("identity"), ..with_body(framed(1, &two)) }]),
        row("a gzip or zstd bomb")
            .http(TOO_LARGE, &["decompressed", "16777216 bytes"], vec![encoded("gzip", gzip(&bomb)), encoded("zstd", zstd(&bomb))])
            .grpc(EXHAUSTED, &["decompressed", "16777216 bytes"], vec![compressed("gzip", &gzip(&bomb)), compressed("zstd", &zstd(&bomb))]),
        row("a body over 16 MiB, or one that announces more")
            .http(TOO_LARGE, &["16777216 bytes"], vec![post(BATCH, &bomb[..]), encoded("gzip", bomb.clone())])
            .grpc(EXHAUSTED, &["16777216 bytes"], vec![message(&bomb), with_body(vec![0, 0xff, 0xff, 0xff, 0xff, 1]), with_body(vec![0, 1, 0, 0, 1])]),
        row("an unknown path or method")
            .http("404 `not-found`", &["/api/v1/event"], vec![HttpRequest { path: "/api/v1/event", ..post(BATCH, &batch[..]) }, HttpRequest { path: "/api/v1/events/", ..post(BATCH, &batch[..]) }])
            .grpc("UNIMPLEMENTED", &["Other"], vec![GrpcRequest { path: "/weir.v1.IngestService/Other", ..protos(vec![]) }, GrpcRequest { path: "/weir.v1.Other/Ingest", ..protos(vec![]) }]),
        row("an HTTP method that is not allowed")
            .http("405 `method-not-allowed`", &["/api/v1/events"], ["PUT", "DELETE", "PATCH"].iter().map(|method| HttpRequest { method, ..post(BATCH, &batch[..]) }).collect()),
    ]
}
