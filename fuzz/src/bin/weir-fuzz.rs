//! The libFuzzer program: the environment variable `WEIR_FUZZ_TARGET` names the target, everything else
//! is libFuzzer's own command line. `fuzz/run` builds and starts it.

#![no_main]

use std::sync::LazyLock;

use weir_fuzz::{Target, find, memory};

#[global_allocator]
static ALLOCATOR: memory::Counted = memory::Counted;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("WEIR_FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| {
        eprintln!("WEIR_FUZZ_TARGET names no target of this build: {name:?}");
        std::process::exit(2)
    })
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    TARGET.check(data);
});
