//! What the suites ask about the work that goes on by itself, compaction, refold and retention: the
//! listing, whether it has come to rest, and whether a data folder is sound.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::reference::json::Json;
use crate::server::{run, run_in};

/// Longest wait for the listing to come to rest.
const QUIET_LIMIT: Duration = Duration::from_secs(120);
/// The listing is at rest if it stays the same for so long.
const QUIET: Duration = Duration::from_millis(1_200);
const POLL: Duration = Duration::from_millis(200);

/// A listed segment, as `weir segments` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    pub id: String,
    /// `rows`, `windows` or `members`.
    pub kind: String,
    pub level: u64,
    /// Seconds; 0 for rows.
    pub window_size: u64,
    pub rows: u64,
    pub bytes: u64,
    /// Below the store's folder; empty for a segment without a file.
    pub file: String,
}

/// Runs a command that must succeed, and returns its stdout.
pub fn succeed(args: &[&str]) -> String {
    succeed_in(&[], args)
}

/// The same behind a wrapper, see [`crate::server::Options::wrapper`].
pub fn succeed_in(wrapper: &[String], args: &[&str]) -> String {
    let output = run_in(wrapper, args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "weir {args:?} ended with {}: {stderr}{stdout}", output.status);
    stdout
}

/// Runs a command that must fail with a sentence of its own, and returns what it said on stderr.
pub fn fail(args: &[&str]) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "weir {args:?} should have failed; it said {stderr}");
    assert!(!stderr.trim().is_empty() && !stderr.contains("panicked"), "weir {args:?}: {stderr}");
    stderr
}

/// The listed segments of a data folder, in no particular order.
pub fn segments(data: &Path) -> Vec<Segment> {
    let text = succeed(&["segments", "--json", "--data-dir", &path(data)]);
    let listing = Json::parse(&text);
    listing.get("segments").expect("a listing has segments").items().iter().map(segment).collect()
}

fn segment(json: &Json) -> Segment {
    let number = |key: &str| match json.get(key) {
        Some(Json::Number(text)) => text.parse().unwrap(),
        other => panic!("no number at {key:?} but {other:?} in {json:?}"),
    };
    Segment {
        id: json.text("segment").to_owned(),
        kind: json.text("kind").to_owned(),
        level: number("level"),
        window_size: number("windowSizeSeconds"),
        rows: number("rows"),
        bytes: number("bytes"),
        file: json.text("location").to_owned(),
    }
}

/// Waits until the listing stays as it is, and returns it. Nobody may be sending.
pub fn until_quiet(data: &Path) -> Vec<Segment> {
    let begun = Instant::now();
    let mut listing = segments(data);
    let at_first = listing.len();
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        thread::sleep(POLL);
        let now = segments(data);
        if ids(&now) != ids(&listing) {
            since = Instant::now();
            listing = now;
        }
        assert!(
            begun.elapsed() < QUIET_LIMIT,
            "the listing still changes after {QUIET_LIMIT:?}: from {at_first} segments to {}",
            summary(&listing)
        );
    }
    listing
}

/// How many segments there are of each kind, size and level.
pub fn summary(listing: &[Segment]) -> String {
    let mut counts: BTreeMap<(&str, u64, u64), usize> = BTreeMap::new();
    for segment in listing {
        *counts.entry((&segment.kind, segment.window_size, segment.level)).or_default() += 1;
    }
    let of = |((kind, size, level), count): (&(&str, u64, u64), &usize)| {
        format!("{count} of {kind} {size} at level {level}")
    };
    counts.iter().map(of).collect::<Vec<_>>().join(", ")
}

fn ids(listing: &[Segment]) -> BTreeSet<&str> {
    listing.iter().map(|segment| segment.id.as_str()).collect()
}

/// Checks a data folder that no server has open, also that every window is the sum of its events.
pub fn check(data: &Path) {
    succeed(&["check", &path(data), "--windows"]);
}

/// A path as an argument.
pub fn path(path: &Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}
