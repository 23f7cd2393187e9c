//! Random events, meters and queries against the reference: the server's rows must be the reference's
//! rows, digit for digit, whatever was flushed, restarted or killed in between.
//!
//! `WEIR_TEST_SEEDS` says how many runs there are, `WEIR_TEST_SEED` the first of them. A failure names
//! its seed, and the seed alone brings it back.

use std::path::Path;
use std::{env, fs};

use rand::{Rng as _, SeedableRng as _};
use weir_tests::generate::{Generator, Rng8, meters, queries};
use weir_tests::http::{self, Api, BATCH, JSON, POSITION, Reply, SINGLE};
use weir_tests::reference::model::Events;
use weir_tests::reference::{Aggregation, Meter, Query, answer};
use weir_tests::server::{Options, Server};

use crate::settings;

/// Runs in the short form.
const SEEDS: u64 = 10;
const STEPS: usize = 30;
const QUERIES_A_STEP: usize = 4;
const QUERIES_AT_THE_END: usize = 60;
const METERS_MAX: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_the_references_answer() {
    let first = settings::number("WEIR_TEST_SEED", 1);
    let seeds = settings::number("WEIR_TEST_SEEDS", SEEDS);
    let mut queries = 0;
    let mut rows = 0;
    for seed in first..first + seeds {
        println!("reference: seed {seed} (WEIR_TEST_SEED={seed} WEIR_TEST_SEEDS=1 brings it back)");
        let folder = tempfile::tempdir().unwrap();
        let run = Box::pin(Run::new(seed, folder.path()).play()).await;
        queries += run.queries;
        rows += run.rows;
    }
    println!("reference: {seeds} runs, {queries} queries, {rows} rows, all equal");
    assert!(rows > queries, "queries that return next to nothing test next to nothing");
}

/// One run: a server, what it was sent, and what the reference makes of it.
struct Run {
    seed: u64,
    rng: Rng8,
    options: Options,
    partitions: u32,
    server: Option<Server>,
    api: Api,
    generator: Generator,
    events: Events,
    /// Every event as it was sent, for whoever looks into a failure.
    sent: Vec<String>,
    meters: Vec<Meter>,
    meters_made: usize,
    /// Behind the last event that was sent.
    position: String,
    queries: usize,
    rows: usize,
}

impl Run {
    fn new(seed: u64, folder: &Path) -> Self {
        let mut rng = Rng8::seed_from_u64(seed);
        // From flushes all the time to none at all but at the end.
        let (interval, events) = [("50ms", "50"), ("200ms", "500"), ("5m", "100000")][rng.random_range(0..3)];
        let partitions = [1, 1, 3][rng.random_range(0..3)];
        let flags =
            ["--flush-interval", interval, "--flush-events", events, "--partitions", &partitions.to_string()];
        let options = Options::new(&folder.join("data"), &flags);
        let server = options.start();
        let generator = Generator::new(&mut rng, 500);
        Self {
            seed,
            rng,
            options,
            partitions,
            api: Api::new(&server.url),
            server: Some(server),
            generator,
            events: Events::default(),
            sent: Vec::new(),
            meters: Vec::new(),
            meters_made: 0,
            position: String::new(),
            queries: 0,
            rows: 0,
        }
    }

    async fn play(mut self) -> Self {
        self.make_meter().await;
        for _ in 0..STEPS {
            match self.rng.random_range(0..20) {
                0..12 => self.send_events().await,
                12..15 => self.make_meter().await,
                15 => self.delete_meter().await,
                16 => self.restart(),
                // Long enough for the quicker settings to flush.
                _ => tokio::time::sleep(std::time::Duration::from_millis(60)).await,
            }
            for _ in 0..QUERIES_A_STEP {
                self.ask().await;
            }
        }
        for _ in 0..QUERIES_AT_THE_END {
            self.ask().await;
        }
        if let Some(server) = self.server.take() {
            server.stop();
        }
        self
    }

    async fn send_events(&mut self) {
        let count = [1, 3, 20, 60][self.rng.random_range(0..4)];
        let batch: Vec<String> = (0..count).map(|_| self.generator.event(&mut self.rng)).collect();
        for event in &batch {
            self.events.add(event);
            self.sent.push(event.clone());
        }
        let (content_type, body) = match (batch.as_slice(), self.rng.random_range(0..4)) {
            ([event], 0) => (SINGLE, event.clone()),
            ([event], 1) => (JSON, event.clone()),
            (_, 2) => (JSON, format!("[{}]", batch.join(","))),
            _ => (BATCH, format!("[ {} ]", batch.join(" , "))),
        };
        let reply = self.api.post("/api/v1/events", content_type, body.clone()).await;
        assert_eq!(reply.status, 204, "seed {}: {} to {body}", self.seed, reply.body);
        self.position = reply.header(POSITION).to_owned();
    }

    async fn make_meter(&mut self) {
        if self.meters.len() == METERS_MAX {
            return self.delete_meter().await;
        }
        // A slug may come again after its meter is gone.
        let slug = loop {
            let slug = format!("meter_{}", self.rng.random_range(0..METERS_MAX * 2));
            if self.meters.iter().all(|meter| meter.slug != slug) {
                break slug;
            }
        };
        let mut meter = meters::meter(&mut self.rng, &slug, &self.generator.times);
        // Of two values with one time the later arrival is the latest; over several partitions the events
        // of one batch have no order of arrival.
        if self.partitions > 1 && meter.aggregation == Aggregation::Latest {
            meter.aggregation = Aggregation::Max;
        }
        self.api.create_meter(&meter).await;
        self.meters.push(meter);
        self.meters_made += 1;
    }

    async fn delete_meter(&mut self) {
        if self.meters.len() < 2 {
            return;
        }
        let meter = self.meters.remove(self.rng.random_range(0..self.meters.len()));
        self.api.delete(&format!("/api/v1/meters/{}", meter.slug)).await.expect(204);
    }

    fn restart(&mut self) {
        let Some(server) = self.server.take() else { return };
        if self.rng.random_bool(0.5) {
            server.stop();
        } else {
            server.kill();
        }
        let server = self.options.start();
        self.api = Api::new(&server.url);
        self.server = Some(server);
    }

    async fn ask(&mut self) {
        let meter = self.meters[self.rng.random_range(0..self.meters.len())].clone();
        let query = queries::query(&mut self.rng, &meter, &self.generator.times);
        let one_each = query.filter_group_by.values().all(|values| values.len() <= 1);
        let reply = if one_each && self.rng.random_bool(0.5) {
            self.api.query_get(&meter, &query, &self.position).await
        } else {
            self.api.query_post(&meter, &query, &self.position).await
        };
        self.check(&meter, &query, &reply);
    }

    fn check(&mut self, meter: &Meter, query: &Query, reply: &Reply) {
        let what = || {
            let file = env::temp_dir().join(format!("weir-reference-{}.ndjson", self.seed));
            let written = fs::write(&file, self.sent.join("\n"));
            format!(
                "seed {} ({} meters made, {} events, {written:?} in {})\nmeter {meter:#?}\nquery {}\n",
                self.seed,
                self.meters_made,
                self.events.accepted.len(),
                file.display(),
                http::query_json(query)
            )
        };
        assert_eq!(reply.status, 200, "{}{}", what(), reply.body);
        let wanted = answer(&self.events.accepted, meter, query);
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
        self.queries += 1;
        self.rows += found.len();
    }
}

/// The beginning of an answer, for a message.
fn found_of(reply: &Reply) -> String {
    reply.body.chars().take(2_000).collect()
}
