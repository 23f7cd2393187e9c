//! The clients of the soak. Each sends batch after batch at its share of the rate, the same batch until it is
//! taken, and keeps a tally by hour of what must come out. An asker compares answers with the tallies while
//! all this goes on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use weir_tests::generate::Rng8;
use weir_tests::http::{Api, BATCH, rows};
use weir_tests::plain::rfc3339;

/// 2026-06-01T00:00:00Z
const JUNE: i64 = 1_780_272_000;
const BATCH_EVENTS: u64 = 100;
const SUBJECTS: u64 = 50;
const MODELS: u64 = 7;
/// Events of one client in a minute of event time; so time goes on as load does.
const EVENTS_PER_MINUTE: u64 = 2_000;
const RETRY: Duration = Duration::from_millis(50);
/// One batch in so many is sent once more, though it was taken.
const AGAIN_ONE_IN: u32 = 50;
const ASK_EVERY: Duration = Duration::from_millis(700);

/// Events a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) peak: f64,
    pub(super) wanted: f64,
}

/// What was sent and how it went, for the report.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unanswered: AtomicU64,
    /// While the server was being started again.
    pub(super) nobody: AtomicU64,
}

/// Events and their sum.
type Total = (u64, u128);

/// Of one client. Its batches are numbered, and taken in their order.
#[derive(Debug, Default)]
struct Book {
    /// Batches that were taken; what has been begun beyond it is one at most.
    taken: AtomicU64,
    begun: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Clients {
    books: Vec<Book>,
    pub(super) counts: Counts,
    stopped: AtomicBool,
    /// Microseconds between the batches of one client.
    pause_us: AtomicU64,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Clients {
    pub(super) fn start(clients: u64, seed: u64, server: &watch::Receiver<Option<Api>>) -> Arc<Self> {
        let all = Arc::new(Self {
            books: (0..clients).map(|_| Book::default()).collect(),
            counts: Counts::default(),
            stopped: AtomicBool::new(false),
            pause_us: AtomicU64::new(0),
            tasks: Mutex::default(),
        });
        let tasks = (0..clients).map(|client| {
            let rng = Rng8::seed_from_u64(seed * 1_000 + client);
            tokio::spawn(send(Arc::clone(&all), client, rng, server.clone()))
        });
        *all.tasks.lock().unwrap() = tasks.collect();
        all
    }

    pub(super) fn set_rate(&self, events_per_s: f64) {
        let pause_s = (BATCH_EVENTS * self.books.len() as u64) as f64 / events_per_s;
        self.pause_us.store((pause_s * 1e6) as u64, Ordering::Relaxed);
    }

    /// Events that were acknowledged.
    pub(super) fn events(&self) -> u64 {
        self.books.iter().map(|book| book.taken.load(Ordering::SeqCst)).sum::<u64>() * BATCH_EVENTS
    }

    /// Asks everybody to finish the batch it is at, and nothing more.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// What must come out, once everybody has stopped.
    pub(super) async fn tally(&self, limit: Duration) -> Tally {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        for task in tasks {
            timeout(limit, task).await.expect("the last batches are taken in time").unwrap();
        }
        Tally(self.books.iter().map(|book| book.taken.load(Ordering::SeqCst)).collect())
    }

    /// Batches of each client: those taken, or those begun.
    fn batches(&self, of: impl Fn(&Book) -> &AtomicU64) -> Vec<u64> {
        self.books.iter().map(|book| of(book).load(Ordering::SeqCst)).collect()
    }

    /// Compares answers with the books until the clients stop; returns how many.
    pub(super) fn ask_again_and_again(
        self: &Arc<Self>,
        server: &watch::Receiver<Option<Api>>,
    ) -> JoinHandle<u64> {
        let (all, server) = (Arc::clone(self), server.clone());
        tokio::spawn(async move {
            let mut compared = 0;
            while !all.stopped.load(Ordering::SeqCst) {
                let api = server.borrow().clone().expect("there is a server");
                compared += u64::from(all.compare(&api).await);
                sleep(ASK_EVERY).await;
            }
            compared
        })
    }

    /// Whether there was an answer. It must have what was taken before it was asked for, and nothing that had
    /// not been sent when it came.
    async fn compare(&self, api: &Api) -> bool {
        let taken = self.batches(|book| &book.taken);
        let Ok(position) = api.try_send(Method::GET, "/api/v1/position", &[], Vec::new()).await else {
            return false;
        };
        if position.status != 200 {
            return false;
        }
        let position = position.json().text("position").to_owned();
        let headers = [("weir-position", position.as_str())];
        let path = "/api/v1/meters/count/query?groupBy=client";
        let Ok(reply) = api.try_send(Method::GET, path, &headers, Vec::new()).await else { return false };
        if [503, 504].contains(&reply.status) {
            return false;
        }
        let reply = reply.expect(200);
        let begun = self.batches(|book| &book.begun);
        let counted: BTreeMap<String, u64> = rows(&reply)
            .into_iter()
            .map(|row| (row.group_by["client"].clone(), row.value.parse().unwrap()))
            .collect();
        for (client, (taken, begun)) in taken.iter().zip(&begun).enumerate() {
            let counted = counted.get(&format!("c{client}")).copied().unwrap_or(0);
            assert!(
                counted >= taken * BATCH_EVENTS,
                "client {client}: {counted} events count, {taken} batches were taken"
            );
            assert!(
                counted <= begun * BATCH_EVENTS,
                "client {client}: {counted} events count, {begun} batches were sent"
            );
        }
        true
    }
}

/// The minute that a client's event lies in, and its value.
fn of_event(number: u64) -> (i64, u64) {
    (JUNE + (number / EVENTS_PER_MINUTE) as i64 * 60, number % 1_000)
}

fn batch(client: u64, batch: u64) -> String {
    let mut text = String::from("[");
    for number in batch * BATCH_EVENTS..(batch + 1) * BATCH_EVENTS {
        let (minute, value) = of_event(number);
        let comma = if text.len() > 1 { "," } else { "" };
        write!(
            text,
            r#"{comma}{{"specversion":"1.0","id":"c{client}-{number}","source":"soak","type":"request","subject":"s{}","time":"{}","data":{{"client":"c{client}","model":"m{}","value":"{value}"}}}}"#,
            number % SUBJECTS,
            rfc3339(minute + (number % 60) as i64),
            number % MODELS,
        )
        .unwrap();
    }
    text.push(']');
    text
}

async fn send(all: Arc<Clients>, client: u64, mut rng: Rng8, server: watch::Receiver<Option<Api>>) {
    let book = &all.books[client as usize];
    let mut due = Instant::now();
    for number in 0.. {
        if all.stopped.load(Ordering::SeqCst) {
            return;
        }
        let body = batch(client, number);
        book.begun.fetch_add(1, Ordering::SeqCst);
        until_taken(&all, &server, &body).await;
        book.taken.fetch_add(1, Ordering::SeqCst);
        if rng.random_ratio(1, AGAIN_ONE_IN) {
            until_taken(&all, &server, &body).await;
        }
        let pause = Duration::from_micros(all.pause_us.load(Ordering::Relaxed));
        // What could not be sent during a fault is not made up for all at once.
        due = (due + pause).max(Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or(due));
        tokio::time::sleep_until(due).await;
    }
}

async fn until_taken(all: &Clients, server: &watch::Receiver<Option<Api>>, body: &str) {
    loop {
        let api = server.borrow().clone().expect("there is a server");
        all.counts.requests.fetch_add(1, Ordering::Relaxed);
        match api.try_send(Method::POST, "/api/v1/events", &[("content-type", BATCH)], body.into()).await {
            Ok(reply) if reply.status == 204 => return,
            Ok(reply) => {
                assert_eq!(reply.status, 503, "a batch was refused: {}", reply.body);
                all.counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.is_connect() => {
                all.counts.nobody.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                all.counts.unanswered.fetch_add(1, Ordering::Relaxed);
            }
        }
        sleep(RETRY).await;
    }
}

/// How many batches of each client there are.
#[derive(Clone, Debug)]
pub(super) struct Tally(Vec<u64>);

impl Tally {
    pub(super) fn events(&self) -> u64 {
        self.0.iter().sum::<u64>() * BATCH_EVENTS
    }

    /// Events and their sum, by client and hour.
    fn by_hour(&self) -> BTreeMap<(String, i64), Total> {
        let mut totals: BTreeMap<(String, i64), Total> = BTreeMap::new();
        for (client, batches) in self.0.iter().enumerate() {
            for number in 0..batches * BATCH_EVENTS {
                let (minute, value) = of_event(number);
                let total = totals.entry((format!("c{client}"), minute / 3_600 * 3_600)).or_default();
                *total = (total.0 + 1, total.1 + u128::from(value));
            }
        }
        totals
    }

    /// Fails unless all meters say exactly this.
    pub(super) async fn expect_exact(&self, api: &Api) {
        let wanted = self.by_hour();
        let position = api.position().await;
        for slug in ["count", "sum"] {
            let path = format!("/api/v1/meters/{slug}/query?windowSize=HOUR&groupBy=client");
            let reply = api.get_at(&path, &position).await.expect(200);
            let found: BTreeMap<(String, i64), u128> = rows(&reply)
                .into_iter()
                .map(|row| ((row.group_by["client"].clone(), row.window_start), row.value.parse().unwrap()))
                .collect();
            let wanted: BTreeMap<_, u128> = wanted
                .iter()
                .map(|(key, (count, sum))| {
                    (key.clone(), if slug == "sum" { *sum } else { u128::from(*count) })
                })
                .collect();
            assert_eq!(found, wanted, "{slug}");
        }
        let all: u128 = wanted.values().map(|total| total.1).sum();
        let reply = api.get_at("/api/v1/meters/models_sum/query?groupBy=model", &position).await.expect(200);
        let by_model: u128 = rows(&reply).iter().map(|row| row.value.parse::<u128>().unwrap()).sum();
        assert_eq!(by_model, all);
        let reply = api.get_at("/api/v1/meters/models/query?groupBy=client", &position).await.expect(200);
        assert!(rows(&reply).iter().all(|row| row.value == MODELS.to_string()), "{}", reply.body);
    }
}
