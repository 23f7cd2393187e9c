//! What reading a batch of events costs: our reader against the parsers it could be built on.
//! `cargo bench -p weir-benches --bench json`; the figures are in docs/decisions/0002-json-reader.md.
//!
//! The parsers only read; what our reader does on top (attributes, rules, spans) they would still have
//! to do. simd-json changes its input, so it gets the copy that it would need.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::hint::black_box;
use std::io::{BufRead as _, BufReader};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use weir_meter::event::{BodyShape, EventLimits, read_events};
use weir_meter::json::{Extractor, PathSet};
use weir_meter::path::Path;

const BATCH: usize = 100;

fn flights() -> Vec<u8> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/flights-2013-03.ndjson.gz");
    let lines = BufReader::new(flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap())).lines();
    batch(lines.take(BATCH).map(Result::unwrap))
}

/// About 300 bytes each, two numbers, as a service that sells tokens would send them.
fn prompts() -> Vec<u8> {
    batch((0..BATCH).map(|n| {
        format!(
            r#"{{"specversion":"1.0","id":"5f0c9a3e-8d9b-4f0e-9c56-{n:012}","source":"api.example.com/eu-1","type":"prompt","subject":"customer-{n:04}","time":"2024-01-31T10:00:00.{n:03}Z","data":{{"model":"large-2024-01","kind":"output","tokens":{},"duration_ms":{n}.25,"route":"/v1/completions","region":"eu"}}}}"#,
            n * 37 + 11
        )
    }))
}

fn batch(events: impl Iterator<Item = String>) -> Vec<u8> {
    let events: Vec<String> = events.collect();
    assert_eq!(events.len(), BATCH);
    format!("[{}]", events.join(",")).into_bytes()
}

fn readers(c: &mut Criterion) {
    for (name, body) in [("flights", flights()), ("prompts", prompts())] {
        let mut group = c.benchmark_group(format!("read_{name}_{}_bytes", body.len() / BATCH));
        group.throughput(Throughput::Elements(BATCH as u64));
        whole_reader(&mut group, &body);
        parsers_alone(&mut group, &body);
        group.finish();
    }
}

fn whole_reader(group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>, body: &[u8]) {
    let limits = EventLimits::default();
    group.bench_function("weir_events", |b| {
        b.iter(|| read_events(black_box(body), BodyShape::Batch, &limits).unwrap().len());
    });
}

fn parsers_alone(group: &mut BenchmarkGroup<'_, criterion::measurement::WallTime>, body: &[u8]) {
    group.bench_function("simd_json_tape_alone", |b| {
        let mut copy: Vec<u8> = Vec::with_capacity(body.len());
        let mut buffers = simd_json::Buffers::with_max_depth(body.len(), 65);
        let mut spare = simd_json::Tape::null();
        b.iter(|| {
            copy.clear();
            copy.extend_from_slice(black_box(body));
            let mut tape = std::mem::replace(&mut spare, simd_json::Tape::null()).reset();
            simd_json::fill_tape(&mut copy, &mut buffers, &mut tape).unwrap();
            let nodes = tape.0.len();
            spare = tape.reset();
            nodes
        });
    });
    group.bench_function("jiter_skip_alone", |b| {
        b.iter(|| {
            let mut jiter = jiter::Jiter::new(black_box(body));
            jiter.next_skip().unwrap();
            jiter.finish().unwrap();
        });
    });
    group.bench_function("weir_skip_alone", |b| {
        // A path into an object finds nothing in an array, so the extractor only goes past the text.
        let paths = PathSet::new(vec![Path::parse("$.nothing").unwrap()]);
        let mut extractor = Extractor::default();
        b.iter(|| extractor.extract(Some(black_box(body)), &paths).len());
    });
    group.bench_function("utf8_check_alone", |b| {
        b.iter(|| std::str::from_utf8(black_box(body)).unwrap().len())
    });
}

fn extraction(c: &mut Criterion) {
    let body = prompts();
    let events = read_events(&body, BodyShape::Batch, &EventLimits::default()).unwrap();
    let paths = PathSet::new(["$.tokens", "$.model", "$.kind"].map(|p| Path::parse(p).unwrap()).to_vec());
    let mut group = c.benchmark_group("extract_three_paths");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("weir_extractor", |b| {
        let mut extractor = Extractor::default();
        b.iter(|| {
            events.iter().map(|event| extractor.extract(black_box(event.data), &paths).len()).sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, readers, extraction);
criterion_main!(benches);
