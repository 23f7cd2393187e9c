# One recipe per thing a person does. `just` lists them; CI runs the same scripts.

default:
    @just --list

# Start the server on ./weir-data
run *args:
    cargo run --release -- serve {{args}}

# The example: 28,834 flights in, three questions answered
demo *args:
    cargo run --release -- demo {{args}}

# Everything the tests need, and all tests
test:
    scripts/test

# Formatting, clippy and the rules that no compiler checks
lint:
    scripts/house-rules
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Licences and duplicate versions (needs cargo-deny: cargo install cargo-deny --locked)
deny:
    cargo deny check bans licenses sources

# What CI runs
ci:
    .ci/run

# The long form of the crash test: 50 kills
crash kills="50":
    WEIR_CRASH_KILLS={{kills}} cargo test -p weir-tests --test it crash -- --nocapture

# The long form of the reference test
reference seeds="500":
    WEIR_TEST_SEEDS={{seeds}} cargo test -p weir-tests --test it reference -- --nocapture

# A whole year of flights (path to flights.ndjson.gz), sent twice, against the committed totals
flights file:
    WEIR_FLIGHTS={{file}} cargo test -p weir-tests --test it flights -- --nocapture

# Break the code in a dozen named ways; for each, a test must fail (docs/mutations.md)
mutations *names:
    scripts/mutations {{names}}

# Benchmarks that need no server
bench *args:
    cargo bench -p weir-benches {{args}}

# The binary to ship: thin LTO, one codegen unit
dist:
    cargo build --profile dist -p weir
