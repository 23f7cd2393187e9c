//! Hostile input for every reader of Weir. A target is a plain function over bytes that panics when an
//! invariant breaks; most of them compare with a second, slow reader that shares no code. libFuzzer drives
//! them by coverage (`just fuzz`), and the tests of this crate replay the kept corpus with seeded
//! mutations. `docs/fuzzing.md` tells what each target holds against what.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a target reports"
)]

mod decimals;
mod edits;
mod events;
mod json;
mod log;
pub mod memory;
pub mod mutate;
mod paths;
mod times;

#[cfg(feature = "wire")]
mod bodies;
#[cfg(feature = "wire")]
mod edge;
#[cfg(feature = "wire")]
mod grpc;
#[cfg(feature = "wire")]
mod positions;
#[cfg(feature = "query")]
mod questions;
#[cfg(feature = "store")]
mod segments;

use std::path::PathBuf;

/// A reader of Weir, with what it is held against.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its folder in `corpus/` and of its words in `tokens/`.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Longer inputs find nothing that shorter ones do not.
    pub input_bytes_max: usize,
    /// Mutations that one run of the tests tries: about two seconds' worth in the dev profile.
    pub mutations: u32,
}

const fn target(name: &'static str, run: fn(&[u8]), input_bytes_max: usize, mutations: u32) -> Target {
    Target { name, run, input_bytes_max, mutations }
}

/// Every target that the crate's features bring.
pub const TARGETS: &[Target] = &[
    target("events", events::target, 2_048, 4_000),
    target("decimals", decimals::target, 512, 4_000),
    target("paths", paths::target, 1_024, 6_000),
    target("times", times::target, 128, 4_000),
    target("log", log::target, 512, 200),
    #[cfg(feature = "wire")]
    target("positions", positions::target, 1_024, 6_000),
    #[cfg(feature = "wire")]
    target("bodies", bodies::target, 2_048, 1_000),
    #[cfg(feature = "wire")]
    target("grpc", grpc::target, 1_024, 2_000),
    #[cfg(feature = "store")]
    target("segments", segments::target, 256, 150),
    #[cfg(feature = "query")]
    target("questions", questions::target, 2_048, 3_000),
];

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Runs one input, and asks afterwards whether it made the process hold too much memory.
    pub fn check(&self, data: &[u8]) {
        (self.run)(data);
        memory::check();
    }

    /// The folder of the kept inputs.
    pub fn corpus(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// Words that the target's input is made of, as the file of libFuzzer's `-dict` lists them.
    pub fn tokens(&self) -> Vec<Vec<u8>> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tokens").join(self.name);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(mutate::token).collect()
    }
}
