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

# The long form of the retention test: waits until the files are gone
retention:
    WEIR_RETENTION_FILES=1 cargo test -p weir-tests --test it retention -- --nocapture

# Load with faults for so many minutes, samples in target/soak.csv; ends with a verdict. Release build, this machine only.
# Every million events takes about 105 MB of disk until the end; `events` bounds them, and lowers the rate for it
soak minutes="60" share="70" events="230000000":
    cargo build --release --locked -p weir
    mkdir -p target
    WEIR_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/weir" WEIR_SOAK_SECONDS=$(({{minutes}} * 60)) WEIR_SOAK_SHARE={{share}} WEIR_SOAK_EVENTS_MAX={{events}} \
        WEIR_SOAK_CSV="$PWD/target/soak.csv" cargo test --release --locked -p weir-tests --test it soak -- --nocapture

# The long form of the test with little memory
memory seconds="60":
    WEIR_MEMORY_SECONDS={{seconds}} cargo test -p weir-tests --test it memory:: -- --nocapture

# Hostile texts in events and questions, the long form
literals seeds="100":
    WEIR_LITERAL_SEEDS={{seeds}} cargo test -p weir-tests --test it questions::literal -- --nocapture

# Floods of questions and of groups, the long form; prints the memory that they take
floods groups="110000":
    WEIR_FLOOD_GROUPS={{groups}} WEIR_TEST_TELL=1 cargo test -p weir-tests --test it questions::flood -- --nocapture

# Keep a data folder of the present format (tests/fixtures)
keep-format folder:
    WEIR_KEEP_FORMAT="$PWD/{{folder}}" cargo test -p weir-tests --test it kept_format::the_story -- --nocapture

# A whole year of flights (path to flights.ndjson.gz), sent twice, against the committed totals
flights file:
    WEIR_FLIGHTS={{file}} cargo test -p weir-tests --test it flights -- --nocapture

# The log's group commit under many random orders of its threads
schedules count="20000":
    WEIR_LOG_SCHEDULES={{count}} cargo test -p weir-log --features shuttle --lib schedules

# The log's power cuts and kills, the long form
power-cuts seeds="20000":
    WEIR_LOG_SEEDS={{seeds}} cargo test -p weir-log --test it power_cut

# The long form of power cuts under everything at once, under the store and under the catalog
power-cuts-whole seeds="1000":
    WEIR_POWER_SEEDS={{seeds}} cargo test -p weir-aggregator --test it power -- --nocapture
    WEIR_STORE_POWER_SEEDS={{seeds}} cargo test -p weir-store --lib power -- --nocapture
    WEIR_POWER_CUT_SEEDS={{seeds}} cargo test -p weir-catalog --test it power -- --nocapture

# Break the code in many named ways; for each, a test must fail (docs/mutations.md)
mutations *names:
    scripts/mutations {{names}}

# Benchmarks that need no server
bench *args:
    cargo bench -p weir-benches {{args}}

# Identities under a memory cap: memory, time, writing and a restart; fails if they take too much (--help)
identities *args="20000000":
    cargo run --release --locked -p weir-benches --bin weir-identities -- {{args}}

# What the measured rows need: a release build
bench-build:
    cargo build --release --locked -p weir -p weir-benches --bins

# A row of docs/BENCHMARKS.md: ingest, singles, grpc, latency, visible, disk, memory, restart (--help for parameters)
bench-row *args: bench-build
    "${CARGO_TARGET_DIR:-target}/release/weir-bench" {{args}}

# Months to ask: 2 M windows of 5 M events, 2 M and 20 M windows of one event each
bench-fill folder="target/bench-data": bench-build
    mkdir -p {{folder}}
    "${CARGO_TARGET_DIR:-target}/release/weir-bench" fill {{folder}}/5m
    "${CARGO_TARGET_DIR:-target}/release/weir-bench" fill {{folder}}/2m --events-per-window 1
    "${CARGO_TARGET_DIR:-target}/release/weir-bench" fill {{folder}}/20m --windows 20000000 --events-per-window 1

# Queries beside DuckDB, chdb and JSON_VALUE, and with ten times as many windows
bench-queries folder="target/bench-data":
    "$(scripts/bench/setup)" scripts/bench/queries.py windows {{folder}}/5m
    "$(scripts/bench/setup)" scripts/bench/queries.py raw {{folder}}/5m
    "$(scripts/bench/setup)" scripts/bench/queries.py growth {{folder}}/2m {{folder}}/20m

# The binary to ship: thin LTO, one codegen unit
dist:
    cargo build --profile dist -p weir

# Hostile input for one reader, guided by coverage (docs/fuzzing.md has the targets): events, decimals, paths …
fuzz target seconds="60" *args:
    fuzz/run {{target}} {{seconds}} {{args}}
