//! The questions of a run: new ones against the reference, the same ones by another way of reading, and
//! old ones at their positions.

use std::ops::AddAssign;
use std::{env, fs};

use rand::Rng as _;
use weir_tests::generate::queries;
use weir_tests::http::{self, POSITION, READ, READ_FROM, Reply};
use weir_tests::reference::{Query, answer};

use super::{Living, Run};

/// How many answers of before are asked for again after each step.
const AGAIN_A_STEP: usize = 2;

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) queries: usize,
    pub(super) rows: usize,
    /// Answers asked for again at their position.
    pub(super) again: usize,
    /// New questions at an old position.
    pub(super) back: usize,
    /// Answers that were read from events only, or from segments only, for comparison.
    pub(super) other_ways: usize,
    /// Answers with rows for which no event was read.
    pub(super) without_rows: usize,
    /// Segments above the lowest level.
    pub(super) merged: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.queries += other.queries;
        self.rows += other.rows;
        self.again += other.again;
        self.back += other.back;
        self.other_ways += other.other_ways;
        self.without_rows += other.without_rows;
        self.merged += other.merged;
    }
}

/// A question and its answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    living: Living,
    /// Slug or id, whichever was used.
    name: String,
    query: Query,
    short: bool,
    position: String,
    /// How many accepted events the position includes.
    events: usize,
    body: String,
}

impl Run {
    /// A new question about everything that was sent.
    pub(super) async fn ask(&mut self) {
        let living = self.meters[self.rng.random_range(0..self.meters.len())].clone();
        let query = queries::query(&mut self.rng, &living.meter, &self.generator.times);
        let name = if self.rng.random_bool(0.3) { &living.id } else { &living.meter.slug }.clone();
        let short = self.rng.random_bool(0.5);
        let at_least = self.position.clone();
        let headers: &[_] = if at_least.is_empty() { &[] } else { &[(POSITION, at_least.as_str())] };
        let reply = self.api.query(&name, &query, short, headers).await;
        let events = self.events.accepted.len();
        self.check(&living, &query, events, &reply);
        let position = reply.header(POSITION).to_owned();
        assert!(!position.is_empty(), "an answer has a position; {}", self.what(&living, &query));
        let asked = Asked { living, name, query, short, position, events, body: reply.body };
        if self.rng.random_bool(0.3) {
            self.read_otherwise(&asked).await;
        }
        if self.rng.random_bool(0.5) {
            self.asked.push(asked);
        }
    }

    /// Some of the answers of before, and something new at the position of one of them.
    pub(super) async fn ask_again(&mut self) {
        for _ in 0..AGAIN_A_STEP.min(self.asked.len()) {
            let asked = self.asked[self.rng.random_range(0..self.asked.len())].clone();
            self.check_again(&asked).await;
        }
        if self.asked.is_empty() {
            return;
        }
        let Asked { living, name, position, events, .. } =
            self.asked[self.rng.random_range(0..self.asked.len())].clone();
        let query = queries::query(&mut self.rng, &living.meter, &self.generator.times);
        let reply = self.api.query(&name, &query, true, &[(POSITION, &position)]).await;
        self.check(&living, &query, events, &reply);
        self.tally.back += 1;
    }

    /// The same question at its position must have the same answer, byte for byte.
    pub(super) async fn check_again(&mut self, asked: &Asked) {
        let headers = [(POSITION, asked.position.as_str())];
        let reply = self.api.query(&asked.name, &asked.query, asked.short, &headers).await;
        let what = || format!("asked again; {}", self.what(&asked.living, &asked.query));
        assert_eq!(reply.status, 200, "{}{}", what(), reply.body);
        assert_eq!(reply.body, asked.body, "{}", what());
        self.tally.again += 1;
    }

    /// What segments say must be what the events say.
    async fn read_otherwise(&mut self, asked: &Asked) {
        let from = if self.rng.random_bool(0.7) { "rows" } else { "segments" };
        let headers = [(POSITION, asked.position.as_str()), (READ_FROM, from)];
        let reply = self.api.query(&asked.name, &asked.query, asked.short, &headers).await;
        if from == "segments" && reply.status == 409 {
            assert!(reply.json().text("type").ends_with("rows-needed"), "{}", reply.body);
            return;
        }
        let what = || format!("read from {from}; {}", self.what(&asked.living, &asked.query));
        assert_eq!(reply.status, 200, "{}{}", what(), reply.body);
        assert_eq!(reply.body, asked.body, "{}", what());
        self.tally.other_ways += 1;
    }

    /// Compares an answer with what the reference makes of the first so many events.
    fn check(&mut self, living: &Living, query: &Query, events: usize, reply: &Reply) {
        let what = || self.what(living, query);
        assert_eq!(reply.status, 200, "{}{}", what(), reply.body);
        let wanted = answer(&self.events.accepted[..events], &living.meter, query);
        let found = http::rows(reply);
        for (index, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
            assert_eq!(found, wanted, "row {index} of {}; left is the server's\n{}", found_of(reply), what());
        }
        assert_eq!(
            found.len(),
            wanted.len(),
            "rows; the reference has {wanted:#?}\n{}\n{}",
            reply.body,
            what()
        );
        self.tally.queries += 1;
        self.tally.rows += found.len();
        self.tally.without_rows += usize::from(!found.is_empty() && reply.header(READ).contains("events=0,"));
    }

    /// Everything that somebody needs who looks into a failure.
    fn what(&self, living: &Living, query: &Query) -> String {
        let file = env::temp_dir().join(format!("weir-reference-{}.ndjson", self.seed));
        let written = fs::write(&file, self.sent.join("\n"));
        format!(
            "seed {} ({} meters made, {} events, {written:?} in {})\nmeter {living:#?}\nquery {}\n",
            self.seed,
            self.meters_made,
            self.events.accepted.len(),
            file.display(),
            http::query_json(query)
        )
    }
}

/// The beginning of an answer, for a message.
fn found_of(reply: &Reply) -> String {
    reply.body.chars().take(2_000).collect()
}
