//! Random events, meters and queries against the reference: the server's rows must be the reference's
//! rows, digit for digit, whatever was flushed, merged, folded again, restarted or killed in between. And
//! what was answered once is answered again, byte for byte, at its position.
//!
//! `WEIR_TEST_SEEDS` says how many runs there are, `WEIR_TEST_SEED` the first of them. A failure names
//! its seed, and the seed alone brings it back.

mod ask;

use std::path::Path;
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use weir_tests::generate::{Generator, Rng8, meters};
use weir_tests::http::{Api, BATCH, JSON, POSITION, SINGLE};
use weir_tests::maintenance;
use weir_tests::reference::Meter;
use weir_tests::reference::model::Events;
use weir_tests::server::{Options, Server};

use crate::settings;
use ask::{Asked, Tally};

/// Runs in the short form.
const SEEDS: u64 = 5;
const STEPS: usize = 30;
const QUERIES_A_STEP: usize = 3;
const QUERIES_AT_THE_END: usize = 30;
/// Answers of before that are asked for again once everything is merged.
const AGAIN_AT_THE_END: usize = 40;
const METERS_MAX: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_the_references_answer() {
    let first = settings::number("WEIR_TEST_SEED", 1);
    let seeds = settings::number("WEIR_TEST_SEEDS", SEEDS);
    let mut tally = Tally::default();
    for seed in first..first + seeds {
        println!("reference: seed {seed} (WEIR_TEST_SEED={seed} WEIR_TEST_SEEDS=1 brings it back)");
        let folder = tempfile::tempdir().unwrap();
        tally += Box::pin(Run::new(seed, folder.path()).play()).await;
    }
    println!("reference: {seeds} runs, {tally:?}, all equal");
    assert!(tally.rows > tally.queries, "queries that return next to nothing test next to nothing");
    assert!(tally.again > tally.queries / 4, "too few answers were asked for again: {tally:?}");
    assert!(seeds < SEEDS || tally.merged > 0, "nothing was ever merged: {tally:?}");
    assert!(
        seeds < SEEDS || tally.without_rows > 0,
        "nothing was ever answered from windows alone: {tally:?}"
    );
}

/// A meter with the id that the server gave it.
#[derive(Clone, Debug)]
struct Living {
    meter: Meter,
    id: String,
}

/// One run: a server, what it was sent, and what the reference makes of it.
struct Run {
    seed: u64,
    rng: Rng8,
    options: Options,
    server: Option<Server>,
    api: Api,
    generator: Generator,
    events: Events,
    /// Every event as it was sent, for whoever looks into a failure.
    sent: Vec<String>,
    meters: Vec<Living>,
    meters_made: usize,
    /// Behind the last event that was sent.
    position: String,
    /// Answers of before, with their positions.
    asked: Vec<Asked>,
    tally: Tally,
}

/// Flags for one run, so that a few seeds in a row have all of them: from flushes all the time to none at
/// all but at the end, segments that are merged as soon as there are two or hardly ever, windows of every
/// meter or of those with few groups, refolds at once or in many steps.
fn flags(seed: u64, partitions: u64) -> Vec<String> {
    let pick = |choices: &[&'static str], turn: u64| choices[turn as usize % choices.len()].to_owned();
    let (interval, events) =
        [("50ms", "50"), ("200ms", "500"), ("50ms", "50"), ("5m", "100000")][seed as usize % 4];
    let flags = [
        ("--flush-interval", interval.to_owned()),
        ("--flush-events", events.to_owned()),
        ("--partitions", partitions.to_string()),
        ("--compaction-fanout", pick(&["2", "3", "2", "4", "8"], seed)),
        ("--wide-groups-max", pick(&["100000", "100000", "5"], seed / 2)),
        ("--refold-events", pick(&["100000", "60"], seed / 3)),
    ];
    flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

impl Run {
    fn new(seed: u64, folder: &Path) -> Self {
        let mut rng = Rng8::seed_from_u64(seed);
        let partitions = seed % 3 + 1;
        let flags = flags(seed, partitions);
        println!("reference: {}", flags.join(" "));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let options = Options::new(&folder.join("data"), &flags);
        let server = options.start();
        let mut generator = Generator::new(&mut rng, 500);
        if partitions > 1 {
            generator = generator.with_distinct_times();
        }
        Self {
            seed,
            rng,
            options,
            api: Api::new(&server.url),
            server: Some(server),
            generator,
            events: Events::default(),
            sent: Vec::new(),
            meters: Vec::new(),
            meters_made: 0,
            position: String::new(),
            asked: Vec::new(),
            tally: Tally::default(),
        }
    }

    async fn play(mut self) -> Tally {
        self.make_meter().await;
        for _ in 0..STEPS {
            match self.rng.random_range(0..24) {
                0..12 => self.send_events().await,
                12..15 => self.make_meter().await,
                15 | 16 => self.change_meter().await,
                17 => self.delete_meter().await,
                18 => self.restart(),
                // Long enough for the quicker settings to flush, and sometimes to merge.
                19..22 => tokio::time::sleep(Duration::from_millis(60)).await,
                _ => tokio::time::sleep(Duration::from_millis(400)).await,
            }
            for _ in 0..QUERIES_A_STEP {
                self.ask().await;
            }
            self.ask_again().await;
        }
        let data = self.options.data.clone();
        let listing = tokio::task::spawn_blocking(move || maintenance::until_quiet(&data)).await.unwrap();
        self.tally.merged += listing.iter().filter(|segment| segment.level > 0).count();
        for _ in 0..QUERIES_AT_THE_END {
            self.ask().await;
        }
        let asked = std::mem::take(&mut self.asked);
        for asked in asked.choose_multiple(&mut self.rng, AGAIN_AT_THE_END) {
            self.check_again(asked).await;
        }
        if let Some(server) = self.server.take() {
            server.stop();
        }
        maintenance::check(&self.options.data);
        self.tally
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
            if self.meters.iter().all(|living| living.meter.slug != slug) {
                break slug;
            }
        };
        let meter = meters::meter(&mut self.rng, &slug, &self.generator.times);
        let id = self.api.create_meter(&meter).await.text("id").to_owned();
        self.meters.push(Living { meter, id });
        self.meters_made += 1;
    }

    /// Another group-by, for all events, from now on; sometimes the same one again.
    async fn change_meter(&mut self) {
        let index = self.rng.random_range(0..self.meters.len());
        let mut living = self.meters[index].clone();
        if self.rng.random_bool(0.8) {
            living.meter.group_by = meters::group_by(&mut self.rng, &living.meter);
        }
        let name = if self.rng.random_bool(0.5) { &living.id } else { &living.meter.slug };
        let changed = self.api.update_meter(name, &living.meter).await;
        assert_eq!(changed.text("id"), living.id, "a changed meter stays the same meter");
        self.meters[index] = living;
    }

    async fn delete_meter(&mut self) {
        if self.meters.len() < 2 {
            return;
        }
        let living = self.meters.remove(self.rng.random_range(0..self.meters.len()));
        self.api.delete(&format!("/api/v1/meters/{}", living.meter.slug)).await.expect(204);
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
}
