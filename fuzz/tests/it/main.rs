//! Every target replays its kept inputs, and then as many seeded mutations of them as two seconds allow.
//! `WEIR_FUZZ_SEED` gives other mutations, `WEIR_FUZZ_RUNS` more of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use weir_fuzz::mutate::{Random, mutated};
use weir_fuzz::{TARGETS, Target, find, memory};

#[global_allocator]
static ALLOCATOR: memory::Counted = memory::Counted;

const SEED: u64 = 20_260_704;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn replay(name: &str) {
    let target = find(name).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(target.corpus()).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let inputs: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!inputs.is_empty(), "fuzz/corpus/{name} is empty");
    for (path, input) in files.iter().zip(&inputs) {
        run(target, input, &format!("the kept input {}", path.display()));
    }
    let tokens = target.tokens();
    assert!(!tokens.is_empty(), "fuzz/tokens/{name} has no words");
    let seed = number("WEIR_FUZZ_SEED").unwrap_or(SEED);
    let runs = number("WEIR_FUZZ_RUNS").unwrap_or(u64::from(target.mutations));
    let mut random = Random::new(seed);
    for count in 0..runs {
        let input = mutated(&mut random, &inputs, &tokens, target.input_bytes_max);
        run(target, &input, &format!("mutation {count} of seed {seed}"));
    }
}

/// Runs one input; if it is a finding, writes it to a file and says what to do with it.
fn run(target: &Target, input: &[u8], what: &str) {
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| target.check(input))) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("finding-{}", target.name));
        std::fs::write(&path, input).unwrap();
        let (name, path) = (target.name, path.display());
        eprintln!("{name}: {what} is a finding; keep it: cp {path} fuzz/corpus/{name}/<what is wrong>");
        std::panic::resume_unwind(cause);
    }
}

#[test]
fn every_target_has_a_test() {
    let source = include_str!("main.rs");
    for target in TARGETS {
        assert!(source.contains(&format!("replay(\"{}\")", target.name)), "{}", target.name);
    }
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap();
    assert_eq!(folders.count(), TARGETS.len(), "a folder of corpus/ has no target");
}

#[test]
fn events() {
    replay("events");
}

#[test]
fn decimals() {
    replay("decimals");
}

#[test]
fn paths() {
    replay("paths");
}

#[test]
fn times() {
    replay("times");
}

#[test]
fn log() {
    replay("log");
}

#[test]
fn positions() {
    replay("positions");
}

#[test]
fn bodies() {
    replay("bodies");
}

#[test]
fn grpc() {
    replay("grpc");
}

#[test]
fn segments() {
    replay("segments");
}

#[test]
fn questions() {
    replay("questions");
}
