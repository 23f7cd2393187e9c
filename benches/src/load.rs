//! The load generator. A *sender* is one connection with bodies of its own; it sends one request at a time,
//! as fast as they are answered, or at the times of a schedule whether or not the server keeps up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::Instant;

use crate::calendar::{Seconds, now};
use crate::corpus::{Form, Stamp, Template};
use crate::draw::{Draw, mix};
use crate::process::own_cpu_s;
use crate::wire::{Grpc, Outcome, Wire};
use crate::{Fail, because};

/// Events prepared over all senders: more than twice the subjects, and within a cache's reach.
const PREPARED_EVENTS: usize = 25_600;
/// Bodies of one sender at least; between them it rotates.
const TEMPLATES_MIN: usize = 4;
/// One request in so many is an older one of the same sender once more, byte for byte: 0.5 % duplicates.
const REPEATED_ONE_IN: u64 = 200;
/// After a refusal. The server asks for a second; the generator is less patient, and counts.
const REFUSED_WAIT: Duration = Duration::from_millis(20);
/// A server that refuses for as long does not work.
const REFUSED_LIMIT: Duration = Duration::from_secs(30);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub form: Form,
    pub senders: usize,
    pub subjects: u32,
}

/// When to send.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// The next request as soon as the last one is answered.
    FlatOut,
    /// So many events a second over all senders. Latencies count from the time in the schedule, so a
    /// server that falls behind cannot hide it.
    EventsPerSecond(f64),
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Elapsed(Duration),
    /// So many events, over all senders.
    Events(u64),
}

/// What was sent and how it went.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub requests: u64,
    /// With those sent twice.
    pub events: u64,
    pub body_bytes: u64,
    pub refused: u64,
    pub seconds: f64,
    /// The generator's share of its core. Above 0.95 it may be what was measured.
    pub generator_busy: f64,
    /// Of all requests, sorted, in microseconds.
    pub latencies_us: Vec<u32>,
}

impl Sent {
    pub fn events_per_s(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    pub fn percentile_us(&self, percent: f64) -> f64 {
        percentile(&self.latencies_us, percent)
    }
}

/// Of sorted values.
pub fn percentile(sorted: &[u32], percent: f64) -> f64 {
    let at = ((sorted.len() as f64 * percent / 100.0).ceil() as usize).max(1) - 1;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().map_or(f64::NAN, f64::from)
}

/// The senders of one server, with a tally of all that they sent it.
#[derive(Debug)]
pub struct Generator {
    load: Load,
    senders: Vec<Sender>,
}

#[derive(Debug)]
pub struct Sender {
    pub(crate) templates: Vec<Template>,
    /// How often each template was sent, not counting repetitions.
    pub(crate) sent: Vec<u64>,
    pub(crate) stamp: Stamp,
    next: usize,
    requests: u64,
    /// An older request, and the length of its body.
    kept: Option<(Vec<u8>, usize)>,
}

impl Generator {
    /// Prepares all bodies. No two generators send the same ids.
    pub fn new(load: Load) -> Self {
        let (now_s, micros) = now();
        let seconds = Arc::new(Seconds::around(now_s));
        let seed = mix(now_s as u64) ^ mix(u64::from(micros) << 32);
        let templates = (PREPARED_EVENTS / (load.senders * load.form.events()).max(1)).max(TEMPLATES_MIN);
        let sender = |n: usize| {
            let mut draw = Draw::new(mix(seed ^ mix(n as u64 + 1)));
            Sender {
                templates: (0..templates)
                    .map(|_| Template::draw(load.form, &mut draw, load.subjects))
                    .collect(),
                sent: vec![0; templates],
                stamp: Stamp::new(draw, Arc::clone(&seconds)),
                next: 0,
                requests: 0,
                kept: None,
            }
        };
        Self { load, senders: (0..load.senders).map(sender).collect() }
    }

    pub fn senders(&self) -> &[Sender] {
        &self.senders
    }

    /// Sends until told to stop, and returns once all is answered.
    pub async fn run(&mut self, address: SocketAddr, pace: Pace, until: Until) -> Result<Sent, Fail> {
        let channels = match self.load.form {
            Form::Proto(_) => {
                let connections = self.load.senders.div_ceil(4);
                try_join_all((0..connections).map(|_| Grpc::connect(address))).await?
            }
            Form::Single | Form::Batch(_) => Vec::new(),
        };
        let mut wires = Vec::new();
        for n in 0..self.load.senders {
            let channel = (!channels.is_empty()).then(|| &channels[n % channels.len()]);
            wires.push(Wire::open(address, channel).await?);
        }

        let (start, cpu) = (Instant::now(), own_cpu_s());
        let senders = self.load.senders as u32;
        let tasks =
            std::mem::take(&mut self.senders).into_iter().zip(wires).zip(0..).map(|((sender, wire), n)| {
                let schedule = match pace {
                    Pace::FlatOut => None,
                    Pace::EventsPerSecond(rate) => {
                        let every = Duration::from_secs_f64(self.load.form.events() as f64 / rate);
                        Some((start + every * n, every * senders))
                    }
                };
                let requests_max = match until {
                    Until::Elapsed(_) => u64::MAX,
                    Until::Events(events) => {
                        events.div_ceil(self.load.form.events() as u64 * u64::from(senders))
                    }
                };
                let end = match until {
                    Until::Elapsed(duration) => Some(start + duration),
                    Until::Events(_) => None,
                };
                let task = sender.run(wire, schedule, requests_max, end);
                async { tokio::spawn(task).await? }
            });
        let mut total = Sent::default();
        for (sender, sent) in try_join_all(tasks).await? {
            self.senders.push(sender);
            total.requests += sent.requests;
            total.events += sent.events;
            total.body_bytes += sent.body_bytes;
            total.refused += sent.refused;
            total.latencies_us.extend(sent.latencies_us);
        }
        total.seconds = start.elapsed().as_secs_f64();
        total.generator_busy = (own_cpu_s() - cpu) / total.seconds;
        total.latencies_us.sort_unstable();
        Ok(total)
    }
}

impl Sender {
    async fn run(
        mut self,
        mut wire: Wire,
        schedule: Option<(Instant, Duration)>,
        requests_max: u64,
        end: Option<Instant>,
    ) -> Result<(Self, Sent), Fail> {
        let mut sent = Sent::default();
        let mut due = schedule.map(|(first, _)| first);
        while sent.requests < requests_max {
            let begin = match (due, schedule) {
                (Some(at), Some((_, every))) => {
                    // A timer's step is a millisecond; a core of our own can look at the clock instead.
                    while Instant::now() < at {
                        tokio::task::yield_now().await;
                    }
                    due = Some(at + every);
                    at
                }
                _ => Instant::now(),
            };
            if end.is_some_and(|end| begin >= end) {
                break;
            }
            let template = self.prepare();
            let (request, body_bytes) = self.request(template);
            let events = self.templates[template].facts.len() as u64;
            let mut refused_since = None;
            while wire.send(request).await? == Outcome::Refused {
                sent.refused += 1;
                if refused_since.get_or_insert_with(Instant::now).elapsed() > REFUSED_LIMIT {
                    return Err(because("the server refuses everything"));
                }
                tokio::time::sleep(REFUSED_WAIT).await;
            }
            let micros = u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX);
            sent.latencies_us.push(micros);
            sent.requests += 1;
            sent.events += events;
            sent.body_bytes += body_bytes as u64;
        }
        Ok((self, sent))
    }

    /// The bytes that are due, and how many of them are the body.
    fn request(&self, template: usize) -> (&[u8], usize) {
        match &self.kept {
            Some((kept, body_bytes)) if self.repeats() => (kept, *body_bytes),
            _ => (&self.templates[template].bytes, self.templates[template].body_bytes),
        }
    }

    /// Whether the request that is due is a repetition.
    fn repeats(&self) -> bool {
        self.requests.is_multiple_of(REPEATED_ONE_IN)
    }

    /// Makes the next body ready and notes it; returns its template.
    fn prepare(&mut self) -> usize {
        self.requests += 1;
        if self.repeats() && self.kept.is_some() {
            return self.next;
        }
        self.next = (self.next + 1) % self.templates.len();
        let template = &mut self.templates[self.next];
        self.stamp.look_at_the_clock();
        template.stamp(&mut self.stamp);
        self.sent[self.next] += 1;
        // The one to be repeated later: not the newest, so that it is no longer in any buffer.
        if self.requests % REPEATED_ONE_IN == 1 {
            self.kept = Some((template.bytes.clone(), template.body_bytes));
        }
        self.next
    }
}

#[cfg(test)]
mod tests;
