//! The server is killed again and again, at random and in the middle of each thing it does, while four
//! clients send and send again and meters come and go. Whatever was acknowledged counts exactly once;
//! whatever was not counts once or not at all. Which thing a kill hit is read afterwards from a file that
//! the server marks, and the test fails if one of them was never hit: then it has not tested what it says.
//!
//! `WEIR_CRASH_KILLS` says how many kills there are, on one partition and on three.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use num_bigint::BigUint;
use rand::seq::IteratorRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use weir_tests::generate::Rng8;
use weir_tests::http::{self, Api};
use weir_tests::maintenance;
use weir_tests::reference::{Aggregation, Meter, Query};
use weir_tests::server::{Options, Server};
use weir_tests::workload::{Outcome, send_until_taken};

use crate::settings;

const KILLS: u32 = 9;
/// Kills beyond the number asked for, to hit what has not been hit yet.
const KILLS_EXTRA_MAX: u32 = 40;
const CLIENTS: u64 = 4;
const BATCH_EVENTS_MAX: u32 = 20;
/// Milliseconds that a server lives before it is killed or aimed at.
const LIFE: std::ops::Range<u64> = 150..1_000;
/// Milliseconds between a client's batches: every check looks at all that were ever sent.
const PAUSE: std::ops::Range<u64> = 0..50;
/// Of the meters that are made on the way, so many live at once.
const LATER_METERS_MAX: usize = 4;
const AIM_LIMIT: Duration = Duration::from_secs(10);
const RUN_LIMIT: Duration = Duration::from_secs(900);

/// What the server marks: the lane (place in the file), the number, the name.
const PHASES: [(usize, u8, &str); 8] = [
    (0, 1, "append"),
    (0, 2, "sync"),
    (1, 3, "flush"),
    (1, 4, "commit"),
    (1, 5, "cut"),
    (2, 6, "merge"),
    (2, 7, "refold"),
    (2, 8, "swap"),
];

/// What became of each batch, by its name. A batch of n events holds the values 4^0 to 4^(n-1), so
/// that its sum tells of each event how often it counts.
type Ledger = BTreeMap<String, (u32, Outcome)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_counts_once_through_kills() {
    kill_again_and_again(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_counts_once_through_kills_on_three_partitions() {
    kill_again_and_again(3).await;
}

async fn kill_again_and_again(partitions: u32) {
    let kills = settings::number("WEIR_CRASH_KILLS", KILLS);
    let seed = settings::number("WEIR_TEST_SEED", 7);
    println!("crash: seed {seed}, {partitions} partitions");
    let folder = tempfile::tempdir().unwrap();
    let mut rng = Rng8::seed_from_u64(seed);
    let partitions = partitions.to_string();
    let flags = [
        ["--flush-interval", "200ms"],
        ["--flush-events", "500"],
        ["--compaction-fanout", "2"],
        ["--partitions", &partitions],
    ];
    let mut options = Options::new(&folder.path().join("data"), flags.as_flattened());
    let phase_file = folder.path().join("phase");
    options.phase_file = Some(phase_file.clone());

    let mut server = options.start();
    let api = Api::new(&server.url);
    for meter in meters() {
        api.create_meter(&meter).await;
    }
    let (address, watched) = watch::channel(Some(api.clone()));
    let (stop, stopped) = watch::channel(false);
    let ledger = Arc::new(Mutex::new(Ledger::new()));
    let deadline = Instant::now() + RUN_LIMIT;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let rng = Rng8::seed_from_u64(seed * 1_000 + client);
            let (watched, stopped) = (watched.clone(), stopped.clone());
            tokio::spawn(send_batches(client, rng, watched, stopped, Arc::clone(&ledger), deadline))
        })
        .collect();

    // Meters that come after events of theirs, so that these are folded again.
    let mut later: VecDeque<Meter> = VecDeque::new();
    let mut hits = BTreeMap::new();
    let mut killed = 0;
    while killed < kills || (missed(&hits).is_some() && killed < kills + KILLS_EXTRA_MAX) {
        // Every other kill waits for a phase, one not yet hit if there is one.
        let aimed = (killed % 2 == 1 || killed >= kills).then(|| {
            let any = PHASES[rng.random_range(0..PHASES.len())];
            missed(&hits).unwrap_or(any)
        });
        sleep(Duration::from_millis(rng.random_range(LIFE))).await;
        kill(server, &phase_file, aimed).await;
        address.send_replace(None);
        killed += 1;
        note_hits(&phase_file, &mut hits);

        let acknowledged = ledger.lock().unwrap().clone();
        server = options.start();
        let api = Api::new(&server.url);
        address.send_replace(Some(api.clone()));
        check(&api, "bits", &acknowledged).await;
        if let Some(meter) = later.iter().choose(&mut rng) {
            check(&api, &meter.slug, &acknowledged).await;
        }
        let meter = Meter { slug: format!("later_{killed}"), ..meters()[0].clone() };
        api.create_meter(&meter).await;
        later.push_back(meter);
        if later.len() > LATER_METERS_MAX {
            let meter = later.pop_front().unwrap();
            api.delete(&format!("/api/v1/meters/{}", meter.slug)).await.expect(204);
        }
        assert!(Instant::now() < deadline, "out of time after {killed} kills");
    }
    stop.send_replace(true);
    for client in clients {
        client.await.unwrap();
    }
    let ledger = ledger.lock().unwrap().clone();
    check_at_the_end(&Api::new(&server.url), &later, &ledger).await;
    server.stop();
    let server = options.start();
    check_at_the_end(&Api::new(&server.url), &later, &ledger).await;
    server.stop();
    maintenance::check(&options.data);

    let unclear = ledger.values().filter(|(_, outcome)| *outcome == Outcome::Unclear).count();
    println!("crash: {killed} kills, {} batches, {unclear} of them unclear; hits {hits:?}", ledger.len());
    if let Some((_, _, name)) = missed(&hits) {
        panic!("no kill of {killed} hit the phase {name:?}: {hits:?}");
    }
}

fn meters() -> [Meter; 3] {
    let meter = |slug: &str, aggregation, property: Option<&str>| Meter {
        slug: slug.to_owned(),
        event_type: "t".to_owned(),
        aggregation,
        value_property: property.map(str::to_owned),
        group_by: BTreeMap::from([("batch".to_owned(), "$.batch".to_owned())]),
        event_from: None,
    };
    [
        meter("bits", Aggregation::Sum, Some("$.bit")),
        meter("events", Aggregation::Count, None),
        meter("ids", Aggregation::UniqueCount, Some("$.id")),
    ]
}

/// One client: batch after batch, each of them until it is taken; some are given up on when an answer
/// stays unclear.
async fn send_batches(
    client: u64,
    mut rng: Rng8,
    server: watch::Receiver<Option<Api>>,
    stopped: watch::Receiver<bool>,
    ledger: Arc<Mutex<Ledger>>,
    deadline: Instant,
) {
    for number in 0.. {
        if *stopped.borrow() {
            return;
        }
        let name = format!("{client}-{number}");
        let events = rng.random_range(1..=BATCH_EVENTS_MAX);
        let minute = rng.random_range(0..120) * 60;
        let batch: Vec<String> = (0..events).map(|n| event(&name, n, minute)).collect();
        let batch = format!("[{}]", batch.join(","));
        let patience = rng.random_bool(0.5).then_some(1);
        let outcome = send_until_taken(&server, &batch, patience, deadline).await;
        if outcome == Outcome::Taken && rng.random_bool(0.1) {
            // What some clients do for no reason at all.
            send_until_taken(&server, &batch, None, deadline).await;
        }
        ledger.lock().unwrap().insert(name, (events, outcome));
        sleep(Duration::from_millis(rng.random_range(PAUSE))).await;
    }
}

fn event(batch: &str, number: u32, minute: i64) -> String {
    let time = chrono::DateTime::from_timestamp(1_794_960_000 + minute + i64::from(number), 0).unwrap();
    format!(
        r#"{{"specversion":"1.0","id":"{batch}-{number}","source":"crash","type":"t","subject":"s{}","time":"{}","data":{{"batch":"{batch}","bit":"{}","id":{number}}}}}"#,
        number % 3,
        time.to_rfc3339(),
        four_to_the(number),
    )
}

fn four_to_the(exponent: u32) -> BigUint {
    BigUint::from(4_u32).pow(exponent)
}

/// Compares what a meter of bits says with the ledger, and returns its sums. Before the end there are
/// batches on their way that the ledger does not know; of those, and of unclear ones, each event counts
/// once at most.
async fn check(api: &Api, slug: &str, ledger: &Ledger) -> BTreeMap<String, BigUint> {
    let position = api.position().await;
    let sums = by_batch(api, slug, &position).await;
    for (name, (events, outcome)) in ledger {
        let sum = sums.get(name).cloned().unwrap_or_default();
        let whole: BigUint = (0..*events).map(four_to_the).sum();
        if *outcome == Outcome::Taken && sum != whole {
            panic!(
                "batch {name} of {events} events was acknowledged; in base 4 {slug} says {}",
                sum.to_str_radix(4)
            );
        }
    }
    for (name, sum) in &sums {
        let digits = sum.to_radix_le(4);
        let twice = digits.iter().any(|digit| *digit > 1);
        assert!(!twice, "an event of batch {name} counts twice in {slug}: {digits:?}");
    }
    sums
}

/// Once nobody sends any more all meters must have seen the same events, whenever they were made.
async fn check_at_the_end(api: &Api, later: &VecDeque<Meter>, ledger: &Ledger) {
    let sums = check(api, "bits", ledger).await;
    assert!(sums.keys().all(|name| ledger.contains_key(name)), "nobody sent some of these batches");
    for meter in later {
        assert_eq!(check(api, &meter.slug, ledger).await, sums, "{}", meter.slug);
    }
    let ones = |sum: &BigUint| BigUint::from(sum.to_radix_le(4).iter().filter(|digit| **digit == 1).count());
    let events: BTreeMap<_, _> = sums.iter().map(|(name, sum)| (name.clone(), ones(sum))).collect();
    let position = api.position().await;
    assert_eq!(by_batch(api, "events", &position).await, events);
    assert_eq!(by_batch(api, "ids", &position).await, events);
}

/// The value of each batch.
async fn by_batch(api: &Api, slug: &str, position: &str) -> BTreeMap<String, BigUint> {
    let query = Query { group_by: vec!["batch".to_owned()], ..Query::default() };
    let reply = api.get_at(&http::query_path(slug, &query), position).await.expect(200);
    http::rows(&reply)
        .into_iter()
        .map(|row| (row.group_by["batch"].clone(), row.value.parse().expect("a whole number")))
        .collect()
}

/// Kills the server, if aimed as soon as it is seen in the phase; or after a while, if it never is.
async fn kill(server: Server, file: &Path, aimed: Option<(usize, u8, &'static str)>) {
    let file = File::open(file).unwrap();
    let until = Instant::now() + AIM_LIMIT;
    let seen =
        move || aimed.is_none_or(|(lane, number, _)| marks(&file)[lane] == number || Instant::now() > until);
    tokio::task::spawn_blocking(|| server.kill_when(seen)).await.unwrap();
}

fn marks(file: &File) -> [u8; 3] {
    let mut marks = [0; 3];
    // A file that is just being made is shorter.
    let _ = file.read_at(&mut marks, 0);
    marks
}

/// The phases that the killed server was in.
fn note_hits(file: &Path, hits: &mut BTreeMap<&'static str, u32>) {
    let marks = marks(&File::open(file).unwrap());
    let mut idle = true;
    for (lane, number, name) in PHASES {
        if marks[lane] == number {
            *hits.entry(name).or_insert(0) += 1;
            idle = false;
        }
    }
    if idle {
        *hits.entry("between").or_insert(0) += 1;
    }
}

/// A phase that no kill has hit.
fn missed(hits: &BTreeMap<&'static str, u32>) -> Option<(usize, u8, &'static str)> {
    PHASES.into_iter().find(|(_, _, name)| !hits.contains_key(name))
}
