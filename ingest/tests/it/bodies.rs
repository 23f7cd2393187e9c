//! Bodies that are compressed, large, slow, or not what they claim to be.

use std::io::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use weir_ingest::IngestOptions;

use crate::support::{BATCH, Edge, JSON, ONE, batch, event};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(plain, 3).unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_taken() {
    let body = format!("[{}]", batch(5_000).join(",\n")).into_bytes();
    for (encoding, wire) in [
        ("gzip", gzip(&body)),
        ("GZip", gzip(&body)),
        ("x-gzip", gzip(&body)),
        ("zstd", zstd(&body)),
        ("identity", body.clone()),
        ("", body.clone()),
    ] {
        let edge = Edge::new();
        let answered = edge.post(&[("content-type", BATCH), ("content-encoding", encoding)], wire).await;
        assert_eq!(answered.position().offsets, [(0, 5_000)]);
        assert_eq!(edge.values(), batch(5_000), "{encoding}");
    }
}

#[tokio::test]
async fn other_and_stacked_encodings_are_refused() {
    let edge = Edge::new();
    for encodings in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "gzip"], &["gzip,identity"]] {
        let mut headers = vec![("content-type", ONE)];
        headers.extend(encodings.iter().map(|encoding| ("content-encoding", *encoding)));
        let answered = edge.post(&headers, gzip(&gzip(event("a").as_bytes()))).await;
        let problem = answered.problem(415, "unsupported-content-encoding");
        assert!(problem["detail"].as_str().unwrap().contains("`gzip` or `zstd`"), "{problem}");
        assert_eq!(answered.headers["accept-encoding"], "gzip, zstd");
    }
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn truncated_and_false_compression_is_refused() {
    let edge = Edge::new();
    for (encoding, wire) in [("gzip", gzip(event("a").as_bytes())), ("zstd", zstd(event("a").as_bytes()))] {
        let headers = [("content-type", ONE), ("content-encoding", encoding)];
        for body in [&wire[..wire.len() - 1], &wire[..wire.len() / 2], event("a").as_bytes()] {
            edge.post(&headers, body.to_vec()).await.problem(400, "invalid-body");
        }
        edge.post(&headers, Vec::new()).await.problem(400, "invalid-body");
    }
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn a_bomb_is_refused_and_gives_its_memory_back() {
    let bomb = vec![b' '; 30 << 20];
    let edge = Edge::with(IngestOptions { buffered_bytes_max: 18 << 20, ..Default::default() }, 1);
    for (encoding, wire) in [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb))] {
        for _ in 0..3 {
            let headers = [("content-type", JSON), ("content-encoding", encoding)];
            let problem = edge.post(&headers, wire.clone()).await.problem(413, "body-too-large");
            assert_eq!(problem["extensions"]["bytes_max"], 16 << 20);
        }
    }
}

#[tokio::test]
async fn bodies_over_the_bound_are_refused_announced_or_not() {
    let options = IngestOptions { wire_bytes_max: 10_000, ..Default::default() };
    let edge = Edge::with(options, 1);
    let announced =
        edge.post(&[("content-type", ONE), ("content-length", "10001")], Body::from_stream(endless())).await;
    announced.problem(413, "body-too-large");
    let problem = edge.post_as(ONE, Body::from_stream(endless())).await.problem(413, "body-too-large");
    assert!(problem["detail"].as_str().unwrap().contains("10000 bytes"), "{problem}");

    // The bound itself is fine.
    let mut body = event("a");
    body.extend(std::iter::repeat_n(' ', 10_000 - body.len()));
    edge.post_as(ONE, body.clone()).await.position();
    body.push(' ');
    edge.post_as(ONE, body).await.problem(413, "body-too-large");
    assert_eq!(edge.values(), [event("a")]);
}

fn endless() -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 100])))
}

#[tokio::test]
async fn bodies_in_pieces_are_put_together() {
    let edge = Edge::new();
    let pieces: Vec<_> = event("a").into_bytes().chunks(7).map(|piece| Ok(piece.to_vec())).collect();
    let body =
        Body::from_stream(stream::iter(pieces.into_iter().map(|piece: Result<_, std::io::Error>| piece)));
    edge.post_as(ONE, body).await.position();
    assert_eq!(edge.values(), [event("a")]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let edge = Edge::new();
    let pieces = [Ok(event("a").into_bytes()), Err(std::io::Error::other("connection reset"))];
    let answered = edge.post_as(ONE, Body::from_stream(stream::iter(pieces))).await;
    answered.problem(400, "invalid-body");
    assert!(edge.log.records().is_empty());
}

#[tokio::test]
async fn a_body_in_broken_chunks_is_not_asked_for_again() {
    let edge = Edge::new();
    let detail = async |error: std::io::Error| {
        let body = Body::from_stream(stream::iter([Ok(vec![b' '; 7]), Err(error)]));
        let problem = edge.post_as(ONE, body).await.problem(400, "invalid-body");
        problem["detail"].as_str().unwrap().to_owned()
    };
    let broken = detail(std::io::Error::new(std::io::ErrorKind::InvalidInput, "Invalid chunk body CR")).await;
    assert_eq!(
        broken,
        "validation error: the body's chunked transfer coding is broken after 7 bytes of it: Invalid chunk body CR; mend what sends it"
    );
    let gone = detail(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "early")).await;
    assert!(gone.contains("the body broke off after 7 bytes") && gone.ends_with("send it again"), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let edge = Edge::new();
    let started = tokio::time::Instant::now();
    // A byte a second keeps the connection alive, but not for ever.
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    let problem = edge.post_as(ONE, Body::from_stream(trickle)).await.problem(408, "request-timeout");
    assert!(problem["detail"].as_str().unwrap().contains("within 30s"), "{problem}");
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn all_bodies_together_are_bounded() {
    let edge = Edge::with(IngestOptions { buffered_bytes_max: 4_096, ..Default::default() }, 1);
    let answered = edge.post_as(ONE, Body::from_stream(endless())).await;
    answered.problem(503, "overloaded");
    assert_eq!(answered.headers["retry-after"], "1");
    // What was held has been given back.
    edge.post_as(ONE, event("a")).await.position();
}

#[tokio::test]
async fn large_bodies_are_read_on_another_thread_with_the_same_result() {
    let events = batch(5_000);
    let body = format!("[{}]", events.join(","));
    assert!(body.len() > IngestOptions::default().inline_bytes_max);
    let edge = Edge::new();
    edge.post_as(BATCH, body.clone()).await.position();
    assert_eq!(edge.values(), events);
    let problem = edge.post_as(BATCH, body.replace("\"e4999\"", "7")).await.problem(400, "invalid-event");
    assert_eq!(problem["extensions"]["index"], 4_999);
}
