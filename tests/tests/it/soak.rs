//! The soak: a server under load for a long time, at a share of what it can take, while faults from a seed
//! befall it. Kills, restarts, bad input, slow clients, heavy questions. All the while every answer must lie
//! between what was acknowledged and what was sent, at the end it must be exact, and memory, open files,
//! freshness and listed segments must not grow. The short form runs with the other tests and shows that all of this works;
//! `just soak MINUTES` is the long one. The environment says more:
//!
//! `WEIR_SOAK_SECONDS` how long; `WEIR_SOAK_SHARE` percent of the measured peak; `WEIR_SOAK_EVENTS_MAX` events
//! at most, which lowers the rate; `WEIR_SOAK_CSV` where the samples go; `WEIR_TEST_SEED` the faults.

mod clients;
mod faults;
mod samples;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use weir_tests::generate::Rng8;
use weir_tests::http::Api;
use weir_tests::maintenance::path;
use weir_tests::plain::meter;
use weir_tests::process::{Metrics, TELEMETRY};
use weir_tests::reference::Aggregation;
use weir_tests::server::{Options, Server, run_within};

use crate::settings;
use clients::{Clients, Rate};
use faults::Fault;
use samples::Samples;

const SECONDS: u64 = 6;
/// Percent of the measured peak.
const SHARE: u64 = 70;
/// What an hour of it should leave on a disk of ordinary size.
const EVENTS_MAX: u64 = 60_000_000;
const CLIENTS: u64 = 4;
const WARM_UP_MAX: Duration = Duration::from_secs(60);
/// Between samples; a short soak takes them closer.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Between faults, on average; a short soak has them closer.
const FAULT_EVERY: Duration = Duration::from_secs(25);
/// For the check of the folder at the end, besides twice the time of the soak.
const CHECK_LIMIT: Duration = Duration::from_secs(120);
/// From here on the verdict speaks about growth.
const VERDICT_FROM: Duration = Duration::from_secs(600);
const FLAGS: [&str; 8] = [
    "--flush-interval",
    "5s",
    "--compaction-fanout",
    "4",
    "--query-deadline",
    "10s",
    "--segments-kept-for",
    "20s",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak() {
    let duration = Duration::from_secs(settings::number("WEIR_SOAK_SECONDS", SECONDS));
    let seed = settings::number("WEIR_TEST_SEED", 7);
    let mut rng = Rng8::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let options = Options::new(&data, &[&FLAGS[..], &TELEMETRY].concat());
    let mut server = options.start();
    let api = Api::new(&server.url);
    for meter in meters() {
        api.create_meter(&meter).await;
    }

    let (address, watched) = watch::channel(Some(api));
    let clients = Clients::start(CLIENTS, seed, &watched);
    let rate = set_rate(&clients, &server, duration).await;
    println!(
        "soak: seed {seed}, {} s, peak {:.0} events/s, going at {:.0}",
        duration.as_secs(),
        rate.peak,
        rate.wanted
    );

    let begun = Instant::now();
    let asker = clients.ask_again_and_again(&watched);
    let mut samples = Samples::new(begun);
    let sample_every = SAMPLE_EVERY.min(duration / 8);
    let fault_every = FAULT_EVERY.min(duration / 6);
    let (mut next_sample, mut next_fault) = (begun + sample_every, begun + fault_every);
    let mut faults = Vec::new();
    while begun.elapsed() < duration {
        sleep(next_sample.min(next_fault).saturating_duration_since(Instant::now())).await;
        if Instant::now() >= next_sample {
            samples.take(&server, &data, &clients).await;
            next_sample += sample_every;
        }
        if Instant::now() >= next_fault {
            let fault = Fault::draw(&mut rng, faults.len());
            server = befall(fault, server, &options, &address, &mut rng).await;
            samples.fault(fault);
            faults.push(fault);
            next_fault = Instant::now() + fault_every.mul_f64(rng.random_range(0.5..1.5));
        }
    }
    // Everything that was begun is brought to its end, so that the totals are exact.
    clients.stop();
    let tally = clients.tally(Duration::from_secs(60)).await;
    let asked = asker.await.unwrap();
    tally.expect_exact(&Api::new(&server.url)).await;
    samples.take(&server, &data, &clients).await;
    spawn_blocking(|| server.stop()).await.unwrap();
    let server = options.start();
    tally.expect_exact(&Api::new(&server.url)).await;
    server.stop();
    if let Some(file) = std::env::var_os("WEIR_SOAK_CSV") {
        samples.write(file.as_ref());
    }
    println!(
        "soak: {} events acknowledged in {} requests, {} refusals, {} without an answer, {} with nobody there; {asked} answers \
         compared; faults: {faults:?}",
        tally.events(),
        clients.counts.requests.load(Ordering::Relaxed),
        clients.counts.refused.load(Ordering::Relaxed),
        clients.counts.unanswered.load(Ordering::Relaxed),
        clients.counts.nobody.load(Ordering::Relaxed),
    );
    println!("soak: nothing lost, nothing twice, totals exact, also after a restart");
    let growth = samples.growth();
    print!("{growth}");
    // It reads everything there is, twice.
    let (limit, args) =
        (CHECK_LIMIT + duration * 2, ["check".to_owned(), path(&data), "--windows".to_owned()]);
    let checked = spawn_blocking(move || run_within(limit, &[], &args.each_ref().map(String::as_str)));
    let checked = checked.await.unwrap();
    assert!(checked.status.success(), "{}{}", checked.status, String::from_utf8_lossy(&checked.stdout));
    println!("soak: the folder is sound");
    if duration >= VERDICT_FROM {
        growth.expect_flat();
    }
}

fn meters() -> [weir_tests::reference::Meter; 4] {
    let by_client = [("client", "$.client")];
    let mut models = meter("models", Aggregation::UniqueCount, &by_client);
    models.value_property = Some("$.model".to_owned());
    [
        meter("count", Aggregation::Count, &by_client),
        meter("sum", Aggregation::Sum, &by_client),
        meter("models_sum", Aggregation::Sum, &[("model", "$.model")]),
        models,
    ]
}

/// Measures how fast events get into answers while nothing hinders the clients, for long enough that flushes
/// and merges have begun, and sets the clients to their share of it. What is acknowledged faster than it
/// is folded waits in the log, and cannot go on.
async fn set_rate(clients: &Arc<Clients>, server: &Server, duration: Duration) -> Rate {
    let warm_up = (duration / 10).min(WARM_UP_MAX);
    sleep(warm_up / 3).await;
    let (before, begun) = (folded(server).await, Instant::now());
    sleep(warm_up).await;
    let peak = (folded(server).await - before) / begun.elapsed().as_secs_f64();
    let share = settings::number("WEIR_SOAK_SHARE", SHARE) as f64 / 100.0;
    let most = settings::number("WEIR_SOAK_EVENTS_MAX", EVENTS_MAX) as f64 / duration.as_secs_f64();
    let rate = Rate { peak, wanted: (peak * share).min(most) };
    clients.set_rate(rate.wanted);
    rate
}

async fn folded(server: &Server) -> f64 {
    Metrics::of(server).await.sum("weir_aggregator_records_total", "")
}

/// Lets a fault happen; returns the server that is there afterwards.
async fn befall(
    fault: Fault,
    server: Server,
    options: &Options,
    address: &watch::Sender<Option<Api>>,
    rng: &mut Rng8,
) -> Server {
    match fault {
        Fault::Kill | Fault::Restart => {
            let options = options.clone();
            let restarted = spawn_blocking(move || {
                if fault == Fault::Kill {
                    server.kill()
                } else {
                    server.stop()
                }
                options.start()
            });
            let server = restarted.await.unwrap();
            address.send_replace(Some(Api::new(&server.url)));
            server
        }
        Fault::BadInput => {
            faults::send_bad_input(&Api::new(&server.url), rng).await;
            server
        }
        Fault::SlowClients => {
            faults::dawdle(&server.url, rng).await;
            server
        }
        Fault::HeavyQuestions => {
            faults::ask_for_much(&Api::new(&server.url)).await;
            server
        }
    }
}
