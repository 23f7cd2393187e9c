//! Sustained ingest: events a second that are acknowledged, folded and part of answers, beside a limit
//! program that gets the very same requests, or, for gRPC, beside our own HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Bench, Limit};
use crate::Fail;
use crate::corpus::{Form, meter_names};
use crate::load::{Pace, Sent, Until};
use crate::recount::Recount;
use crate::report::{Bound, Report, Row};

/// Connections that post batches; over gRPC four of them share one.
const BATCH_SENDERS: usize = 16;
const SINGLE_SENDERS: usize = 64;

/// What is sent, and what stands beside it.
#[derive(Clone, Copy, Debug)]
pub enum What {
    Batches(usize),
    Singles,
    Grpc(usize),
}

/// One round of ours.
struct Round {
    sent: Sent,
    /// Until all was visible.
    seconds: f64,
    details: Value,
}

impl What {
    fn form(self) -> Form {
        match self {
            Self::Batches(events) => Form::Batch(events),
            Self::Singles => Form::Single,
            Self::Grpc(events) => Form::Proto(events),
        }
    }
}

pub fn senders(form: Form) -> usize {
    if form == Form::Single { SINGLE_SENDERS } else { BATCH_SENDERS }
}

pub async fn run(bench: &Bench, what: What, time: Duration, other: Duration) -> Result<Report, Fail> {
    let (name, title) = match what {
        What::Batches(100) => ("ingest-100", "sustained ingest, HTTP batches of 100".to_owned()),
        What::Batches(events) => ("ingest-batches", format!("sustained ingest, HTTP batches of {events}")),
        What::Singles => ("ingest-singles", "single events, 64 connections".to_owned()),
        What::Grpc(events) => ("ingest-grpc", format!("sustained ingest, gRPC batches of {events}")),
    };
    let mut report = Report::new(name);
    let (mut pairs, mut rounds) = (Vec::new(), Vec::new());
    let mut busiest = (0.0_f64, 0.0_f64);
    for round in 1..=bench.rounds {
        let ours = measure_weir(bench, what.form(), time).await?;
        let ours_per_s = ours.sent.events as f64 / ours.seconds;
        let (theirs_per_s, their_busy, theirs) = match what {
            What::Grpc(events) => {
                let http = measure_weir(bench, Form::Batch(events), time).await?;
                (http.sent.events as f64 / http.seconds, http.sent.generator_busy, http.details)
            }
            What::Batches(_) => measure_limit(bench, Limit::Parse, what.form(), other).await?,
            What::Singles => measure_limit(bench, Limit::Answer, what.form(), other).await?,
        };
        eprintln!("round {round}: ours {ours_per_s:.0} events/s, beside {theirs_per_s:.0}");
        busiest = (busiest.0.max(ours.sent.generator_busy), busiest.1.max(their_busy));
        pairs.push((ours_per_s, theirs_per_s));
        rounds.push(json!({ "ours": ours.details, "beside": theirs }));
    }
    let (beside, must, aim) = match what {
        What::Batches(_) => (Limit::Parse.describe(), 0.2, 0.5),
        What::Singles => (Limit::Answer.describe(), 0.3, 0.6),
        What::Grpc(_) => ("our own HTTP", 1.0, 1.3),
    };
    let row = Row::of(&title, beside, "events/s", &pairs);
    report.row(row.bounds(Bound::AtLeast(must), Bound::AtLeast(aim)));
    report.busy("us", busiest.0);
    report.busy(beside, busiest.1);
    report.note(format!(
        "{} rounds of {} s on a fresh data folder each; ours counts until the last event is part of answers; \
         every answer equalled the recount; meters: {}",
        bench.rounds,
        time.as_secs(),
        meter_names()
    ));
    report.detail("rounds", rounds.into());
    Ok(report)
}

async fn measure_weir(bench: &Bench, form: Form, time: Duration) -> Result<Round, Fail> {
    let folder = bench.folder()?;
    // The questions of the recount read every window there is; it may take them longer than a user would wait.
    let server = bench.fresh_weir(folder.path(), &["--query-deadline 10m"]).await?;
    let mut generator = bench.generator(form, senders(form));
    bench.warm(&mut generator, &server.process).await?;
    server.all_visible().await?;

    let (cpu, io) = (server.cpu_s()?, server.io()?);
    let begin = Instant::now();
    let half = generator.run(server.address(), Pace::FlatOut, Until::Elapsed(time / 2)).await?;
    let halfway = (half.events_per_s(), server.metrics().await?);
    let mut sent = generator.run(server.address(), Pace::FlatOut, Until::Elapsed(time / 2)).await?;
    let acknowledged = begin.elapsed();
    server.all_visible().await?;
    let visible = begin.elapsed();
    let (cpu, wrote) = (server.cpu_s()? - cpu, server.io()?.write_bytes - io.write_bytes);
    let metrics = server.metrics().await?;
    let second_half_per_s = sent.events_per_s();

    sent.requests += half.requests;
    sent.events += half.events;
    sent.body_bytes += half.body_bytes;
    sent.refused += half.refused;
    sent.generator_busy = sent.generator_busy.max(half.generator_busy);
    sent.latencies_us.extend(half.latencies_us);
    sent.latencies_us.sort_unstable();

    let recount = Recount::of(&generator);
    recount.check(server.address()).await?;
    let details = json!({
        "events": sent.events,
        "requests": sent.requests,
        "body_bytes": sent.body_bytes,
        "refused": sent.refused,
        "acknowledged_after_s": acknowledged.as_secs_f64(),
        "visible_after_s": visible.as_secs_f64(),
        "first_half_events_per_s": halfway.0,
        "second_half_events_per_s": second_half_per_s,
        "server_cpu_s": cpu,
        "server_write_bytes": wrote,
        "generator_busy": sent.generator_busy,
        "p50_us": sent.percentile_us(50.0),
        "p99_us": sent.percentile_us(99.0),
        "metrics_halfway": halfway.1,
        "metrics_at_the_end": metrics,
    });
    // Nothing of it is needed any more: no use in bringing the head to rest.
    server.process.kill();
    Ok(Round { sent, seconds: visible.as_secs_f64(), details })
}

async fn measure_limit(
    bench: &Bench,
    limit: Limit,
    form: Form,
    time: Duration,
) -> Result<(f64, f64, Value), Fail> {
    let folder = bench.folder()?;
    let server = bench.limit(limit, folder.path()).await?;
    let mut generator = bench.generator(form, senders(form));
    bench.warm(&mut generator, &server).await?;
    let sent = generator.run(server.address, Pace::FlatOut, Until::Elapsed(time)).await?;
    let details = json!({
        "events_per_s": sent.events_per_s(),
        "generator_busy": sent.generator_busy,
        "p50_us": sent.percentile_us(50.0),
        "p99_us": sent.percentile_us(99.0),
    });
    Ok((sent.events_per_s(), sent.generator_busy, details))
}
